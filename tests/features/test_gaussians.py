"""Log-likelihoods and statistics of Gaussian mixtures, against their definitions in doubles."""

import numpy as np
import pytest
from mixtures import gaussian_posteriors, pdf_log_likelihoods, random_frames, random_gmms

from kdspeech.features import (
    Gaussians,
    Posteriors,
    accumulate_gmms,
    log_likelihoods,
    simd_variants,
)
from kdspeech.io.errors import InputError


def zeros(gmms, dim):
    count = len(gmms.gconsts)
    return np.zeros(count), np.zeros((count, dim)), np.zeros((count, dim))


@pytest.mark.parametrize("variant", simd_variants())
@pytest.mark.parametrize("frames, pdfs, dim", [(1, 1, 1), (47, 5, 13), (200, 40, 39), (97, 3, 40)])
def test_log_likelihoods(monkeypatch, variant, frames, pdfs, dim):
    monkeypatch.setenv("KDSPEECH_SIMD", variant)
    rng = np.random.default_rng(frames)
    gmms = random_gmms(rng, pdfs, dim)
    features, _ = random_frames(rng, gmms, frames)
    wanted = pdf_log_likelihoods(gmms, features)
    np.testing.assert_allclose(log_likelihoods(features, gmms), wanted, rtol=1e-5, atol=1e-4)
    some = rng.integers(0, pdfs, 7)
    found = log_likelihoods(features, gmms, some, num_threads=3)
    np.testing.assert_allclose(found, wanted[:, some], rtol=1e-5, atol=1e-4)


def test_one_mixture_with_very_many_gaussians():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(3000, 5))
    gmms = Gaussians.of([0, 3000], np.full(3000, 1 / 3000), means, np.full(means.shape, 0.1))
    features = rng.normal(size=(20, 5)).astype(np.float32)
    found = log_likelihoods(features, gmms)
    np.testing.assert_allclose(found, pdf_log_likelihoods(gmms, features), rtol=1e-5, atol=1e-4)


def test_a_gaussian_without_weight_changes_nothing():
    rng = np.random.default_rng(0)
    gmms = random_gmms(rng, 1, 3, max_gaussians=1)
    parts = [np.concatenate([part, part]) for part in gmms[1:]]
    parts[0][1] = -np.inf
    features = rng.normal(size=(5, 3)).astype(np.float32)
    found = log_likelihoods(features, Gaussians(np.array([0, 2], np.int32), *parts))
    np.testing.assert_allclose(found, log_likelihoods(features, gmms), atol=1e-5)


