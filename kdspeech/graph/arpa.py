"""ARPA files: any back-off model in, ours out."""

import gzip
import os
import re
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from kdspeech.graph.ngram import LOG_ZERO, NgramLM, Table
from kdspeech.graph.text import BOS, EOS
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

GZIP_LEVEL = 5
"""4 % larger than the highest level's file, five times as fast."""

ROUNDING = 1e-4
"""How far above 0 a log probability may be: what rounding in other tools leaves."""


def write_arpa(lm: NgramLM, path: str | os.PathLike) -> None:
    """Writes a model, whole or not at all; compressed where `path` ends in .gz."""
    with atomic_path(path) as temporary, _open(temporary) as file:
        file.write("\\data\\\n")
        file.writelines(f"ngram {n}={len(table)}\n" for n, table in enumerate(lm.tables, 1))
        for n in range(1, lm.order + 1):
            file.write(f"\n\\{n}-grams:\n")
            file.writelines(_section(lm, n))
        file.write("\n\\end\\\n")


def _open(path):
    how = {"mode": "wt", "encoding": "utf-8", "newline": "\n"}
    if str(path).endswith(".gz"):
        return gzip.open(path, compresslevel=GZIP_LEVEL, **how)
    return open(path, **how)


def _section(lm: NgramLM, n: int) -> Iterator[str]:
    table = lm.tables[n - 1]
    names = np.array(lm.words, dtype=object)
    columns = [names[column] for column in lm.expand(n).T]
    words = [" ".join(row) for row in zip(*columns, strict=True)]
    log_probs = table.log_probs.tolist()
    if n == lm.order:
        return (f"{p:.8g}\t{w}\n" for p, w in zip(log_probs, words, strict=True))
    rows = zip(log_probs, words, table.backoffs.tolist(), strict=True)
    return (f"{p:.8g}\t{w}\t{b:.8g}\n" for p, w, b in rows)


@dataclass
class _Section:
    """The n-grams of one order as they stand in the file."""

    ngrams: np.ndarray  # word ids, (n-grams, order)
    log_probs: np.ndarray
    backoffs: np.ndarray
    lines: np.ndarray  # line numbers, 0 for an n-gram that the file implies

    def take(self, rows: np.ndarray) -> "_Section":
        return _Section(*(getattr(self, f.name)[rows] for f in fields(self)))

    def add(self, ngrams: np.ndarray) -> "_Section":
        """With n-grams whose probability is still to be found."""
        new = (np.full(len(ngrams), np.nan), np.zeros(len(ngrams)), np.zeros(len(ngrams), int))
        old = (self.log_probs, self.backoffs, self.lines)
        columns = (np.concatenate(pair) for pair in zip(old, new, strict=True))
        return _Section(np.concatenate((self.ngrams, ngrams)), *columns)


class _Lines:
    """Lines of a file as bytes; knows where it is."""

    def __init__(self, path, file):
        self.path, self.number = path, 0
        self._file = file

    def __iter__(self):
        for line in self._file:
            self.number += 1
            yield line

    def next_full(self) -> bytes:
        """The next line that is not blank, stripped; empty at the end of the file."""
        return next(filter(None, map(bytes.strip, self)), b"")

    def error(self, message: str, number: int | None = None) -> InputError:
        return InputError(f"{self.path}:{number or self.number}: {message}")


def read_arpa(path: str | os.PathLike) -> NgramLM:
    """Reads a model of any order from an ARPA file, also from a compressed one (.gz).

    A missing backoff is 0. N-grams with <s> behind another word or </s> before one, which nothing
    can match, are left out. A context that has no n-gram of its own (after pruning by hand) is
    added with the probability that the model gives it by backing off.

    Raises:
        InputError: anything else that is not as it should be; names the file and line.
    """
    try:
        with _open_bytes(path) as file:
            return _read(_Lines(path, file))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged: {error}") from None


def _open_bytes(path):
    return gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")


def _read(lines: _Lines) -> NgramLM:
    counts, line = _read_counts(lines)
    words: dict[bytes, int] = {}
    sections = []
    for n, count in enumerate(counts, 1):
        if line != b"\\%d-grams:" % n:
            raise lines.error(f"here should stand \\{n}-grams:, not {_show(line)}")
        section, line = _read_section(lines, n, count, words)
        sections.append(section)
    if line != b"\\end\\":
        raise lines.error(f"here should stand \\end\\, not {_show(line)}")
    names = _decode(lines, words, sections[0])
    for name in (BOS, EOS):
        if name not in names:
            raise InputError(f"{lines.path}: there is no 1-gram {name}")
    return _fill(_build(lines, names, [_drop_unmatched(s, names) for s in sections]))


def _show(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "replace")) if line else "the end of the file"


