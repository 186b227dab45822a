"""analysis.html: one self-contained page of what a student learnt, for phone and desktop."""

import html
from pathlib import Path

import numpy as np

from kdspeech.io.atomic import atomic_path
from kdspeech.report.analysis import plots, tables
from kdspeech.report.analysis.cards import STYLE, cards
from kdspeech.report.analysis.findings import Findings, NetworkFindings
from kdspeech.report.analysis.soft_targets import over_samples
from kdspeech.report.analysis.study import Study
from kdspeech.report.markup import document, figure_html, folded, grid, paragraphs, preformatted
from kdspeech.report.table import to_html

CARDS = 12


def save_analysis(
    study: Study,
    findings: Findings,
    path: str | Path,
    title: str | None = None,
    command: str = "",
    most: int = CARDS,
) -> None:
    """Writes the page: style, figures, tables and players inline, no script, nothing fetched.

    Args:
      study: what was analysed.
      findings: `analyse(study)`.
      path: the HTML file, written whole or not at all.
      title: by default who learnt from whom.
      command: for the record.
      most: samples shown in each list.
    """
    title = title or f"What {study.student.name} learnt, beside {study.reference.name}"
    sections = [
        ("networks", "What was compared", _networks(study, findings, command)),
        ("soft", "Soft targets", _soft(study, findings)),
        ("agreement", "Agreement", _agreement(study, findings)),
        ("apart", "Furthest apart", _furthest_apart(study, findings, most)),
        ("confusion", "Confusions", _confusions(study, findings)),
        ("changes", "Fixed and broken", _changes(study, findings, most)),
        ("calibration", "Calibration", _calibration(study, findings)),
        ("embedding", "The penultimate layer", _embedding(study, findings)),
    ]
    headline = paragraphs(summary(study, findings)) + _numbers(study, findings)
    with atomic_path(path) as part:
        part.write_text(document(title, headline, sections, STYLE), encoding="utf-8")


def summary(study: Study, findings: Findings) -> list[str]:
    """What an analysis says, in sentences."""
    pair, total = findings.pairs[0], len(study.labels)
    text = (
        f"{pair.second} answers as {pair.first} does on {100 * pair.agreement.same.mean():.1f} % "
        f"of {total} {study.split} {study.unit}s, {pair.agreement.kl.mean():.3f} nats from it"
    )
    if study.baseline:
        other = next(p for p in findings.pairs if p.second == study.before.name)
        same, kl = 100 * other.agreement.same.mean(), other.agreement.kl.mean()
        text += f"; {other.second} on {same:.1f} %, {kl:.3f} nats"
    calibrations = "; ".join(map(_calibration_text, findings.networks))
    return [f"{text}.", _changes_sentence(study, findings), f"{calibrations}."]


def _changes_sentence(study: Study, findings: Findings) -> str:
    found = findings.changes
    fixed, broken, p = found.changes
    text = (
        f"Against {found.before} it has {len(fixed)} {study.unit}s right that were wrong and "
        f"{len(broken)} wrong that were right (McNemar p {p:.2g})"
    )
    if found.chance is None:
        return text + "."
    return (
        f"{text}. Over {found.seeds} seeds these are {found.mean_fixed:.1f} and "
        f"{found.mean_broken:.1f}; from one seed of {found.before} to another "
        f"{found.chance:.1f} become right by chance."
    )


def _calibration_text(found: NetworkFindings) -> str:
    best = found.calibration.temperature
    manner = "about right"
    if abs(best - 1) > 0.05:
        manner = "too sure of itself" if best > 1 else "not sure enough"
    return f"{found.name} is {manner} (ECE {100 * found.calibration.ece:.1f} %, best T {best:.2f})"


def _numbers(study: Study, findings: Findings) -> str:
    cards_html = [
        f"<div><dt>{html.escape(found.name)}</dt><dd>{found.accuracy:.1f} %"
        f"<small>[{found.low:.1f}, {found.high:.1f}]</small></dd></div>"
        for found in findings.networks
    ]
    return f'<dl class="numbers">{"".join(cards_html)}</dl>'


def _networks(study: Study, findings: Findings, command: str) -> str:
    made = preformatted(command) if command else ""
    seeds = tables.seeds_table(findings)
    over_seeds = to_html(seeds) if seeds.rows else ""
    return made + to_html(tables.networks_table(study, findings)) + over_seeds


