"""Maximum likelihood training: statistics of an acoustic model and the update from them."""

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kdspeech.features.gaussians import accumulate_gmms
from kdspeech.hmm.gmm import DiagGmms
from kdspeech.hmm.mixtures import MIN_COUNT, PERTURB_FACTOR, POWER, merge_by_count, split_by_count
from kdspeech.hmm.model import AcousticModel
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError


@dataclass
class GmmStatistics:
    """What training collects, of a size that does not grow with the corpus.

    Attributes:
        transition_counts: float64 (num_tids + 1,), frames of each transition id.
        occupancy: float64 (G,), frames of each Gaussian.
        x, x2: float64 (G, dim), sums of the features and of their squares.
        log_like, frames: sum of the log-likelihoods and of the weights of all frames.
    """

    transition_counts: np.ndarray
    occupancy: np.ndarray
    x: np.ndarray
    x2: np.ndarray
    log_like: float = 0.0
    frames: float = 0.0

    @classmethod
    def zeros(cls, model: AcousticModel, dim: int | None = None) -> "GmmStatistics":
        """Empty statistics; `dim` differs from the model's where other features are summed."""
        shape = (model.gmms.num_gaussians, dim or model.gmms.dim)
        counts = np.zeros(model.transitions.num_tids + 1)
        return cls(counts, np.zeros(shape[0]), np.zeros(shape), np.zeros(shape))

    def add(
        self,
        model: AcousticModel,
        feats: np.ndarray,
        tids: np.ndarray,
        summed: np.ndarray | None = None,
        name: str = "features",
    ) -> float:
        """Adds one utterance, or several one after the other (quicker); gives their log-likelihood.

        Args:
            model: tells the Gaussian posteriors within each frame's pdf.
            feats: float32 (frames, dim) the model is for.
            tids: (frames,), transition ids.
            summed: (frames, other dim), features that are summed instead, with the posteriors of
                `feats` (Kaldi's gmm-acc-stats-twofeats).
            name: the utterance, for messages.
        Raises:
            InputError: lengths that differ, a foreign transition id, features or likelihoods that
                are not finite.
        """
        tids = model.transitions.checked(tids, name)
        summed = feats if summed is None else summed
        if not len(feats) == len(tids) == len(summed):
            raise InputError(
                f"{name}: {len(feats)} frames of features, {len(tids)} of the alignment"
            )
        pdfs = model.transitions.tid_to_pdf[tids]
        log_like = accumulate_gmms(
            feats, pdfs, model.gmms, self.occupancy, self.x, self.x2, summed=summed, name=name
        )
        self.log_like += log_like
        self.transition_counts += np.bincount(tids, minlength=len(self.transition_counts))
        self.frames += len(tids)
        return log_like

    def __iadd__(self, other: "GmmStatistics") -> "GmmStatistics":
        if self.x.shape != other.x.shape or len(self.transition_counts) != len(
            other.transition_counts
        ):
            raise InputError("statistics of different models cannot be summed")
        for name in ("transition_counts", "occupancy", "x", "x2"):
            getattr(self, name)[...] += getattr(other, name)
        self.log_like += other.log_like
        self.frames += other.frames
        return self

    @classmethod
    def sum(cls, parts: Iterable["GmmStatistics"]) -> "GmmStatistics":
        """The sum of the statistics of several jobs (gmm-sum-accs); changes the first."""
        parts = iter(parts)
        total = next(parts)
        for part in parts:
            total += part
        return total

    def write(self, path: str | os.PathLike) -> None:
        """Writes a .npz file, whole or not at all."""
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **vars(self))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "GmmStatistics":
        """Reads what `write` wrote; InputError for another or a damaged file."""
        try:
            with np.load(path) as arrays:
                values = {name: arrays[name] for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: no statistics of a GMM, or damaged ({error})") from error
        return cls(
            **{name: value if value.ndim else float(value) for name, value in values.items()}
        )


@dataclass(frozen=True)
class MleOptions:
    """Kaldi's options of gmm-est, by their names with _ for -.

    Attributes:
        min_gaussian_weight, min_gaussian_occupancy: Gaussians with less are removed.
        min_variance: floor of the variances.
        remove_low_count_gaussians: False keeps them as they are.
        transition_floor: smallest transition probability.
        transition_min_count: transition states with fewer frames keep their probabilities.
        mix_up, mix_down: number of Gaussians to split up or merge down to; 0 leaves it.
        power, min_count, perturb_factor: see `split_by_count`.
    """

    min_gaussian_weight: float = 1e-5
    min_gaussian_occupancy: float = 10.0
    min_variance: float = 1e-3
    remove_low_count_gaussians: bool = True
    transition_floor: float = 0.01
    transition_min_count: float = 5.0
    mix_up: int = 0
    mix_down: int = 0
    power: float = POWER
    min_count: float = MIN_COUNT
    perturb_factor: float = PERTURB_FACTOR


@dataclass(frozen=True)
class UpdateReport:
    """What an update did.

    Attributes:
        frames: weight of the statistics.
        log_like: average log-likelihood of a frame under the model before.
        improvement: of the Gaussians' auxiliary function, per frame.
        transition_improvement: of the transition probabilities' log-likelihood, per frame.
        floored, removed: variances floored and Gaussians removed.
        num_gaussians: of the new model.
    """

    frames: float
    log_like: float
    improvement: float
    transition_improvement: float
    floored: int
    removed: int
    num_gaussians: int


def estimate(
    model: AcousticModel,
    stats: GmmStatistics,
    options: MleOptions | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[AcousticModel, UpdateReport]:
    """The model that the statistics give: transitions, Gaussians, then their number (gmm-est).

    Args:
        model: the model the statistics were collected with; stays as it is.
        stats: the sum of all jobs.
        options: MleOptions.
        rng: moves the means of split Gaussians; needed with mix_up.
    """
    options = options or MleOptions()
    transitions, gain = model.transitions.update_mle(
        stats.transition_counts, options.transition_floor, options.transition_min_count
    )
    gmms, improvement, floored, removed = update_gmms(model.gmms, stats, options)
    occupancies = np.add.reduceat(stats.occupancy, model.gmms.offsets[:-1])
    if options.mix_down:
        gmms = merge_by_count(gmms, occupancies, options.mix_down, options.power, options.min_count)
    if options.mix_up:
        gmms = split_by_count(
            gmms,
            occupancies,
            options.mix_up,
            np.random.default_rng(0) if rng is None else rng,
            options.power,
            options.min_count,
            options.perturb_factor,
        )
    frames = max(stats.frames, 1e-10)
    report = UpdateReport(
        stats.frames,
        stats.log_like / frames,
        improvement / frames,
        gain / frames,
        floored,
        removed,
        gmms.num_gaussians,
    )
    return AcousticModel(transitions, gmms), report


def update_gmms(
    gmms: DiagGmms, stats: GmmStatistics, options: MleOptions
) -> tuple[DiagGmms, float, int, int]:
    """New Gaussians, the auxiliary function's improvement, variances floored, Gaussians removed.

    Where the statistics are of another dimension, the old means and variances count as 0 and 1.
    """
    if stats.x.shape[1] != gmms.dim:
        shape = stats.x.shape
        gmms = DiagGmms(gmms.offsets, gmms.weights, np.zeros(shape), np.ones(shape))
    occupancy, starts = stats.occupancy, gmms.offsets[:-1]
    totals = np.repeat(np.add.reduceat(occupancy, starts), gmms.sizes)
    shares = 1.0 / np.repeat(gmms.sizes, gmms.sizes)
    np.divide(occupancy, totals, out=shares, where=totals > 0)
    enough = (occupancy > options.min_gaussian_occupancy) & (shares > options.min_gaussian_weight)
    removed = _to_remove(enough, gmms) if options.remove_low_count_gaussians else ~enough & False
    kept_weak = ~enough & ~removed
    weights = np.where(enough, shares, gmms.weights)
    weights[kept_weak] = np.maximum(shares, options.min_gaussian_weight)[kept_weak]

    means, variances = gmms.means, gmms.variances
    means[enough] = stats.x[enough] / occupancy[enough, None]
    found = stats.x2[enough] / occupancy[enough, None] - means[enough] ** 2
    variances[enough] = np.maximum(found, options.min_variance)
    new = DiagGmms.from_moments(gmms.offsets, weights, means, variances)
    improvement = _objective(new, stats) - _objective(gmms, stats)
    floored = int(np.count_nonzero(found < options.min_variance))
    return _without(new, removed), improvement, floored, int(removed.sum())


def _to_remove(enough: np.ndarray, gmms: DiagGmms) -> np.ndarray:
    """Gaussians without enough frames; of a pdf that has no other, the last one stays."""
    removed = ~enough
    empty = ~np.logical_or.reduceat(enough, gmms.offsets[:-1])
    removed[gmms.offsets[1:][empty] - 1] = False
    return removed


def _without(gmms: DiagGmms, removed: np.ndarray) -> DiagGmms:
    """The mixtures without some Gaussians; the weights of their pdfs sum to 1 again."""
    if not removed.any():
        return gmms
    starts = gmms.offsets[:-1]
    kept = ~removed
    weights = gmms.weights.astype(np.float64) * kept
    sums = np.add.reduceat(weights, starts)
    changed = np.logical_or.reduceat(removed, starts)
    weights /= np.repeat(np.where(changed, sums, 1.0), gmms.sizes)
    sizes = np.add.reduceat(kept.astype(np.int32), starts)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return DiagGmms(offsets, weights[kept], gmms.means_invvars[kept], gmms.inv_vars[kept])


def _objective(gmms: DiagGmms, stats: GmmStatistics) -> float:
    """The auxiliary function: the statistics' log-likelihood with the posteriors held fixed."""
    with np.errstate(invalid="ignore"):  # a weight of 0 with no frames
        constant = np.where(stats.occupancy > 0, stats.occupancy * gmms.gconsts, 0.0).sum()
    linear = np.vdot(stats.x, gmms.means_invvars.astype(np.float64))
    return float(constant + linear - 0.5 * np.vdot(stats.x2, gmms.inv_vars.astype(np.float64)))
