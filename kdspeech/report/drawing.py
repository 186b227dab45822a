"""How every figure of a report looks: inline SVG whose colours follow the page, light or dark.

matplotlib draws with the colours of `INK` and `SERIES`; `to_svg` turns each into the CSS variable
of the same place (`--ink`, `--s0`, ...), which the page defines for both schemes. Text stays text.
"""

import functools
import io
import re
from collections.abc import Callable, Collection, Iterator

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID, CARD = "#1b1f23", "#5e6671", "#d6dbe1", "#fefefe"
SERIES = ("#1f5fc1", "#c8540b", "#14794a", "#9c2a94", "#8a6d00", "#0e7c86")
"""Hues that differ for the colour-blind as well."""

_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", CARD: "card"}
_VARIABLES |= {colour: f"s{i}" for i, colour in enumerate(SERIES)}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}
WIDTH = 4.2  # inches: a phone then shows the text at nearly its own size


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as an inline <svg> element; `name` keeps ids apart between figures of a page."""
    out = io.StringIO()
    empty = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure.savefig(out, format="svg", transparent=True, metadata=empty)
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)  # the page's own, see markup.STYLE
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    box = re.search(r'viewBox="[^"]*"', svg).group()
    opening = f'<svg class="figure" role="img" aria-label="{description}" {box}>'
    return opening + svg[svg.index(">") + 1 :].strip()


def styled(draw: Callable[..., Figure | None]) -> Callable[..., Figure | None]:
    """Runs a drawing function in the page's style and leaves matplotlib's settings alone."""

    @functools.wraps(draw)
    def wrapped(*args, **kwargs):
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return wrapped


def new_figure(height: float, rows: int = 1, columns: int = 1, **options):
    """A figure with axes in an array (rows, columns)."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def coloured(ax: Axes, items: Collection) -> Iterator[tuple]:
    """(colour, item) of the first items, one for each colour; if there are more, the axes' title
    says so."""
    if len(items) > len(SERIES):
        ax.set_title(f"the first {len(SERIES)} of {len(items)} are shown")
    return zip(SERIES, items, strict=False)


def lines_of(ax: Axes) -> list[tuple]:
    """(line, label) of everything that is labelled."""
    return list(zip(*ax.get_legend_handles_labels(), strict=True))
