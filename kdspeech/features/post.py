"""What is done to features after they are computed: Kaldi's add-deltas, splice-feats, CMVN,
compute-vad, transform-feats and compose-transforms. All functions take and give (frames, dim)
float32, numpy or torch, and raise InputError for no frames, NaN and shapes that do not fit."""

from collections.abc import Iterable, Mapping

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import feature_matrix, like, to_numpy, whole_number
from kdspeech.io.errors import InputError


def add_deltas(features, delta_order: int = 2, delta_window: int = 2, truncate: int = 0):
    """Appends time derivatives, as Kaldi's add-deltas.

    The delta is the regression slope over `delta_window` frames to each side (The HTK Book,
    equation 5.16); order k is the same filter applied k times. The first and last frame are
    repeated beyond the ends.

    Args:
        features: (frames, dim).
        delta_order: the highest order, 0 to 99.
        delta_window: frames to each side, 1 to 999.
        truncate: use the first `truncate` columns only (0: all).

    Returns:
        (frames, dim * (delta_order + 1)) float32: the features, then each order.
    """
    matrix = feature_matrix(features)
    order = whole_number(delta_order, "delta_order", 0, 99)
    window = whole_number(delta_window, "delta_window", 1, 999)
    if whole_number(truncate, "truncate", 0, matrix.shape[1]):
        matrix = np.ascontiguousarray(matrix[:, :truncate])
    return like(_core.add_deltas(matrix, order, window), features)


def splice(features, left_context: int = 4, right_context: int = 4):
    """Joins each frame with its neighbours, as Kaldi's splice-feats.

    Args:
        features: (frames, dim).
        left_context: frames before, 0 to 1000.
        right_context: frames after, 0 to 1000.

    Returns:
        (frames, dim * (left_context + 1 + right_context)) float32, oldest frame first. The first
        and last frame are repeated beyond the ends.
    """
    matrix = feature_matrix(features)
    left = whole_number(left_context, "left_context", 0)
    right = whole_number(right_context, "right_context", 0)
    return like(_core.splice(matrix, left, right), features)


class CmvnStats:
    """Statistics for cepstral mean and variance normalization, and their use.

    `matrix` is Kaldi's 2 x (dim + 1) matrix of doubles: row 0 the sums over frames and the frame
    count, row 1 the sums of squares and a zero. It can be written to an ark as it is, and
    `CmvnStats.from_matrix` takes one that was read. Collect one object per speaker, one per
    utterance, or one for all data; `a + b` pools two.
    """

    def __init__(self, dim: int):
        """Statistics of no frames, `dim` columns."""
        self.matrix = np.zeros((2, whole_number(dim, "dim", 1, 1_000_000) + 1))

    @classmethod
    def from_matrix(cls, matrix) -> "CmvnStats":
        """From Kaldi's 2 x (dim + 1) matrix, which is copied."""
        array = to_numpy(matrix, "CMVN statistics")
        if array.ndim != 2 or array.shape[0] != 2 or array.shape[1] < 2:
            raise InputError(f"CMVN statistics: shape {array.shape} is not (2, dim + 1)")
        if not np.isfinite(array).all():
            raise InputError("CMVN statistics: NaN or infinity")
        stats = cls(array.shape[1] - 1)
        stats.matrix[:] = array
        return stats

    @classmethod
    def of(cls, *features) -> "CmvnStats":
        """Of one or more utterances, each (frames, dim)."""
        if not features:
            raise InputError("CMVN statistics: no utterances")
        stats = cls(feature_matrix(features[0]).shape[1])
        for utterance in features:
            stats.accumulate(utterance)
        return stats

    @property
    def dim(self) -> int:
        """Columns of the features."""
        return self.matrix.shape[1] - 1

    @property
    def count(self) -> float:
        """Frames, or the sum of their weights."""
        return float(self.matrix[0, -1])

    def accumulate(self, features, weights=None) -> "CmvnStats":
        """Adds an utterance (frames, dim), with one weight a frame where given; returns self."""
        matrix = feature_matrix(features, dim=self.dim)
        weights = np.zeros(0) if weights is None else to_numpy(weights, "weights")
        if weights.size and weights.shape != matrix.shape[:1]:
            raise InputError(f"weights: shape {weights.shape} for {matrix.shape[0]} frames")
        weights = np.ascontiguousarray(weights, dtype=np.float32)
        if not np.isfinite(weights).all():
            raise InputError("weights: NaN or infinity")
        _core.accumulate_cmvn(matrix, weights, self.matrix)
        return self

    def __add__(self, other: "CmvnStats") -> "CmvnStats":
        if self.dim != other.dim:
            raise InputError(f"CMVN statistics of {self.dim} and of {other.dim} columns")
        return CmvnStats.from_matrix(self.matrix + other.matrix)

    def apply(
        self,
        features,
        norm_means: bool = True,
        norm_vars: bool = False,
        reverse: bool = False,
        skip_dims: Iterable[int] = (),
    ):
        """Normalizes features, as Kaldi's apply-cmvn.

        Args:
            features: (frames, dim).
            norm_means: subtract the mean; without it the features are given back as they are.
            norm_vars: divide by the standard deviation too.
            reverse: give normalized features this mean (and variance) instead.
            skip_dims: columns to leave as they are (Kaldi's --skip-dims=0:3 is (0, 3)).

        Returns:
            (frames, dim) float32.

        Raises:
            InputError: fewer than one frame in the statistics, norm_vars without norm_means, a
                column in skip_dims that is not there.
        """
        matrix = feature_matrix(features, dim=self.dim)
        if norm_vars and not norm_means:
            raise InputError("norm_vars=True needs norm_means=True")
        if not norm_means:
            return like(matrix.copy(), features)
        if self.count < 1:
            raise InputError(f"CMVN statistics of {self.count:g} frames: too few to normalize with")
        stats = self._without(skip_dims)
        return like(_core.apply_cmvn(matrix, stats, bool(norm_vars), bool(reverse)), features)

    def _without(self, dims: Iterable[int]) -> np.ndarray:
        stats = self.matrix.copy()
        for dim in dims:
            whole_number(dim, "skip_dims", 0, self.dim - 1)
            stats[:, dim] = 0.0, self.count  # mean 0, variance 1
        return stats


