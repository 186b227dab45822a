"""The parts every report page is built of: style, document, figures and folds."""

import html

from kdspeech.report.drawing import to_svg

Section = tuple[str, str, str]
"""Key, title and content in HTML."""

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


def document(title: str, headline: str, sections: list[Section], style: str = "") -> str:
    """A self-contained page: nothing is fetched, no script; sections without content are left out.

    Args:
        title: plain text.
        headline: HTML for the box under the title.
        sections: in the order of the page.
        style: CSS of this page's own, after that of all pages.
    """
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{key}">{html.escape(name)}</a>' for key, name, _ in sections)
    body = "".join(
        f'<section id="{key}"><h2>{html.escape(name)}</h2>\n{content}</section>\n'
        for key, name, content in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}{style}</style></head>\n<body><main>\n<h1>{html.escape(title)}</h1>\n"
        f'<div class="headline">{headline}</div>\n<nav>{links}</nav>\n{body}</main></body></html>\n'
    )


def paragraphs(sentences: list[str]) -> str:
    """Plain sentences, each a paragraph."""
    return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)


def facts(values: dict[str, str]) -> str:
    """Names and what they are, plain text."""
    pairs = (f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in values.items())
    return f'<dl class="facts">{"".join(pairs)}</dl>'


def preformatted(text: str) -> str:
    """Plain text as it is, in a box."""
    return f"<pre>{html.escape(text)}</pre>"


def folded(summary: str, content: str, is_open: bool = False) -> str:
    """Content in HTML that opens at a click on its summary, plain text."""
    start = "<details open>" if is_open else "<details>"
    return f"{start}<summary>{html.escape(summary)}</summary>{content}</details>"


def notes_section(notes: str) -> str:
    """Notes as they were written."""
    return f'<div class="notes">{html.escape(notes.strip())}</div>' if notes.strip() else ""


def figure_html(figure, name: str, caption: str) -> str:
    """A matplotlib figure with its caption, "" for None; `name` is the figure's own on the page."""
    if figure is None:
        return ""
    svg = to_svg(figure, name, html.escape(caption, quote=True))
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def grid(figures) -> str:
    """Figures side by side as far as the page is wide."""
    content = "".join(figures)
    return f'<div class="figures">{content}</div>' if content else ""
