"""New models from old ones: entropy pruning, and the mixture of two models."""

from dataclasses import replace

import numpy as np

from kdspeech.graph.ngram import NgramLM, Table, log10
from kdspeech.graph.text import Lines
from kdspeech.io.errors import InputError

TINY = 1e-12
"""What rounding leaves of a probability mass that is zero."""


def prune(lm: NgramLM, threshold: float) -> NgramLM:
    """Drops n-grams whose loss raises the perplexity by less than `threshold`, relatively.

    Stolcke 1998, "Entropy-based pruning of backoff language models", from the longest n-grams
    down; the context of an n-gram that stays, stays. Histories weigh what the model itself says
    of them, which is rough with Kneser-Ney: it loses more at the same size than other smoothing
    does (Chelba et al. 2010, "Study on interaction between entropy pruning and Kneser-Ney
    smoothing").

    Args:
        lm: is left as it is.
        threshold: as SRILM's -prune; 1e-8 to 1e-6 is usual. 1-grams always stay.
    """
    if not threshold >= 0:
        raise InputError(f"the threshold of pruning is 0 or more, not {threshold}")
    tables, histories = [replace(table) for table in lm.tables], _history_probs(lm)
    for n in range(lm.order, 1, -1):
        keep = perplexity_rise(lm, n, histories[n - 1]) >= threshold
        if n < lm.order:
            keep[tables[n].keys // len(lm.words)] = True
            tables[n] = _move_contexts(tables[n], keep, len(lm.words))
        tables[n - 1] = lm.tables[n - 1].take(keep)
    return renormalise(NgramLM(lm.words, tables))


def perplexity_rise(lm: NgramLM, order: int, histories: np.ndarray) -> np.ndarray:
    """By what part the perplexity rises when an n-gram, alone, is dropped; for all of one order.

    `histories` are the probabilities of the contexts, by row of the table below.
    """
    table = lm.tables[order - 1]
    contexts = table.keys // len(lm.words)
    own, lower, left, lower_left = _masses(lm, order)
    backoff = (left[contexts] + own) / (lower_left[contexts] + lower)
    old = 10 ** lm.tables[order - 2].backoffs[contexts]
    with np.errstate(divide="ignore", invalid="ignore"):
        changes = own * np.log(lower * backoff / own)
        elsewhere = left[contexts] * np.log(backoff / old)
    return np.expm1(-histories[contexts] * (changes + np.nan_to_num(elsewhere)))


def _history_probs(lm: NgramLM) -> list[np.ndarray]:
    """Probabilities of the histories of every length, by row; <s> is sure to stand first."""
    probs = [np.ones(1)]
    for n, table in enumerate(lm.tables[:-1], 1):
        probs.append(probs[-1][table.keys // len(lm.words)] * 10**table.log_probs)
        if n == 1:
            probs[1][lm.bos] = 1.0
    return probs


def _masses(lm: NgramLM, order: int) -> tuple[np.ndarray, ...]:
    """P(w | h) and P(w | shorter h) of all n-grams of an order, and what each h has left of both.

    What is left of the whole mass is given by row of the table below.
    """
    table, below = lm.tables[order - 1], len(lm.tables[order - 2])
    contexts = table.keys // len(lm.words)
    own = 10**table.log_probs
    lower = 10 ** lm.score(lm.expand(order)[:, 1:])
    left, lower_left = (1 - np.bincount(contexts, p, minlength=below) for p in (own, lower))
    return own, lower, np.maximum(left, 0.0), np.maximum(lower_left, 0.0)


def _move_contexts(table: Table, keep: np.ndarray, size: int) -> Table:
    """The table after the one below kept only `keep` of its rows."""
    contexts, words = np.divmod(table.keys, size)
    places = np.cumsum(keep) - 1
    return Table(places[contexts] * size + words, table.log_probs, table.backoffs)


def renormalise(lm: NgramLM) -> NgramLM:
    """Sets the model's backoffs so that every history's probabilities sum to one; returns it."""
    for n in range(2, lm.order + 1):
        _, _, left, lower_left = _masses(lm, n)
        used = lower_left > TINY
        ratio = np.where(used, left / np.where(used, lower_left, 1.0), 1.0)
        lm.tables[n - 2].backoffs = log10(ratio)
    return lm


def interpolate(first: NgramLM, second: NgramLM, weight: float) -> NgramLM:
    """The model weight * first + (1 - weight) * second, for the n-grams of either, backed off.

    A word that only one model knows has what that model gives it, times its weight. The order
    is that of the longer model.

    Raises:
        InputError: a weight that is not between 0 and 1.
    """
    if not 0 < weight < 1:
        raise InputError(f"the weight of the first model is between 0 and 1, not {weight}")
    words = list(dict.fromkeys([*first.words, *second.words]))
    mixed = NgramLM(words, [])
    for n in range(1, max(first.order, second.order) + 1):
        keys = [_keys(mixed, lm, n) for lm in (first, second) if n <= lm.order]
        keys = np.unique(np.concatenate(keys))
        mixed.tables.append(Table(keys, np.zeros(len(keys)), np.zeros(len(keys))))
        ngrams = mixed.expand(n)
        probs = weight * _probs(mixed, first, ngrams) + (1 - weight) * _probs(mixed, second, ngrams)
        mixed.tables[-1].log_probs = log10(probs)
    mixed.tables[0].log_probs[mixed.bos] = 0.0
    return renormalise(mixed)


def _keys(mixed: NgramLM, lm: NgramLM, n: int) -> np.ndarray:
    """Keys that the n-grams of a model have in the mixture's table."""
    ngrams = np.array([mixed.ids[word] for word in lm.words])[lm.expand(n)]
    return mixed.find(ngrams[:, :-1]) * len(mixed.words) + ngrams[:, -1]


def _probs(mixed: NgramLM, lm: NgramLM, ngrams: np.ndarray) -> np.ndarray:
    """What a model gives to n-grams in the mixture's ids; 0 to words that it lacks."""
    ids = np.array([lm.ids.get(word, -1) for word in mixed.words])
    return np.nan_to_num(10 ** lm.score(ids[ngrams][:, -lm.order :]))


def best_weight(first: NgramLM, second: NgramLM, lines: Lines, tolerance: float = 1e-5) -> float:
    """The weight of the first model that makes a text likeliest, by EM (Jelinek & Mercer 1980).

    Words that neither model knows are left out. A model that does not help keeps a thousandth,
    so that none of its words is lost.
    """
    lines = list(lines)
    both = [_known_probs(lm, lines) for lm in (first, second)]
    a, b = (p[(both[0] > 0) | (both[1] > 0)] for p in both)
    if not len(a):
        raise InputError("no text to find the weight of the models with")
    weight, step = 0.5, 1.0
    while step > tolerance:
        shares = weight * a / (weight * a + (1 - weight) * b)
        step, weight = abs(shares.mean() - weight), shares.mean()
    return float(np.clip(weight, 1e-3, 1 - 1e-3))


def _known_probs(lm: NgramLM, lines: Lines) -> np.ndarray:
    scores, unknown = lm.token_log_probs(lines)
    return np.where(unknown, 0.0, np.exp(scores))
