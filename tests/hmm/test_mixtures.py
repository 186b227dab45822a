"""Allocation, splitting and merging of Gaussians."""

import numpy as np
import pytest

from kdspeech.hmm import DiagGmms
from kdspeech.hmm.mixtures import merge_by_count, split_by_count, split_targets


def mixtures(sizes, dim=3, seed=0):
    rng = np.random.default_rng(seed)
    total = sum(sizes)
    weights = np.concatenate([rng.dirichlet(np.full(size, 5.0)) for size in sizes])
    means, variances = rng.normal(size=(total, dim)), rng.uniform(0.5, 2, (total, dim))
    return DiagGmms.from_moments(np.cumsum([0, *sizes]), weights, means, variances)


def targets_one_by_one(occupancies, total, power, min_count):
    """The rule as it reads: the next Gaussian goes where occupancy ** power / number is largest."""
    targets, closed = [1] * len(occupancies), set()
    while sum(targets) < total and len(closed) < len(occupancies):
        open_pdfs = [p for p in range(len(targets)) if p not in closed]
        best = max(open_pdfs, key=lambda p: occupancies[p] ** power / targets[p])
        if (targets[best] + 1) * min_count >= occupancies[best]:
            closed.add(best)
        else:
            targets[best] += 1
    return targets


@pytest.mark.parametrize("total", [3, 40, 200, 10_000])
@pytest.mark.parametrize("power", [0.2, 0.5, 1.0])
def test_targets_follow_the_rule(total, power):
    occupancies = np.random.default_rng(total).uniform(1, 3000, 30)
    found = split_targets(occupancies, total, power, 20.0)
    assert found.tolist() == targets_one_by_one(occupancies, total, power, 20.0)


def test_targets_of_few_frames():
    assert split_targets(np.array([0.0, 39.0, 41.0, 1000.0]), 5, 0.2, 20.0).tolist() == [1, 1, 1, 2]
    assert split_targets(np.array([0.0, 39.0, 41.0, 100.0]), 50, 0.2, 20.0).tolist() == [1, 1, 2, 4]


def test_whole_numbers_of_frames_are_compared_as_such():
    assert split_targets(np.array([60.000001, 61.0]), 9, 0.2, 20.0).tolist() == [2, 3]


def test_split_moves_halves_apart():
    gmms = mixtures([1, 2])
    rng = np.random.default_rng(1)
    new = split_by_count(gmms, np.array([30.0, 1e4]), 5, rng, perturb_factor=0.01)
    assert new.sizes.tolist() == [1, 4]
    np.testing.assert_array_equal(new.means_invvars[:1], gmms.means_invvars[:1])
    np.testing.assert_allclose(np.add.reduceat(new.weights, new.offsets[:-1]), 1, atol=1e-6)
    rows = slice(new.offsets[1], new.offsets[2])
    # Halves have their parent's variances and lie around its mean.
    means = np.average(new.means[rows], axis=0, weights=new.weights[rows])
    old = np.average(gmms.means[1:], axis=0, weights=gmms.weights[1:])
    np.testing.assert_allclose(means, old, atol=1e-5)
    spread = np.abs(new.means[rows][:, None] - gmms.means[None, 1:]).min(axis=1)
    assert 0 < spread.max() < 0.15


def test_split_takes_the_heaviest_first():
    gmms = DiagGmms.from_moments([0, 2], [0.7, 0.3], np.zeros((2, 1)), [[1.0], [4.0]])
    new = split_by_count(gmms, np.array([1e6]), 4, np.random.default_rng(0))
    np.testing.assert_allclose(new.weights, [0.175, 0.3, 0.35, 0.175], atol=1e-6)
    np.testing.assert_allclose(new.variances[:, 0], [1, 4, 1, 1], rtol=1e-6)


def test_merge_to_one_keeps_mean_and_variance():
    gmms = mixtures([5])
    new = merge_by_count(gmms, np.array([1000.0]), 1)
    w = gmms.weights.astype(float)
    mean = w @ gmms.means
    square = w @ (gmms.variances + gmms.means**2)
    np.testing.assert_allclose(new.weights, [1.0], rtol=1e-6)
    np.testing.assert_allclose(new.means[0], mean, atol=1e-5)
    np.testing.assert_allclose(new.variances[0], square - mean**2, rtol=1e-5)


def test_merge_joins_what_is_alike():
    means = np.array([[0.0], [10.0], [0.1], [20.0]])
    gmms = DiagGmms.from_moments([0, 4], [0.25] * 4, means, np.ones((4, 1)))
    new = merge_by_count(gmms, np.array([1e6]), 3)
    np.testing.assert_allclose(np.sort(new.means[:, 0]), [0.05, 10, 20], atol=1e-5)
    np.testing.assert_allclose(np.sort(new.weights), [0.25, 0.25, 0.5], rtol=1e-6)


def merge_loss(gmms, i, j):
    """Of two Gaussians, by the formula of the log-likelihood of a Gaussian's own data."""
    w, m, v = gmms.weights.astype(float), gmms.means, gmms.variances
    total = w[i] + w[j]
    mean = (w[i] * m[i] + w[j] * m[j]) / total
    var = (w[i] * (v[i] + m[i] ** 2) + w[j] * (v[j] + m[j] ** 2)) / total - mean**2
    return 0.5 * (total * np.log(var) - w[i] * np.log(v[i]) - w[j] * np.log(v[j])).sum()


def test_merge_takes_the_cheapest_pair():
    for seed in range(10):
        gmms = mixtures([6], seed=seed)
        pairs = {(i, j): merge_loss(gmms, i, j) for i in range(6) for j in range(i)}
        i, j = min(pairs, key=pairs.get)
        new = merge_by_count(gmms, np.array([1e6]), 5)
        kept = [g for g in range(6) if g not in (i, j)]
        for g in kept:
            assert np.any(np.all(np.isclose(new.means, gmms.means[g], atol=1e-5), axis=1))
        assert np.any(np.isclose(new.weights, gmms.weights[i] + gmms.weights[j], rtol=1e-5))
