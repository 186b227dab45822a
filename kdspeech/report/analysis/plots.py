"""Figures of an analysis."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from kdspeech.report.analysis.findings import Findings, NetworkFindings
from kdspeech.report.analysis.soft_targets import SoftTargets, class_means, over_samples
from kdspeech.report.analysis.study import Study
from kdspeech.report.drawing import INK, MUTED, SERIES, WIDTH, coloured, new_figure, styled

HUES = ("#3b76d6", "#e0761e", "#2f9e62", "#c0408f", "#a3861c", "#1797a3", "#7a5fd0", "#d64545",
        "#7f8a1f", "#4f8f8f", "#b5651d", "#8c8c96")  # fmt: skip
"""Of classes: tones that stand on white and on black; classes beyond them begin anew."""
MANY = 20  # classes; the cells of more have no numbers


@styled
def softness(findings: Findings) -> Figure:
    """Mass off the true class and entropy against the temperature."""
    figure, axes = new_figure(2.5, 1, 2)
    temperatures = findings.temperatures
    for ax, key, scale, label in (
        (axes[0, 0], "off_target", 100, "mass off the true class, %"),
        (axes[0, 1], "entropy", 1, "entropy, nats"),
    ):
        for colour, found in coloured(ax, findings.networks):
            values = [scale * over_samples(getattr(s, key), s.counts) for s in found.soft_targets]
            ax.plot(temperatures, values, "o-", color=colour, label=found.name)
        ax.set_xscale("log")
        ax.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
        ax.minorticks_off()
        ax.set_xlabel("temperature")
        ax.set_ylabel(label)
        ax.set_ylim(0)
    classes = len(findings.networks[0].soft_targets[0].counts)
    axes[0, 0].axhline(100 * (1 - 1 / classes), color=MUTED, linewidth=0.8, linestyle=":")
    axes[0, 1].axhline(np.log(classes), color=MUTED, linewidth=0.8, linestyle=":")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@styled
def mean_targets(soft: SoftTargets, classes: Sequence[str], title: str) -> Figure:
    """The mean distribution of each class in %."""
    return _matrix(100 * soft.mean, classes, title, ("class", "mean mass"), "{:.0f}", 0.5)


@styled
def confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """The confusion matrix in % of the true class."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return _matrix(shares, classes, title, ("true class", "answered"), "{:.0f}", 0.5)


