"""Tables of an image recipe's systems beside what a paper published."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from kdspeech.distill.image_config import ImageConfig, SystemConfig
from kdspeech.io.errors import InputError
from kdspeech.report.accuracy import wilson_interval
from kdspeech.report.results import write_rows
from kdspeech.report.table import Cell, Table, to_markdown


@dataclass(frozen=True)
class ImageRow:
    """A system on one split, accuracy in %: the mean of its seeds and their standard deviation
    (None of one), the 95 % interval over images (Wilson's, for these seeds), n images.

    `value` is None where every seed diverged, and seeds that did are not in the mean.
    """

    system: str
    split: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    seeds: list[int]
    spread: float | None
    per_seed: list[float]
    diverged: list[int]
    parameters: int
    macs: int | None
    seconds: float
    command: str


def image_rows(config: ImageConfig, exp: str | Path) -> list[ImageRow]:
    """Test accuracy of the systems that are there, in the recipe's order.

    Raises:
      InputError: nothing is trained yet.
    """
    rows = []
    for name in config.systems:
        folders = sorted(Path(exp).glob(f"seed*/{name}"), key=lambda f: int(f.parent.name[4:]))
        folders = [folder for folder in folders if (folder / "score.json").exists()]
        if folders:
            rows.append(_row(name, folders))
    if not rows:
        raise InputError(f"{exp}: no system of the recipe is trained (run `kds image train` first)")
    return rows


def _row(name: str, folders: list[Path]) -> ImageRow:
    scores = [json.loads((folder / "score.json").read_text()) for folder in folders]
    ended = [(f, s) for f, s in zip(folders, scores, strict=True) if "diverged" not in s]
    right = [_right(folder / "posteriors.npz") for folder, _ in ended]
    per_seed = [round(100 * float(r.mean()), 4) for r in right]
    images = len(right[0]) if right else 0
    low, high = None, None
    if right:
        share = float(np.mean(right))
        low, high = wilson_interval(round(share * images), images)
    return ImageRow(
        system=name,
        split="test",
        metric="accuracy",
        value=round(fmean(per_seed), 4) if per_seed else None,
        low=None if low is None else round(100 * low, 4),
        high=None if high is None else round(100 * high, 4),
        n=images,
        seeds=[s["seed"] for s in scores],
        spread=round(stdev(per_seed), 4) if len(per_seed) > 1 else None,
        per_seed=per_seed,
        diverged=[s["seed"] for s in scores if "diverged" in s],
        parameters=scores[0]["parameters"],
        macs=ended[0][1]["macs"] if ended else None,
        seconds=round(fmean(s["seconds"] for s in scores), 1),
        command=scores[0]["command"],
    )


def _right(path: Path) -> np.ndarray:
    with np.load(path) as arrays:
        return arrays["test/full"].argmax(1) == arrays["test/label"]


def save_image_results(rows: list[ImageRow], exp: str | Path) -> None:
    """Writes exp/results.json."""
    write_rows({"rows": [asdict(row) for row in rows]}, Path(exp) / "results.json")


def image_tables(config: ImageConfig, rows: list[ImageRow]) -> list[Table]:
    """One table for each `table` that systems name, a line for each system."""
    names = dict.fromkeys(config.systems[row.system].table for row in rows)
    return [_table(config, rows, name) for name in names if name]


def _table(config: ImageConfig, rows: list[ImageRow], name: str) -> Table:
    here = [row for row in rows if config.systems[row.system].table == name]
    header = ["", "", "accuracy", "spread", "each seed", "published", "difference", "parameters"]
    lines = [_cells(row, config.systems[row.system]) for row in here]
    first = [line[0].text for line in lines]
    breaks = {i for i in range(1, len(first)) if first[i] != first[i - 1]}
    sizes = sorted({row.n for row in here if row.n})
    note = (
        f"Test accuracy in % on {' or '.join(f'{n:,}' for n in sizes)} images: mean of the seeds "
    )
    note += "and their standard deviation. "
    note += "Difference: to what is published, in points; s: seconds of one training."
    return Table(name, [*header, "s"], lines, labels=2, note=note, breaks=frozenset(breaks))


def _cells(row: ImageRow, system: SystemConfig) -> list[Cell]:
    published = system.published
    shown = f"{published:.2f}" if isinstance(published, float) else str(published or "")
    known = isinstance(published, float) and row.value is not None
    gap = f"{row.value - published:+.2f}" if known else ""
    seeds = [f"{value:.2f}" for value in row.per_seed] + ["diverges"] * len(row.diverged)
    return [
        Cell(system.row or row.system),
        Cell(system.column),
        Cell("diverges" if row.value is None else f"{row.value:.2f}"),
        Cell("" if row.spread is None else f"{row.spread:.2f}"),
        Cell(" ".join(seeds)),
        Cell(shown),
        Cell(gap),
        Cell(f"{row.parameters:,}"),
        Cell(f"{row.seconds:.0f}"),
    ]


def image_markdown(
    tables: list[Table], title: str, commands: list[str], family: str = "", notes: str = ""
) -> str:
    """RESULTS.md: the commands that make it, the tables, the family of a search, notes."""
    parts = [f"# {title}", "Made by", "```\n" + "\n".join(commands) + "\n```"]
    parts += [to_markdown(table).strip() for table in tables]
    parts += [family.strip().replace("# Iterative", "## Iterative", 1), notes.strip()]
    return "\n\n".join(filter(None, parts)) + "\n"
