"""A table, made once and rendered for the terminal, Markdown and HTML."""

import html
from dataclasses import dataclass, field
from typing import NamedTuple

import rich.box
import rich.table


class Cell(NamedTuple):
    """A cell: its text, whether it is the best of its column, and a smaller second text."""

    text: str
    best: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first `labels` columns are text, the others numbers.

    `breaks` holds the indices of rows that begin a new group.
    """

    title: str
    header: list[str]
    rows: list[list[Cell]]
    labels: int = 1
    note: str = ""
    breaks: frozenset[int] = field(default_factory=frozenset)


def to_rich(table: Table) -> rich.table.Table:
    """The table for the terminal. Details (intervals) are left to the wider renderings."""
    out = rich.table.Table(
        title=table.title,
        title_justify="left",
        caption=table.note or None,
        caption_justify="left",
        min_width=min(len(table.title), 78),
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    for i, name in enumerate(table.header):
        out.add_column(name, justify="left" if i < table.labels else "right", no_wrap=i > 0)
    for i, row in enumerate(table.rows):
        if i in table.breaks:
            out.add_section()
        out.add_row(*(rich_text(cell) for cell in row))
    return out


def rich_text(cell: Cell):
    """The cell's text, bold where it is the best; never read as markup."""
    return rich.text.Text(cell.text, style="bold" if cell.best else "")


def to_markdown(table: Table) -> str:
    """The table in Markdown with title and note, cells with their intervals."""
    lines = [f"### {table.title}", ""]
    lines.append("| " + " | ".join(table.header) + " |")
    lines.append("|" + "|".join("---" if i < table.labels else "--:"
                                for i in range(len(table.header))) + "|")  # fmt: skip
    lines += ["| " + " | ".join(map(_markdown_cell, row)) + " |" for row in table.rows]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = cell.text.replace("|", "\\|")
    text = f"**{text}**" if cell.best and text else text
    return f"{text} {cell.detail}".rstrip()


def to_html(table: Table) -> str:
    """The table as HTML in a box that scrolls sideways on a narrow screen."""
    head = "".join(
        f'<th scope="col"{_align(i, table)}>{html.escape(name)}</th>'
        for i, name in enumerate(table.header)
    )
    body = "\n".join(_html_row(table, i) for i in range(len(table.rows)))
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="table" tabindex="0"><table><caption>{html.escape(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{note}\n"
    )


def _html_row(table: Table, i: int) -> str:
    cells = []
    for j, cell in enumerate(table.rows[i]):
        text = html.escape(cell.text)
        text = f"<b>{text}</b>" if cell.best else text
        detail = f"<small>{html.escape(cell.detail)}</small>" if cell.detail else ""
        tag = 'th scope="row"' if j == 0 else "td"
        cells.append(f"<{tag}{_align(j, table)}>{text}{detail}</{tag.split()[0]}>")
    rule = ' class="break"' if i in table.breaks else ""
    return f"<tr{rule}>{''.join(cells)}</tr>"


def _align(column: int, table: Table) -> str:
    return "" if column < table.labels else ' class="number"'