@styled
def confusion_difference(difference: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Differences of two confusion matrices in points of the class's samples: (classes, classes);
    what is better (more on the diagonal, less beside it) is tinted otherwise than what is worse."""
    return _matrix(difference, classes, title, ("true class", "answered"), "{:+.0f}", 0.5, True)


def _matrix(values, classes, title, names, form, least, signed=False) -> Figure:
    """Tinted cells with their numbers; the root of the value, so that small ones are seen."""
    n = len(classes)
    figure, axes = new_figure(WIDTH * 0.98)
    ax = axes[0, 0]
    scale = max(np.nanmax(np.abs(values)), 1e-9) if signed else 100.0
    small = n <= MANY
    for i, j in np.argwhere(np.abs(np.nan_to_num(values)) > (0.05 if small else least)):
        value = values[i, j]
        good = (value > 0) == (i == j)
        alpha = 0.65 * np.sqrt(abs(value) / scale)
        colour = (SERIES[2] if good else SERIES[1]) if signed else SERIES[0 if i == j else 1]
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colour, alpha=alpha, linewidth=0))
        if small and abs(value) >= least:
            ax.text(j, i, form.format(value), ha="center", va="center", fontsize=7)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal", ylabel=names[0])
    ax.set_xticks(range(n), classes, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), classes)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_xlabel(names[1])
    ax.set_title(title)
    return figure


@styled
def agreement_by_class(study: Study, findings: Findings) -> Figure:
    """Same answers and divergence of the first pair by class."""
    pair = findings.pairs[0]
    here = [c for c in range(len(study.classes)) if (study.labels == c).any()]
    panels = (
        (100 * class_means(pair.agreement.same.astype(float), study.labels, len(study.classes)),
         "same answer, %", SERIES[0]),
        (class_means(pair.agreement.kl, study.labels, len(study.classes)), "KL, nats", SERIES[1]),
    )  # fmt: skip
    figure, axes = new_figure(0.9 + 0.2 * len(here), 1, 2, sharey=True)
    for ax, (values, label, colour) in zip(axes[0], panels, strict=True):
        bars = ax.barh(range(len(here)), values[here], color=colour, alpha=0.8, height=0.66)
        ax.bar_label(bars, fmt="%.3g", padding=2, fontsize=7.5)
        ax.set_xlim(0, 1.2 * max(values[here].max(), 1e-9))
        ax.set_xlabel(label)
        ax.grid(False, axis="y")
    axes[0, 0].set_yticks(range(len(here)), [study.classes[c] for c in here])
    axes[0, 0].invert_yaxis()
    return figure


@styled
def reliability_diagram(found: NetworkFindings) -> Figure:
    """Confidence and accuracy by bins, the gap between them, and how many samples each bin has."""
    counts, confidence, accuracy = found.reliability
    bins = len(counts)
    middles = (np.arange(bins) + 0.5) / bins
    figure, axes = new_figure(3.6, 2, 1, sharex=True, height_ratios=[3, 1])
    ax, below = axes[:, 0]
    full = counts > 0
    for low, high, colour, label in (
        (np.zeros(bins), np.minimum(accuracy, confidence), SERIES[0], None),
        (accuracy, confidence, SERIES[1], "says more than it keeps"),
        (confidence, accuracy, SERIES[2], "keeps more than it says"),
    ):
        height = np.maximum(high - low, 0)[full]
        ax.bar(middles[full], height, 0.9 / bins, low[full], color=colour, alpha=0.6, label=label)
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle="--")
    ax.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy and confidence")
    ax.set_title(f"{found.name}: ECE {100 * found.calibration.ece:.1f} %")
    ax.legend(loc="upper left")
    below.bar(middles, counts, 0.9 / bins, color=MUTED)
    below.set_yscale("log")
    below.minorticks_off()
    below.set(xlabel="confidence (largest posterior)", ylabel="samples")
    return figure


@styled
def embedding_picture(study: Study, findings: Findings, number: int) -> Figure | None:
    """t-SNE of a penultimate layer: colours are classes, names stand at their medians, crosses are
    samples that the network has wrong. None without an embedding."""
    found = findings.networks[number]
    if found.picture is None:
        return None
    labels = study.labels[findings.pictured]
    wrong = np.argmax(study.networks[number].logits, axis=1)[findings.pictured] != labels
    figure, axes = new_figure(WIDTH * 0.95)
    ax = axes[0, 0]
    x, y = found.picture.T
    colours = np.array([HUES[c % len(HUES)] for c in labels])
    ax.scatter(x[~wrong], y[~wrong], 9, colours[~wrong], alpha=0.75, linewidths=0, rasterized=True)
    ax.scatter(x[wrong], y[wrong], 16, INK, marker="x", linewidths=0.9)
    for c in np.unique(labels):
        _name_class(ax, study.classes[c], np.median(found.picture[labels == c], axis=0))
    ax.set(xticks=[], yticks=[], title=found.name)
    ax.grid(False)
    return figure


def _name_class(ax: Axes, name: str, place: np.ndarray) -> None:
    ax.text(*place, name, ha="center", va="center", fontsize=8, fontweight="bold")


@styled
def changes_by_class(study: Study, findings: Findings) -> Figure | None:
    """Fixed samples to the right and broken ones to the left; None without any."""
    fixed, broken, _ = findings.changes.changes
    if not len(fixed) + len(broken):
        return None
    count = len(study.classes)
    up, down = (np.bincount(study.labels[which], minlength=count) for which in (fixed, broken))
    figure, axes = new_figure(0.9 + 0.2 * count)
    ax = axes[0, 0]
    for values, sign, colour, label in (
        (up, 1, SERIES[2], "fixed"),
        (down, -1, SERIES[1], "broken"),
    ):
        bars = ax.barh(range(count), sign * values, color=colour, alpha=0.8, label=label)
        ax.bar_label(bars, [str(v) if v else "" for v in values], padding=2, fontsize=7.5)
    reach = 1.15 * max(up.max(), down.max())
    ax.set(xlim=(-reach, reach), xticks=[], xlabel=f"{study.unit}s")
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(count), study.classes)
    ax.invert_yaxis()
    ax.grid(False)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
