"""Tables of the networks of a speech recognition experiment."""

from kdspeech.report.asr import AsrExperiment
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.asr_tables import against, reference_wer
from kdspeech.report.seeds import SeededWer, over_seeds
from kdspeech.report.table import Cell, Table


def networks_table(experiment: AsrExperiment) -> Table:
    """Every network before adaptation: size, speed, WER on each split; a group per training."""
    systems = [s for s in experiment.network_systems if not SystemName.parse(s).adaptation]
    splits = experiment.splits[::-1]
    found = {split: [over_seeds(experiment, s, split) for s in systems] for split in splits}
    header = ["system", "network", "training", "parameters", "MB", "training CPU s"]
    header += ["real-time factor", *(f"WER {split}" for split in splits), "LM scale", "seeds"]
    rows = [
        [
            *_what_cells(experiment, system),
            *(wer_cell(found[split][i], best_of(found[split])) for split in splits),
            *_setting_cells(experiment, system, splits[0]),
        ]
        for i, system in enumerate(systems)
    ]
    if any(reference_wer(experiment, system, splits[0]) for system in systems):
        header += [f"{experiment.toolkit}, best", "difference"]
        rows = [r + against(experiment, s, splits[0]) for r, s in zip(rows, systems, strict=True)]
    forms = [experiment.form(system) for system in systems]
    breaks = frozenset(i for i in range(1, len(forms)) if forms[i] != forms[i - 1])
    return Table("Networks", header, rows, labels=3, note=_note(experiment), breaks=breaks)


def _what_cells(experiment: AsrExperiment, system: str) -> list[Cell]:
    facts = experiment.networks[system]
    seconds = experiment.train_seconds(system)
    factor = experiment.real_time_factor(system, experiment.splits[-1])
    texts = [
        system,
        facts.model,
        SystemName.parse(system).training,
        f"{facts.parameters:,}",
        f"{facts.megabytes:.2f}",
        "" if seconds is None else f"{seconds:,.0f}",
        "" if factor is None else f"{factor:.2f}",
    ]
    return [Cell(text) for text in texts]


def _setting_cells(experiment: AsrExperiment, system: str, split: str) -> list[Cell]:
    rows = experiment.seeds(system, split)
    scales = ", ".join(dict.fromkeys(f"{row.lm_scale:g}" for row in rows))
    return [Cell(scales), Cell(str(len(rows) or ""))]


def wer_cell(wer: SeededWer | None, best: float | None = None) -> Cell:
    """Mean WER with its interval, and the least and largest of several seeds."""
    if wer is None:
        return Cell("")
    detail = f"[{wer.low:.1f}, {wer.high:.1f}]"
    if len(wer.per_seed) > 1:
        detail += f" {min(wer.per_seed):.2f}..{max(wer.per_seed):.2f}"
    return Cell(f"{wer.value:.2f}", wer.value == best, detail)


def best_of(wers: list[SeededWer | None]) -> float | None:
    """The lowest WER of those that are there."""
    return min((wer.value for wer in wers if wer), default=None)


def _note(experiment: AsrExperiment) -> str:
    return (
        f"WER in %, LM scale and insertion penalty chosen on {experiment.splits[0]}; 95 % interval "
        "by bootstrap over utterances, and over seeds where there are several: then the WER is "
        "their mean, and the least and largest stand behind it. MB: weights in float32. Real-time "
        "factor: CPU seconds of decoding a second of speech, on one core."
    )
