"""Diagonal Gaussian mixtures as plain arrays: log-likelihoods and their training statistics."""

from typing import NamedTuple

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import feature_matrix, to_numpy, whole_number
from kdspeech.io.errors import InputError


class Gaussians(NamedTuple):
    """The mixtures of all pdfs as Kaldi holds them, pdf after pdf.

    Every function here that takes `gmms` takes any object with these attributes.
    """

    offsets: np.ndarray  # (num_pdfs + 1,) int32: pdf p has the Gaussians offsets[p]:offsets[p + 1]
    gconsts: np.ndarray  # (G,) float32: log-likelihood at x = 0, the weight included
    means_invvars: np.ndarray  # (G, dim) float32: means / variances
    inv_vars: np.ndarray  # (G, dim) float32: 1 / variances

    @classmethod
    def of(cls, offsets, weights, means, variances) -> "Gaussians":
        """From weights (G,), means (G, dim) and variances (G, dim)."""
        weights, means = np.asarray(weights, np.float64), np.asarray(means, np.float64)
        variances = np.asarray(variances, np.float64)
        if means.ndim != 2 or weights.shape != means.shape[:1] or variances.shape != means.shape:
            raise InputError(
                f"Gaussians: weights {weights.shape}, means {means.shape}, variances "
                f"{variances.shape} must be (G,), (G, dim), (G, dim)"
            )
        if not (weights > 0).all() or not (variances > 0).all() or not np.isfinite(means).all():
            raise InputError("Gaussians: weights and variances must be positive, means finite")
        exponent = np.log(2 * np.pi * variances) + means**2 / variances
        gconsts = np.log(weights) - 0.5 * exponent.sum(axis=1)
        arrays = gconsts, means / variances, 1 / variances
        return cls(np.asarray(offsets, np.int32), *(a.astype(np.float32) for a in arrays))


class Posteriors(NamedTuple):
    """Frames with the pdfs that they are aligned to: entry i is frames[i], pdfs[i], weights[i]."""

    frames: np.ndarray  # (entries,) int32
    pdfs: np.ndarray  # (entries,) int32
    weights: np.ndarray  # (entries,) float32

    @classmethod
    def of(cls, alignment, num_frames: int, weights=None) -> "Posteriors":
        """From one pdf per frame, -1 where a frame is not used, and weights of the frames.

        An alignment that is Posteriors already is checked and given back.
        """
        if isinstance(alignment, Posteriors):
            if weights is not None:
                raise InputError("alignment: posteriors have their own weights; give no others")
            return cls(*_entries(*alignment, num_frames))
        pdfs = _whole(alignment, "alignment")
        if pdfs.shape != (num_frames,):
            raise InputError(f"alignment: shape {pdfs.shape} for {num_frames} frames")
        weights = np.ones(num_frames, np.float32) if weights is None else _weights(weights)
        if weights.shape != pdfs.shape:
            raise InputError(f"weights: shape {weights.shape} for {num_frames} frames")
        used = np.flatnonzero(pdfs != -1).astype(np.int32)
        return cls(used, pdfs[used], weights[used])

    @property
    def count(self) -> float:
        """The sum of the weights."""
        return float(self.weights.sum(dtype=np.float64))


def _whole(values, name: str) -> np.ndarray:
    array = to_numpy(values, name)
    if array.dtype.kind not in "iu" and array.size:
        raise InputError(f"{name}: holds {array.dtype}, not whole numbers")
    return np.ascontiguousarray(array, np.int32)


def _weights(values) -> np.ndarray:
    array = np.ascontiguousarray(to_numpy(values, "weights"), np.float32)
    if not np.isfinite(array).all():
        raise InputError("weights: NaN or infinity")
    return array


def _entries(frames, pdfs, weights, num_frames: int):
    arrays = _whole(frames, "frames"), _whole(pdfs, "pdfs"), _weights(weights)
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 1:
        raise InputError(f"posteriors: shapes {[array.shape for array in arrays]} differ")
    for frame in arrays[0].min(initial=0), arrays[0].max(initial=0):
        if not 0 <= frame < max(1, num_frames):
            raise InputError(f"posteriors: frame {frame} of {num_frames} frames")
    return arrays


def core_gaussians(gmms):
    """The C++ core's view of `gmms`, which is not copied if its arrays have Kaldi's types."""
    return _core.transform.Gaussians(
        gmms.gconsts, gmms.means_invvars, gmms.inv_vars, np.asarray(gmms.offsets, np.int32)
    )


def threads(num_threads) -> int:
    """`num_threads`, checked."""
    return whole_number(num_threads, "num_threads", 1)


def log_likelihoods(
    features, gmms, pdfs=None, *, num_threads: int = 1, name: str = "features"
) -> np.ndarray:
    """Log-likelihoods (natural log) of frames under the pdfs of a model, as gmm-compute-likes.

    Args:
        features: (frames, dim).
        gmms: the mixtures (see Gaussians).
        pdfs: the pdfs wanted, all if None.
        name: the utterance, for messages.

    Returns:
        (frames, pdfs) float32.

    Raises:
        InputError: features of another dimension or not finite, or so large that a log-likelihood
            is not; a pdf that is not there.
    """
    matrix = feature_matrix(features, name, gmms.means_invvars.shape[1])
    wanted = None if pdfs is None else np.atleast_1d(_whole(pdfs, "pdfs"))
    result = _core.transform.log_likelihoods(
        core_gaussians(gmms), matrix, wanted, threads(num_threads)
    )
    finite = np.isfinite(result)
    if not finite.all():
        frame = int(np.argmin(finite.all(axis=1)))
        raise InputError(
            f"{name}: frame {frame} has a log-likelihood that is NaN or infinite (look at its "
            "features and CMVN statistics)"
        )
    return result


def accumulate_gmms(
    features,
    alignment,
    gmms,
    occupancy: np.ndarray,
    x: np.ndarray,
    x2: np.ndarray,
    *,
    weights=None,
    summed=None,
    num_threads: int = 1,
    name: str = "features",
) -> float:
    """Adds to the statistics that the mixtures are updated from, as gmm-acc-stats-ali.

    Args:
        features: (frames, dim), one utterance or, quicker, many one after the other.
        alignment: (frames,) pdf ids, -1 where a frame is not used, or Posteriors.
        gmms: the mixtures (see Gaussians).
        occupancy: float64 (G,), where the posteriors of the Gaussians are added.
        x, x2: float64 (G, other dim), where the frames and their squares are, by posterior.
        weights: (frames,), of an alignment of pdf ids.
        summed: (frames, other dim), features of the same frames that are summed instead of those
            that the posteriors are computed on (as gmm-acc-stats-twofeats).
        name: the utterance, for messages.

    Returns:
        The log-likelihood of the frames, weighted.

    Raises:
        InputError: lengths that differ, a pdf that is not there, features that are not finite:
            nothing has been added then; or features so large that a log-likelihood is not finite.
    """
    matrix = feature_matrix(features, name, gmms.means_invvars.shape[1])
    entries = Posteriors.of(alignment, len(matrix), weights)
    summed = matrix if summed is None else feature_matrix(summed, name, x.shape[1])
    return _core.transform.accumulate_mle(
        core_gaussians(gmms), matrix, *entries, summed, threads(num_threads), occupancy, x, x2
    )
