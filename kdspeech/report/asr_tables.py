"""Tables of a speech recognition experiment."""

from kdspeech.decode.sweep import GIVEN
from kdspeech.report.asr import AsrExperiment
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.seeds import over_seeds
from kdspeech.report.table import Cell, Table
from kdspeech.report.wer import WerRow


def wer_table(experiment: AsrExperiment, split: str) -> Table:
    """Every Gaussian system on one split: WER with its interval, errors by kind, and the
    reference's WER."""
    rows = [experiment.row(system, split) for system in experiment.gaussian_systems]
    rows = [row for row in rows if row]
    best = min((row.value for row in rows), default=None)
    toolkit = experiment.toolkit
    header = ["system", "WER", "sub", "del", "ins", "LM scale", "penalty", "best here"]
    lines = [_wer_cells(row, row.value == best) for row in rows]
    if any(reference_wer(experiment, row.system, split) for row in rows):
        header += [f"{toolkit}, best", "difference"]
        lines = [c + against(experiment, r.system, split) for c, r in zip(lines, rows, strict=True)]
    return Table(f"WER on {split}", header, lines, note=_note(experiment, split, rows))


def _wer_cells(row: WerRow, best: bool) -> list[Cell]:
    return [
        Cell(row.system),
        Cell(f"{row.value:.2f}", best, f"[{row.low:.1f}, {row.high:.1f}]"),
        *(Cell(str(count)) for count in (row.sub, row.deleted, row.ins)),
        Cell(f"{row.lm_scale:g}"),
        Cell(f"{row.penalty:g}"),
        Cell(f"{row.best:.2f}"),
    ]


def reference_wer(experiment: AsrExperiment, system: str, split: str) -> float | None:
    """The WER that the other toolkit reached, if it is known."""
    found = experiment.references.get((system, split))
    return found.wer if found else None


def against(experiment: AsrExperiment, system: str, split: str) -> list[Cell]:
    """The reference's WER at its best setting of this split, and ours at ours minus it."""
    wer, row = reference_wer(experiment, system, split), experiment.row(system, split)
    if wer is None or row is None:
        return [Cell(""), Cell("")]
    return [Cell(f"{wer:.2f}"), signed(row.best - wer)]


def signed(difference: float) -> Cell:
    """A difference with its sign, in percentage points."""
    return Cell(f"{difference:+.2f}")


def _note(experiment: AsrExperiment, split: str, rows: list[WerRow]) -> str:
    if not rows:
        return ""
    first = rows[0]
    note = (
        f"In % of {first.words} words in {first.n} utterances, {chosen_on(rows)}; 95 % interval by "
        "bootstrap over utterances. `best here`: at the scale and penalty that are best on this "
        "very set."
    )
    if any(reference_wer(experiment, row.system, split) for row in rows):
        note += f" {experiment.toolkit}'s is such a best, so the difference is between the two."
    missing = ", ".join(f"{row.system} {row.missing}" for row in rows if row.missing)
    if missing:
        note += (
            f" Utterances without a lattice count as deleted ({missing}); Kaldi's scoring leaves "
            "them out."
        )
    return note


def chosen_on(rows: list[WerRow]) -> str:
    """How LM scale and penalty came about."""
    tuned = next((row.tuned_on for row in rows if row.tuned_on), None)
    if tuned is None:
        return "at the best LM scale"
    where = "fixed beforehand" if tuned == GIVEN else "chosen on dev"
    return f"LM scale and insertion penalty {where}"


def cost_table(experiment: AsrExperiment) -> Table:
    """CPU seconds of Gaussian systems, of training and decoding the last split, and the
    reference's."""
    split, toolkit = experiment.splits[-1], experiment.toolkit
    header = ["system", "training CPU s", toolkit, "aligning CPU s", toolkit,
              f"decoding {split} CPU s", toolkit, "CPU s per second of speech"]  # fmt: skip
    lines = [_cost_cells(experiment, system, split) for system in experiment.gaussian_systems]
    shown = [i for i, name in enumerate(header) if name]
    header = [header[i] for i in shown]
    lines = [[cells[i] for i in shown] for cells in lines if any(c.text for c in cells[1:])]
    note = (
        "Training: the stage itself, from alignments that are there; aligning: the training speech "
        "with it, for the next stage, the start of the processes included; decoding: all passes."
    )
    return Table("What it costs", header, lines, note=note)


def _cost_cells(experiment: AsrExperiment, system: str, split: str) -> list[Cell]:
    found = experiment.references.get((system, split))
    factor = experiment.real_time_factor(system, split)
    is_pass = "." in system  # an earlier pass of another system: its training is counted there
    seconds = [
        None if is_pass else experiment.train_seconds(system),
        found.train_seconds if found else None,
        None if is_pass else experiment.align_seconds(system),
        found.align_seconds if found else None,
        experiment.decode_seconds(system, split),
        found.decode_seconds if found else None,
    ]
    texts = ["" if value is None else f"{value:,.0f}" for value in seconds]
    return [Cell(system), *map(Cell, texts), Cell("" if factor is None else f"{factor:.2f}")]


def steps_table(experiment: AsrExperiment) -> Table:
    """CPU seconds of every step that the recipe measured, as it named them."""
    rows = [
        [Cell(step.replace("_", " ")), Cell(f"{seconds:,.1f}")]
        for step, seconds in experiment.seconds.items()
    ]
    return Table("CPU seconds of each step", ["step", "CPU s"], rows)


def summarise(experiment: AsrExperiment) -> list[str]:
    """Sentences: the best system by dev, and what it is beside the first and the reference."""
    row = experiment.headline
    system, split = SystemName.parse(row.system).system, experiment.headline_split
    found, dev = (over_seeds(experiment, system, name) for name in (row.split, split))
    itself = " itself, for want of dev" if split == row.split else ""
    seeds = len(found.per_seed)
    sentences = [
        f"{system}, chosen on {split}{itself}: {found.value:.2f} % WER on {row.split} "
        f"[{found.low:.1f}, {found.high:.1f}]"
        + (f", the mean of {seeds} seeds" if seeds > 1 else "")
        + (f", {dev.value:.2f} % on {split}." if split != row.split else ".")
    ]
    wer = reference_wer(experiment, system, row.split)
    if wer is not None:
        sentences.append(
            f"{experiment.toolkit} at its best setting of {row.split}: {wer:.2f} %; ours at such a "
            f"best: {row.best:.2f} % ({row.best - wer:+.2f})."
        )
    return sentences
