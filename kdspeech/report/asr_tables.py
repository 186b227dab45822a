"""Tables of a speech recognition experiment."""

from kdspeech.report.asr import AsrExperiment
from kdspeech.report.table import Cell, Table
from kdspeech.report.wer import WerRow


def wer_table(experiment: AsrExperiment, split: str) -> Table:
    """Every system on one split: WER with its interval, errors by kind, and the reference's WER."""
    rows = [experiment.row(system, split) for system in experiment.systems]
    rows = [row for row in rows if row]
    best = min((row.value for row in rows), default=None)
    toolkit = experiment.toolkit
    header = ["system", "WER", "sub", "del", "ins", "LM scale", "penalty", "best here"]
    lines = [_wer_cells(row, row.value == best) for row in rows]
    if any(_reference_wer(experiment, row) for row in rows):
        header += [f"{toolkit}, best", "difference"]
        lines = [cells + _against(experiment, row) for cells, row in zip(lines, rows, strict=True)]
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


def _reference_wer(experiment: AsrExperiment, row: WerRow) -> float | None:
    found = experiment.references.get((row.system, row.split))
    return found.wer if found else None


def _against(experiment: AsrExperiment, row: WerRow) -> list[Cell]:
    """The reference's WER at its best setting of this split, and ours at ours minus it."""
    wer = _reference_wer(experiment, row)
    return [Cell(""), Cell("")] if wer is None else [Cell(f"{wer:.2f}"), signed(row.best - wer)]


def signed(difference: float) -> Cell:
    """A difference with its sign, in percentage points."""
    return Cell(f"{difference:+.2f}")


def _note(experiment: AsrExperiment, split: str, rows: list[WerRow]) -> str:
    if not rows:
        return ""
    first = rows[0]
    tuned = any(row.tuned_on for row in rows)
    chosen = "LM scale and insertion penalty chosen on dev" if tuned else "at the best LM scale"
    note = (
        f"In % of {first.words} words in {first.n} utterances, {chosen}; 95 % interval by "
        "bootstrap over utterances. `best here`: at the scale and penalty that are best on this "
        "very set."
    )
    if any(_reference_wer(experiment, row) for row in rows):
        note += f" {experiment.toolkit}'s is such a best, so the difference is between the two."
    return note


def cost_table(experiment: AsrExperiment) -> Table:
    """CPU seconds of training and of decoding the last split, beside the reference's."""
    split, toolkit = experiment.splits[-1], experiment.toolkit
    header = ["system", "training CPU s", toolkit, f"decoding {split} CPU s", toolkit,
              "CPU s per second of speech"]  # fmt: skip
    lines = [_cost_cells(experiment, system, split) for system in experiment.systems]
    shown = [i for i, name in enumerate(header) if name]
    header = [header[i] for i in shown]
    lines = [[cells[i] for i in shown] for cells in lines if any(c.text for c in cells[1:])]
    note = "Training: the stage itself, from alignments that are there; decoding: all passes."
    return Table("What it costs", header, lines, note=note)


def _cost_cells(experiment: AsrExperiment, system: str, split: str) -> list[Cell]:
    found = experiment.references.get((system, split))
    factor = experiment.real_time_factor(system, split)
    is_pass = "." in system  # an earlier pass of another system: its training is counted there
    seconds = [
        None if is_pass else experiment.train_seconds(system),
        found.train_seconds if found else None,
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
    dev = experiment.row(row.system, experiment.splits[0])
    chosen = f", chosen on {experiment.splits[0]}" if len(experiment.splits) > 1 else ""
    sentences = [
        f"{row.system}{chosen}: {row.value:.2f} % WER on {row.split} "
        f"[{row.low:.1f}, {row.high:.1f}]"
        + (f", {dev.value:.2f} % on {dev.split}." if dev and dev is not row else ".")
    ]
    wer = _reference_wer(experiment, row)
    if wer is not None:
        sentences.append(
            f"{experiment.toolkit} at its best setting of {row.split}: {wer:.2f} %; ours at such a "
            f"best: {row.best:.2f} % ({row.best - wer:+.2f})."
        )
    return sentences
