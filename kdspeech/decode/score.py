"""Scoring a decoding directory, with the files that Kaldi's scoring leaves there.

They are `wer_<scale>_<penalty>` for every LM scale and word insertion penalty, and in
`scoring_kaldi` best_wer, test_filt.txt (the references), `penalty_<penalty>/<scale>.txt` (the
hypotheses) and `wer_details`: per_utt, per_spk, ops and wer_bootci at the chosen scale and penalty,
which stand in lmwt and wip.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kdspeech.data.datadir import DataDir
from kdspeech.decode.lattice_files import read_decode_lattices
from kdspeech.decode.sweep import (
    GIVEN,
    PENALTIES,
    SCALES,
    Setting,
    Sweep,
    best_paths,
    best_setting,
    settings_of,
)
from kdspeech.decode.wer import Errors, Normalise, WerScore, score_wer
from kdspeech.graph.symbols import read_symbols
from kdspeech.io.atomic import atomic_dir, atomic_path
from kdspeech.io.errors import InputError
from kdspeech.io.tables import read_table, table_lines

GAP = "***"
"""Stands where reference or hypothesis has no word."""

_OURS = ("penalty_*", "test_filt.*", "best_wer", "wer_details", "log")  # log: of Kaldi's scoring


def score_decode_dir(
    data: str | os.PathLike,
    graph: str | os.PathLike,
    decode: str | os.PathLike,
    tuned_on: str | os.PathLike | Setting | None = None,
    scales: Sequence[float] = SCALES,
    penalties: Sequence[float] = PENALTIES,
    normalise: Normalise | None = None,
) -> Sweep:
    """Scores the lattices of a decoding directory and writes its scoring files.

    Args:
        data: the data directory: text, and utt2spk where speakers are known.
        graph: the folder of the graph, or lang: words.txt.
        decode: the folder of the lattices, lat.1.gz and so on.
        tuned_on: another decoding directory that was scored before, as that of the dev set: its
            scale and penalty are taken. Or a setting, where there is no such set. Without it the
            best one here is taken, which flatters.
        scales, penalties: what to try.
        normalise: see `score_wer`.
    Raises:
        InputError: something is missing or does not fit; says where.
    """
    table = DataDir(data)
    if "text" not in table:
        raise InputError(f"{data}: has no text to score against")
    settings = settings_of(scales, penalties)
    given = isinstance(tuned_on, Setting)
    chosen = tuned_on if given else read_setting(tuned_on) if tuned_on else None
    settings = list(dict.fromkeys([*settings, *([chosen] if chosen else [])]))
    words = {i: word for word, i in read_symbols(Path(graph) / "words.txt").items()}
    found = best_paths(read_decode_lattices(decode), words, settings)
    scores = {setting: score_wer(table.text, found[setting], normalise) for setting in settings}
    utt2spk = table.utt2spk or {utterance: utterance for utterance in table.text}
    chosen = chosen or best_setting(scores)
    origin = GIVEN if given else os.fspath(tuned_on) if tuned_on else None
    sweep = Sweep(scores, chosen, utt2spk, origin)
    write_sweep(sweep, Path(decode))
    return sweep


def read_setting(decode: str | os.PathLike) -> Setting:
    """The LM scale and penalty that were chosen for a decoding directory."""
    details = Path(decode) / "scoring_kaldi" / "wer_details"
    try:
        return Setting(*(float((details / name).read_text()) for name in ("lmwt", "wip")))
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: no such file (score {decode} first)") from None
    except ValueError as error:
        raise InputError(f"{details}: lmwt or wip is damaged: {error}") from None


def read_score(decode: str | os.PathLike) -> WerScore:
    """The score at the chosen setting, from the files of an earlier scoring."""
    folder, setting = Path(decode) / "scoring_kaldi", read_setting(decode)
    references = read_table(folder / "test_filt.txt", empty_values=True)
    hypotheses = read_table(folder / _hypotheses_name(setting), empty_values=True)
    return score_wer(references, hypotheses)


def write_sweep(sweep: Sweep, decode: Path) -> None:
    """Writes the files of a sweep; an older sweep's are removed. `scoring_kaldi` comes last."""
    for path in decode.glob("wer_*"):
        if re.fullmatch(r"wer_[\d.]+_-?[\d.]+", path.name):
            path.unlink()
    for setting, score in sweep.scores.items():
        with atomic_path(decode / f"wer_{setting.name}") as temporary:
            temporary.write_text(_wer_text(score), encoding="utf-8")
    with atomic_dir(decode / "scoring_kaldi", _OURS) as folder:
        for setting, score in sweep.scores.items():
            _write_transcripts(folder / _hypotheses_name(setting), score.hypotheses)
        _write_transcripts(folder / "test_filt.txt", sweep.score.references)
        best = sweep.best
        line = f"{sweep.scores[best].total} {decode / f'wer_{best.name}'}\n"
        (folder / "best_wer").write_text(line, encoding="utf-8")
        _write_details(sweep, folder / "wer_details")


