"""What commands check numbers with: callbacks of options, which click's own ranges let NaN pass."""

import math

import typer


def finite(value: float | None) -> float | None:
    """A number that is neither NaN nor infinite, or none given."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def positive(value: float | None) -> float | None:
    """A finite number above 0, or none given."""
    if finite(value) is not None and value <= 0:
        raise typer.BadParameter(f"{value:g} is not above 0")
    return value


def numbers(text: str, option: str) -> list[float]:
    """Finite numbers with commas between.

    Raises:
        InputError: names the option.
    """
    from kdspeech.io.errors import InputError

    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise InputError(f"{option} {text}: write finite numbers, comma-separated")
    return found
