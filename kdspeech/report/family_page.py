"""A search's own page and RESULTS.md: EXP/report.html of an experiment that has family.json."""

import json
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.report.experiment import Experiment, dates, read_experiment, revisions
from kdspeech.report.family import (
    baseline_table,
    family_table,
    family_tables,
    family_tree,
    pareto_figure,
    pareto_table,
)
from kdspeech.report.markup import (
    document,
    facts,
    figure_html,
    notes_section,
    paragraphs,
    preformatted,
)
from kdspeech.report.table import to_html, to_markdown


def read_family(exp: str | Path) -> dict | None:
    """The content of EXP/family.json; None where EXP is no search.

    Raises:
      InputError: the file is not what `kds distill iterate` writes.
    """
    path = Path(exp) / "family.json"
    if not path.is_file():
        return None
    try:
        family = json.loads(path.read_text(encoding="utf-8"))
        family["nodes"], family["pareto"], family["baselines"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the family of a search ({error}); run it again") from None
    return family


def family_results(family: dict, exp: str | Path, title: str, commands: list[str], notes="") -> str:
    """RESULTS.md of a search: commands, what was run, outcome, tables, notes under "Reading"."""
    record = [f"- {key}: {value}" for key, value in _record(family, exp).items()]
    parts = [f"# {title}", "Made by", "```\n" + "\n".join(commands) + "\n```", "\n".join(record)]
    parts += [f"{family['outcome']}.", *map(to_markdown, family_tables(family))]
    parts += ["## Reading", notes] if notes.strip() else []
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def save_family_page(
    family: dict, exp: str | Path, path: str | Path, title: str, commands: list[str], notes=""
) -> None:
    """Writes the page of a search, self-contained as `page.save_page`'s."""
    run = preformatted("\n".join(commands)) + facts(_record(family, exp))
    run += preformatted(family["command"])
    tree = "Who taught whom: a line from each teacher. Orange: the outcome; dashed: broken."
    front = "All networks; the line is the front, crosses are broken."
    baselines = to_html(baseline_table(family)) if family["baselines"] else ""
    sections = [
        ("run", "What was run", run),
        ("family", "The family", _figure(family_tree(family), "tree", tree)),
        ("networks", "Networks", to_html(family_table(family))),
        ("same", "The same architecture, taught in other ways", baselines),
        ("pareto", "Accuracy against cost", _figure(pareto_figure(family), "pareto", front)),
        ("fronts", "Fronts", to_html(pareto_table(family))),
        ("notes", "Reading", notes_section(notes)),
    ]
    page = document(title, paragraphs([f"{family['outcome']}."]), sections, _STYLE)
    with atomic_path(path) as part:
        part.write_text(page, encoding="utf-8")


_STYLE = """
.wide { overflow-x: auto; } .wide svg.figure { width: var(--width); max-width: none; margin: 0; }
"""
PIXELS = 105  # per inch of a figure


def _figure(figure, name: str, caption: str) -> str:
    """In its own size, which a narrow screen scrolls, so that its text can be read."""
    width = f"--width: {PIXELS * figure.get_figwidth():.0f}px"
    return (
        f'<div class="wide" tabindex="0" style="{width}">{figure_html(figure, name, caption)}</div>'
    )


def _record(family: dict, exp: str | Path) -> dict[str, str]:
    """When, by which revision and on what the networks were trained."""
    experiment = read_experiment(exp)
    first, last = dates(experiment)
    facts = {
        "date": first if first == last else f"{first} to {last}",
        "git revision": ", ".join(revision[:12] for revision in revisions(experiment)),
        "corpus fingerprint": experiment.systems[0].corpus,
        "networks": str(len(family["nodes"])),
        "seeds": ", ".join(map(str, family["seeds"])),
        "dev and test clips": " and ".join(str(_clips(experiment, s)) for s in ("dev", "test")),
        "classes": ", ".join(experiment.classes),
        "" if family["finished"] else "not finished": "the search is still running",
    }
    return {key: value for key, value in facts.items() if key and value}


def _clips(experiment: Experiment, split: str) -> int:
    run = next(iter(experiment.runs.values()))[0]
    return len(run.answers[split].utts)
