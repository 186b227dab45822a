"""fMLLR: statistics against their definition, estimates against the maximum of the objective."""

import numpy as np
import pytest
from mixtures import gaussian_posteriors, random_frames, random_gmms

from kdspeech.features import FmllrStats, Gaussians, apply_affine, estimate_fmllr, log_likelihoods
from kdspeech.features.packed import symmetric
from kdspeech.io.errors import InputError

DIM = 6


def task(seed=0, frames=1500, num_pdfs=9):
    """A model, and frames of it seen through an affine map."""
    rng = np.random.default_rng(seed)
    gmms = random_gmms(rng, num_pdfs, DIM, max_gaussians=3, spread=3.0)
    features, pdfs = random_frames(rng, gmms, frames)
    square = np.eye(DIM) + 0.15 * rng.normal(size=(DIM, DIM))
    seen = features @ square.T + rng.normal(size=DIM)
    return gmms, seen.astype(np.float32), pdfs


def definition(gmms, features, shares):
    """K and the G_i of Gales (1998), equations 33 and 34."""
    x = np.column_stack([features.astype(float), np.ones(len(features))])
    k = np.einsum("tg,gi,tj->ij", shares, gmms.means_invvars.astype(float), x, optimize=True)
    g = np.einsum("tg,gi,tj,tk->ijk", shares, gmms.inv_vars.astype(float), x, x, optimize="optimal")
    return k, g


@pytest.mark.parametrize("num_pdfs", [1, 9, 300])
def test_statistics(num_pdfs):
    gmms, features, pdfs = task(frames=700, num_pdfs=num_pdfs)
    weights = np.random.default_rng(1).choice([0.0, 0.1, 1.0], 700)
    shares = gaussian_posteriors(gmms, features, pdfs) * weights[:, None]
    k, g = definition(gmms, features, shares)
    for num_threads in (1, 3):
        stats = FmllrStats(DIM).accumulate(
            features, pdfs, gmms, weights=weights, num_threads=num_threads
        )
        np.testing.assert_allclose(stats.k, k, rtol=1e-4, atol=1e-5 * np.abs(k).max())
        np.testing.assert_allclose(symmetric(stats.g), g, rtol=1e-4, atol=1e-5 * np.abs(g).max())
        assert stats.count == pytest.approx(weights.sum())


def test_statistics_of_two_models():
    """The posteriors of one, the means and variances of the other."""
    gmms, features, pdfs = task(frames=300)
    rng = np.random.default_rng(5)
    moved = gmms.means_invvars + rng.normal(size=gmms.means_invvars.shape).astype(np.float32)
    other = gmms._replace(means_invvars=moved)
    k, g = definition(gmms, features, gaussian_posteriors(other, features, pdfs))
    stats = FmllrStats(DIM).accumulate(features, pdfs, gmms, posterior_gmms=other)
    np.testing.assert_allclose(stats.k, k, rtol=1e-4, atol=1e-5 * np.abs(k).max())
    np.testing.assert_allclose(symmetric(stats.g), g, rtol=1e-4, atol=1e-5 * np.abs(g).max())


def test_statistics_in_pieces_add_up():
    gmms, features, pdfs = task()
    whole = FmllrStats(DIM).accumulate(features, pdfs, gmms)
    parts = FmllrStats(DIM)
    for part in (slice(0, 1), slice(1, 900), slice(900, None)):
        parts += FmllrStats(DIM).accumulate(features[part], pdfs[part], gmms)
    np.testing.assert_allclose(parts.g, whole.g, rtol=1e-5, atol=1e-5 * np.abs(whole.g).max())
    assert parts.count == whole.count == len(features)
    with pytest.raises(InputError, match="FmllrStats: k of shape"):
        parts += FmllrStats(DIM + 1)


def test_the_objective_is_the_gain_in_likelihood():
    """With one Gaussian a pdf the auxiliary function is the log-likelihood itself."""
    rng = np.random.default_rng(3)
    gmms = random_gmms(rng, 5, DIM, max_gaussians=1)
    features, pdfs = random_frames(rng, gmms, 800)
    found = estimate_fmllr(features, pdfs, gmms)
    log_det = np.linalg.slogdet(found.matrix[:, :-1])[1]

    def likelihood(x):
        return log_likelihoods(x, gmms)[np.arange(len(pdfs)), pdfs].mean(dtype=np.float64)

    gain = likelihood(apply_affine(features, found.matrix)) + log_det - likelihood(features)
    assert found.improvement == pytest.approx(gain, abs=1e-4)


