"""Diagonal Gaussian mixtures as plain arrays: log-likelihoods and their training statistics."""

from typing import NamedTuple

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import feature_matrix, to_numpy, whole_number
from kdspeech.features.packed import add_fields
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

        An alignment that is Posteriors already, or such a tuple, is checked and given back.
        """
        if isinstance(alignment, tuple):
            if weights is not None:
                raise InputError("alignment: posteriors have their own weights; give no others")
            return cls(*_entries(*alignment))
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


def _entries(frames, pdfs, weights):
    arrays = _whole(frames, "frames"), _whole(pdfs, "pdfs"), _weights(weights)
    if len({array.shape for array in arrays}) != 1 or arrays[0].ndim != 1:
        raise InputError(f"posteriors: shapes {[array.shape for array in arrays]} differ")
    return arrays


def core_gaussians(gmms):
    """The C++ core's view of `gmms`, which is not copied if its arrays have Kaldi's types."""
    return _core.transform.Gaussians(
        gmms.gconsts, gmms.means_invvars, gmms.inv_vars, np.asarray(gmms.offsets, np.int32)
    )


def threads(num_threads) -> int:
    """`num_threads`, checked."""
    return whole_number(num_threads, "num_threads", 1)


def log_likelihoods(features, gmms, pdfs=None, num_threads: int = 1) -> np.ndarray:
    """Log-likelihoods (natural log) of frames under the pdfs of a model, as gmm-compute-likes.

    Args:
        features: (frames, dim).
        gmms: the mixtures (see Gaussians).
        pdfs: the pdfs wanted, all if None.

    Returns:
        (frames, pdfs) float32.
    """
    matrix = feature_matrix(features, dim=gmms.means_invvars.shape[1])
    wanted = None if pdfs is None else np.atleast_1d(_whole(pdfs, "pdfs"))
    return _core.transform.log_likelihoods(
        core_gaussians(gmms), matrix, wanted, threads(num_threads)
    )


class GmmStats:
    """Statistics for the maximum likelihood update of mixtures, as gmm-acc-stats-ali.

    Attributes:
        occupancy: (G,) sum of the Gaussians' posteriors.
        x, x2: (G, dim) sums of the frames and of their squares, weighted by the posteriors.
        count: frames, weighted. log_like: their log-likelihood.
    """

    def __init__(self, num_gaussians: int, dim: int):
        self.occupancy = np.zeros(num_gaussians)
        self.x = np.zeros((num_gaussians, dim))
        self.x2 = np.zeros((num_gaussians, dim))
        self.count = self.log_like = 0.0

    def accumulate(
        self, features, alignment, gmms, *, weights=None, summed=None, num_threads: int = 1
    ) -> "GmmStats":
        """Adds frames; returns self.

        Args:
            features: (frames, dim), one utterance or many one after the other.
            alignment: (frames,) pdf ids, -1 where a frame is not used, or Posteriors.
            gmms: the mixtures (see Gaussians).
            weights: (frames,), of an alignment of pdf ids.
            summed: (frames, dim) other features of the same frames, to sum instead of those that
                the posteriors are computed on (as gmm-acc-stats-twofeats).
        """
        matrix = feature_matrix(features, dim=gmms.means_invvars.shape[1])
        entries = Posteriors.of(alignment, len(matrix), weights)
        other = matrix if summed is None else feature_matrix(summed, "summed")
        self.log_like += _core.transform.accumulate_mle(
            core_gaussians(gmms), matrix, *entries, other, threads(num_threads),
            self.occupancy, self.x, self.x2,
        )  # fmt: skip
        self.count += entries.count
        return self

    def __iadd__(self, other: "GmmStats") -> "GmmStats":
        add_fields(self, other, ("occupancy", "x", "x2", "count", "log_like"))
        return self
