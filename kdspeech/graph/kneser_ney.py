"""Interpolated modified Kneser-Ney smoothing, as KenLM's lmplz estimates it.

Chen & Goodman 1998, "An empirical study of smoothing techniques for language modeling", equations
(24) to (27); Heafield et al. 2013 for the corrections at the sentence's start and for unigrams,
which are interpolated with the uniform distribution over the vocabulary.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from kdspeech.graph.ngram import UNKNOWN, NgramLM, Table, log10
from kdspeech.graph.text import BOS, EOS, UNK, Lines, sentence_starts, token_stream
from kdspeech.io.errors import InputError

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the counts of counts cannot give them (lmplz --discount_fallback)."""

UNK_ID, BOS_ID, EOS_ID = range(3)


@dataclass
class _Counts:
    """One order's n-grams, sorted by key as in `Table`."""

    keys: np.ndarray
    counts: np.ndarray  # how often they occur
    endings: np.ndarray  # row of words 2 to n in the order below


def estimate(lines: Lines, order: int = 3, words: Iterable[str] | None = None) -> NgramLM:
    """Estimates a model from sentences.

    The vocabulary is the text's words, <s>, </s> and <unk>; <unk> has what the discounted
    unigrams leave to each word of the vocabulary.

    Args:
        lines: the sentences.
        order: length of the longest n-grams.
        words: the vocabulary, whatever the text has: its other words count as <unk> (or <UNK>, if
            that is in the vocabulary), words that it lacks have a probability too.
    Raises:
        InputError: no text, an order below 1, or <s>, </s> among the words; <unk> too where the
            vocabulary is the text's.
    """
    if order < 1:
        raise InputError(f"the order of a language model is at least 1, not {order}")
    ids, lookup = _vocabulary(words)
    stream = token_stream(lines, lookup, BOS_ID, EOS_ID)
    if not len(stream):
        raise InputError("no text to estimate a language model from")
    if words is None:
        _check_unknown(stream)
    levels = _count(stream, len(ids), order)
    return NgramLM(list(ids), _smooth(levels, len(ids)))


def _vocabulary(words: Iterable[str] | None) -> tuple[dict[str, int], Callable[[str], int]]:
    """Ids of words, and what gives a word's id: it grows, unless the words are given."""
    words = None if words is None else list(words)
    unk = next((name for name in UNKNOWN if name in (words or ())), UNK)
    ids = defaultdict(None, {unk: UNK_ID, BOS: BOS_ID, EOS: EOS_ID})
    ids.default_factory = ids.__len__
    if words is None:
        return ids, ids.__getitem__
    for word in words:
        ids.setdefault(word, len(ids))
    return ids, lambda word: ids.get(word, UNK_ID)


def _check_unknown(stream: np.ndarray) -> None:
    unknown = np.flatnonzero(stream == UNK_ID)
    if len(unknown):
        number = np.count_nonzero(stream[: unknown[0]] == BOS_ID)
        raise InputError(
            f"line {number} of the text: {UNK} stands among the words (it is the model's own; take "
            "it out or call unknown words otherwise)"
        )


def _count(stream: np.ndarray, size: int, order: int) -> list[_Counts]:
    """Counts the n-grams of each order by their rows in the order below."""
    rows = stream.astype(np.int64)
    levels = [_Counts(np.arange(size), np.bincount(rows, minlength=size), np.zeros(0, np.int64))]
    starts = sentence_starts(stream, BOS_ID)
    for n in range(2, order + 1):
        # rows[i] is the row of the n-1 words that begin at i, -1 where the sentence is too short
        begins = np.flatnonzero(starts[n - 1 :] == starts[: 1 - n])
        keys = rows[begins] * size + stream[begins + n - 1]
        keys, first, inverse, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        levels.append(_Counts(keys, counts, rows[begins[first] + 1]))
        rows = np.full(len(stream), -1)
        rows[begins] = inverse
    return levels


def _smooth(levels: list[_Counts], size: int) -> list[Table]:
    """Interpolates from the unigrams up, equations (24) and (25)."""
    uniform = 1.0 / (size - 1)  # over everything but <s>
    tables: list[Table] = []
    probs = np.zeros(0)
    for n, level in enumerate(levels, 1):
        contexts = level.keys // size
        discounted, gammas = _discount(_adjusted(levels, n), contexts)
        lower = probs[level.endings] if n > 1 else uniform
        probs = discounted + gammas[contexts] * lower
        if n == 1:
            probs[BOS_ID] = 1.0  # never predicted; lmplz writes the logarithm 0
        else:
            seen = np.bincount(contexts) > 0
            tables[-1].backoffs[: len(gammas)] = np.where(seen, log10(gammas), 0.0)
        tables.append(Table(level.keys, log10(probs), np.zeros(len(probs))))
    return tables


def _adjusted(levels: list[_Counts], n: int) -> np.ndarray:
    """Behind how many words an n-gram occurs; how often, at the highest order and after <s>.

    Only an n-gram that begins with <s> occurs behind no word.
    """
    counts = levels[n - 1].counts
    if n < len(levels):
        behind = np.bincount(levels[n].endings, minlength=len(counts))
        counts = np.where(behind > 0, behind, counts)
    if n == 1:
        counts = np.where(np.arange(len(counts)) == BOS_ID, 0, counts)
    return counts


def _discount(counts: np.ndarray, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Discounted relative frequencies, and the mass that every context sets free."""
    taken = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
    totals = np.bincount(contexts, counts)
    free = np.bincount(contexts, taken)
    with np.errstate(invalid="ignore"):
        gammas = np.where(totals > 0, free / totals, 0.0)
        return np.where(counts > 0, (counts - taken) / totals[contexts], 0.0), gammas


def _discounts(counts: np.ndarray) -> tuple[float, ...]:
    """D1, D2, D3+ of equation (26), or the fallback where they cannot be had."""
    n1, n2, n3, n4 = (np.count_nonzero(counts == k) for k in range(1, 5))
    if not (n1 and n2 and n3):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    in_range = all(0 <= d <= k for k, d in enumerate(found, 1))
    return found if in_range else FALLBACK