def gradient(stats, matrix, step=1e-4):
    result = np.zeros_like(matrix)
    for index in np.ndindex(*matrix.shape):
        moved = np.zeros_like(matrix)
        moved[index] = step
        result[index] = stats.objective(matrix + moved) - stats.objective(matrix - moved)
    return result / (2 * step * stats.count)


@pytest.mark.parametrize("update_type", ["full", "diag", "offset"])
def test_estimates_are_maxima(update_type):
    gmms, features, pdfs = task()
    stats = FmllrStats(DIM).accumulate(features, pdfs, gmms)
    found = stats.estimate(update_type, num_iters=300)
    free = np.zeros(found.matrix.shape, bool)
    free[:, -1] = True
    if update_type != "offset":
        free[:, :-1] |= np.eye(DIM, dtype=bool) | (update_type == "full")
    slopes = gradient(stats, found.matrix.astype(float))
    unit = np.eye(*found.matrix.shape)
    assert np.abs(slopes[free]).max() < 1e-3 < np.abs(gradient(stats, unit)[free]).max()
    assert np.array_equal(found.matrix[~free], unit[~free])
    assert found.improvement > 0 and not found.fallback


def test_more_freedom_is_better_and_iterations_improve():
    gmms, features, pdfs = task()
    stats = FmllrStats(DIM).accumulate(features, pdfs, gmms)
    gains = [stats.estimate(kind).improvement for kind in ("none", "offset", "diag", "full")]
    assert gains == sorted(gains) and gains[0] == 0.0 < gains[1]
    gains = [stats.estimate(num_iters=n).improvement for n in (1, 2, 5, 40)]
    assert gains == sorted(gains) and gains[0] < gains[-1]


def test_a_known_transform_is_found():
    gmms, _, _ = task()
    rng = np.random.default_rng(7)
    features, pdfs = random_frames(rng, gmms, 20000)
    square = np.eye(DIM) + 0.1 * rng.normal(size=(DIM, DIM))
    seen = (features @ square.T + 0.5).astype(np.float32)
    found = estimate_fmllr(seen, pdfs, gmms)
    np.testing.assert_allclose(found.matrix[:, :-1] @ square, np.eye(DIM), atol=0.05)


def test_few_frames_fall_back_to_the_unit_transform():
    gmms, features, pdfs = task()
    unit = np.eye(DIM, DIM + 1)
    found = estimate_fmllr(features[:500], pdfs[:500], gmms)
    assert np.array_equal(found.matrix, unit) and found.improvement == 0.0
    assert found.fallback == "500 frames, not above min_count 500"
    assert not estimate_fmllr(features[:501], pdfs[:501], gmms).fallback
    unused = estimate_fmllr(features, np.full(len(features), -1), gmms, min_count=0)
    assert unused.fallback and np.array_equal(unused.matrix, unit)


@pytest.mark.parametrize("update_type", ["full", "diag"])
def test_singular_statistics_fall_back(update_type):
    gmms, features, pdfs = task()
    features[:, 2] = 0.7  # a column that never changes, as of a dead channel
    found = estimate_fmllr(features, pdfs, gmms, update_type=update_type)
    assert found.fallback == "singular statistics of 1500 frames"
    assert np.array_equal(found.matrix, np.eye(DIM, DIM + 1))
    assert not estimate_fmllr(features, pdfs, gmms, update_type="offset").fallback
    few = estimate_fmllr(features[:4], pdfs[:4], gmms, min_count=0)
    assert few.fallback == "singular statistics of 4 frames"


def test_bad_input():
    gmms, features, pdfs = task(frames=50)
    with pytest.raises(InputError, match="update_type = 'fully'"):
        estimate_fmllr(features, pdfs, gmms, update_type="fully")
    with pytest.raises(InputError, match="shape .* for 50 frames"):
        estimate_fmllr(features, pdfs[:-1], gmms)
    with pytest.raises(InputError, match="nan in frame 9"):
        estimate_fmllr(np.where(np.arange(50)[:, None] == 9, np.nan, features), pdfs, gmms)
    with pytest.raises(InputError, match="as many Gaussians in each pdf"):
        fewer = Gaussians(gmms.offsets[:-1], *(part[: gmms.offsets[-2]] for part in gmms[1:]))
        estimate_fmllr(features, pdfs, gmms, posterior_gmms=fewer)
    with pytest.raises(InputError, match=r"must have the shape \(50, 6\)"):
        estimate_fmllr(features[:, 1:], pdfs, gmms)
    with pytest.raises(InputError, match="num_iters"):
        estimate_fmllr(features, pdfs, gmms, num_iters=0)
