"""`kds data`: looks at and changes Kaldi data directories."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import numbers

app = typer.Typer(no_args_is_help=True)

Source = Annotated[Path, typer.Argument(help="Kaldi data directory.", show_default=False)]
Target = Annotated[Path, typer.Argument(help="Directory to write.", show_default=False)]
AllowPipes = Annotated[
    bool, typer.Option("--allow-pipes", help="Let entries of wav.scp be shell commands.")
]


@app.command()
def validate(source: Source, allow_pipes: AllowPipes = False) -> None:
    """Checks fields, order, duplicates, agreement of the tables, and that audio files exist."""
    from kdspeech.data import DataDir
    from kdspeech.io.errors import InputError

    data = DataDir(source, allow_pipes=allow_pipes)
    problems = data.validate()
    if problems:
        raise InputError("\n     ".join(problems))
    say(f"{source}: valid, {len(data)} utterances")


@app.command()
def fix(source: Source) -> None:
    """Sorts the tables in place, drops repeated lines and utterances that a table lacks."""
    from kdspeech.data import DataDir

    counts = DataDir(source).fix()
    say(f"{source}: kept {counts['after']} of {counts['before']} utterances")


@app.command()
def combine(
    target: Target,
    sources: Annotated[
        list[Path], typer.Argument(help="Directories to combine.", show_default=False)
    ],
) -> None:
    """Writes one directory of several; tables that not all of them have are left out."""
    from kdspeech import data
    from kdspeech.io.atomic import check_apart

    check_apart(target, sources)
    combined = data.combine(data.DataDir(source) for source in sources)
    say(f"{target}: {len(combined.write(target))} utterances")


@app.command()
def subset(
    source: Source,
    target: Target,
    utt_list: Annotated[
        Path | None,
        typer.Option(help="File with the utterances to keep, one first on each line."),
    ] = None,
    spk_list: Annotated[
        Path | None,
        typer.Option(help="File with the speakers to keep, one first on each line."),
    ] = None,
    first: Annotated[int | None, typer.Option(help="Keep the first N utterances.")] = None,
    random: Annotated[int | None, typer.Option(help="Keep N utterances chosen at random.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of --random.")] = 0,
) -> None:
    """Writes a directory with a part of the utterances; takes exactly one of the four choices."""
    from kdspeech.data import DataDir
    from kdspeech.io.atomic import check_apart
    from kdspeech.io.errors import InputError

    check_apart(target, [source])
    if sum(choice is not None for choice in (utt_list, spk_list, first, random)) != 1:
        raise InputError("give exactly one of --utt-list, --spk-list, --first, --random")
    data = DataDir(source)
    if spk_list:
        part = data.subset(speakers=_first_fields(spk_list))
    elif utt_list:
        part = data.subset(_first_fields(utt_list))
    else:
        part = data.subset(_choose(data, first, random, seed))
    say(f"{target}: {len(part.write(target))} of {len(data)} utterances")


def _first_fields(path: Path) -> list[str]:
    from kdspeech.io.tables import iter_table

    return [key for _, key, _ in iter_table(path, empty_values=True)]


def _choose(data, first: int | None, number: int | None, seed: int) -> list[str]:
    from random import Random

    from kdspeech.io.errors import InputError

    utts, count = data.utterances, first if number is None else number
    if not 1 <= count <= len(utts):
        raise InputError(f"{data.path}: cannot take {count} of {len(utts)} utterances")
    return utts[:count] if number is None else sorted(Random(seed).sample(utts, count))


@app.command()
def split(
    source: Source,
    num_parts: Annotated[int, typer.Argument(help="Number of parts.", show_default=False)],
    per_utt: Annotated[
        bool, typer.Option("--per-utt", help="Split by utterance, not by speaker.")
    ] = False,
) -> None:
    """Writes SOURCE/split<N>/1 .. N (split<N>utt with --per-utt), as Kaldi's split_data.sh."""
    from kdspeech.data import DataDir

    data = DataDir(source)
    parts = data.split(num_parts) if per_utt else data.split_by_speaker(num_parts)
    folder = source / f"split{num_parts}{'utt' if per_utt else ''}"
    for i, part in enumerate(parts, 1):
        part.write(folder / str(i))
    say(f"{folder}: {', '.join(str(len(part)) for part in parts)} utterances")


@app.command("perturb-speed")
def perturb_speed(
    source: Source,
    target: Target,
    factors: Annotated[str, typer.Option(help="Speeds beside the one it has.")] = "0.9,1.1",
    nj: Annotated[int, typer.Option(min=1, help="Number of jobs.")] = 1,
    allow_pipes: AllowPipes = False,
) -> None:
    """Writes SOURCE and its audio played faster and slower, as speakers and utterances sp<f>-..."""
    from kdspeech.data.perturb import perturb_speed

    speeds = numbers(factors, "--factors")
    data = perturb_speed(source, target, speeds, nj, allow_pipes=allow_pipes)
    say(f"{target}: {len(data)} utterances, {len(data.spk2utt)} speakers")


@app.command()
def info(
    source: Source,
    allow_pipes: AllowPipes = False,
    durations: Annotated[
        bool, typer.Option("--durations", help="Read all audio to sum its length.")
    ] = False,
) -> None:
    """Prints the tables, the numbers of utterances, speakers and words, and the length."""
    from rich.console import Console
    from rich.table import Table

    from kdspeech.data import DataDir

    data = DataDir(source, allow_pipes=allow_pipes)
    table = Table("", str(source), show_header=True)
    table.add_row("tables", " ".join(data.table_names))
    table.add_row("utterances", str(len(data)))
    table.add_row("speakers", str(len(data.spk2utt)))
    words = [line.split() for line in data.text.values()]
    table.add_row("words", f"{sum(map(len, words))}, {len(set().union(*words))} different")
    if durations:
        seconds = sum(len(samples) / rate for _, samples, rate in data.iter_audio())
        table.add_row("audio", f"{seconds / 3600:.3f} hours")
    Console().print(table)
