"""Random mixtures, frames aligned to their pdfs, and what the core computes written out."""

import numpy as np

from kdspeech.features import Gaussians


def random_gmms(rng, num_pdfs, dim, max_gaussians=9, spread=1.0, offset=0.0) -> Gaussians:
    sizes = rng.integers(1, max_gaussians + 1, num_pdfs)
    weights = np.concatenate([rng.dirichlet(np.full(size, 3.0)) for size in sizes])
    means = offset + spread * rng.normal(size=(len(weights), dim))
    variances = rng.uniform(0.5, 2.0, means.shape)
    return Gaussians.of(np.cumsum([0, *sizes]), weights, means, variances)


def random_frames(rng, gmms, frames):
    """Frames drawn from the Gaussians of random pdfs, and those pdfs."""
    pdfs = rng.integers(0, len(gmms.offsets) - 1, frames).astype(np.int32)
    rows = rng.integers(gmms.offsets[pdfs], gmms.offsets[pdfs + 1])
    means = gmms.means_invvars[rows] / gmms.inv_vars[rows]
    noise = rng.normal(size=means.shape) / np.sqrt(gmms.inv_vars[rows])
    return (means + noise).astype(np.float32), pdfs


def component_log_likelihoods(gmms, features) -> np.ndarray:
    x = features.astype(np.float64)
    linear, quadratic = gmms.means_invvars.astype(float), gmms.inv_vars.astype(float)
    return gmms.gconsts.astype(float) + x @ linear.T - 0.5 * x**2 @ quadratic.T


def pdf_log_likelihoods(gmms, features) -> np.ndarray:
    return np.logaddexp.reduceat(
        component_log_likelihoods(gmms, features), gmms.offsets[:-1], axis=1
    )


def gaussian_posteriors(gmms, features, pdfs) -> np.ndarray:
    """(frames, G): zero outside each frame's pdf."""
    scores = component_log_likelihoods(gmms, features)
    total = pdf_log_likelihoods(gmms, features)[np.arange(len(pdfs)), pdfs]
    owners = np.repeat(np.arange(len(gmms.offsets) - 1), np.diff(gmms.offsets))
    return np.where(owners == np.asarray(pdfs)[:, None], np.exp(scores - total[:, None]), 0.0)
