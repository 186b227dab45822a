"""`kds report-asr`: the page and RESULTS.md of a speech recognition experiment."""

from pathlib import Path
from typing import Annotated

import typer


def report_asr(
    directory: Annotated[
        Path, typer.Argument(metavar="EXP", help="Holds results.json and the systems' folders.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Data directories of the splits, for real time factors.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="YAML of what another toolkit reached, shown beside.")
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(help="YAML list of {claim, better: system, than: system} to be compared."),
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option(help="Frame pack to measure gates on (default: EXP/frames/dev, or test)."),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Title of page and RESULTS.md (default: EXP's name).")
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="The command that made the experiment, for the record.")
    ] = None,
    results_md: Annotated[Path | None, typer.Option(help="Also write this RESULTS.md.")] = None,
    notes: Annotated[
        Path | None, typer.Option(help="Text in Markdown put under 'Reading'.")
    ] = None,
) -> None:
    """Make EXP/report.html, one self-contained page, and print its absolute path last."""
    from kdspeech.cli.report import read_notes
    from kdspeech.report.asr import read_asr
    from kdspeech.report.asr_page import network_tables, render_asr_markdown, save_asr_page
    from kdspeech.report.asr_tables import summarise
    from kdspeech.report.claims import read_claims
    from kdspeech.report.markdown import save_markdown

    text, claimed = read_notes(notes), read_claims(claims) if claims else []
    experiment = read_asr(directory, data, reference)
    networks = network_tables(experiment, claimed)
    packs = [directory / "frames" / split for split in experiment.splits]
    frames = frames or next((pack for pack in packs if pack.is_dir()), None)
    title = title or f"Speech recognition: {directory.resolve().name}"
    command = command or f"kds report-asr {directory}"
    if results_md:
        save_markdown(render_asr_markdown(experiment, title, command, text, networks), results_md)
        typer.echo(results_md)
    save_asr_page(experiment, directory / "report.html", title, command, text, networks, frames)
    for sentence in summarise(experiment):
        typer.echo(sentence)
    typer.echo((directory / "report.html").absolute())
