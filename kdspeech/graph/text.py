"""Text for language models as one stream of word ids: <s> w1 ... wm </s> <s> ..."""

import gzip
import os
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from kdspeech.io.errors import InputError

BOS, EOS, UNK = "<s>", "</s>", "<unk>"

Lines = Iterable[str | Sequence[str]]
"""Sentences, as text or as sequences of words."""


def token_stream(lines: Lines, lookup: Callable[[str], int], bos: int, eos: int) -> np.ndarray:
    """All sentences, each between <s> and </s>, as int32 ids.

    Args:
        lines: the sentences.
        lookup: gives a word's id.
        bos, eos: the ids of <s> and </s>.
    Raises:
        InputError: a line that has <s> or </s> as a word; names the line from 1.
    """
    stream, starts = array("i"), array("q")
    for line in lines:
        starts.append(len(stream))
        stream.append(bos)
        stream.extend(map(lookup, line.split() if isinstance(line, str) else line))
        stream.append(eos)
    ids = np.array(stream, dtype=np.int32)
    special = np.add.reduceat((ids == bos) | (ids == eos), starts, dtype=int) if starts else []
    wrong = np.flatnonzero(np.not_equal(special, 2))
    if len(wrong):
        raise InputError(
            f"line {wrong[0] + 1} of the text: {BOS} or {EOS} stands among the words (take it out: "
            "every line is a sentence)"
        )
    return ids


def sentence_starts(ids: np.ndarray, bos: int) -> np.ndarray:
    """For every token of a stream the place of its sentence's <s>."""
    return np.maximum.accumulate(np.where(ids == bos, np.arange(len(ids)), 0))


def windows(ids: np.ndarray, bos: int, width: int) -> np.ndarray:
    """The predicted tokens of a stream with the words before them.

    Returns:
        int32 (tokens but <s>, width): the last column is the token, -1 stands before <s>.
    """
    ends = np.flatnonzero(ids != bos)
    starts = sentence_starts(ids, bos)[ends]
    places = ends[:, None] - np.arange(width)[::-1]
    return np.where(places >= starts[:, None], ids[places], -1).astype(np.int32)


def read_sentences(paths: Iterable[str | os.PathLike], keyed: bool = False) -> Iterator[str]:
    """The lines of text files (.gz too), without the key that begins each where `keyed`.

    Raises:
        InputError: a file that is missing, damaged or not UTF-8.
    """
    for path in paths:
        try:
            with _open(path) as file:
                for line in file:
                    yield line.partition(" ")[2] if keyed else line
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not text in UTF-8 ({error.reason})") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{path}: damaged: {error}") from None


def _open(path: str | os.PathLike):
    opener = gzip.open if str(path).endswith(".gz") else open
    return opener(path, "rt", encoding="utf-8")


def read_vocabulary(path: str | os.PathLike) -> list[str]:
    """The first words of a file's lines, as of words.txt, without its symbols that are no words."""
    words = (line.split(None, 1)[0] for line in read_sentences([path]) if line.strip())
    return [word for word in words if word not in ("<eps>", BOS, EOS) and word[0] != "#"]
