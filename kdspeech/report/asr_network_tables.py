"""Tables of the networks of a speech recognition experiment."""

from kdspeech.report.asr import AsrExperiment
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.asr_tables import against, chosen_on, reference_wer
from kdspeech.report.gates import GateOpening
from kdspeech.report.seeds import Comparison, SeededWer, common_seeds, compare, over_seeds
from kdspeech.report.table import Cell, Table

CHANGE = ("change, %", "P(better)", "seeds")
"""Header of `change_cells`."""

WHICH_SEEDS = (
    "Seeds: those that both systems have, seed k beside seed k, and both WERs are of these alone; "
    "2 : 1, two of the first and one of the second, where they have none in common or one is "
    "Gaussian, which has none."
)
"""Of tables that compare systems, for their notes."""


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
    return Table("Networks", header, rows, labels=3, note=_note(experiment, systems), breaks=breaks)


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
    rows = experiment.seeds(system, split).values()
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


def adaptation_table(experiment: AsrExperiment) -> Table:
    """Speaker-independent beside adapted networks, by loss and groups that were updated."""
    split = experiment.splits[-1]
    systems = [s for s in experiment.network_systems if SystemName.parse(s).adaptation]
    systems = [s for s in systems if experiment.row(s, split)]
    bases = [SystemName.parse(system).base for system in systems]
    header = ["network", "loss", "update", f"SI {split}", f"SD {split}", *CHANGE]
    header += [f"{pass_} {other}" for other in experiment.splits[:-1] for pass_ in ("SI", "SD")]
    rows = [_adaptation_cells(experiment, system) for system in systems]
    breaks = frozenset(i for i in range(1, len(bases)) if bases[i] != bases[i - 1])
    note = (
        "SI: speaker-independent, the first pass; SD: after adaptation to each speaker, without "
        "supervision where the recipe says nothing else. P(better): of SD against SI, paired over "
        "utterances and the seeds that were adapted. WER in %, with 95 % intervals as above."
    )
    return Table("Speaker adaptation", header, rows, labels=3, note=note, breaks=breaks)


def _adaptation_cells(experiment: AsrExperiment, system: str) -> list[Cell]:
    name, others = SystemName.parse(system), experiment.splits[:-1]
    update, loss = name.update
    before, after = _pair(experiment, system, experiment.splits[-1])
    found = compare(experiment, system, name.base, experiment.splits[-1])
    cells = [Cell(name.base), Cell(loss), Cell(update), _plain(before), wer_cell(after)]
    cells += change_cells(found)
    return cells + [_plain(wer) for split in others for wer in _pair(experiment, system, split)]


def _pair(experiment: AsrExperiment, system: str, split: str) -> list[SeededWer | None]:
    """The network's WER before and after adaptation, of the seeds that have both."""
    base = SystemName.parse(system).base
    seeds = common_seeds(experiment, system, base, split)
    return [over_seeds(experiment, name, split, seeds) for name in (base, system)]


def _plain(wer: SeededWer | None) -> Cell:
    return wer_cell(wer)._replace(detail="")


def gates_table(gates: dict[str, list[GateOpening]]) -> Table:
    """T and C of each layer of some networks, mean and standard deviation."""
    found = [(system, row) for system, layers in gates.items() for row in layers]
    rows = [
        [
            Cell(system),
            Cell(str(row.layer)),
            Cell(f"{row.transform:.3f}", detail=f"± {row.transform_sd:.3f}"),
            Cell(f"{row.carry:.3f}", detail=f"± {row.carry_sd:.3f}"),
        ]
        for system, row in found
    ]
    breaks = frozenset(i for i in range(1, len(found)) if found[i][0] != found[i - 1][0])
    note = "Mean and standard deviation over held-out frames and units."
    header = ["network", "layer", "T (transform)", "C (carry)"]
    return Table("Gates by layer", header, rows, note=note, breaks=breaks)


def change_cells(found: Comparison | None) -> list[Cell]:
    """The relative change of the WER, P(better), and on how many seeds; empty of None."""
    if found is None:
        return [Cell("")] * len(CHANGE)
    first, second = len(found.a.per_seed), len(found.b.per_seed)
    seeds = str(first) if found.paired else f"{first} : {second}"
    return [Cell(f"{found.change:+.1f}"), Cell(f"{found.p_better:.3f}"), Cell(seeds)]


def _note(experiment: AsrExperiment, systems: list[str]) -> str:
    rows = [row for s in systems if (row := experiment.row(s, experiment.splits[-1]))]
    return (
        f"WER in %, {chosen_on(rows)}; 95 % interval by bootstrap over utterances, and "
        "over seeds where there are several: then the WER is their mean, and the least and largest "
        "stand behind it. MB: weights in float32. Training: the step itself, a network that is "
        "trained further counting from there on. Real-time factor: CPU seconds of decoding a "
        f"second of {experiment.splits[-1]}, on one core."
    )
