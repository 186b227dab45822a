"""Accuracy with honest intervals: Wilson, bootstrap over utterances and seeds, paired tests.

The same test utterances are answered by every seed of every system, so utterances and seeds are
crossed. An interval that only counts utterances would call seed noise a result; one that pools
seeds as if they were new utterances would be too narrow. `utterance_replicates` and
`seed_weights` resample both (the pigeonhole bootstrap, Owen 2007), and two systems are compared
on the same resampled utterances and seeds, so what they share cancels.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

REPLICATES = 10_000
"""Bootstrap replicates: enough to know the ends of a 95 % interval to some 2 % of its width."""


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a proportion by the score test (Wilson 1927), as two fractions.

    Unlike the normal approximation it stays within [0, 1] and keeps its coverage near 100 %.
    Raises ValueError when `total` is not positive or `correct` is outside 0..total.
    """
    if total <= 0 or not 0 <= correct <= total:
        raise ValueError(f"{correct} correct of {total}: need 0 <= correct <= total, total > 0")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = correct / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact p value of McNemar's test.

    `only_a` utterances were right with system A alone, `only_b` with B alone; under the null
    hypothesis each of them is a fair coin. Without any such utterance p is 1.
    """
    discordant = only_a + only_b
    term = tail = 1  # binomial coefficients as exact integers
    for i in range(min(only_a, only_b)):
        term = term * (discordant - i) // (i + 1)
        tail += term
    return min(1.0, 2 * tail / 2**discordant)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts (num_classes, num_classes) int64: row the spoken class, column the answer."""
    cells = np.asarray(labels, dtype=np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class WordScore:
    """Precision, recall and F1 of one word in %; NaN where a word was never said or answered."""

    word: str
    count: int
    precision: float
    recall: float
    f1: float
    taken_for: str  # the most frequent wrong answer, "" when there is none


def word_scores(confusion: np.ndarray, words: list[str]) -> list[WordScore]:
    """One `WordScore` per class of a confusion matrix (rows spoken, columns answered)."""
    return [_word_score(confusion, i, words) for i in range(len(words))]


def _word_score(confusion: np.ndarray, i: int, words: list[str]) -> WordScore:
    hits, said, answered = confusion[i, i], confusion[i].sum(), confusion[:, i].sum()
    wrong = np.where(np.arange(len(confusion)) == i, 0, confusion[i])
    return WordScore(
        word=words[i],
        count=int(said),
        precision=_percent(hits, answered),
        recall=_percent(hits, said),
        f1=_percent(2 * hits, said + answered),
        taken_for=words[wrong.argmax()] if wrong.any() else "",
    )


def _percent(part: float, whole: float) -> float:
    return 100.0 * float(part) / float(whole) if whole else math.nan


def utterance_replicates(
    correct: np.ndarray, replicates: int = REPLICATES, seed: int = 0
) -> np.ndarray:
    """Means of every row over the same resampled utterances.

    `correct` is (rows, utterances), 1 where the row's system is right. Returns (rows, replicates)
    float32. All rows see the same draws: differences between rows are paired.
    """
    rows, n = correct.shape
    if n == 0:
        raise ValueError("no utterances to resample")
    values = np.ascontiguousarray(correct.T, dtype=np.float32)
    rng = np.random.default_rng(seed)
    out = np.empty((rows, replicates), dtype=np.float32)
    step = max(1, 2_000_000 // n)  # bounds the memory of the draws to tens of megabytes
    for begin in range(0, replicates, step):
        size = min(step, replicates - begin)
        draws = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(draws.ravel(), minlength=size * n).reshape(size, n)
        out[:, begin : begin + size] = (counts.astype(np.float32) @ values).T / n
    return out


def seed_weights(num_seeds: int, replicates: int = REPLICATES, seed: int = 0) -> np.ndarray:
    """Weights of the seeds in every replicate, (num_seeds, replicates), columns summing to 1.

    Draws num_seeds - 1 seeds with replacement, not num_seeds: with the two or three seeds of an
    experiment the plain bootstrap would lose a factor (K-1)/K of the variance between seeds, and
    drawing one fewer puts it back exactly (Rao & Wu 1988). One seed has weight 1 always: nothing
    is then known of the spread between seeds.
    """
    if num_seeds == 1:
        return np.ones((1, replicates), dtype=np.float32)
    rng = np.random.default_rng([seed, num_seeds])
    draws = rng.integers(0, num_seeds, size=(num_seeds - 1, replicates))
    counts = (draws[:, None, :] == np.arange(num_seeds)[None, :, None]).sum(axis=0)
    return counts.astype(np.float32) / (num_seeds - 1)


def combine_seeds(per_seed: np.ndarray) -> np.ndarray:
    """Replicates (seeds, replicates) of each seed -> (replicates,) of the mean over seeds."""
    return (per_seed * seed_weights(*per_seed.shape)).sum(axis=0)


@dataclass(frozen=True)
class Estimate:
    """Accuracy over the seeds, all in %. `spread` is the standard deviation between seeds."""

    value: float
    low: float
    high: float
    spread: float | None
    per_seed: tuple[float, ...]


def estimate(correct: np.ndarray, replicates: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Accuracy of one system from `correct` (seeds, utterances) and its replicates per seed.

    One seed: Wilson's interval. Several: percentiles of the bootstrap over utterances and seeds.
    """
    per_seed = 100.0 * correct.mean(axis=1)
    if len(correct) == 1:
        low, high = wilson_interval(int(correct.sum()), correct.shape[1], confidence)
        return Estimate(float(per_seed[0]), 100 * low, 100 * high, None, tuple(per_seed.tolist()))
    low, high = _percentiles(combine_seeds(replicates), confidence)
    spread = float(per_seed.std(ddof=1))
    return Estimate(float(per_seed.mean()), low, high, spread, tuple(per_seed.tolist()))


@dataclass(frozen=True)
class Difference:
    """System A minus system B in percentage points, paired over utterances and seeds."""

    gain: float
    low: float
    high: float
    p_better: float  # share of replicates in which A is better; a tie counts one half
    seeds: int
    seeds_better: int
    mcnemar: tuple[float, ...]  # exact p value of each seed


def difference(
    a: np.ndarray,
    b: np.ndarray,
    replicates_a: np.ndarray,
    replicates_b: np.ndarray,
    confidence: float = 0.95,
) -> Difference:
    """Compare two systems seed by seed on the same utterances.

    `a`, `b` are (seeds, utterances), row k of both being the same seed (they share a teacher, so
    it is a pair); a row may also hold the mean of several systems, values in [0, 1]. McNemar's
    test asks about one run each: it is left out where the values are such means.
    """
    delta = combine_seeds(replicates_a - replicates_b)
    gains = 100.0 * (a.mean(axis=1) - b.mean(axis=1))
    low, high = _percentiles(delta, confidence)
    return Difference(
        gain=float(gains.mean()),
        low=low,
        high=high,
        p_better=float((delta > _TIE).mean() + 0.5 * (np.abs(delta) <= _TIE).mean()),
        seeds=len(a),
        seeds_better=int((gains > 0).sum()),
        mcnemar=tuple(_mcnemar_rows(a, b)),
    )


_TIE = 1e-7  # the replicates are sums in float32: less than this is no difference


def _mcnemar_rows(a: np.ndarray, b: np.ndarray) -> list[float]:
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        return []
    return [
        mcnemar_exact(int((x > y).sum()), int((x < y).sum())) for x, y in zip(a, b, strict=True)
    ]


def _percentiles(fractions: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = 50.0 * (1 - confidence)
    low, high = 100.0 * np.percentile(fractions, [tail, 100 - tail])
    return float(low), float(high)
