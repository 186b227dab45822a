"""report.html: one self-contained page of an experiment, for phone and desktop, light and dark."""

import html
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.report import plots, tables
from kdspeech.report.experiment import Experiment, read_crops
from kdspeech.report.markdown import claim_tables, record, word_tables, words_title
from kdspeech.report.markup import (
    document,
    facts,
    figure_html,
    folded,
    grid,
    notes_section,
    paragraphs,
    preformatted,
)
from kdspeech.report.results import QUESTIONS, Results
from kdspeech.report.table import to_html


def save_page(
    experiment: Experiment,
    results: Results,
    path: str | Path,
    title: str,
    commands: list[str],
    notes: str = "",
) -> None:
    """Writes the page: style, figures and tables inline, no script, nothing fetched.

    Args:
        experiment: for learning curves and crops.
        results: for everything else.
        path: the HTML file, written whole or not at all.
        title: of the page.
        commands: how the experiment was made.
        notes: plain text or Markdown shown as it is under "Reading".
    """
    sections = [
        ("run", "What was run", _run_section(results, commands)),
        ("tables", "Accuracy", _accuracy_section(results)),
        ("length", "Accuracy against input length", _length_section(results)),
        ("gains", "What distillation gains", _gains_section(results)),
        ("curves", "Learning curves", _curves_section(experiment, results)),
        ("words", "Confusion and words", _words_section(results)),
        ("cost", "Cost", _cost_section(results)),
        ("crops", "Crops and soft labels", _crops_section(experiment)),
        ("systems", "All systems", to_html(tables.systems_table(results))),
        ("notes", "Reading", notes_section(notes)),
    ]
    with atomic_path(path) as temporary:
        page = document(title, _headline(results), sections)
        temporary.write_text(page, encoding="utf-8")


def _headline(results: Results) -> str:
    return paragraphs(tables.summarise(results, results.protocol)) + _numbers(results)


def _numbers(results: Results) -> str:
    """The headline beside the teacher and the baseline with the clip's own label, as cards."""
    row = results.row(results.headline, results.protocol)
    teachers = [results.row(t.system, results.protocol) for t in results.systems("teacher")]
    baseline = results.plain("clip_label", "clip", [row.length_ms], results.protocol)
    cards = [("teacher", teacher) for teacher in teachers if teacher]
    cards += [("distilled" if row.kind == "distilled" else row.kind, row)]
    cards += [("clip's own label", baseline)] if baseline else []
    cards = list({card.system: (label, card) for label, card in cards if card}.values())
    return f'<dl class="numbers">{"".join(_card(label, card) for label, card in cards)}</dl>'


def _card(label: str, row) -> str:
    cell = tables.accuracy_cell(row)
    latency = "" if row.latency_ms is None else f", {row.latency_ms:.2f} ms per clip"
    cost = f"{tables.millions(row.macs)} MACs{latency}"
    return (
        f"<div><dt>{html.escape(label)}: {html.escape(row.system)}, {row.length_ms} ms</dt>"
        f"<dd>{html.escape(cell.text)} %<small>{html.escape(cell.detail)}</small>"
        f"<small>{html.escape(cost)}</small></dd></div>"
    )


def _run_section(results: Results, commands: list[str]) -> str:
    commands_html = preformatted("\n".join(commands))
    return commands_html + facts(record(results)) + _trained_by(results)


def _trained_by(results: Results) -> str:
    """The command recorded with every system, folded away."""
    made = {row.system: row.command for row in results.systems() if row.command}
    lines = "\n".join(dict.fromkeys(made.values()))
    if not lines:
        return ""
    return folded("Commands of the steps", preformatted(lines))


def _accuracy_section(results: Results) -> str:
    """Both tables of the paper: the headline's protocol open, the others folded."""
    parts = []
    for protocol in sorted(results.protocols, key=lambda p: p != results.protocol):
        both = (tables.direct_table(results, protocol), tables.chain_table(results, protocol))
        content = "".join(to_html(table) for table in both if table.rows)
        if content:
            summary = f"Test protocol: {tables.PROTOCOL_NAMES[protocol]}"
            parts.append(folded(summary, content, is_open=not parts))
    return "".join(parts)


def _length_section(results: Results) -> str:
    figures = []
    for protocol in results.protocols:
        figure = plots.accuracy_by_length(results, protocol)
        name = tables.PROTOCOL_NAMES[protocol]
        caption = f"Test accuracy with 95 % intervals, {name}. Points are moved apart sideways."
        figures.append(figure_html(figure, f"length-{protocol}", caption))
    return grid(figures)


def _gains_section(results: Results) -> str:
    figures = []
    soft = {row.system for row in results.systems("distilled", "soft")}
    for question in ("distillation", "progressive"):
        chosen = [c for c in results.comparisons if c.question == question]
        figure = plots.gains([c for c in chosen if c.system in soft or tables.is_mean(c)])
        caption = (
            f"{QUESTIONS[question].capitalize()} of the same length: paired over utterances and "
            "seeds, with 95 % intervals; soft labels."
        )
        figures.append(figure_html(figure, f"gain-{question}", caption))
    claims = [folded(table.title, to_html(table)) for table in claim_tables(results)]
    return grid(figures) + "".join(claims)


def _curves_section(experiment: Experiment, results: Results) -> str:
    figure = plots.learning_curves(experiment, plots.curve_names(results))
    caption = "Mean over the seeds; the band goes from the least to the most."
    return grid([figure_html(figure, "curves", caption)])


def _words_section(results: Results) -> str:
    figures = [
        figure_html(
            plots.confusion_figure(
                words.confusion, results.classes, words_title(results, words.system)
            ),
            f"confusion-{i}",
            "In % of the clips of the spoken word, over all seeds; below 0.5 % no number.",
        )
        for i, words in enumerate(results.words)
    ]
    return grid(figures) + "".join(to_html(table) for table in word_tables(results))


def _cost_section(results: Results) -> str:
    caption = "One clip on one thread of the machine that scored it."
    figure = figure_html(plots.cost_by_length(results), "cost", caption)
    return to_html(tables.cost_table(results)) + grid([figure])


def _crops_section(experiment: Experiment) -> str:
    crops = read_crops(experiment)
    if crops is None:
        return ""
    caption = (
        "Mel spectrograms; the part outside the crop is darkened. Right: the teacher's label for "
        "the crop, its likeliest words; green is the word of the whole clip."
    )
    figure = plots.spectrograms(crops, experiment.classes)
    return grid([figure_html(figure, "crops", caption)])
