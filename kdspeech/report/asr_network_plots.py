"""Figures of the networks of a speech recognition experiment."""

from collections.abc import Iterator
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from kdspeech.report.asr import AsrExperiment, read_speakers
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.drawing import MUTED, SERIES, coloured, new_figure, styled
from kdspeech.report.gates import GateOpening


def _styles() -> Iterator[dict]:
    """Of lines that are told apart by colour, and after six by dashes and marker as well."""
    dashes = cycle(zip(("-", "--", "-.", ":"), "osD^", strict=True))
    return (
        {"color": colour, "linestyle": line, "marker": marker, "markersize": 4}
        for line, marker in dashes
        for colour in SERIES
    )


@styled
def wer_by_size(experiment: AsrExperiment, split: str) -> Figure | None:
    """WER against parameters, a line per training; the dotted one is the best Gaussian system.

    Of several systems of one training and size the one that is best on the first split is shown.
    """
    figure, axes = new_figure(4.0)
    ax = axes[0, 0]
    for style, (label, points) in zip(_styles(), _lines(experiment, split).items(), strict=False):
        sizes, values = zip(*sorted(points.items()), strict=True)
        ax.plot(sizes, values, label=label, **style)
    if not ax.lines:
        return None
    scored = [s for s in experiment.gaussian_systems if experiment.row(s, split)]
    gaussian = best_on_dev(experiment, scored)
    if gaussian:
        ax.axhline(experiment.mean(gaussian, split), color=MUTED, linestyle=":", label=gaussian)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(EngFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("parameters")
    ax.set_ylabel(f"WER on {split}, %")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _lines(experiment: AsrExperiment, split: str) -> dict[str, dict[int, float]]:
    """Training -> parameters -> WER on the split."""
    lines: dict[str, dict[int, float]] = {}
    for (label, model), system in leaders(experiment, split).items():
        size = next(f.parameters for f in experiment.networks.values() if f.model == model)
        lines.setdefault(label, {})[size] = experiment.mean(system, split)
    return lines


def leaders(experiment: AsrExperiment, split: str) -> dict[tuple[str, str], str]:
    """(training, network) -> the system of that kind that is best on the first split, dev.

    Adaptation is a training of its own; systems without a score on `split` are left out.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for system in experiment.network_systems:
        name = SystemName.parse(system)
        if experiment.row(system, split):
            label = experiment.form(system) + (", adapted" if name.adaptation else "")
            found.setdefault((label, experiment.networks[name.base].model), []).append(system)
    return {key: best_on_dev(experiment, systems) for key, systems in found.items()}


def best_on_dev(experiment: AsrExperiment, systems: list[str]) -> str | None:
    """The system with the lowest WER on the first split; None of none."""
    first = experiment.splits[0]
    return min(systems, key=lambda system: experiment.mean(system, first), default=None)


@styled
def learning_curves(experiment: AsrExperiment, form: str) -> Figure | None:
    """What each epoch measured on held-out data, of a form's networks: a panel for each measure
    that changes. None where nothing was recorded."""
    names = [SystemName.parse(s) for s in experiment.network_systems if experiment.form(s) == form]
    bases = list(dict.fromkeys(name.base for name in names))
    curves = {base: experiment.metrics.get(base, []) for base in bases}
    curves = {base: rows for base, rows in curves.items() if rows}
    values: dict[str, set[float]] = {}
    for row in (row for rows in curves.values() for row in rows):
        for key in filter(lambda key: key.startswith("dev_"), row):
            values.setdefault(key, set()).add(row[key])
    keys = [key for key, found in values.items() if len(found) > 1]
    if not keys:
        return None
    figure, axes = new_figure(0.6 + 1.9 * len(keys), len(keys), 1, sharex=True)
    for ax, key in zip(axes[:, 0], keys, strict=True):
        for style, (base, rows) in zip(_styles(), curves.items(), strict=False):
            points = [(row["epoch"], row[key]) for row in rows if key in row]
            if points:
                ax.plot(*zip(*points, strict=True), label=base, **style)
        ax.set_ylabel(key.replace("_", " "))
    axes[-1, 0].set_xlabel("epoch")
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = {label: line for ax in axes[:, 0]
               for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}  # fmt: skip
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


@styled
def gates_by_layer(gates: dict[str, list[GateOpening]]) -> Figure | None:
    """Mean of T and C with their standard deviation by layer, of some highway networks."""
    gates = {system: layers for system, layers in gates.items() if layers}
    if not gates:
        return None
    figure, axes = new_figure(3.9, 2, 1, sharex=True)
    shifts = [0.09 * (i - (len(gates) - 1) / 2) for i in range(len(gates))]
    for ax, gate, label in zip(axes[:, 0], ("transform", "carry"), "TC", strict=True):
        for colour, shift, (system, layers) in zip(cycle(SERIES), shifts, gates.items(),
                                                   strict=False):  # fmt: skip
            ax.errorbar(
                [row.layer + shift for row in layers],
                [getattr(row, gate) for row in layers],
                [getattr(row, f"{gate}_sd") for row in layers],
                fmt="o-", color=colour, label=system, elinewidth=0.8, markersize=3.5,
            )  # fmt: skip
        ax.set_ylabel(f"{label}, {gate} gate")
        ax.set_ylim(0, 1)
    axes[-1, 0].set_xlabel("hidden layer")
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def gains_by_speaker(experiment: AsrExperiment, split: str) -> Figure | None:
    """Points of WER that each speaker gains by adaptation, of each network's best on dev."""
    gains = {s: g for s in _adapted(experiment, split) if (g := _gains(experiment, s, split))}
    if not gains:
        return None
    first = next(iter(gains.values()))
    speakers = sorted(first, key=first.get)
    figure, axes = new_figure(3.2)
    ax = axes[0, 0]
    for colour, (system, values) in coloured(ax, gains.items()):
        ax.plot([values.get(speaker, float("nan")) for speaker in speakers], "o", color=colour,
                label=system, markersize=3.5)  # fmt: skip
    ax.axhline(0, color=MUTED, linewidth=0.8)
    ax.set_xticks(range(len(speakers)), speakers, rotation=90, fontsize=6.5)
    ax.set_ylabel("gain in WER, points")
    ax.set_xlabel(f"speakers of {split}")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _adapted(experiment: AsrExperiment, split: str) -> list[str]:
    """The best adaptation of each network, the best one first."""
    by_base: dict[str, list[str]] = {}
    for system in experiment.network_systems:
        name = SystemName.parse(system)
        if name.adaptation and experiment.row(system, split):
            by_base.setdefault(name.base, []).append(system)
    found = [best_on_dev(experiment, systems) for systems in by_base.values()]
    return sorted(found, key=lambda system: experiment.mean(system, experiment.splits[0]))


def _gains(experiment: AsrExperiment, system: str, split: str) -> dict[str, float]:
    """Speaker -> points of WER, mean over the seeds; {} where nothing is known of speakers."""
    gains: dict[str, list[float]] = {}
    before = experiment.seeds(SystemName.parse(system).base, split)
    for seed, row in experiment.seeds(system, split).items():
        adapted = read_speakers(experiment.folder(row.system, split))
        plain = (
            read_speakers(experiment.folder(before[seed].system, split)) if seed in before else {}
        )
        for speaker in adapted.keys() & plain.keys():
            (new, words), (old, _) = adapted[speaker], plain[speaker]
            gains.setdefault(speaker, []).append(100 * (old - new) / max(words, 1))
    return {speaker: sum(values) / len(values) for speaker, values in gains.items()}
