"""Linear discriminant analysis (LDA), as in Kaldi."""

from dataclasses import dataclass

import numpy as np

from kdspeech.features.arrays import feature_matrix, whole_number
from kdspeech.features.gaussians import Posteriors
from kdspeech.features.packed import add_fields
from kdspeech.io.errors import InputError

MIN_PIVOT = 1e-10  # of a Cholesky decomposition, relative: below it is rounding


class LdaStats:
    """Statistics for LDA, as acc-lda with rand-prune=0.

    Attributes:
        counts: (num_classes,) frames of each class, weighted. x: (num_classes, dim) their sums.
        xx: (dim, dim) the sum of x x^T over all classes.
    """

    def __init__(self, num_classes: int, dim: int):
        num_classes = whole_number(num_classes, "num_classes", 1, 10_000_000)
        dim = whole_number(dim, "dim", 1, 10_000)
        self.counts = np.zeros(num_classes)
        self.x = np.zeros((num_classes, dim))
        self.xx = np.zeros((dim, dim))

    def accumulate(self, features, classes, *, weights=None) -> "LdaStats":
        """Adds frames; returns self. The arguments are those of estimate_lda."""
        matrix = feature_matrix(features, dim=self.x.shape[1])
        entries = Posteriors.of(classes, len(matrix), weights)
        self._check(entries.pdfs)
        order = np.argsort(entries.pdfs, kind="stable")
        present, starts = np.unique(entries.pdfs[order], return_index=True)
        x = matrix[entries.frames[order]].astype(np.float64)
        weights = entries.weights[order].astype(np.float64)
        weighted = x * weights[:, None]
        self.counts[present] += np.add.reduceat(weights, starts)
        self.x[present] += np.add.reduceat(weighted, starts)
        self.xx += x.T @ weighted
        return self

    def _check(self, classes: np.ndarray) -> None:
        low, high = classes.min(initial=0), classes.max(initial=0)
        if low < 0 or high >= len(self.counts):
            raise InputError(
                f"classes: {low} to {high}, must be from 0 to {len(self.counts) - 1}, or -1"
            )

    def __iadd__(self, other: "LdaStats") -> "LdaStats":
        add_fields(self, other, ("counts", "x", "xx"))
        return self

    def covariances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean (dim,), within-class and between-class covariance (dim, dim)."""
        total = self.counts.sum()
        if not total > 0:
            raise InputError("LDA: no frames")
        mean = self.x.sum(axis=0) / total
        used = self.counts > 0
        x, counts = self.x[used], self.counts[used, None]
        second = self.xx / total
        classes = (x / counts).T @ x / total
        return mean, second - classes, classes - np.outer(mean, mean)

    def estimate(
        self, dim: int = 40, remove_offset: bool = False, within_class_factor: float = 1.0
    ) -> "Lda":
        """The transform; the arguments are those of estimate_lda."""
        rows = whole_number(dim, "dim", 1, self.x.shape[1])
        mean, within, between = self.covariances()
        whiten = np.linalg.inv(self._cholesky(within))
        ratios, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
        ratios = np.maximum(ratios[::-1], 0.0)
        full = vectors.T[::-1] @ whiten
        full *= np.sqrt((within_class_factor + ratios) / (1.0 + ratios))[:, None]
        full *= np.sign(full[np.arange(len(full)), np.abs(full).argmax(axis=1)])[:, None]
        if remove_offset:
            full = np.column_stack([full, -full @ mean])
        full = full.astype(np.float32)
        return Lda(full[:rows].copy(), full, ratios)

    def _cholesky(self, within: np.ndarray) -> np.ndarray:
        try:
            factor = np.linalg.cholesky(within)
            if (np.diag(factor) ** 2 > MIN_PIVOT * np.diag(within)).all():
                return factor
        except np.linalg.LinAlgError:
            pass
        raise InputError(
            f"LDA: the within-class covariance of {self.counts.sum():g} frames of {len(within)} "
            "columns is singular; use more frames or leave out constant and repeated columns"
        )


@dataclass(frozen=True)
class Lda:
    """An estimated LDA transform.

    Attributes:
        matrix: (dim, columns) float32, or (dim, columns + 1) with remove_offset; apply_affine
            applies it.
        full: the same with all rows, the most discriminating first.
        ratios: (columns,) the between-class to within-class variance of each row.
    """

    matrix: np.ndarray
    full: np.ndarray
    ratios: np.ndarray


def estimate_lda(
    features,
    classes,
    *,
    num_classes: int | None = None,
    weights=None,
    dim: int = 40,
    remove_offset: bool = False,
    within_class_factor: float = 1.0,
) -> Lda:
    """Estimates linear discriminant analysis, as Kaldi's acc-lda and est-lda.

    The rows make the within-class covariance the unit matrix and the between-class covariance
    diagonal; each row's sign makes its largest entry positive. LdaStats does the same for frames
    that come in pieces.

    Args:
        features: (frames, columns), spliced.
        classes: (frames,) class (pdf) of each frame, -1 where it is not used, or
            gaussians.Posteriors.
        num_classes: above the largest class (default: one above).
        weights: (frames,), e.g. 0 for silence.
        dim: rows to keep.
        remove_offset: add a column that takes the mean away.
        within_class_factor: what to scale the within-class variance to.

    Raises:
        InputError: the within-class covariance is singular.
    """
    matrix = feature_matrix(features)
    entries = Posteriors.of(classes, len(matrix), weights)
    if num_classes is None:
        num_classes = int(entries.pdfs.max(initial=0)) + 1
    stats = LdaStats(num_classes, matrix.shape[1])
    stats.accumulate(matrix, entries)
    return stats.estimate(dim, remove_offset, within_class_factor)
