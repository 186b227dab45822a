"""What commands print with."""

from rich.console import Console


def say(message: str) -> None:
    """Prints a line as it is: paths with brackets are no markup, long lines are not broken."""
    Console().print(message, markup=False, highlight=False, soft_wrap=True)
