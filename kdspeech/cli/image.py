"""`kds image`: networks on images, for the tables of a recipe; to search, `kds distill iterate`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

Config = Annotated[Path, typer.Option("--config", help="The recipe, conf/*.yaml.")]
Exp = Annotated[Path, typer.Option("--exp", help="Folder for the results.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="section.key=value over the recipe; may be repeated."),
]


@app.command()
def train(
    config: Config,
    data: Annotated[Path, typer.Option("--data", help="Folder with the packs train and test.")],
    exp: Exp,
    systems: Annotated[
        str | None, typer.Option(help="Which of the recipe's, comma-separated; else all.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, comma-separated: one run each.")] = "0",
    nj: Annotated[int, typer.Option(help="Worker processes, one thread each.", min=1)] = 1,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler (tcp://...).")] = None,
    overrides: Set = None,
) -> None:
    """Train and score a recipe's systems, teachers before their students; goes on where it was."""
    from kdspeech.cli.distill import parse_seeds
    from kdspeech.config import load_config
    from kdspeech.distill import ImageConfig, ImageJob, run_steps

    recipe = load_config(ImageConfig, config, overrides)
    job = ImageJob(recipe, str(data), str(exp), shlex.join(["kds", *sys.argv[1:]]))
    names = systems.split(",") if systems else None
    run_steps(job, recipe.systems_of(names), parse_seeds(seeds), nj, scheduler)


@app.command()
def report(
    config: Config,
    exp: Exp,
    title: Annotated[str, typer.Option(help="Of RESULTS.md.")] = "Images",
    results_md: Annotated[Path | None, typer.Option(help="Also write this RESULTS.md.")] = None,
    command: Annotated[
        list[str] | None, typer.Option(help="What made it, for RESULTS.md; may be repeated.")
    ] = None,
    search: Annotated[
        Path | None, typer.Option(help="The folder of a search, whose tables follow.")
    ] = None,
    notes: Annotated[Path | None, typer.Option(help="Markdown for its end.")] = None,
    overrides: Set = None,
) -> None:
    """Write EXP/results.json, print the tables with what was published, and write RESULTS.md."""
    from rich.console import Console

    from kdspeech.config import load_config
    from kdspeech.distill import ImageConfig
    from kdspeech.report.images import (
        image_markdown,
        image_rows,
        image_tables,
        save_image_results,
    )
    from kdspeech.report.markdown import save_markdown
    from kdspeech.report.table import to_rich

    recipe = load_config(ImageConfig, config, overrides)
    rows = image_rows(recipe, exp)
    save_image_results(rows, exp)
    tables = image_tables(recipe, rows)
    for table in tables:
        Console(width=None if Console().is_terminal else 120).print(to_rich(table))
    if results_md:
        text = notes.read_text(encoding="utf-8") if notes else ""
        commands = command or [shlex.join(["kds", *sys.argv[1:]])]
        family = (search / "family.md").read_text(encoding="utf-8") if search else ""
        save_markdown(image_markdown(tables, title, commands, family, text), results_md)