def _hypotheses_name(setting: Setting) -> str:
    return f"penalty_{setting.penalty}/{setting.scale:g}.txt"


def _wer_text(score: WerScore) -> str:
    total = score.total
    return (
        f"{total}\n%SER {total.ser:.2f} [ {total.wrong_sentences} / {total.sentences} ]\n"
        f"Scored {total.sentences} sentences, {len(score.missing)} not present in hyp.\n"
    )


def _write_transcripts(path: Path, transcripts: dict[str, list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = table_lines((utterance, " ".join(words)) for utterance, words in transcripts.items())
    path.write_text("".join(lines), encoding="utf-8")


def _write_details(sweep: Sweep, folder: Path) -> None:
    score, setting = sweep.score, sweep.chosen
    low, high = score.interval()
    texts = {
        "lmwt": f"{setting.scale:g}\n",
        "wip": f"{setting.penalty}\n",
        "wer_bootci": f"Set1: %WER {score.wer:.2f} 95% Conf Interval [ {low:.2f}, {high:.2f} ]\n",
        "per_utt": "".join(_per_utterance(score)),
        "per_spk": "".join(_per_speaker(score, sweep.utt2spk)),
        "ops": "".join(_operations(score)),
    }
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _per_utterance(score: WerScore) -> Iterator[str]:
    """Four lines an utterance: reference, hypothesis, operation, and the counts."""
    for row, utterance in enumerate(score.utterances):
        pairs = score.alignment(row)
        columns = [(ref or GAP, hyp or GAP, operation(ref, hyp)) for ref, hyp in pairs]
        for name, words in zip(("ref", "hyp", "op"), _padded(columns), strict=True):
            yield f"{utterance} {name:3}  {'  '.join(words)}".rstrip() + "\n"
        sub, ins, deleted = score.counts[row]
        correct = len(score.refs[row]) - sub - deleted
        yield f"{utterance} #csid {correct} {sub} {ins} {deleted}\n"


def _padded(columns: list[tuple[str, ...]]) -> list[list[str]]:
    """Three rows of words, each as wide as its column's longest."""
    widths = [max(map(len, column)) for column in columns]
    return [
        [column[i].ljust(width) for column, width in zip(columns, widths, strict=True)]
        for i in range(3)
    ]


def operation(ref: str, hyp: str) -> str:
    """C, S, I or D of an aligned pair, where a gap is empty."""
    if ref == hyp:
        return "C"
    return "S" if ref and hyp else "D" if ref else "I"


def _per_speaker(score: WerScore, utt2spk: dict[str, str]) -> Iterator[str]:
    speakers = {**score.per_speaker(utt2spk), "SUM": score.total}
    width = max(len("SPEAKER"), *map(len, speakers))
    names = ("#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err")
    yield _row("SPEAKER", "id", names, width)
    for speaker, errors in speakers.items():
        counts = _counts(errors)
        whole = [errors.words or 1] * 5 + [errors.sentences]
        rates = [f"{100 * n / total:.2f}" for n, total in zip(counts[2:], whole, strict=True)]
        yield _row(speaker, "raw", counts, width)
        yield _row(speaker, "sys", (*counts[:2], *rates), width)


def _counts(errors: Errors) -> tuple[int, ...]:
    correct = errors.words - errors.sub - errors.deleted
    head = (errors.sentences, errors.words, correct, errors.sub, errors.ins, errors.deleted)
    return (*head, errors.errors, errors.wrong_sentences)


def _row(speaker: str, kind: str, cells: Iterable, width: int) -> str:
    return f"{speaker:{width}} {kind:3}" + "".join(f"{cell!s:>8}" for cell in cells) + "\n"


def _operations(score: WerScore) -> Iterator[str]:
    """How often each word was right, replaced by which, inserted or deleted; most often first."""
    names = {"C": "correct", "S": "substitution", "I": "insertion", "D": "deletion"}
    counts = Counter(pair for row in range(len(score.refs)) for pair in score.alignment(row))
    for (ref, hyp), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield f"{names[operation(ref, hyp)]:12}  {ref or GAP}  {hyp or GAP}  {count}\n"
