"""All commands: every argument and option has help, and no number is NaN or out of its range."""

import math

import pytest
import typer
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.cli.numbers import numbers
from kdspeech.io.errors import InputError


def parameters(command, name="kds"):
    """(command and parameter, parameter) of a command and those below it."""
    for part, below in getattr(command, "commands", {}).items():
        yield from parameters(below, f"{name} {part}")
    for parameter in command.params:
        yield f"{name}: {parameter.name}", parameter


EVERY = dict(parameters(typer.main.get_command(app)))
FLOATS = [name for name, parameter in EVERY.items() if "float" in parameter.type.name]


def test_every_argument_and_option_has_help():
    assert len(EVERY) > 200
    assert [name for name, parameter in EVERY.items() if not parameter.help] == []


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_option_takes_what_is_no_number(name, value):
    callback = EVERY[name].callback
    with pytest.raises(typer.BadParameter, match="is not a finite number"):
        callback(None, EVERY[name], value)
    assert callback(None, EVERY[name], 0.5) == 0.5


@pytest.mark.parametrize(
    "command, options, message",
    [
        ("lattice prune", ["--beam", "nan"], "nan is not a finite number"),
        ("lattice prune", ["--acoustic-scale", "-1"], "-1.0 is not in the range"),
        ("train-mono", ["--power", "nan"], "nan is not a finite number"),
        ("train-mono", ["--boost-silence", "0"], "0 is not above 0"),
        ("train-mono", ["--boost-silence", "-1"], "-1 is not above 0"),
        ("train-mono", ["--beam", "inf"], "inf is not a finite number"),
        ("make-graph", ["--self-loop-scale", "-1"], "-1.0 is not in the range"),
        ("decode", ["--fmllr-update-type", "foo"], "'foo' is not one of"),
    ],
)
def test_options_out_of_range_are_refused_at_once(command, options, message):
    arguments = ["x"] * (2 if command == "lattice prune" else 3)
    result = CliRunner().invoke(app, [*command.split(), *arguments, *options])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_numbers_with_commas():
    assert numbers("0.5,-1", "--x") == [0.5, -1.0]
    for text in ("a", "", "1,nan", "1,,2"):
        with pytest.raises(InputError, match=f"--x {text}: write finite numbers, comma-separated"):
            numbers(text, "--x")
