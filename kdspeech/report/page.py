"""report.html: one self-contained page of an experiment, for phone and desktop, light and dark."""

import html
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.report import plots, tables
from kdspeech.report.experiment import Experiment, read_crops
from kdspeech.report.markdown import claim_tables, record, word_tables, words_title
from kdspeech.report.results import QUESTIONS, Results

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f23; --muted: #5e6671; --grid: #d6dbe1;
  --back: #fbfbfa; --card: #ffffff; --tint: #eef3fb; --s0: #1f5fc1; --s1: #c8540b; --s2: #14794a;
  --s3: #9c2a94; --s4: #8a6d00; --s5: #0e7c86; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --muted: #a0a8b3; --grid: #353b43;
  --back: #14171b; --card: #1b1f24; --tint: #1d2735; --s0: #79a9f5; --s1: #f29a5c; --s2: #5fcf9a;
  --s3: #dd8bd6; --s4: #d8bd54; --s5: #5cc8d1; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 74rem; margin: 0 auto; padding: 1.2rem 1rem 4rem; }
h1 { font-size: 1.55rem; line-height: 1.25; margin: 0.6rem 0 0.4rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 0.7rem; padding-top: 0.7rem;
  border-top: 1px solid var(--grid); }
a { color: var(--s0); }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; font-size: 0.92rem; margin: 0.8rem 0; }
.headline { background: var(--tint); border-radius: 10px; padding: 0.9rem 1.1rem; }
.headline p { margin: 0.3rem 0; }
.headline p:first-child { font-size: 1.1rem; font-weight: 600; }
.numbers { display: flex; flex-wrap: wrap; gap: 0.7rem; margin: 0.9rem 0 0; padding: 0; }
.numbers div { background: var(--card); border: 1px solid var(--grid); border-radius: 8px;
  padding: 0.5rem 0.8rem; flex: 1 1 9rem; }
.numbers dt { font-size: 0.8rem; color: var(--muted); }
.numbers dd { margin: 0; font-size: 1.35rem; font-weight: 650; }
.numbers small { display: block; font-size: 0.78rem; font-weight: 400; color: var(--muted); }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0.15rem 1rem;
  font-size: 0.92rem; margin: 0.6rem 0; }
.facts dt { color: var(--muted); } .facts dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--grid); border-radius: 8px;
  padding: 0.6rem 0.8rem; overflow-x: auto; font-size: 0.85rem; white-space: pre-wrap; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr));
  gap: 1rem; align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--grid); border-radius: 10px;
  padding: 0.6rem; }
figcaption { font-size: 0.85rem; color: var(--muted); padding: 0.3rem 0.3rem 0; }
svg.figure { display: block; width: 100%; height: auto; max-width: 36rem; margin: 0 auto; }
svg.figure * { stroke-linejoin: round; stroke-linecap: butt; }
svg.figure text { font-family: inherit !important; }
.table { overflow-x: auto; margin: 0.8rem 0 0.2rem; background: var(--card); border-radius: 10px;
  border: 1px solid var(--grid); }
table { border-collapse: collapse; width: 100%; font-size: 0.88rem; }
caption { text-align: left; font-weight: 600; padding: 0.6rem 0.7rem 0.3rem; }
th, td { padding: 0.32rem 0.7rem; text-align: left; vertical-align: top; white-space: nowrap; }
thead th { color: var(--muted); font-weight: 600; border-bottom: 1px solid var(--grid); }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--card); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td small { display: block; color: var(--muted); font-size: 0.76rem; }
tr.break > * { border-top: 1px solid var(--grid); }
.note { font-size: 0.82rem; color: var(--muted); margin: 0.2rem 0 1rem; }
details > summary { cursor: pointer; font-weight: 600; padding: 0.3rem 0; }
.notes { white-space: pre-wrap; }
@media (max-width: 40rem) { body { font-size: 15px; } main { padding: 0.6rem 0.7rem 3rem; }
  .numbers dd { font-size: 1.15rem; }
  table { font-size: 0.8rem; } th, td { padding: 0.3rem 0.35rem; }
  td small { font-size: 0.68rem; } .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .facts dd { margin-bottom: 0.4rem; } tbody th { white-space: normal; min-width: 5.2rem; } }
