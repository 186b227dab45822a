"""Linear discriminant analysis (LDA), as in Kaldi."""

from dataclasses import dataclass

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import feature_matrix, whole_number
from kdspeech.features.gaussians import Posteriors, threads
from kdspeech.features.packed import add_fields, symmetric, triangle
from kdspeech.io.errors import InputError


class LdaStats:
    """Statistics for LDA, as acc-lda with rand-prune=0.

    Attributes:
        counts: (num_classes,) frames of each class, weighted. x: (num_classes, dim) their sums.
        xx: the sum of x x^T over all classes, lower triangle row by row.
    """

    def __init__(self, num_classes: int, dim: int):
        num_classes = whole_number(num_classes, "num_classes", 1, 10_000_000)
        dim = whole_number(dim, "dim", 1, 10_000)
        self.counts = np.zeros(num_classes)
        self.x = np.zeros((num_classes, dim))
        self.xx = np.zeros(triangle(dim))

    def accumulate(self, features, classes, *, weights=None, num_threads: int = 1) -> "LdaStats":
        """Adds frames; returns self. The arguments are those of estimate_lda."""
        matrix = feature_matrix(features, dim=self.x.shape[1])
        entries = Posteriors.of(classes, len(matrix), weights)
        _core.transform.accumulate_lda(
            matrix, *entries, threads(num_threads), self.counts, self.x, self.xx
        )
        return self

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
        second = symmetric(self.xx) / total
        classes = (x / counts).T @ x / total
        return mean, second - classes, classes - np.outer(mean, mean)

    def estimate(
        self, dim: int = 40, remove_offset: bool = False, within_class_factor: float = 1.0
    ) -> "Lda":
        """The transform; the arguments are those of estimate_lda."""
        rows = whole_number(dim, "dim", 1, self.x.shape[1])
        mean, within, between = self.covariances()
        try:
            whiten = np.linalg.inv(np.linalg.cholesky(within))
        except np.linalg.LinAlgError:
            raise InputError(
                f"LDA: the within-class covariance of {self.counts.sum():g} frames of "
                f"{len(mean)} columns is singular; use more frames or leave out constant columns"
            ) from None
        ratios, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
        ratios = np.maximum(ratios[::-1], 0.0)
        full = vectors.T[::-1] @ whiten
        full *= np.sqrt((within_class_factor + ratios) / (1.0 + ratios))[:, None]
        full *= np.sign(full[np.arange(len(full)), np.abs(full).argmax(axis=1)])[:, None]
        if remove_offset:
            full = np.column_stack([full, -full @ mean])
        full = full.astype(np.float32)
        return Lda(full[:rows].copy(), full, ratios)


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
    num_threads: int = 1,
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
    stats.accumulate(matrix, entries, num_threads=num_threads)
    return stats.estimate(dim, remove_offset, within_class_factor)