@pytest.mark.parametrize("variant", simd_variants())
@pytest.mark.parametrize("num_threads", [1, 4])
def test_statistics(monkeypatch, variant, num_threads):
    monkeypatch.setenv("KDSPEECH_SIMD", variant)
    rng = np.random.default_rng(1)
    gmms = random_gmms(rng, 7, 13)
    features, pdfs = random_frames(rng, gmms, 500)
    weights = rng.choice([0.0, 0.01, 1.0], 500).astype(np.float32)
    other = rng.normal(size=(500, 6)).astype(np.float32)
    occupancy, x, x2 = zeros(gmms, 6)
    log_like = accumulate_gmms(
        features, pdfs, gmms, occupancy, x, x2, weights=weights, summed=other,
        num_threads=num_threads,
    )  # fmt: skip
    shares = gaussian_posteriors(gmms, features, pdfs) * weights[:, None]
    wanted = pdf_log_likelihoods(gmms, features)[np.arange(500), pdfs] @ weights
    assert log_like == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_allclose(occupancy, shares.sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(x, shares.T @ other, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(x2, shares.T @ other.astype(float) ** 2, rtol=1e-4, atol=1e-3)


def test_posteriors_are_an_alignment_with_several_pdfs_a_frame():
    rng = np.random.default_rng(2)
    gmms = random_gmms(rng, 4, 5)
    features, pdfs = random_frames(rng, gmms, 60)
    second = (pdfs + 1) % 4
    both = Posteriors(
        np.tile(np.arange(60), 2), np.concatenate([pdfs, second]), np.repeat([0.7, 0.3], 60)
    )
    found, wanted = zeros(gmms, 5), zeros(gmms, 5)
    accumulate_gmms(features, both, gmms, *found)
    for part, weight in ((pdfs, 0.7), (second, 0.3)):
        accumulate_gmms(features, part, gmms, *wanted, weights=np.full(60, weight))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_unused_frames_add_nothing():
    rng = np.random.default_rng(3)
    gmms = random_gmms(rng, 4, 5)
    features, pdfs = random_frames(rng, gmms, 60)
    found, wanted = zeros(gmms, 5), zeros(gmms, 5)
    accumulate_gmms(features, np.where(np.arange(60) < 20, -1, pdfs), gmms, *found)
    accumulate_gmms(features[20:], pdfs[20:], gmms, *wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert accumulate_gmms(features, np.full(60, -1), gmms, *found) == 0.0


BAD = {
    "shape .* for 60 frames": lambda x, pdfs: (x, pdfs[1:], None),
    "pdf 4 in frame 3": lambda x, pdfs: (x, np.where(np.arange(60) == 3, 4, pdfs), None),
    "pdf -2 in frame 0": lambda x, pdfs: (x, np.where(np.arange(60) == 0, -2, pdfs), None),
    "frame 60 of 60": lambda x, pdfs: (x, Posteriors([60], [0], [1.0]), None),
    "not whole numbers": lambda x, pdfs: (x, pdfs + 0.5, None),
    "shapes .* differ": lambda x, pdfs: (x, Posteriors([1], [0, 1], [1.0]), None),
    "own weights": lambda x, pdfs: (x, Posteriors([1], [0], [1.0]), np.ones(60)),
    "weights: NaN": lambda x, pdfs: (x, pdfs, np.full(60, np.nan)),
    r"weights: shape \(5,\)": lambda x, pdfs: (x, pdfs, np.ones(5)),
    "nan in frame 0": lambda x, pdfs: (x * np.nan, pdfs, None),
    "no frames": lambda x, pdfs: (x[:0], pdfs[:0], None),
    "4 columns, must be 5": lambda x, pdfs: (x[:, 1:], pdfs, None),
    "log-likelihood of frame .* not finite": lambda x, pdfs: (x * 1e25, pdfs, None),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input(message):
    rng = np.random.default_rng(4)
    gmms = random_gmms(rng, 4, 5)
    features, alignment, weights = BAD[message](*random_frames(rng, gmms, 60))
    sums = zeros(gmms, 5)
    with pytest.raises(InputError, match=message):
        accumulate_gmms(features, alignment, gmms, *sums, weights=weights)
    assert not any(part.any() for part in sums)


def test_bad_models():
    rng = np.random.default_rng(5)
    gmms = random_gmms(rng, 4, 5)
    features, _ = random_frames(rng, gmms, 10)
    for offsets in ([0], [0, 1], [0, 2, 1, len(gmms.gconsts)], [1, len(gmms.gconsts)]):
        with pytest.raises(InputError, match="offsets"):
            log_likelihoods(features, gmms._replace(offsets=np.array(offsets, np.int32)))
    with pytest.raises(InputError, match="gconsts: must have the shape"):
        log_likelihoods(features, gmms._replace(gconsts=gmms.gconsts[1:]))
    with pytest.raises(InputError, match="no pdf 4; the model has 4"):
        log_likelihoods(features, gmms, [0, 4])
    with pytest.raises(InputError, match="utt1: frame 3 has a log-likelihood that is NaN"):
        features[3] = 3e30
        log_likelihoods(features, gmms, name="utt1")
    with pytest.raises(InputError, match="must be positive"):
        Gaussians.of([0, 1], [1.0], [[0.0]], [[0.0]])
