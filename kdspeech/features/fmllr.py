"""Feature-space maximum likelihood linear regression (fMLLR), as in Kaldi."""

from dataclasses import dataclass

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import feature_matrix, whole_number
from kdspeech.features.gaussians import Posteriors, core_gaussians, threads
from kdspeech.features.packed import add_fields, symmetric, triangle
from kdspeech.io.errors import InputError

UPDATES = ("full", "diag", "offset", "none")


@dataclass(frozen=True)
class Fmllr:
    """An estimated fMLLR transform.

    Attributes:
        matrix: (dim, dim + 1) float32; apply_affine applies it.
        improvement: of the auxiliary function, per frame (natural log).
        count: frames it was estimated from, weighted.
        fallback: empty, or why `matrix` is the unit transform.
    """

    matrix: np.ndarray
    improvement: float
    count: float
    fallback: str = ""


class FmllrStats:
    """Statistics of one speaker for fMLLR (Gales 1998, equations 33 and 34).

    Attributes:
        k: (dim, dim + 1). g: (dim, (dim + 1) (dim + 2) / 2), lower triangles row by row.
        count: frames, weighted.
    """

    def __init__(self, dim: int):
        dim = whole_number(dim, "dim", 1, 10_000)
        self.k = np.zeros((dim, dim + 1))
        self.g = np.zeros((dim, triangle(dim + 1)))
        self.count = 0.0

    def accumulate(
        self, features, alignment, gmms, *, weights=None, posterior_gmms=None, num_threads: int = 1
    ) -> "FmllrStats":
        """Adds frames; returns self. The arguments are those of estimate_fmllr."""
        matrix = feature_matrix(features, dim=len(self.k))
        entries = Posteriors.of(alignment, len(matrix), weights)
        posterior_gmms = gmms if posterior_gmms is None else posterior_gmms
        if not np.array_equal(posterior_gmms.offsets, gmms.offsets):
            raise InputError("posterior_gmms: must have as many Gaussians in each pdf as gmms")
        _core.transform.accumulate_fmllr(
            core_gaussians(posterior_gmms), core_gaussians(gmms), matrix, *entries,
            threads(num_threads), self.k, self.g,
        )  # fmt: skip
        self.count += entries.count
        return self

    def __iadd__(self, other: "FmllrStats") -> "FmllrStats":
        add_fields(self, other, ("k", "g", "count"))
        return self

    def objective(self, matrix) -> float:
        """The auxiliary function of a transform (dim, dim + 1), but for a constant."""
        w = np.asarray(matrix, np.float64)
        log_det = np.linalg.slogdet(w[:, :-1])[1]
        quadratic = np.einsum("ij,ijk,ik", w, symmetric(self.g), w, optimize=True)
        return self.count * log_det + (w * self.k).sum() - 0.5 * quadratic

    def estimate(
        self, update_type: str = "full", min_count: float = 500.0, num_iters: int = 40
    ) -> Fmllr:
        """The transform; the arguments are those of estimate_fmllr."""
        if update_type not in UPDATES:
            raise InputError(f"update_type = {update_type!r}: must be one of {', '.join(UPDATES)}")
        iters = whole_number(num_iters, "num_iters", 1, 1_000_000)
        unit = np.eye(*self.k.shape)
        if not self.count > min_count:
            return self._fallback(unit, f"{self.count:g} frames, not above min_count {min_count:g}")
        matrix = self._update(unit, update_type, iters)
        if matrix is None:
            return self._fallback(unit, f"singular statistics of {self.count:g} frames")
        improvement = self.objective(matrix) - self.objective(unit)
        if not improvement >= 0:
            return self._fallback(unit, f"the objective changes by {improvement:g}")
        return Fmllr(matrix.astype(np.float32), improvement / self.count, self.count)

    def _fallback(self, unit: np.ndarray, reason: str) -> Fmllr:
        return Fmllr(unit.astype(np.float32), 0.0, self.count, reason)

    def _update(self, unit: np.ndarray, update_type: str, num_iters: int) -> np.ndarray | None:
        if update_type == "none":
            return unit
        if update_type == "full":
            matrix = unit.copy()
            done = _core.transform.update_fmllr(self.k, self.g, self.count, num_iters, matrix)
            return matrix if done else None
        return self._scale_offset(update_type == "diag")

    def _scale_offset(self, scaled: bool) -> np.ndarray | None:
        """Rows of a scale (1 unless `scaled`) and an offset, in closed form."""
        full = symmetric(self.g)
        rows = np.arange(len(full))
        square, cross, count = full[rows, rows, rows], full[rows, rows, -1], full[rows, -1, -1]
        linear, constant = self.k[rows, rows], self.k[:, -1]
        with np.errstate(all="ignore"):
            # With the best offset (constant - scale * cross) / count put in, what remains is
            # beta log(scale) + scale b - scale^2 a / 2.
            a, b = square - cross**2 / count, linear - constant * cross / count
            scale = (b + np.sqrt(b**2 + 4 * a * self.count)) / (2 * a) if scaled else 1.0
            matrix = np.zeros(self.k.shape)
            matrix[rows, rows] = scale
            matrix[:, -1] = (constant - scale * cross) / count
        singular = scaled and not (a > 1e-6 * square).all()
        return None if singular or not np.isfinite(matrix).all() else matrix


def estimate_fmllr(
    features,
    alignment,
    gmms,
    *,
    weights=None,
    posterior_gmms=None,
    update_type: str = "full",
    min_count: float = 500.0,
    num_iters: int = 40,
    num_threads: int = 1,
) -> Fmllr:
    """Estimates the fMLLR transform of a speaker, as Kaldi's gmm-est-fmllr.

    Gales (1998), Maximum likelihood linear transformations for HMM-based speech recognition,
    section 4. FmllrStats does the same for frames that come in pieces.

    Args:
        features: (frames, dim), the speaker's utterances one after the other.
        alignment: (frames,) pdf ids, -1 where a frame is not used, or gaussians.Posteriors.
        gmms: the mixtures (see gaussians.Gaussians).
        weights: (frames,), e.g. 0 for silence; only with pdf ids.
        posterior_gmms: the mixtures that give the posteriors of the Gaussians, where those are
            others (as gmm-est-fmllr-gpost has them).
        update_type: full, diag, offset or none.
        min_count: with so many frames (weighted) or fewer the unit transform is returned.
        num_iters: sweeps over the rows of a full transform.

    Returns:
        Fmllr. Its `fallback` says so where the transform is the unit one for lack of frames or
        because the statistics are singular.
    """
    stats = FmllrStats(feature_matrix(features).shape[1])
    stats.accumulate(
        features, alignment, gmms, weights=weights, posterior_gmms=posterior_gmms,
        num_threads=num_threads,
    )  # fmt: skip
    return stats.estimate(update_type, min_count, num_iters)
