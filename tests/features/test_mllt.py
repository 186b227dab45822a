"""MLLT: statistics against their definition, the estimate against the maximum of the objective."""

import numpy as np
import pytest
from mixtures import gaussian_posteriors, random_frames, random_gmms

from kdspeech.features import MlltStats, estimate_mllt
from kdspeech.features.packed import symmetric
from kdspeech.io.errors import InputError

DIM = 7


def task(offset=0.0, frames=900):
    rng = np.random.default_rng(0)
    gmms = random_gmms(rng, 6, DIM, max_gaussians=3, spread=4.0, offset=offset)
    features, pdfs = random_frames(rng, gmms, frames)
    turned = features + 0.5 * rng.normal(size=(frames, 1)) * rng.normal(size=DIM)
    return gmms, turned.astype(np.float32), pdfs


def definition(gmms, features, pdfs, weights):
    shares = gaussian_posteriors(gmms, features, pdfs) * weights[:, None]
    inv_vars = gmms.inv_vars.astype(float)
    result = np.zeros((DIM, DIM, DIM))
    for g, mean in enumerate(gmms.means_invvars / inv_vars):
        y = features.astype(float) - mean
        result += inv_vars[g][:, None, None] * ((y * shares[:, g, None]).T @ y)
    return result


@pytest.mark.parametrize("offset", [0.0, 500.0])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_statistics(offset, num_threads):
    """Also where the means are far from 0: squares about 0 would lose all digits."""
    gmms, features, pdfs = task(offset)
    weights = np.random.default_rng(1).choice([0.0, 1.0], len(pdfs))
    stats = MlltStats(gmms)
    stats.accumulate(features, pdfs, weights=weights, num_threads=num_threads)
    wanted = definition(gmms, features, pdfs, weights)
    tolerance = 1e-5 if offset == 0 else 0.02  # float32 log-likelihoods of features about 500
    np.testing.assert_allclose(symmetric(stats.g()), wanted, atol=tolerance * np.abs(wanted).max())
    assert stats.count == weights.sum()


def test_the_estimate_is_a_maximum():
    gmms, features, pdfs = task()
    stats = MlltStats(gmms).accumulate(features, pdfs)
    found = stats.estimate(500)
    g = symmetric(stats.g()) / stats.count

    def objective(m):
        return np.linalg.slogdet(m)[1] - 0.5 * np.einsum("ij,ijk,ik", m, g, m)

    best = objective(found.matrix.astype(float))
    assert best == pytest.approx(found.objective[-1], abs=1e-5)
    assert found.improvement == pytest.approx(best - objective(np.eye(DIM)), abs=1e-5)
    assert found.improvement > 0.01
    assert (np.diff(found.objective) > -1e-9).all()
    for index in np.ndindex(DIM, DIM):
        for step in (1e-3, -1e-3):
            moved = found.matrix.astype(float)
            moved[index] += step
            assert objective(moved) < best + 1e-7


def test_statistics_in_pieces_add_up():
    gmms, features, pdfs = task()
    whole = estimate_mllt(features, pdfs, gmms)
    parts = MlltStats(gmms).accumulate(features[:400], pdfs[:400])
    parts += MlltStats(gmms).accumulate(features[400:], pdfs[400:])
    np.testing.assert_allclose(parts.estimate().matrix, whole.matrix, atol=1e-4)
    assert parts.log_like < 0
    with pytest.raises(InputError, match="different models"):
        parts += MlltStats(task(1.0)[0])


def test_bad_input():
    gmms, features, pdfs = task(frames=50)
    with pytest.raises(InputError, match="MLLT: no frames"):
        estimate_mllt(features, np.full(50, -1), gmms)
    with pytest.raises(InputError, match="statistics of 3 frames of 7 columns are singular"):
        estimate_mllt(features[:3], pdfs[:3], gmms)
    with pytest.raises(InputError, match="shape .* for 50 frames"):
        estimate_mllt(features, pdfs[1:], gmms)
    with pytest.raises(InputError, match="nan in frame 0"):
        estimate_mllt(features * np.nan, pdfs, gmms)
