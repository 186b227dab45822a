import math

import numpy as np
import pytest
from scipy import stats

from kdspeech.report.accuracy import (
    combine_seeds,
    confusion_matrix,
    difference,
    estimate,
    mcnemar_exact,
    seed_weights,
    utterance_replicates,
    wilson_interval,
    word_scores,
)


@pytest.mark.parametrize("correct,total", [(0, 5), (5, 5), (431, 450), (1, 100), (4012, 4890)])
def test_wilson_equals_scipy(correct, total):
    expected = stats.binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson_interval(correct, total) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("correct,total", [(1, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_counts_that_cannot_be(correct, total):
    with pytest.raises(ValueError, match="need 0 <= correct <= total"):
        wilson_interval(correct, total)


@pytest.mark.parametrize("a,b", [(0, 0), (3, 3), (10, 2), (2, 10), (0, 12), (900, 1100)])
def test_mcnemar_equals_binomial_test(a, b):
    expected = stats.binomtest(a, a + b).pvalue if a + b else 1.0
    assert mcnemar_exact(a, b) == pytest.approx(expected, rel=1e-9)


def test_confusion_counts_rows_as_spoken():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_word_scores_by_hand():
    yes, no, never = word_scores(np.array([[8, 2, 0], [1, 9, 0], [0, 0, 0]]), ["yes", "no", "up"])
    assert (yes.count, yes.recall, yes.taken_for) == (10, 80.0, "no")
    assert yes.precision == pytest.approx(100 * 8 / 9)
    assert no.f1 == pytest.approx(100 * 18 / 21)
    assert math.isnan(never.recall) and math.isnan(never.precision) and never.taken_for == ""


def test_replicates_are_paired_and_reproducible():
    correct = (np.random.default_rng(0).random((1, 300)) < 0.8).astype(float)
    both = utterance_replicates(np.concatenate([correct, correct]), 500)
    assert np.array_equal(both[0], both[1])
    assert np.array_equal(both[:1], utterance_replicates(correct, 500))
    assert both.mean() == pytest.approx(correct.mean(), abs=0.01)


def test_replicates_have_the_binomial_error():
    correct = np.repeat([1.0, 0.0], [320, 80])[None]
    spread = utterance_replicates(correct, 4000).std()
    assert spread == pytest.approx(math.sqrt(0.8 * 0.2 / 400), rel=0.06)


def test_no_utterances_is_an_error():
    with pytest.raises(ValueError, match="no utterances"):
        utterance_replicates(np.zeros((2, 0)))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seed_weights_keep_the_variance_between_seeds(seeds):
    """Drawing one seed fewer makes the bootstrap variance of a mean unbiased: s^2 / K."""
    values = np.random.default_rng(1).normal(size=seeds)
    weights = seed_weights(seeds, 40_000)
    assert weights.sum(axis=0) == pytest.approx(1.0)
    assert (values @ weights).var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.05)


def test_interval_over_seeds_covers_the_truth():
    """Utterances and seeds both vary; 95 % intervals should cover about 95 % of the time."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        easy = rng.normal(1.2, 1.0, 250)
        quality = rng.normal(0, 0.25, 3)
        chance = 1 / (1 + np.exp(-(easy + quality[:, None])))
        correct = (rng.random(chance.shape) < chance).astype(np.float32)
        got = estimate(correct, utterance_replicates(correct, 300))
        covered += got.low <= 100 * _TRUTH <= got.high
    assert covered / 200 > 0.88


_z = np.random.default_rng(3).normal(1.2, math.hypot(1.0, 0.25), 400_000)
_TRUTH = float(np.mean(1 / (1 + np.exp(-_z))))


def test_one_seed_has_wilson_and_no_spread():
    correct = np.repeat([1.0, 0.0], [90, 10])[None]
    got = estimate(correct, utterance_replicates(correct, 100))
    assert (got.low, got.high) == pytest.approx([100 * x for x in wilson_interval(90, 100)])
    assert got.spread is None and got.per_seed == (90.0,)


def test_several_seeds_have_mean_and_spread():
    correct = np.zeros((3, 100), dtype=np.float32)
    for row, count in zip(correct, (80, 84, 88), strict=True):
        row[:count] = 1
    got = estimate(correct, utterance_replicates(correct, 2000))
    assert (got.value, got.spread) == pytest.approx((84.0, 4.0))
    assert got.low < 84 < got.high


def _compare(a, b):
    both = utterance_replicates(np.concatenate([a, b]), 2000)
    return difference(a, b, both[: len(a)], both[len(a) :])


def test_equal_systems_are_a_tie():
    a = (np.random.default_rng(4).random((2, 200)) < 0.9).astype(np.float32)
    got = _compare(a, a.copy())
    assert (got.gain, got.low, got.high, got.p_better, got.seeds_better) == (0, 0, 0, 0.5, 0)
    assert got.mcnemar == (1.0, 1.0)


def test_paired_difference_is_sharper_than_the_intervals():
    b = (np.random.default_rng(5).random((3, 400)) < 0.8).astype(np.float32)
    a = b.copy()
    a[:, :40] = 1.0
    got = _compare(a, b)
    assert got.low > 0 and got.p_better > 0.99 and got.seeds_better == 3
    assert got.gain == pytest.approx(100 * (a.mean() - b.mean()), abs=1e-4)
    assert all(p < 0.05 for p in got.mcnemar)


def test_gain_of_one_seed_only_is_not_clear():
    """One seed gains eight points, two lose a little: the seeds must widen the interval."""
    b = np.repeat([[1.0, 0.0]], 3, axis=0).repeat(200, axis=1).astype(np.float32)
    a = b.copy()
    a[0, 200:232] = 1.0
    a[1:, 196:200] = 0.0
    got = _compare(a, b)
    assert got.gain > 1 and got.low < 0 < got.high and got.seeds_better == 1


def test_mcnemar_is_left_out_for_means_of_systems():
    a = np.full((1, 10), 0.5)
    assert _compare(a, np.ones((1, 10))).mcnemar == ()


def test_combine_one_seed_is_that_seed():
    rows = np.random.default_rng(6).random((1, 50)).astype(np.float32)
    assert np.array_equal(combine_seeds(rows), rows[0])
