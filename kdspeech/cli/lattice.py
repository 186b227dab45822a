"""`kds lattice`: what is made of lattices."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import finite

app = typer.Typer(no_args_is_help=True)

Lats = Annotated[
    Path,
    typer.Argument(metavar="LATS", help="Decoding directory with lat.*.gz, or an archive."),
]
Made = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="Made: a directory where LATS is one, else an archive."),
]
Symbols = Annotated[Path, typer.Argument(metavar="WORDS", help="words.txt of the graph.")]
Out = Annotated[Path | None, typer.Option(help="File to write.", show_default="to the terminal")]
Acoustic = Annotated[
    float,
    typer.Option(min=0, callback=finite, help="Acoustic scale; 1 / the LM scale of scoring."),
]
LmScale = Annotated[float, typer.Option(min=0, callback=finite, help="Scale of graph costs.")]
Penalty = Annotated[float, typer.Option(callback=finite, help="Cost of each word.")]


@app.command("best-path")
def best_path(
    lats: Lats,
    words: Symbols,
    out: Out = None,
    acoustic_scale: Acoustic = 0.1,
    lm_scale: LmScale = 1.0,
    word_ins_penalty: Penalty = 0.0,
) -> None:
    """The words of each lattice's best path, as Kaldi's `text` (lattice-best-path)."""
    from kdspeech.decode import read_decode_lattices
    from kdspeech.decode.lattice_lines import best_path_lines

    scales = _scales(acoustic_scale, lm_scale, word_ins_penalty)
    _write(best_path_lines(read_decode_lattices(lats), _by_id(words), **scales), out)


@app.command("nbest")
def nbest(
    lats: Lats,
    words: Symbols,
    n: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    out: Out = None,
    acoustic_scale: Acoustic = 0.1,
    lm_scale: LmScale = 1.0,
    word_ins_penalty: Penalty = 0.0,
) -> None:
    """Each lattice's n best paths: UTTERANCE-RANK, graph cost, acoustic cost, words."""
    from kdspeech.decode import read_decode_lattices
    from kdspeech.decode.lattice_lines import nbest_lines

    scales = _scales(acoustic_scale, lm_scale, word_ins_penalty)
    _write(nbest_lines(read_decode_lattices(lats), n, _by_id(words), **scales), out)


@app.command("prune")
def prune(
    lats: Lats,
    out: Made,
    beam: Annotated[
        float,
        typer.Option(min=0, callback=finite, help="What is farther from the best path goes."),
    ] = 4.0,
    acoustic_scale: Acoustic = 0.1,
    lm_scale: LmScale = 1.0,
) -> None:
    """Leave out what is on no path near the best one (lattice-prune)."""
    from kdspeech.decode import change_lattices

    counts = change_lattices(lats, out, lambda lat: lat.prune(beam, acoustic_scale, lm_scale))
    _say_counts(out, *counts)


@app.command("rescore")
def rescore(
    lats: Lats,
    out: Made,
    words: Annotated[Path, typer.Option(help="words.txt of the graph.", show_default=False)],
    new: Annotated[
        Path | None, typer.Option(help="The model to add: G.fst or an ARPA file.")
    ] = None,
    old: Annotated[
        Path | None, typer.Option(help="The model to take away, the graph's: likewise.")
    ] = None,
    lm_scale: Annotated[float, typer.Option(callback=finite, help="Of both models.")] = 1.0,
) -> None:
    """Put another language model in the place of the graph's (lattice-lmrescore, twice)."""
    from kdspeech.decode import Grammar, change_lattices
    from kdspeech.graph.symbols import read_symbols
    from kdspeech.io.errors import InputError

    if new is None and old is None:
        raise InputError("give --new, --old or both")
    symbols = read_symbols(words)
    before, after = (Grammar.load(lm, symbols) if lm else None for lm in (old, new))
    counts = change_lattices(lats, out, lambda lat: lat.rescore_lm(before, after, lm_scale))
    _say_counts(out, *counts)


@app.command("to-text")
def to_text(
    lats: Lats,
    out: Out = None,
    words: Annotated[
        Path | None, typer.Option(help="words.txt: words instead of their ids.")
    ] = None,
) -> None:
    """Kaldi's text format (lattice-copy ark:- ark,t:-)."""
    from kdspeech.decode import read_decode_lattices
    from kdspeech.decode.lattice_lines import lattice_lines

    _write(lattice_lines(read_decode_lattices(lats), _by_id(words) if words else None), out)


def _scales(acoustic_scale: float, lm_scale: float, word_ins_penalty: float) -> dict[str, float]:
    return {
        "acoustic_scale": acoustic_scale,
        "lm_scale": lm_scale,
        "word_ins_penalty": word_ins_penalty,
    }


def _by_id(words: Path) -> dict[int, str]:
    from kdspeech.graph.symbols import read_symbols

    return {number: word for word, number in read_symbols(words).items()}


def _write(lines: Iterable[str], out: Path | None) -> None:
    from kdspeech.io.atomic import atomic_path

    if out is None:
        sys.stdout.writelines(lines)
        return
    with atomic_path(out) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(lines)


def _say_counts(out: Path, count: int, empty: int) -> None:
    say(f"{out}: {count} lattices" + (f", {empty} of them without a path now" if empty else ""))