def speaker_cmvn(features: Mapping, utt2spk: Mapping[str, str]) -> dict[str, CmvnStats]:
    """One CmvnStats per speaker, as Kaldi's compute-cmvn-stats --spk2utt.

    Args:
        features: utterance -> (frames, dim); the iteration order is kept.
        utt2spk: utterance -> speaker, for every utterance of `features`.
    """
    stats: dict[str, CmvnStats] = {}
    for utterance, matrix in features.items():
        speaker = utt2spk.get(utterance)
        if speaker is None:
            raise InputError(f"utt2spk: no speaker for utterance {utterance}")
        if speaker not in stats:
            stats[speaker] = CmvnStats(feature_matrix(matrix, utterance).shape[1])
        stats[speaker].accumulate(matrix)
    return stats


def sliding_cmvn(
    features,
    cmn_window: int = 600,
    min_cmn_window: int = 100,
    norm_vars: bool = False,
    center: bool = False,
):
    """Normalizes each frame by a window that moves with it, as Kaldi's apply-cmvn-sliding.

    Args:
        features: (frames, dim).
        cmn_window: frames of the window.
        min_cmn_window: frames used at the start, also ones that come later, while fewer are
            behind; not with `center`.
        norm_vars: divide by the standard deviation too (a window of one frame then gives 0).
        center: the window is centred on the frame, and moved inwards at the ends; else it holds
            the frame and `cmn_window` before it.

    Returns:
        (frames, dim) float32.
    """
    matrix = feature_matrix(features)
    window = whole_number(cmn_window, "cmn_window", 1, 1_000_000_000)
    shortest = whole_number(min_cmn_window, "min_cmn_window", 1, 1_000_000_000)
    result = _core.sliding_cmvn(matrix, window, shortest, bool(norm_vars), bool(center))
    return like(result, features)


def energy_vad(
    features,
    vad_energy_threshold: float = 5.0,
    vad_energy_mean_scale: float = 0.5,
    vad_frames_context: int = 0,
    vad_proportion_threshold: float = 0.6,
):
    """Voice activity from the log energy, as Kaldi's compute-vad.

    A frame is voiced if at least `vad_proportion_threshold` of the frames within
    `vad_frames_context` of it have a log energy above `vad_energy_threshold` +
    `vad_energy_mean_scale` * mean.

    Args:
        features: (frames, dim), the log energy in column 0 (MFCC with use_energy).

    Returns:
        (frames,) float32, 1 voiced, 0 not.
    """
    matrix = feature_matrix(features)
    context = whole_number(vad_frames_context, "vad_frames_context", 0, 1_000_000)
    if not vad_energy_mean_scale >= 0:
        raise InputError(f"vad_energy_mean_scale = {vad_energy_mean_scale}: must not be negative")
    if not 0 < vad_proportion_threshold < 1:
        raise InputError(f"vad_proportion_threshold = {vad_proportion_threshold}: not in (0, 1)")
    voiced = _core.energy_vad(
        matrix, vad_energy_threshold, vad_energy_mean_scale, context, vad_proportion_threshold
    )
    return like(voiced, features)


def apply_affine(features, matrix):
    """Applies a linear or affine map to every frame, as Kaldi's transform-feats.

    Args:
        features: (frames, dim).
        matrix: (rows, dim), or (rows, dim + 1) with the offset in the last column (LDA, MLLT,
            fMLLR); numpy or torch.

    Returns:
        (frames, rows) float32 of the same kind as `features`.
    """
    frames = feature_matrix(features)
    transform = feature_matrix(matrix, "matrix")
    dim = frames.shape[1]
    if transform.shape[1] not in (dim, dim + 1):
        raise InputError(
            f"matrix: {transform.shape[1]} columns for features of {dim}, must be {dim} (linear) "
            f"or {dim + 1} (affine)"
        )
    return like(_core.apply_affine(frames, transform), features)


def compose_transforms(a, b, b_is_affine: bool = False):
    """The one matrix that does what `b` and then `a` do, as Kaldi's compose-transforms.

    Args:
        a: (rows, inner) linear, or (rows, inner + 1) affine.
        b: (inner, columns).
        b_is_affine: the last column of `b` is an offset.

    Returns:
        float32 of the same kind as `a`: (rows, columns), or (rows, columns + 1) where `a` is
        affine and `b` is not.
    """
    first, second = feature_matrix(a, "a"), feature_matrix(b, "b").astype(np.float64)
    inner, columns = second.shape
    if first.shape[1] not in (inner, inner + 1):
        raise InputError(f"a has {first.shape[1]} columns, b {inner} rows: they do not compose")
    if first.shape[1] == inner + 1:
        if not b_is_affine:
            second = np.pad(second, ((0, 0), (0, 1)))
        constant = np.zeros((1, second.shape[1]))
        constant[0, -1] = 1.0
        second = np.concatenate([second, constant])
    return like((first.astype(np.float64) @ second).astype(np.float32), a)