@media print { nav { display: none; } }
"""


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
        ("systems", "All systems", tables.to_html(tables.systems_table(results))),
        ("notes", "Reading", _notes_section(notes)),
    ]
    sections = [section for section in sections if section[2]]
    with atomic_path(path) as temporary:
        temporary.write_text(_document(title, results, sections), encoding="utf-8")


def _document(title: str, results: Results, sections: list[tuple[str, str, str]]) -> str:
    links = "".join(f'<a href="#{key}">{html.escape(name)}</a>' for key, name, _ in sections)
    body = "".join(
        f'<section id="{key}"><h2>{html.escape(name)}</h2>\n{content}</section>\n'
        for key, name, content in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><main>\n<h1>{html.escape(title)}</h1>\n"
        f"{_headline(results)}\n<nav>{links}</nav>\n{body}</main></body></html>\n"
    )


def _headline(results: Results) -> str:
    sentences = tables.summarise(results, results.protocol)
    paragraphs = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    return f'<div class="headline">{paragraphs}{_numbers(results)}</div>'


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
    facts = "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>"
        for key, value in record(results).items()
    )
    lines = html.escape("\n".join(commands))
    return f'<pre>{lines}</pre><dl class="facts">{facts}</dl>{_trained_by(results)}'


def _trained_by(results: Results) -> str:
    """The command recorded with every system, folded away."""
    made = {row.system: row.command for row in results.systems() if row.command}
    lines = "\n".join(dict.fromkeys(made.values()))
    if not lines:
        return ""
    return _folded("Commands of the steps", f"<pre>{html.escape(lines)}</pre>")


def _folded(summary: str, content: str, is_open: bool = False) -> str:
    start = "<details open>" if is_open else "<details>"
    return f"{start}<summary>{html.escape(summary)}</summary>{content}</details>"


def _accuracy_section(results: Results) -> str:
    """Both tables of the paper: the headline's protocol open, the others folded."""
    parts = []
    for protocol in sorted(results.protocols, key=lambda p: p != results.protocol):
        both = (tables.direct_table(results, protocol), tables.chain_table(results, protocol))
        content = "".join(tables.to_html(table) for table in both if table.rows)
        if content:
            summary = f"Test protocol: {tables.PROTOCOL_NAMES[protocol]}"
            parts.append(_folded(summary, content, is_open=not parts))
    return "".join(parts)


def _length_section(results: Results) -> str:
    figures = []
    for protocol in results.protocols:
        figure = plots.accuracy_by_length(results, protocol)
        name = tables.PROTOCOL_NAMES[protocol]
        caption = f"Test accuracy with 95 % intervals, {name}. Points are moved apart sideways."
        figures.append(_figure(figure, f"length-{protocol}", caption))
    return _grid(figures)


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
        figures.append(_figure(figure, f"gain-{question}", caption))
    folded = [_folded(table.title, tables.to_html(table)) for table in claim_tables(results)]
    return _grid(figures) + "".join(folded)


def _curves_section(experiment: Experiment, results: Results) -> str:
    figure = plots.learning_curves(experiment, plots.curve_names(results))
    caption = "Mean over the seeds; the band goes from the least to the most."
    return _grid([_figure(figure, "curves", caption)])


def _words_section(results: Results) -> str:
    figures = [
        _figure(
            plots.confusion_figure(
                words.confusion, results.classes, words_title(results, words.system)
            ),
            f"confusion-{i}",
            "In % of the clips of the spoken word, over all seeds; below 0.5 % no number.",
        )
        for i, words in enumerate(results.words)
    ]
    return _grid(figures) + "".join(tables.to_html(table) for table in word_tables(results))


def _cost_section(results: Results) -> str:
    caption = "One clip on one thread of the machine that scored it."
    figure = _figure(plots.cost_by_length(results), "cost", caption)
    return tables.to_html(tables.cost_table(results)) + _grid([figure])


def _crops_section(experiment: Experiment) -> str:
    crops = read_crops(experiment)
    if crops is None:
        return ""
    caption = (
        "Mel spectrograms; the part outside the crop is darkened. Right: the teacher's label for "
        "the crop, its likeliest words; green is the word of the whole clip."
    )
    figure = plots.spectrograms(crops, experiment.classes)
    return _grid([_figure(figure, "crops", caption)])


def _notes_section(notes: str) -> str:
    return f'<div class="notes">{html.escape(notes.strip())}</div>' if notes.strip() else ""


def _figure(figure, name: str, caption: str) -> str:
    if figure is None:
        return ""
    svg = plots.to_svg(figure, name, html.escape(caption, quote=True))
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _grid(figures) -> str:
    content = "".join(figures)
    return f'<div class="figures">{content}</div>' if content else ""
