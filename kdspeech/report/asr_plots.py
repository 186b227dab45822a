"""Figures of a speech recognition experiment."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kdspeech.report.asr import AsrExperiment, read_speakers, read_sweep
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.drawing import INK, MUTED, coloured, lines_of, new_figure, styled


@styled
def wer_by_system(experiment: AsrExperiment) -> Figure | None:
    """WER of each Gaussian system with its interval, a colour for each split; diamonds: the
    reference. None without such systems."""
    systems, splits = experiment.gaussian_systems, experiment.splits
    if not systems:
        return None
    figure, axes = new_figure(0.9 + 0.32 * len(systems))
    ax = axes[0, 0]
    offsets = np.linspace(-0.16, 0.16, len(splits)) if len(splits) > 1 else [0.0]
    for offset, (colour, split) in zip(offsets, coloured(ax, splits), strict=False):
        for y, system in enumerate(systems):
            row = experiment.row(system, split)
            if row:
                ax.plot([row.low, row.high], [y + offset] * 2, color=colour, linewidth=1.2)
                ax.plot([row.value], [y + offset], "o", color=colour)
            found = experiment.references.get((system, split))
            if found and found.wer is not None:
                ax.plot([found.wer], [y + offset], "D", color=INK, markersize=3.5)
        ax.plot([], [], "o-", color=colour, label=split)
    if experiment.references:
        ax.plot([], [], "D", color=INK, markersize=3.5, label=experiment.toolkit)
    ax.set_yticks(range(len(systems)), systems)
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    ax.set_xlabel("WER, %")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def wer_by_speaker(experiment: AsrExperiment, split: str) -> Figure | None:
    """WER of each speaker, the headline's and Gaussian systems'; None where nothing is known."""
    rows = [experiment.headline, *(experiment.row(s, split) for s in experiment.gaussian_systems)]
    systems = dict.fromkeys(row.system for row in rows if row)
    found = {s: read_speakers(experiment.folder(s, split)) for s in systems}
    found = {system: speakers for system, speakers in found.items() if speakers}
    order = found.get(experiment.headline.system)
    if not order:
        return None
    rates = {s: {spk: 100 * e / max(n, 1) for spk, (e, n) in f.items()} for s, f in found.items()}
    speakers = sorted(order, key=lambda speaker: rates[experiment.headline.system][speaker])
    figure, axes = new_figure(3.2)
    ax = axes[0, 0]
    for colour, (system, values) in coloured(ax, rates.items()):
        values = [values.get(speaker, np.nan) for speaker in speakers]
        is_headline = system == experiment.headline.system
        ax.plot(values, "o-" if is_headline else "o", color=colour, label=system, markersize=3.5,
                alpha=1 if is_headline else 0.6)  # fmt: skip
    ax.set_xticks(range(len(speakers)), speakers, rotation=90, fontsize=6.5)
    ax.set_ylabel("WER, %")
    ax.set_xlabel(f"speakers of {split}")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def wer_by_scale(experiment: AsrExperiment, split: str, systems: list[str]) -> Figure | None:
    """WER of some systems against the LM scale at their insertion penalty; None without sweeps."""
    figure, axes = new_figure(2.8)
    ax = axes[0, 0]
    lines = {}
    for system in systems:
        row = experiment.row(system, split)
        sweep = read_sweep(experiment.folder(row.system, split)) if row else {}
        points = [(scale, wer) for (scale, penalty), wer in sweep.items() if penalty == row.penalty]
        if points:
            lines[system] = row, points
    if not lines:
        return None
    for colour, (system, (row, points)) in coloured(ax, lines.items()):
        ax.plot(*zip(*points, strict=True), color=colour, label=system)
        ax.plot([row.lm_scale], [row.value], "o", color=colour)
    ax.set_xlabel("LM scale")
    ax.set_ylabel(f"WER on {split}, %")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def training_curves(experiment: AsrExperiment) -> Figure | None:
    """Log-likelihood per frame and number of Gaussians by pass; None where none was recorded."""
    gaussian = {
        name: passes
        for name, passes in experiment.metrics.items()
        if passes and SystemName.parse(name).base not in experiment.networks
    }
    panels = (("log_likelihood", "log-likelihood per frame"), ("gaussians", "Gaussians"))
    figure, axes = new_figure(4.4, 2, 1, sharex=True)
    for ax, (key, label) in zip(axes[:, 0], panels, strict=True):
        for colour, (system, passes) in coloured(ax, gaussian.items()):
            points = [(row["iteration"], row[key]) for row in passes if row.get(key) is not None]
            if points:
                ax.plot(*zip(*points, strict=True), color=colour, label=system)
        ax.set_ylabel(label)
    if not axes[0, 0].lines:
        return None
    axes[1, 0].set_xlabel("pass")
    axes[1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[1, 0].tick_params(colors=MUTED)
    handles = {name: line for line, name in lines_of(axes[0, 0])}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure
