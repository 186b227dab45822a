"""The dictionary directory: words, their pronunciations, and the phones there are."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kdspeech.io.errors import InputError
from kdspeech.io.tables import iter_table

RESERVED = {"<s>", "</s>", "<eps>", "#0"}
"""Symbols that have a meaning of their own and cannot be words."""


class Pronunciation(NamedTuple):
    word: str
    prob: float
    phones: tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """Words and phones, as a dictionary directory holds them.

    Attributes:
        entries: the pronunciations, in the file's order.
        silence, nonsilence: the lists of phones; phones of one line share a root of the tree.
        optional_silence: the phone that may stand between words.
        extra_questions: sets of phones that the tree may ask for besides those it finds.
    """

    entries: list[Pronunciation]
    silence: list[list[str]]
    nonsilence: list[list[str]]
    optional_silence: str
    extra_questions: list[list[str]]

    @property
    def words(self) -> list[str]:
        """The words, sorted as in the C locale."""
        return sorted({entry.word for entry in self.entries})

    @property
    def phones(self) -> list[str]:
        """All phones, those of silence first."""
        return [phone for line in self.silence + self.nonsilence for phone in line]

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Lexicon":
        """Reads a dictionary directory.

        It holds lexicon.txt (`WORD PHONE PHONE ...` a line) or lexiconp.txt (`WORD PROBABILITY
        PHONE ...`) or both in agreement, silence_phones.txt, nonsilence_phones.txt,
        optional_silence.txt, and perhaps extra_questions.txt.

        Raises:
            InputError: a file is missing or not as it should be, a word has no pronunciation, a
                phone is not in the lists; names file:line. Also where there is a
                lexiconp_silprob.txt, whose probabilities of silence would be lost.
        """
        folder = Path(folder)
        _refuse_silprob(folder / "lexiconp_silprob.txt")
        silence = _read_phone_lists(folder / "silence_phones.txt")
        nonsilence = _read_phone_lists(folder / "nonsilence_phones.txt")
        _check_disjoint(folder, silence, nonsilence)
        known = {phone for line in silence + nonsilence for phone in line}
        lexicon = cls(
            _read_entries(folder, known),
            silence,
            nonsilence,
            _read_optional_silence(folder / "optional_silence.txt", silence),
            _read_questions(folder / "extra_questions.txt", known),
        )
        if not lexicon.entries:
            raise InputError(f"{folder}: the lexicon holds no word")
        return lexicon


def _refuse_silprob(path: Path) -> None:
    if path.exists():
        raise InputError(
            f"{path}: probabilities of silence by word are not supported (make the lang directory "
            "with Kaldi's prepare_lang.sh, which can be used here, or take the file away)"
        )


def _read_phone_lists(path: Path) -> list[list[str]]:
    lines, seen = [], set()
    for number, first, rest in iter_table(path, empty_values=True):
        lines.append([first, *rest.split()])
        for phone in lines[-1]:
            if phone in seen:
                raise InputError(f"{path}:{number}: the phone {phone} stands there twice")
            if phone in RESERVED or phone.startswith("#"):
                raise InputError(f"{path}:{number}: {phone} cannot be the name of a phone")
            seen.add(phone)
    if not lines:
        raise InputError(f"{path}: no phone in it")
    return lines


def _check_disjoint(folder: Path, silence: list[list[str]], nonsilence: list[list[str]]) -> None:
    both = {p for line in silence for p in line} & {p for line in nonsilence for p in line}
    if both:
        names = " ".join(sorted(both))
        raise InputError(f"{folder}: phones of silence_phones.txt and of the others: {names}")


def _read_optional_silence(path: Path, silence: list[list[str]]) -> str:
    phones = [(phone, rest) for _, phone, rest in iter_table(path, empty_values=True)]
    if len(phones) != 1 or phones[0][1]:
        raise InputError(f"{path}: should hold one phone")
    if not any(phones[0][0] in line for line in silence):
        raise InputError(f"{path}:1: the phone {phones[0][0]} is not in silence_phones.txt")
    return phones[0][0]


def _read_questions(path: Path, known: set[str]) -> list[list[str]]:
    if not path.exists():
        return []
    questions = []
    for number, first, rest in iter_table(path, empty_values=True):
        questions.append([first, *rest.split()])
        _check_known(path, number, questions[-1], known)
    return questions


def _check_known(path: Path, number: int, phones, known: set[str]) -> None:
    for phone in phones:
        if phone not in known:
            raise InputError(
                f"{path}:{number}: the phone {phone} is in neither silence_phones.txt nor "
                "nonsilence_phones.txt (add it there, or correct the line)"
            )


def _read_entries(folder: Path, known: set[str]) -> list[Pronunciation]:
    plain, weighted = folder / "lexicon.txt", folder / "lexiconp.txt"
    if not weighted.exists():
        return list(_entries(plain, known, with_prob=False))
    entries = list(_entries(weighted, known, with_prob=True))
    if plain.exists():
        _check_agree(plain, list(_entries(plain, known, with_prob=False)), weighted, entries)
    return entries


def _entries(path: Path, known: set[str], with_prob: bool) -> Iterator[Pronunciation]:
    seen = set()
    for number, word, rest in iter_table(path, empty_values=True):
        phones = rest.split()
        prob = _parse_prob(path, number, phones) if with_prob else 1.0
        if word in RESERVED:
            raise InputError(f"{path}:{number}: {word} cannot be a word")
        if not phones:
            raise InputError(f"{path}:{number}: the word {word} has no pronunciation")
        _check_known(path, number, phones, known)
        entry = Pronunciation(word, prob, tuple(phones))
        if (word, entry.phones) in seen:
            raise InputError(f"{path}:{number}: {word} {rest} came before (remove one)")
        seen.add((word, entry.phones))
        yield entry


def _parse_prob(path: Path, number: int, fields: list[str]) -> float:
    """Takes the probability off the front of the fields after the word."""
    try:
        prob = float(fields.pop(0))
    except (ValueError, IndexError):
        prob = 0.0
    if not 0 < prob <= 1:
        raise InputError(f"{path}:{number}: the word should be followed by a probability in (0, 1]")
    return prob


def _check_agree(plain: Path, rows, weighted: Path, entries) -> None:
    a, b = ({(entry.word, entry.phones) for entry in some} for some in (rows, entries))
    if a != b:
        word, phones = min(a ^ b)
        owner = plain if (word, phones) in a else weighted
        raise InputError(
            f"{owner}: only this of {plain.name} and {weighted.name} has `{word} "
            f"{' '.join(phones)}` (remove the one that is out of date)"
        )
