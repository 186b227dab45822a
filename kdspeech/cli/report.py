"""`kds distill score` and `kds report`: tables, results.json, RESULTS.md and the HTML page."""

from pathlib import Path
from typing import Annotated

import typer

Directory = Annotated[
    Path, typer.Argument(metavar="EXP", help="Experiment: holds seed<k>/<system> folders.")
]
Protocol = Annotated[
    str | None,
    typer.Option(
        help="Test protocol of the headline, confusion and words: best_energy, center, sliding "
        "or full. Default: best_energy where it is there."
    ),
]


def score(
    directory: Directory,
    protocol: Protocol = None,
    system: Annotated[
        str | None, typer.Option(help="Show this system's confusion and words (default: the best).")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare the system with this one, paired on test.")
    ] = None,
) -> None:
    """Score an experiment: write EXP/results.json and print the tables of the paper.

    Accuracy in % with 95 % intervals over utterances and seeds; systems still running are left
    out and listed.
    """
    from kdspeech.report.experiment import read_experiment
    from kdspeech.report.results import check_system, compute_results, save_results

    experiment = read_experiment(directory)
    for name in filter(None, (system, against)):
        check_system(experiment, name)
    results = compute_results(experiment, protocol)
    save_results(results, directory / "results.json")
    _print_tables(results)
    _print_system(experiment, results, system or results.headline)
    if against:
        _print_comparison(experiment, system or results.headline, against)
    _print_summary(results)


def report(
    directory: Directory,
    title: Annotated[
        str | None, typer.Option(help="Title of page and RESULTS.md (default: EXP's name).")
    ] = None,
    protocol: Protocol = None,
    results_md: Annotated[
        Path | None, typer.Option(help="Also write this RESULTS.md, rendered from results.json.")
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(help="A command that made the experiment, for the record; repeatable."),
    ] = None,
    notes: Annotated[
        Path | None, typer.Option(help="Text in Markdown put under 'Reading' in RESULTS.md.")
    ] = None,
) -> None:
    """Make EXP/report.html, one self-contained page, and print its absolute path last.

    Scores the experiment anew and writes EXP/results.json beside it. Of a search (EXP/family.json)
    the page shows the family.
    """
    from kdspeech.report.experiment import read_experiment
    from kdspeech.report.family_page import read_family
    from kdspeech.report.markdown import render_markdown, save_markdown
    from kdspeech.report.page import save_page
    from kdspeech.report.results import compute_results, load_results, save_results

    text = read_notes(notes)
    family = read_family(directory)
    if family:
        title = title or f"Iterative distillation: {directory.resolve().name}"
        _report_family(family, directory, title, command, results_md, text)
        return
    experiment = read_experiment(directory)
    save_results(compute_results(experiment, protocol), directory / "results.json")
    results = load_results(directory / "results.json")
    title = title or f"Keyword spotting: {directory.resolve().name}"
    commands = command or [f"kds report {directory}"]
    if results_md:
        save_markdown(render_markdown(results, title, commands, text), results_md)
        typer.echo(results_md)
    save_page(experiment, results, directory / "report.html", title, commands, text)
    typer.echo((directory / "report.html").absolute())


def _report_family(family: dict, exp: Path, title, commands, results_md, notes: str) -> None:
    from kdspeech.report.family_page import family_results, save_family_page
    from kdspeech.report.markdown import save_markdown

    commands = commands or [family["command"]]
    if results_md:
        save_markdown(family_results(family, exp, title, commands, notes), results_md)
        typer.echo(results_md)
    save_family_page(family, exp, exp / "report.html", title, commands, notes)
    typer.echo((exp / "report.html").absolute())


def read_notes(path: Path | None) -> str:
    """The text of --notes, "" without."""
    from kdspeech.io.errors import InputError

    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8 ({error.reason})") from None


def _print_tables(results) -> None:
    from kdspeech.report.tables import chain_table, cost_table, direct_table

    for protocol in results.protocols:
        _print_table(direct_table(results, protocol))
        _print_table(chain_table(results, protocol))
    _print_table(cost_table(results))


def _print_system(experiment, results, name: str) -> None:
    from kdspeech.report.markdown import words_title
    from kdspeech.report.results import confusion
    from kdspeech.report.tables import confusion_table, words_table

    counts = confusion(experiment, name, results.protocol)
    title = words_title(results, name)
    _print_table(confusion_table(counts, results.classes, f"Confusion: {title}"))
    _print_table(words_table(counts, results.classes, f"Words: {title}"))


def _print_comparison(experiment, system: str, against: str) -> None:
    from kdspeech.report.results import compare
    from kdspeech.report.tables import paired_table

    found = compare(experiment, system, against)
    _print_table(paired_table(found, f"{system} against {against}"))


def _print_summary(results) -> None:
    from kdspeech.report.tables import summarise

    for sentence in summarise(results, results.protocol):
        typer.echo(sentence)
    if results.unfinished:
        typer.echo(f"Still running, left out: {', '.join(results.unfinished)}")


def _print_table(table) -> None:
    """Prints a table that has rows; outside a terminal as wide as the table needs."""
    from rich.console import Console

    from kdspeech.report.table import to_rich

    if table.rows:
        console = Console()
        Console(width=None if console.is_terminal else 160).print(to_rich(table))
