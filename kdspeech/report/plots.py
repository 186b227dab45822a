"""Figures of a keyword-spotting experiment."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from kdspeech.report.drawing import INK, SERIES, WIDTH, coloured, lines_of, new_figure, styled
from kdspeech.report.experiment import CropExamples, Experiment, read_metrics, variant
from kdspeech.report.results import Comparison, Results, Row
from kdspeech.report.tables import PROTOCOL_NAMES


@styled
def learning_curves(experiment: Experiment, names: Sequence[str]) -> Figure | None:
    """Training loss and dev accuracy by epoch: mean over seeds, a band from least to most.

    At most `len(SERIES)` systems are drawn, and a title says of how many; None when no system has a
    metrics.jsonl.
    """
    curves = {name: [read_metrics(run) for run in experiment.runs[name]] for name in names}
    curves = {name: [m for m in runs if m] for name, runs in curves.items()}
    curves = {name: runs for name, runs in curves.items() if runs}
    if not curves:
        return None
    figure, axes = new_figure(5.0, 2, 1, sharex=True)
    panels = (("train_loss", "training loss"), ("dev_accuracy", "dev accuracy, %"))
    for ax, (key, label) in zip(axes[:, 0], panels, strict=True):
        for colour, (name, runs) in coloured(ax, curves.items()):
            _band(ax, runs, key, colour, name)
        ax.set_ylabel(label)
    axes[1, 0].set_xlabel("epoch")
    axes[1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = {name: line for ax in axes.flat for line, name in lines_of(ax)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def _band(ax: Axes, runs: list[list[dict]], key: str, colour: str, label: str) -> None:
    """Mean and range over the runs, over the epochs that all of them have."""
    curves = [{row["epoch"]: row[key] for row in run if key in row} for run in runs]
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not epochs:
        return
    values = np.array([[curve[epoch] for epoch in epochs] for curve in curves], dtype=float)
    ax.plot(epochs, values.mean(axis=0), color=colour, label=label)
    if len(runs) > 1:
        ax.fill_between(
            epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0
        )


@styled
def accuracy_by_length(results: Results, protocol: str) -> Figure | None:
    """Accuracy against input length with 95 % intervals: distilled, clip labels, cut input.

    The axis is that of the trained networks; a point of the network on cut input that lies far
    below them is marked at the lower edge with its value. None without a shorter system.
    """
    lines = [(label, rows) for label, rows in _length_lines(results, protocol) if rows]
    if not lines:
        return None
    teachers = [results.row(row.system, protocol) for row in results.systems("teacher")]
    figure, axes = new_figure(3.4)
    ax = axes[0, 0]
    trained = [row for _, rows in lines for row in rows if row.kind != "truncated"]
    low, high = _limits(trained + teachers)
    ax.set_ylim(low, high)
    offsets = np.linspace(-0.11, 0.11, len(lines)) * _spacing(results)
    for colour, offset, (label, rows) in zip(SERIES, offsets, lines, strict=False):
        _length_line(ax, rows, colour, offset, label, low)
    for row in teachers:
        _point(ax, row.length_ms, row, INK, "D", f"{row.length_ms} ms teacher")
    ax.set_xticks(sorted({row.length_ms for row in results.rows}))
    ax.set_xlabel("input length, ms")
    ax.set_ylabel("test accuracy, %")
    ax.set_title(PROTOCOL_NAMES[protocol])
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _length_lines(results: Results, protocol: str) -> list[tuple[str, list[Row]]]:
    """The lines of the figure: label and rows by falling length."""
    lines = [
        ("direct, soft labels", results.systems("distilled", "soft")),
        ("direct, hard labels", results.systems("distilled", "hard")),
        ("clip's own label", results.systems("clip_label")),
    ]
    lines = [(label, _plain_direct(rows)) for label, rows in lines]
    lines.insert(1, ("best chain by dev", best_chains(results, protocol)))
    for view in results.views:
        teachers = {tuple(t.steps) for t in results.systems("teacher")}
        rows = [
            row
            for row in results.systems("truncated")
            if variant(row.system) == view and tuple(row.steps[:-1]) in teachers
        ]
        lines.append((f"longer network, {view}", rows))
    lines = [(label, [results.row(r.system, protocol) for r in rows]) for label, rows in lines]
    return [(label, _by_length([row for row in rows if row])) for label, rows in lines]


def _plain_direct(rows: list[Row]) -> list[Row]:
    return [row for row in rows if len(row.steps) <= 2 and not variant(row.system)]


def _by_length(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: -row.length_ms)


def best_chains(results: Results, protocol: str) -> list[Row]:
    """Of each length the chain of two steps or more that is best on dev."""
    best: dict[int, Row] = {}
    for row in results.systems("distilled", "soft"):
        dev = results.row(row.system, protocol, "dev")
        if len(row.steps) > 2 and dev and not variant(row.system):
            before = best.get(row.length_ms)
            if before is None or dev.value > before.value:
                best[row.length_ms] = dev
    return list(best.values())


def _spacing(results: Results) -> float:
    lengths = sorted({row.length_ms for row in results.rows})
    return min(np.diff(lengths), default=100)


def _limits(rows: list[Row]) -> tuple[float, float]:
    if not rows:
        return 0.0, 100.0
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    return max(0.0, low - 0.12 * (high - low) - 0.5), min(100.5, high + 0.5)


def _length_line(
    ax: Axes, rows: list[Row], colour: str, offset: float, label: str, floor: float
) -> None:
    inside = [row for row in rows if row.value >= floor]
    ax.plot(
        [row.length_ms + offset for row in inside],
        [row.value for row in inside],
        color=colour,
        alpha=0.55,
    )
    for row in inside:
        _point(ax, row.length_ms + offset, row, colour, "o", None)
    for row in [row for row in rows if row.value < floor]:
        ax.plot([row.length_ms + offset], [floor], "v", color=colour, clip_on=False)
        ax.annotate(
            f"{row.value:.0f}",
            (row.length_ms + offset, floor),
            xytext=(0, 5),
            textcoords="offset points",
            color=colour,
            ha="center",
            fontsize=8,
        )
    ax.plot([], [], "o-", color=colour, label=label)


def _point(ax: Axes, x: float, row: Row, colour: str, marker: str, label: str | None) -> None:
    error = [[row.value - row.low], [row.high - row.value]]
    ax.errorbar(
        [x], [row.value], error, fmt=marker, color=colour, ecolor=colour, elinewidth=1, label=label
    )


@styled
def gains(comparisons: Sequence[Comparison]) -> Figure | None:
    """Gain of each system with its 95 % interval under each protocol, zero marked.

    None without comparisons.
    """
    if not comparisons:
        return None
    labels = list(dict.fromkeys(_gain_label(c) for c in comparisons))
    present = {c.protocol for c in comparisons}
    protocols = [p for p in PROTOCOL_NAMES if p in present]
    offsets = np.linspace(-0.25, 0.25, len(protocols)) if len(protocols) > 1 else [0.0]
    figure, axes = new_figure(1.1 + (0.1 + 0.1 * len(protocols)) * len(labels))
    ax = axes[0, 0]
    for c in comparisons:
        k = protocols.index(c.protocol)
        y = labels.index(_gain_label(c)) + offsets[k]
        wide = c.system.startswith("mean of")
        ax.plot([c.low, c.high], [y, y], color=SERIES[k], linewidth=2.4 if wide else 1.2)
        ax.plot([c.gain], [y], "D" if wide else "o", color=SERIES[k], markersize=4)
    for k, protocol in enumerate(protocols):
        ax.plot([], [], "o-", color=SERIES[k], label=PROTOCOL_NAMES[protocol])
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel("gain on test, percentage points")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _gain_label(c: Comparison) -> str:
    return f"{c.system}, {c.length_ms} ms" if c.system.startswith("mean of") else c.system


@styled
def confusion_figure(confusion: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """The confusion matrix in % of the spoken word; cells are tinted, so both schemes work."""
    counts = np.asarray(confusion, dtype=float)
    share = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    n = len(classes)
    figure, axes = new_figure(WIDTH * 0.98)
    ax = axes[0, 0]
    for i, j in np.argwhere(share > 0):
        colour = SERIES[0] if i == j else SERIES[1]
        alpha = 0.65 * np.sqrt(share[i, j] / 100)  # the root: a few per cent should be seen
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=colour, alpha=alpha, linewidth=0))
        if share[i, j] >= 0.5:
            ax.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=7)
    ax.set_xlim(-0.5, n - 0.5)
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_aspect("equal")
    ax.set_xticks(range(n), classes, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), classes)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_xlabel("answered")
    ax.set_ylabel("spoken")
    ax.set_title(title)
    return figure


@styled
def cost_by_length(results: Results) -> Figure | None:
    """Multiply-adds and latency of one clip by input length; None with a single length."""
    rows = {row.length_ms: row for row in results.systems() if row.kind != "truncated"}
    if len(rows) < 2:
        return None
    lengths = sorted(rows, reverse=True)
    panels = [("multiply-adds, millions", [rows[n].macs / 1e6 for n in lengths])]
    if all(rows[n].latency_ms is not None for n in lengths):
        panels.append(("latency of one clip, ms", [rows[n].latency_ms for n in lengths]))
    figure, axes = new_figure(2.5, 1, len(panels), sharey=True)
    for colour, ax, (label, values) in zip(SERIES, axes[0], panels, strict=False):
        bars = ax.barh(range(len(lengths)), values, color=colour, height=0.62, alpha=0.8)
        ax.bar_label(bars, fmt="%.3g", padding=2, fontsize=8)
        ax.set_xlim(0, 1.22 * max(values))
        ax.set_xlabel(label)
        ax.grid(False, axis="y")
    axes[0, 0].set_yticks(range(len(lengths)), [f"{n} ms" for n in lengths])
    axes[0, 0].invert_yaxis()
    return figure


@styled
def spectrograms(crops: CropExamples, classes: Sequence[str], most: int = 4) -> Figure:
    """Mel spectrograms with the crop marked, and the teacher's label for it as bars.

    40 mel bands, 30 ms windows and a 10 ms shift, in dB below each clip's loudest cell.
    """
    count = min(most, len(crops.waves))
    figure, axes = new_figure(2.0 * count, count, 2, width_ratios=[1.7, 1])
    for i in range(count):
        _spectrogram(axes[i, 0], crops, i)
        _soft_label(axes[i, 1], crops, i, classes)
    axes[-1, 0].set_xlabel("time, s")
    axes[-1, 1].set_xlabel("teacher's label, %")
    return figure


def _spectrogram(ax: Axes, crops: CropExamples, i: int) -> None:
    import librosa  # here: its import takes a second that other figures need not wait for
    import librosa.display

    rate = crops.sample_rate
    hop = rate // 100
    wave = _without_padding(crops, i)
    power = librosa.feature.melspectrogram(
        y=wave.astype(np.float32) / 32768,
        sr=rate,
        n_fft=512,
        win_length=3 * rate // 100,
        hop_length=hop,
        n_mels=40,
        fmin=20,
        fmax=min(4000, rate / 2),
    )
    librosa.display.specshow(
        librosa.power_to_db(power, ref=np.max),
        sr=rate,
        hop_length=hop,
        fmin=20,
        fmax=min(4000, rate / 2),
        x_axis="s",
        y_axis="mel",
        ax=ax,
        cmap="magma",
        rasterized=True,
    )
    begin, end = crops.starts[i] / rate, (crops.starts[i] + crops.length) / rate
    clip = len(wave) / rate
    for left, right in ((0.0, begin), (end, clip)):
        if right > left:
            ax.axvspan(left, right, color="black", alpha=0.55, linewidth=0)
    for edge in (begin, end):
        ax.axvline(edge, color="white", linewidth=1.2, linestyle="--")
    ax.set_xlim(min(0.0, begin), max(clip, end))
    ax.grid(False)
    ax.set_xticks(np.linspace(0, clip, 3).round(2))
    ax.set_xlabel("")
    ax.set_ylabel("Hz", labelpad=1)
    ax.set_yticks([256, 1024, 2048] if rate >= 8000 else [256, 1024])
    ax.set_title(crops.utts[i][-32:], fontsize=8)


def _without_padding(crops: CropExamples, i: int) -> np.ndarray:
    """The clip without the zeros that made it as long as the others, but all of its crop."""
    wave = crops.waves[i]
    heard = np.flatnonzero(wave)
    end = heard[-1] + 1 if len(heard) else len(wave)
    return wave[: max(end, crops.starts[i] + crops.length)]


def _soft_label(
    ax: Axes, crops: CropExamples, i: int, classes: Sequence[str], top: int = 4
) -> None:
    """The likeliest words, the clip's own one always among them and in another colour."""
    percent = 100 * np.exp(crops.teacher[i].astype(np.float64))
    order = np.argsort(-percent)[:4]
    own = int(crops.labels[i])
    if own not in order:
        order[-1] = own
    colours = [SERIES[2] if k == own else SERIES[0] for k in order]
    ax.barh(range(len(order)), percent[order], color=colours, alpha=0.8, height=0.62)
    ax.set_yticks(range(len(order)), [classes[k] for k in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.set_xticks([0, 50, 100])
    ax.grid(False, axis="y")


def curve_names(results: Results) -> list[str]:
    """The systems whose learning curves tell the story: teacher, headline and its rivals."""
    shortest = results.row(results.headline, results.protocol).length_ms
    teachers = [row.system for row in results.systems("teacher")]
    rivals = [
        row.system
        for kind in ("distilled", "clip_label")
        for row in results.systems(kind)
        if row.length_ms == shortest and len(row.steps) <= 2 and not variant(row.system)
    ]
    chain = [row.system for row in best_chains(results, results.protocol)
             if row.length_ms == shortest]  # fmt: skip
    return list(dict.fromkeys([*teachers, results.headline, *rivals, *chain]))