def _read_counts(lines: _Lines) -> tuple[list[int], bytes]:
    """The counts under \\data\\ and the line after them."""
    if not any(line.strip() == b"\\data\\" for line in lines):
        raise InputError(f"{lines.path}: no \\data\\: not an ARPA file")
    counts: list[int] = []
    while True:
        line = lines.next_full()
        match = re.fullmatch(rb"ngram\s+(\d+)\s*=\s*(\d+)", line)
        if not match:
            break
        counts.append(int(match[2]))
        if int(match[1]) != len(counts):
            raise lines.error(f"here should stand the count of {len(counts)}-grams")
    if not counts:
        raise lines.error("no line like `ngram 1=1000` under \\data\\")
    return counts, line


def _read_section(
    lines: _Lines, n: int, count: int, words: dict[bytes, int]
) -> tuple[_Section, bytes]:
    """The n-grams up to a blank line or a keyword, and the keyword. 1-grams fill `words`."""
    log_probs, backoffs, ids = array("d"), array("d"), array("i")
    first, line = lines.number + 1, b""
    lookup = words.__getitem__ if n > 1 else lambda word: words.setdefault(word, len(words))
    for line in lines:
        parts = line.split()
        if not parts or line.startswith(b"\\"):
            break
        try:
            log_probs.append(float(parts[0]))
            ids.extend(map(lookup, parts[1 : n + 1]))
            backoffs.append(float(parts[n + 1]) if len(parts) > n + 1 else 0.0)
        except (ValueError, KeyError) as error:
            raise lines.error(_complaint(parts, n, error)) from None
        if not n < len(parts) < n + 3:
            raise lines.error(_complaint(parts, n, None))
    else:
        line = b""
    if len(log_probs) != count:
        found = len(log_probs)
        raise lines.error(f"ends the {n}-grams: there are {found}, {count} were promised")
    ngrams = np.array(ids, dtype=np.int64).reshape(-1, n)
    numbers = first + np.arange(len(ngrams))
    section = _Section(ngrams, np.array(log_probs), np.array(backoffs), numbers)
    _check_values(lines, section)
    return section, line.strip() or lines.next_full()


def _complaint(parts: list[bytes], n: int, error: Exception | None) -> str:
    if isinstance(error, KeyError):
        return f"the word {_show(error.args[0])} has no 1-gram"
    text = _show(b" ".join(parts))
    return f"not a probability, {n} words and perhaps a backoff: {text}"


def _check_values(lines: _Lines, section: _Section) -> None:
    """-inf becomes -99; a number that is no log probability is an error."""
    log_probs, backoffs = section.log_probs, section.backoffs
    log_probs[log_probs == -np.inf] = LOG_ZERO
    backoffs[backoffs == -np.inf] = LOG_ZERO
    wrong = np.flatnonzero(~(log_probs <= ROUNDING) | ~(backoffs < np.inf))
    if len(wrong):
        values = f"{log_probs[wrong[0]]:g} and {backoffs[wrong[0]]:g}"
        message = f"no log10 probability and backoff: {values}"
        raise lines.error(message, int(section.lines[wrong[0]]))


def _decode(lines: _Lines, words: dict[bytes, int], unigrams: _Section) -> list[str]:
    if len(words) < len(unigrams.lines):
        fresh = np.unique(unigrams.ngrams[:, 0], return_index=True)[1]
        again = np.setdiff1d(np.arange(len(unigrams.lines)), fresh)[0]
        raise lines.error("this 1-gram came before", int(unigrams.lines[again]))
    names = []
    for word, number in zip(words, unigrams.lines.tolist(), strict=True):
        try:
            names.append(word.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise lines.error(f"not UTF-8 text: {error.reason}", number) from None
    return names


def _drop_unmatched(section: _Section, names: list[str]) -> _Section:
    bos, eos = names.index(BOS), names.index(EOS)
    ngrams = section.ngrams
    wrong = (ngrams[:, 1:] == bos).any(axis=1) | (ngrams[:, :-1] == eos).any(axis=1)
    return section.take(~wrong)


def _build(lines: _Lines, names: list[str], sections: list[_Section]) -> NgramLM:
    """Sorts the sections into tables; starts again after adding contexts that are missing."""
    lm = NgramLM(names, [])
    for n, section in enumerate(sections, 1):
        contexts = lm.find(section.ngrams[:, :-1])
        if (contexts < 0).any():
            implied = np.unique(section.ngrams[contexts < 0, :-1], axis=0)
            sections[n - 2] = sections[n - 2].add(implied)
            return _build(lines, names, sections)
        keys = contexts * len(names) + section.ngrams[:, -1]
        order = np.argsort(keys, kind="stable")
        keys, section = keys[order], section.take(order)
        again = np.flatnonzero(keys[1:] == keys[:-1])
        if len(again):
            raise lines.error(f"this {n}-gram came before", int(section.lines[again[0] + 1]))
        lm.tables.append(Table(keys, section.log_probs, section.backoffs))
    return lm


def _fill(lm: NgramLM) -> NgramLM:
    """Gives implied n-grams the probability they have without being there."""
    for n, table in enumerate(lm.tables, 1):
        implied = np.flatnonzero(np.isnan(table.log_probs))
        if len(implied):
            below = lm.tables[n - 2].backoffs[table.keys[implied] // len(lm.words)]
            table.log_probs[implied] = below + lm.score(lm.expand(n, implied)[:, 1:])
    return lm
