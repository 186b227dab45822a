"""Kaldi's dictionary directory from words and their pronunciations (data/local/dict)."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from kdspeech.io.atomic import atomic_dir

SILENCE, NOISE, UNKNOWN = "SIL", "SPN", "<UNK>"
"""The pause, the noise that a word outside the lexicon is taken for, and that word."""


def write_dict(folder: str | os.PathLike, lexicon: Mapping[str, Iterable[tuple[str, ...]]]) -> None:
    """Writes lexicon.txt, the lists of silence and other phones, and extra_questions.txt.

    `<UNK>` is added, pronounced SPN; the questions of the tree that cannot come from clustering
    phones without stress and position, silence against speech, are given to it.

    Args:
        folder: the directory to make; replaced as a whole if it is there.
        lexicon: word -> its pronunciations, phones without stress marks.
    """
    phones = sorted({p for prons in lexicon.values() for pron in prons for p in pron})
    lines = [f"{UNKNOWN} {NOISE}"]
    lines += sorted(
        {f"{word} {' '.join(pron)}" for word, prons in lexicon.items() for pron in prons}
    )
    files = {
        "lexicon.txt": lines,
        "silence_phones.txt": [SILENCE, NOISE],
        "optional_silence.txt": [SILENCE],
        "nonsilence_phones.txt": phones,
        "extra_questions.txt": [f"{SILENCE} {NOISE}", " ".join(phones)],
    }
    with atomic_dir(folder) as temporary:
        for name, rows in files.items():
            write_lines(temporary / name, rows)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes one line per item."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def without_stress(phones: Iterable[str]) -> tuple[str, ...]:
    """ARPAbet without stress marks: AH0 K -> AH K."""
    return tuple(phone.rstrip("012") for phone in phones)
