"""All commands: every argument and option has help, and no number is NaN or out of its range."""

import inspect
import math
from typing import get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.cli.numbers import numbers
from kdspeech.io.errors import InputError


def parameters(command, name="kds"):
    """(command and parameter, parameter, its annotation) of a command and those below it."""
    for part, below in getattr(command, "commands", {}).items():
        yield from parameters(below, f"{name} {part}")
    hints = get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
    for parameter in command.params:
        yield f"{name}: {parameter.name}", parameter, hints.get(parameter.name)


EVERY = list(parameters(typer.main.get_command(app)))
FLOATS = {name: option for name, option, hint in EVERY if hint in (float, float | None)}


def test_every_argument_and_option_has_help():
    assert len(EVERY) > 200
    assert [name for name, parameter, _ in EVERY if not parameter.help] == []


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_option_takes_what_is_no_number(name, value):
    callback = FLOATS[name].callback
    with pytest.raises(typer.BadParameter, match="is not a finite number"):
        callback(None, FLOATS[name], value)
    assert callback(None, FLOATS[name], 0.5) == 0.5


@pytest.mark.parametrize(
    "command, option, value",
    [
        ("lattice prune", "--beam", "nan"),
        ("lattice prune", "--acoustic-scale", "-1"),
        ("train-mono", "--power", "nan"),
        ("train-mono", "--boost-silence", "0"),
        ("train-mono", "--boost-silence", "-1"),
        ("train-mono", "--beam", "inf"),
        ("make-graph", "--self-loop-scale", "-1"),
        ("decode", "--fmllr-update-type", "foo"),
    ],
)
def test_options_out_of_range_are_refused_at_once(command, option, value):
    arguments = ["x"] * (2 if command == "lattice prune" else 3)
    result = CliRunner().invoke(app, [*command.split(), *arguments, option, value])
    assert result.exit_code == 2 and option in result.output


def test_numbers_with_commas():
    assert numbers("0.5,-1", "--x") == [0.5, -1.0]
    for text in ("a", "", "1,nan", "1,,2"):
        with pytest.raises(InputError, match=f"--x {text}: write finite numbers, comma-separated"):
            numbers(text, "--x")
