"""Kaldi's dictionary directory from words and their pronunciations (data/local/dict)."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

Pronunciation = tuple[str, ...]
"""Phones without stress marks."""

SILENCE, NOISE, UNKNOWN = "SIL", "SPN", "<UNK>"
"""The pause, the noise that a word outside the lexicon is taken for, and that word."""


def write_dict(folder: str | os.PathLike, lexicon: Mapping[str, Iterable[Pronunciation]]) -> None:
    """Writes lexicon.txt, the lists of silence and other phones, and extra_questions.txt.

    `<UNK>` is added, pronounced SPN; the questions of the tree that cannot come from clustering
    phones without stress and position, silence against speech, are given to it.

    Args:
        folder: the directory to make; replaced as a whole if it is there and holds nothing else.
        lexicon: word -> its pronunciations, phones without stress marks.
    Raises:
        InputError: the folder holds other files.
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
    with atomic_dir(folder, ours=files) as temporary:
        for name, rows in files.items():
            write_lines(temporary / name, rows)


def read_lexicon(path: str | os.PathLike) -> dict[str, list[Pronunciation]]:
    """Word -> its different pronunciations without stress marks, in the file's order.

    A line is `WORD PHONE PHONE ...`; a line that begins with # is a comment.

    Raises:
        InputError: no such file, or a line without phones; names file:line.
    """
    lexicon: dict[str, list[Pronunciation]] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        word, *phones = line.split() or [""]
        if not phones:
            raise InputError(f"{path}:{number}: a line is a word and its phones, not `{line}`")
        lexicon.setdefault(word, []).append(without_stress(phones))
    return {word: list(dict.fromkeys(found)) for word, found in lexicon.items()}


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes one line per item."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def without_stress(phones: Iterable[str]) -> Pronunciation:
    """ARPAbet without stress marks: AH0 K -> AH K."""
    return tuple(phone.rstrip("012") for phone in phones)
