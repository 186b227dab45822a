"""`kds score`: the word error rate of a decoding directory."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import numbers


def score(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Data directory: text, utt2spk.")],
    graph: Annotated[Path, typer.Argument(metavar="GRAPH", help="Graph or lang: words.txt.")],
    decode: Annotated[Path, typer.Argument(metavar="DECODE", help="Folder of lat.*.gz.")],
    tuned_on: Annotated[
        Path | None,
        typer.Option(
            help="Decoding directory of the dev set, scored before: take its LM scale and penalty. "
            "Default: the best ones here."
        ),
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(help="Where there is no dev set: LM scale and penalty to report, as 10,0."),
    ] = None,
    min_lmwt: Annotated[int, typer.Option(help="Least LM scale.", min=1)] = 7,
    max_lmwt: Annotated[int, typer.Option(help="Largest LM scale.", min=1)] = 25,
    word_ins_penalty: Annotated[
        str, typer.Option(help="Word insertion penalties, comma-separated.")
    ] = "0.0,0.5,1.0",
    drop: Annotated[
        Path | None,
        typer.Option(help="Words that do not count on either side (<UNK>, fillers), one a line."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Compare with this decoding directory, scored before.")
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            help="Name in the results (default: tri3b for tri3b/decode_x, tri3b.si for "
            "tri3b/decode_x.si)."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Set's name in the results (default: DATA's name).")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Default: results.json two folders above DECODE.")
    ] = None,
) -> None:
    """Score lattices: WER over LM scales and word insertion penalties, in Kaldi's files.

    Writes DECODE/wer_*, DECODE/scoring_kaldi, a row of results.json and DECODE/alignment.html, a
    page with every reference beside its hypothesis, whose path is printed last.
    """
    from kdspeech.decode.score import read_score, score_decode_dir
    from kdspeech.decode.wer import drop_words
    from kdspeech.graph.text import read_sentences
    from kdspeech.io.errors import InputError
    from kdspeech.report.alignment import save_alignment
    from kdspeech.report.wer import add_row, make_row

    dropped = [word for line in read_sentences([drop]) for word in line.split()] if drop else []
    if min_lmwt > max_lmwt:
        raise InputError(f"LM scales from {min_lmwt} to {max_lmwt}: there are none between")
    scales = range(min_lmwt, max_lmwt + 1)
    penalties = numbers(word_ins_penalty, "--word-ins-penalty")
    other = read_score(against) if against else None
    normalise = drop_words(dropped) if dropped else None
    tuned_on = _setting(setting) if setting and not tuned_on else tuned_on
    sweep = score_decode_dir(data, graph, decode, tuned_on, scales, penalties, normalise)
    better = sweep.score.p_better(other) if other else None
    folder = decode.resolve()
    row = make_row(
        sweep,
        system or folder.parent.name + folder.suffix,
        split or data.resolve().name,
        shlex.join(["kds", *sys.argv[1:]]),
    )
    add_row(row, results or folder.parents[1] / "results.json")
    save_alignment(sweep, decode / "alignment.html", f"{row.system} on {row.split}")
    _print_sweep(sweep, row)
    if other:
        say(f"P(better than {against}) = {better:.3f}")
    say(str((decode / "alignment.html").absolute()))


def _setting(text: str):
    from kdspeech.decode.sweep import settings_of
    from kdspeech.io.errors import InputError

    values = numbers(text, "--setting")
    if len(values) != 2:
        raise InputError(f"--setting {text}: write LM scale and penalty, as 10,0")
    scale, penalty = values
    return settings_of([scale], [penalty])[0]


def _print_sweep(sweep, row) -> None:
    """The chosen setting's line, what was best, and what had no counterpart."""
    setting = f"LM scale {row.lm_scale:g}, penalty {row.penalty}"
    origin = f"from {row.tuned_on}, best here {row.best:.2f}" if row.tuned_on else "best here"
    say(f"{sweep.score.total} [{row.low:.2f}, {row.high:.2f}] at {setting} ({origin})")
    _print_names("without a hypothesis, counted as deleted", sweep.score.missing)
    _print_names("without a reference, left out", sweep.score.unexpected)


def _print_names(what: str, names: list[str], most: int = 20) -> None:
    if names:
        more = f" and {len(names) - most} more" if len(names) > most else ""
        say(f"{len(names)} utterances {what}: {' '.join(names[:most])}{more}")
