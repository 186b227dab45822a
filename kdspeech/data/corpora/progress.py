"""The progress bar of the corpus commands."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Item = TypeVar("Item")


def track(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yields the items under a progress bar on stderr; silent where stderr is no terminal."""
    console = Console(stderr=True)
    yield from rich_track(
        items, what, total, console=console, transient=True, disable=not console.is_terminal
    )
