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
    ami = "ami"


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
    meetings: Annotated[
        str | None,
        typer.Option(help="Meetings for train, dev and test (ami only).", show_default="8,2,2"),
    ] = None,
    turns: Annotated[
        int | None, typer.Option(help="Turns of a meeting (ami only).", show_default="30")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    nj: Annotated[int, typer.Option(help="Number of processes.", min=1)] = 2,
) -> None:
    """Speak a corpus with espeak-ng, in a real corpus's layout; needs the extra `espeak`."""
    from kdspeech.data.corpora import embedded
    from kdspeech.data.corpora.meetings import make_meetings

    sizes = {"speakers": speakers, "takes": takes, "others": others, "turns": turns}
    sizes["meetings"] = None if meetings is None else _parse_counts(meetings)
    given = {name: value for name, value in sizes.items() if value is not None}
    make, allowed = {
        Layout.speech_commands: (embedded.make_speech_commands, {"speakers", "takes", "others"}),
        Layout.fsdd: (embedded.make_fsdd, {"speakers", "takes"}),
        Layout.ami: (make_meetings, {"meetings", "turns"}),
    }[layout]
    _check_given(given, allowed, layout)
    count = make(out, seed=seed, nj=nj, **given)
    typer.echo(f"{out}: {count} {'meetings' if layout is Layout.ami else 'clips'}")


def _check_given(given: dict, allowed: set[str], layout: Layout) -> None:
    from kdspeech.io.errors import InputError

    for name in given:
        if name not in allowed:
            raise InputError(f"--{name}: there is no such size in the layout {layout.value}")


def _parse_counts(text: str) -> tuple[int, ...]:
    from kdspeech.io.errors import InputError

    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise InputError(f"--meetings {text}: give three numbers, as 8,2,2")
    return tuple(map(int, parts))


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
    test_speakers: Annotated[
        str | None,
        typer.Option(help="For acoustic models: hold these speakers out instead, a,b,c."),
    ] = None,
    dev_speakers: Annotated[
        str, typer.Option(help="With --test-speakers: these are for development.")
    ] = "",
    to: To = Path("download"),
    url: Url = None,
    sha256: Annotated[
        str | None,
        typer.Option(help="With `download`: the archive's checksum (none is published)."),
    ] = None,
) -> None:
    """Make DATA/{train,dev,test} from the Free Spoken Digit Dataset or a corpus in its layout.

    With --test-speakers also DATA/local/dict, and DATA/dev only with --dev-speakers.
    """
    from kdspeech.data.corpora import fsdd as module

    takes = _parse_range(dev_takes)
    if corpus == "download":
        corpus = module.download(to, url or module.URL, sha256)
    if test_speakers is None:
        audit = module.prepare(corpus, data, takes)
    else:
        audit = module.prepare_asr(corpus, data, _names(test_speakers), _names(dev_speakers))
    _print(audit, data)


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


@app.command()
def ami(
    corpus: Corpus,
    data: Data,
    lexicon: Annotated[
        Path | None, typer.Option(help="Pronunciations that come before the dictionary's.")
    ] = None,
    lm_text: Annotated[
        Path | None, typer.Option(help="More text for the language model, a sentence a line.")
    ] = None,
    vocabulary: Annotated[
        int, typer.Option(min=0, help="Of --lm-text, how many words enter the lexicon.")
    ] = 50_000,
    partition: Annotated[
        str, typer.Option(help="Official split: full-corpus-asr, full-corpus, scenario-only.")
    ] = "full-corpus-asr",
    to: To = Path("download"),
) -> None:
    """Make DATA/{train,dev,test,local/dict,local/lm.txt} from the AMI meetings' headsets."""
    from kdspeech.data.corpora import ami as module

    if corpus == "download":
        corpus = module.download(to)
    _print(module.prepare(corpus, data, lexicon, lm_text, vocabulary, partition), data)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


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


@app.command()
def mnist(corpus: Corpus, data: Data, to: To = Path("download"), url: Url = None) -> None:
    """Make the image packs DATA/{train,test} from MNIST's idx files."""
    from kdspeech.data.corpora import mnist as module

    if corpus == "download":
        corpus = module.download(to, url or module.URL)
    for name, count in module.prepare(corpus, data).items():
        typer.echo(f"{data / name}: {count} images")


@app.command()
def cifar10(
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Folder, `download` or `embedded`.")
    ],
    data: Data,
    to: To = Path("download"),
    url: Url = None,
    sha256: Annotated[str | None, typer.Option(help="With --url: its checksum.")] = None,
) -> None:
    """Make the image packs DATA/{train,test} from CIFAR-10's python batches.

    `embedded` writes a small set of coloured stripes in that format, to see a recipe run.
    """
    from kdspeech.data.corpora import cifar10 as module

    if corpus == "download":
        corpus = module.download(to, url or module.URL, sha256 or module.SHA256)
    elif corpus == "embedded":
        corpus = module.make_embedded(to)
    for name, count in module.prepare(corpus, data).items():
        typer.echo(f"{data / name}: {count} images")
