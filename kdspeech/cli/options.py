"""`kds options`: a recipe's configuration as options for the commands of its stages."""

import shlex
from pathlib import Path
from typing import Annotated

import typer


def options(
    config: Annotated[Path, typer.Argument(metavar="CONF", help="YAML: sections of options.")],
    sections: Annotated[
        list[str], typer.Argument(metavar="SECTION...", help="Which sections there may be.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the file; may be repeated."),
    ] = None,
) -> None:
    """Print each section as a bash array of options: `mono: {beam: 6}` is mono=(--beam 6).

    A section that CONF lacks is an empty array, one that is not named an error. Whether an option
    exists and its value fits, the command says that is given the array.
    """
    from pydantic import create_model

    from kdspeech.config import Config, load_config

    fields = {name: (dict[str, bool | int | float | str], {}) for name in sections}
    recipe = load_config(create_model("Recipe", __base__=Config, **fields), config, overrides)
    for name in sections:
        typer.echo(f"{name}=({_as_options(getattr(recipe, name))})")


def _as_options(section: dict[str, bool | int | float | str]) -> str:
    words = []
    for key, value in section.items():
        option = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return shlex.join(words)
