"""LDA against the generalized eigenvalue problem that it is, solved by scipy."""

import numpy as np
import pytest
import scipy.linalg

from kdspeech.features import LdaStats, apply_affine, estimate_lda
from kdspeech.io.errors import InputError


def data(seed=0, frames=3000, dim=12, num_classes=8):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, num_classes, frames)
    mix = rng.normal(size=(dim, dim))
    x = (2 * rng.normal(size=(num_classes, dim))[classes] + rng.normal(size=(frames, dim))) @ mix
    return (x + 5).astype(np.float32), classes


def scatter(x, classes, weights):
    total = weights.sum()
    mean = weights @ x / total
    within = np.zeros((x.shape[1],) * 2)
    for c in np.unique(classes):
        own = classes == c
        y = x[own] - weights[own] @ x[own] / weights[own].sum()
        within += (y * weights[own, None]).T @ y
    y = x - mean
    return mean, within / total, ((y * weights[:, None]).T @ y - within) / total


def test_equals_the_eigenvalue_problem():
    x, classes = data()
    weights = np.random.default_rng(1).choice([0.01, 0.5, 1.0], len(x))
    found = estimate_lda(x, classes, weights=weights, dim=5, remove_offset=True)
    mean, within, between = scatter(x.astype(float), classes, weights)
    values, vectors = scipy.linalg.eigh(between, within)
    np.testing.assert_allclose(found.ratios, np.maximum(values[::-1], 0), rtol=1e-7, atol=1e-9)
    wanted = vectors.T[::-1][:5]
    wanted *= np.sign((wanted * found.matrix[:, :-1]).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.matrix[:, :-1], wanted, atol=1e-5 * np.abs(wanted).max())
    assert np.abs(apply_affine(mean[None], found.matrix)).max() < 1e-3


def test_rows_whiten_the_classes():
    x, classes = data()
    found = estimate_lda(x, classes, dim=7)
    _, within, between = scatter(
        apply_affine(x, found.matrix).astype(float), classes, np.ones(3000)
    )
    np.testing.assert_allclose(within, np.eye(7), atol=1e-3)
    np.testing.assert_allclose(between, np.diag(found.ratios[:7]), atol=2e-3 * found.ratios[0])
    scaled = estimate_lda(x, classes, dim=7, within_class_factor=0.1)
    factor = np.sqrt((0.1 + found.ratios[:7]) / (1 + found.ratios[:7]))
    np.testing.assert_allclose(scaled.matrix, found.matrix * factor[:, None], rtol=1e-4, atol=1e-6)


def test_statistics_in_pieces_and_unused_frames():
    x, classes = data()
    used = np.where(np.arange(3000) < 1000, -1, classes)
    whole = estimate_lda(x[1000:], classes[1000:], dim=4)
    parts = LdaStats(8, 12).accumulate(x[:2000], used[:2000])
    parts += LdaStats(8, 12).accumulate(x[2000:], used[2000:])
    np.testing.assert_allclose(parts.estimate(4).matrix, whole.matrix, atol=1e-6)
    with pytest.raises(InputError, match="LdaStats: counts of shape"):
        parts += LdaStats(9, 12)


def test_bad_input():
    x, classes = data(frames=100)
    with pytest.raises(InputError, match="singular; use more frames"):
        estimate_lda(x[:10], classes[:10], dim=4)
    with pytest.raises(InputError, match="singular"):
        estimate_lda(np.column_stack([x, x[:, 0]]), classes, dim=4)
    with pytest.raises(InputError, match="LDA: no frames"):
        estimate_lda(x, np.full(100, -1), dim=4)
    with pytest.raises(InputError, match="dim = 13"):
        estimate_lda(x, classes, dim=13)
    with pytest.raises(InputError, match="classes: 0 to 7, must be from 0 to 6"):
        estimate_lda(x, classes, num_classes=7, dim=4)
    with pytest.raises(InputError, match="shape .* for 100 frames"):
        estimate_lda(x, classes[1:])