def _soft(study: Study, findings: Findings) -> str:
    caption = "Means over the samples; dotted: all classes alike."
    curves = figure_html(plots.softness(findings), "softness", caption)
    parts = [to_html(tables.softness_table(findings)), grid([curves])]
    parts.append(to_html(tables.others_table(study, findings)))
    count = len(findings.temperatures)
    for k in range(count):
        soft = findings.networks[0].soft_targets[k]
        figures = grid(_mean_target_figures(study, findings, k))
        summary_text = f"Mean distribution of each class at T = {soft.temperature:g}"
        parts.append(folded(summary_text, figures, is_open=k == min(2, count - 1)))
    for number in range(len(findings.networks)):
        table = tables.classes_table(study, findings, number)
        parts.append(folded(table.title, to_html(table)))
    return "".join(parts)


def _mean_target_figures(study: Study, findings: Findings, k: int):
    for number, found in enumerate(findings.networks):
        soft = found.soft_targets[k]
        off = 100 * over_samples(soft.off_target, soft.counts)
        title = f"{found.name}, T = {soft.temperature:g}"
        figure = plots.mean_targets(soft, study.classes, title)
        caption = f"In %; rows are true classes. {off:.1f} % of the mass is off them."
        yield figure_html(figure, f"targets-{number}-{k}", caption)


def _agreement(study: Study, findings: Findings) -> str:
    pair = findings.pairs[0]
    caption = f"{pair.second} beside {pair.first}: same answers, and mean divergence from it."
    figure = figure_html(plots.agreement_by_class(study, findings), "agreement-class", caption)
    both = (tables.agreement_table(study, findings), tables.temperatures_table(findings))
    parts = [*map(to_html, both), grid([figure])]
    for other in findings.pairs[1:]:
        table = tables.agreement_by_class_table(study, other)
        parts.append(folded(table.title, to_html(table)))
    return "".join(parts)


def _furthest_apart(study: Study, findings: Findings, most: int) -> str:
    pair = findings.pairs[0]
    order = np.argsort(-pair.agreement.kl, kind="stable")[:most]
    notes = [f"KL {pair.agreement.kl[i]:.2f} nats" for i in order]
    head = f"The {study.unit}s on which {pair.second} is furthest from {pair.first}."
    return paragraphs([head]) + cards(study, order, notes)


def _confusions(study: Study, findings: Findings) -> str:
    caption = "In % of the class; below 0.5 % no number."
    figures = [
        figure_html(
            plots.confusion(found.confusion, study.classes, found.name), f"confusion-{i}", caption
        )
        for i, found in enumerate(findings.networks)
    ]
    after = findings.network(study.student.name)
    others = [f for f in findings.networks if f.name in (study.reference.name, study.before.name)]
    for i, other in enumerate(others):
        title = f"{after.name} minus {other.name}"
        difference = _shares(after.confusion) - _shares(other.confusion)
        figure = plots.confusion_difference(difference, study.classes, title)
        told = "In points of the class; green is better, orange worse."
        figures.append(figure_html(figure, f"difference-{i}", told))
    return grid(figures)


def _shares(confusion: np.ndarray) -> np.ndarray:
    return 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)


def _changes(study: Study, findings: Findings, most: int) -> str:
    found = findings.changes
    caption = f"{found.after} against {found.before}."
    figure = figure_html(plots.changes_by_class(study, findings), "changes-class", caption)
    parts = [paragraphs([_changes_sentence(study, findings)]), grid([figure])]
    for name, which, sign in (
        ("Fixed", found.changes.fixed, 1),
        ("Broken", found.changes.broken, -1),
    ):
        gains = found.is_right[which] - found.was_right[which]
        order = which[np.argsort(-sign * gains, kind="stable")][:most]
        notes = [_gain_note(found, i) for i in order] if found.seeds > 1 else []
        shown = f"{len(order)} of {len(which)}" if len(order) < len(which) else str(len(which))
        head = f"{name}: {shown} {study.unit}s"
        parts.append(folded(head, cards(study, order, notes), is_open=True) if len(which) else "")
    return "".join(parts)


def _gain_note(found, i: int) -> str:
    was, now = found.was_right[i], found.is_right[i]
    return f"of {found.seeds} seeds right in {was} of {found.before}, in {now} of {found.after}"


def _calibration(study: Study, findings: Findings) -> str:
    caption = (
        "Bars end at accuracy and mean confidence of a bin; between them is the gap. Below: how "
        "many samples are in it; a few say little."
    )
    figures = [
        figure_html(plots.reliability_diagram(found), f"reliability-{i}", caption)
        for i, found in enumerate(findings.networks)
    ]
    return to_html(tables.calibration_table(study, findings)) + grid(figures)


def _embedding(study: Study, findings: Findings) -> str:
    caption = "t-SNE: colours are true classes, crosses wrong answers; only near distances count."
    figures = [
        figure_html(plots.embedding_picture(study, findings, i), f"embedding-{i}", caption)
        for i in range(len(findings.networks))
    ]
    if not any(figures):
        return ""
    return to_html(tables.embedding_table(study, findings)) + grid(figures)
