"""The bar that shows how far a long command is."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A bar on the terminal while `progress_bar` holds it."""

    def __init__(self, bar: Progress, title: str, total: float | None, done: float):
        self._bar = bar
        self._task = bar.add_task(title, total=total, completed=done, text="")

    def advance(self, number: float) -> None:
        """So much more is done."""
        self._bar.advance(self._task, number)

    def move(self, done: float, text: str) -> None:
        """So much is done in all; `text` stands behind the bar."""
        self._bar.update(self._task, completed=done, text=text)


@contextmanager
def progress_bar(title: str, total: float | None, done: float = 0) -> Iterator[ProgressBar]:
    """Shows a bar that ends at `total` (None: not known) within the block. Silent in a pipe."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, refresh_per_second=4) as bar:
        yield ProgressBar(bar, title, total, done)
