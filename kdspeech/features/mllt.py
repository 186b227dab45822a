"""Maximum likelihood linear transform (MLLT, semi-tied covariance), as in Kaldi."""

from dataclasses import dataclass

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import feature_matrix, whole_number
from kdspeech.features.gaussians import Posteriors, core_gaussians, threads
from kdspeech.features.packed import add_fields, triangle
from kdspeech.io.errors import InputError

GAUSSIANS_AT_A_TIME = 1024  # bounds the memory of MlltStats.g


@dataclass(frozen=True)
class Mllt:
    """An estimated MLLT transform.

    Attributes:
        matrix: (dim, dim) float32; apply_affine applies it to features, and the means of the
            model are transformed by it too.
        improvement: of the auxiliary function, per frame (natural log).
        count: frames, weighted.
        objective: (num_iters + 1,) the auxiliary function per frame, before each sweep and at
            the end.
    """

    matrix: np.ndarray
    improvement: float
    count: float
    objective: np.ndarray


class MlltStats:
    """Statistics for MLLT under one model, as gmm-acc-mllt with rand-prune=0.

    Attributes:
        count: frames, weighted. log_like: their log-likelihood.
    """

    def __init__(self, gmms):
        self.gmms = gmms
        num_gaussians, dim = gmms.means_invvars.shape
        firsts = np.asarray(gmms.offsets[:-1])
        # Sums are taken about a center in the midst of the pdf's frames: its first mean.
        self.centers = (gmms.means_invvars[firsts] / gmms.inv_vars[firsts]).astype(np.float32)
        self.occupancy = np.zeros(num_gaussians)
        self.y = np.zeros((num_gaussians, dim))
        self.yy = np.zeros((dim, triangle(dim)))
        self.count = self.log_like = 0.0

    def accumulate(self, features, alignment, *, weights=None, num_threads: int = 1) -> "MlltStats":
        """Adds frames; returns self. The arguments are those of estimate_mllt."""
        matrix = feature_matrix(features, dim=self.y.shape[1])
        entries = Posteriors.of(alignment, len(matrix), weights)
        self.log_like += _core.transform.accumulate_mllt(
            core_gaussians(self.gmms), self.centers, matrix, *entries, threads(num_threads),
            self.occupancy, self.y, self.yy,
        )  # fmt: skip
        self.count += entries.count
        return self

    def __iadd__(self, other: "MlltStats") -> "MlltStats":
        if not np.array_equal(self.centers, other.centers):
            raise InputError("MLLT statistics of different models")
        add_fields(self, other, ("occupancy", "y", "yy", "count", "log_like"))
        return self

    def g(self) -> np.ndarray:
        """(dim, dim (dim + 1) / 2): the sums of posterior / variance_i (x - mean) (x - mean)^T
        over all Gaussians for each dimension i, lower triangles row by row."""
        result = self.yy.copy()
        pdfs = np.repeat(np.arange(len(self.centers)), np.diff(self.gmms.offsets))
        rows, columns = np.tril_indices(self.y.shape[1])
        for first in range(0, len(self.y), GAUSSIANS_AT_A_TIME):
            part = slice(first, first + GAUSSIANS_AT_A_TIME)
            inv_vars = self.gmms.inv_vars[part].astype(np.float64)
            means = self.gmms.means_invvars[part] / inv_vars - self.centers[pdfs[part]]
            y, spread = self.y[part], self.occupancy[part, None] * means
            # (y - m) (y - m)^T without its y y^T, which is in the result already.
            outer = y[:, rows] * means[:, columns] + (means[:, rows] * (y - spread)[:, columns])
            result -= inv_vars.T @ outer
        return result

    def estimate(self, num_iters: int = 200) -> Mllt:
        """The transform; the arguments are those of estimate_mllt."""
        iters = whole_number(num_iters, "num_iters", 0, 1_000_000)
        if not self.count > 0:
            raise InputError("MLLT: no frames")
        matrix = np.eye(self.y.shape[1])
        objective = _core.transform.update_mllt(self.g(), self.count, iters, matrix)
        if not objective:
            raise InputError(
                f"MLLT: the statistics of {self.count:g} frames of {len(matrix)} columns are "
                "singular; use more frames or leave out constant columns"
            )
        objective = np.array(objective) / self.count
        improvement = float(objective[-1] - objective[0])
        return Mllt(matrix.astype(np.float32), improvement, self.count, objective)


def estimate_mllt(
    features, alignment, gmms, *, weights=None, num_iters: int = 200, num_threads: int = 1
) -> Mllt:
    """Estimates an MLLT transform, as Kaldi's gmm-acc-mllt and est-mllt.

    Gales (1999), Semi-tied covariance matrices for hidden Markov models, with one transform for
    all Gaussians. MlltStats does the same for frames that come in pieces.

    Args:
        features: (frames, dim), one utterance or many one after the other.
        alignment: (frames,) pdf ids, -1 where a frame is not used, or gaussians.Posteriors.
        gmms: the mixtures (see gaussians.Gaussians).
        weights: (frames,), e.g. 0 for silence; only with pdf ids.
        num_iters: sweeps over the rows.

    Raises:
        InputError: the statistics are singular.
    """
    stats = MlltStats(gmms).accumulate(
        features, alignment, weights=weights, num_threads=num_threads
    )
    return stats.estimate(num_iters)
