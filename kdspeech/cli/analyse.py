"""`kds analyse`: what a student learnt, as one page and as numbers."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.numbers import numbers


def analyse(
    systems: Annotated[
        list[Path],
        typer.Argument(
            metavar="REFERENCE STUDENT [OTHER...]",
            help="Scored systems, EXP/seed<k>/<system>: the teacher (or whatever the student is "
            "held against) first, the student second.",
        ),
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="The system that fixed and broken clips are counted from, such as the network "
            "trained without a teacher. Default: the first."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The recipe, conf/*.yaml, for players, images, embeddings.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the packs, together with --config.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page. Default: STUDENT/analysis.")
    ] = None,
    split: Annotated[str, typer.Option(help="dev or test.")] = "test",
    protocol: Annotated[
        str, typer.Option(help="Test protocol: best_energy, center or sliding.")
    ] = "best_energy",
    temperatures: Annotated[
        str, typer.Option(help="Comma-separated, at which soft targets are described.")
    ] = "1,2,4,8,20",
    clips: Annotated[int, typer.Option(help="Clips in each list of the page.", min=0)] = 12,
    embedding: Annotated[bool, typer.Option(help="Picture the penultimate layers.")] = True,
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the recipe; may be repeated."),
    ] = None,
) -> None:
    """Show what a student learnt: soft targets, agreement, confusions, calibration, embeddings, and
    the clips that were fixed and broken, to listen to.

    Writes OUT/analysis.html, one self-contained page, and OUT/analysis.json; prints the page's path
    last. Without --config and --data there are no players and no embeddings.
    """
    from kdspeech.io.errors import InputError
    from kdspeech.report.analysis import analyse, save_analysis, save_json
    from kdspeech.report.analysis.page import summary
    from kdspeech.report.analysis.scored import read_study

    if len(systems) < 2 or split not in ("dev", "test"):
        raise InputError("give two systems or more, teacher and student first; --split dev or test")
    if (config is None) != (data is None):
        raise InputError("--config and --data: give both or neither")
    recipe = (_recipe(config, overrides), data) if config else None
    study = read_study(systems, baseline, split, protocol, recipe, embedding)
    findings = analyse(study, numbers(temperatures, "--temperatures"))
    command = shlex.join(["kds", *sys.argv[1:]])
    out = out or systems[1] / "analysis"
    save_json(study, findings, out / "analysis.json", command)
    save_analysis(study, findings, out / "analysis.html", title, command, clips)
    for sentence in summary(study, findings):
        typer.echo(sentence)
    typer.echo((out / "analysis.html").absolute())


def _recipe(config: Path, overrides: list[str] | None):
    """Of images where it has a section `images`, else of clips."""
    from kdspeech.config import has_section, load_config
    from kdspeech.distill import ImageConfig, KeywordConfig

    kind = ImageConfig if has_section(config, "images") else KeywordConfig
    return load_config(kind, config, overrides)
