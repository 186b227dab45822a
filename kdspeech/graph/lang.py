"""The lang directory as an object: ours, or one made by Kaldi."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdspeech.graph.symbols import DISAMBIG, read_symbols
from kdspeech.hmm.topology import HmmTopology
from kdspeech.io.errors import InputError


@dataclass(frozen=True)
class Lang:
    """Words, phones and topology.

    Attributes:
        folder: the lang directory.
        words, phones: symbol -> id, from words.txt and phones.txt.
        oov, oov_id: the word that stands for unknown words.
        silence_phones, nonsilence_phones, disambig: phone ids, sorted.
        optional_silence: id of the phone that may come between words.
        topo: HmmTopology of all phones.
        word_boundary: phone id -> nonword, begin, end, internal or singleton; empty without
            position-dependent phones.
    """

    folder: Path
    words: dict[str, int]
    phones: dict[str, int]
    oov: str
    oov_id: int
    silence_phones: list[int]
    nonsilence_phones: list[int]
    optional_silence: int
    disambig: list[int]
    topo: HmmTopology
    word_boundary: dict[int, str]

    @property
    def L(self) -> Path:
        """Path of the lexicon's transducer."""
        return self.folder / "L.fst"

    @property
    def L_disambig(self) -> Path:
        """Path of the lexicon's transducer with disambiguation symbols."""
        return self.folder / "L_disambig.fst"

    @property
    def G(self) -> Path:
        """Path of the grammar, which is there once it was made."""
        return self.folder / "G.fst"

    @property
    def word_disambig(self) -> int:
        """Id of #0 among the words."""
        return self.words[DISAMBIG]

    def int_rows(self, name: str) -> list[list[int]]:
        """The numbers in phones/<name>.int, a list for each line: sets, extra_questions."""
        return _read_ints(self.folder / "phones" / f"{name}.int")

    def word_ids(self, words: Iterable[str]) -> np.ndarray:
        """Ids of the words of a transcript, int32; unknown words become `oov_id`."""
        return np.array([self.words.get(word, self.oov_id) for word in words], np.int32)

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Lang":
        """Reads a lang directory.

        Raises:
            InputError: a file is missing or damaged, or the files do not fit each other.
        """
        folder = Path(folder)
        words, phones = (read_symbols(folder / f"{name}.txt") for name in ("words", "phones"))
        lists = {
            name: sorted(n for row in _read_ints(folder / f"phones/{name}.int") for n in row)
            for name in ("silence", "nonsilence", "optional_silence", "disambig")
        }
        lang = cls(
            folder,
            words,
            phones,
            *_read_oov(folder, words),
            lists["silence"],
            lists["nonsilence"],
            _only(folder / "phones/optional_silence.int", lists["optional_silence"]),
            lists["disambig"],
            HmmTopology.read(folder / "topo"),
            _read_boundaries(folder / "phones/word_boundary.int"),
        )
        _check(lang)
        return lang


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason}") from error


def _read_ints(path: Path) -> list[list[int]]:
    rows = []
    for number, line in enumerate(_read_lines(path), 1):
        fields = line.split()
        if not all(field.isascii() and field.isdecimal() for field in fields):
            raise InputError(f"{path}:{number}: not a list of numbers")
        rows.append([int(field) for field in fields])
    return rows


def _only(path: Path, values: list) -> int:
    if len(values) != 1:
        raise InputError(f"{path}: should hold one number, not {len(values)}")
    return values[0]


def _read_oov(folder: Path, words: dict[str, int]) -> tuple[str, int]:
    path = folder / "oov.int"
    oov_id = _only(path, [n for row in _read_ints(path) for n in row])
    for word, number in words.items():
        if number == oov_id:
            return word, oov_id
    raise InputError(f"{path}: the word {oov_id} is not in words.txt")


def _read_boundaries(path: Path) -> dict[int, str]:
    if not path.exists():
        return {}
    boundaries = {}
    for number, line in enumerate(_read_lines(path), 1):
        phone, *kind = line.split()
        if not phone.isdecimal() or len(kind) != 1:
            raise InputError(f"{path}:{number}: not a phone and its place in the word")
        boundaries[int(phone)] = kind[0]
    return boundaries


def _check(lang: Lang) -> None:
    """The lists name phones of phones.txt, and every real phone has a topology."""
    ids = set(lang.phones.values())
    real = set(lang.silence_phones) | set(lang.nonsilence_phones)
    unknown = (real | set(lang.disambig) | {lang.optional_silence}) - ids
    if unknown:
        raise InputError(f"{lang.folder}: phone {min(unknown)} of phones/ is not in phones.txt")
    if real != set(lang.topo.phones):
        phone = min(real ^ set(lang.topo.phones))
        raise InputError(f"{lang.folder}: phone {phone} is only in topo or only in phones/*.int")
    if DISAMBIG not in lang.words:
        raise InputError(f"{lang.folder / 'words.txt'}: there is no {DISAMBIG}")
