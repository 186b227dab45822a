"""First models: one Gaussian for each pdf."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from kdspeech.hmm.gmm import DiagGmms
from kdspeech.hmm.model import AcousticModel
from kdspeech.hmm.topology import HmmTopology
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import DecisionTree, monophone_tree
from kdspeech.hmm.tree_stats import TreeStats, sum_by
from kdspeech.io.errors import InputError

log = logging.getLogger(__name__)


def init_mono(
    topology: HmmTopology,
    feats: Iterable[np.ndarray],
    phone_sets: Sequence[Sequence[int]] | None = None,
) -> tuple[AcousticModel, DecisionTree]:
    """A flat start: every pdf has the mean and variance of all frames (gmm-init-mono).

    Args:
        topology: HmmTopology.
        feats: (frames, dim) arrays of some utterances (Kaldi takes ten).
        phone_sets: phones that share their pdfs (sets.int); each phone its own if not given.
    Raises:
        InputError: no frames, or features that are not finite or do not vary.
    """
    mean, variance = _moments(feats)
    tree = monophone_tree(phone_sets or [[phone] for phone in topology.phones], topology)
    transitions = TransitionModel.from_tree(tree, topology)
    count = tree.num_pdfs
    gmms = DiagGmms.from_moments(
        np.arange(count + 1),
        np.ones(count),
        np.tile(mean, (count, 1)),
        np.tile(variance, (count, 1)),
    )
    return AcousticModel(transitions, gmms), tree


def _moments(feats: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    frames = [np.asarray(part, dtype=np.float64) for part in feats]
    if not sum(map(len, frames)):
        raise InputError("no frames of features to start a model from")
    pooled = np.concatenate(frames)
    mean, variance = pooled.mean(axis=0), pooled.var(axis=0)
    if not np.all(np.isfinite(variance)) or np.any(variance <= 0):
        raise InputError(
            "features to start a model from that are not finite, or constant in dimension "
            f"{int(np.argmin(np.where(np.isfinite(variance), variance, -1)))}"
        )
    return mean, variance


def init_from_tree(
    tree: DecisionTree, topology: HmmTopology, stats: TreeStats, var_floor: float = 0.01
) -> tuple[AcousticModel, np.ndarray]:
    """One Gaussian for each leaf, from the statistics the tree was built on (gmm-init-model).

    A leaf that was not seen has the mean and variance of all frames.

    Args:
        tree, topology: of the new model.
        stats: TreeStats.
        var_floor: smallest variance.
    Returns:
        The model, and the frames of each pdf, float64 (num_pdfs,).
    Raises:
        InputError: no statistics, or of phones the tree does not know.
    """
    transitions = TransitionModel.from_tree(tree, topology)
    sums = sum_by(tree.map_events(stats.events), stats.stats, tree.num_pdfs)
    total = sums.sum(axis=0)
    if not total[0] > 0:
        raise InputError("no statistics to start a model from")
    occupancies = sums[:, 0].copy()
    _warn_of_rare(transitions, occupancies)
    sums[occupancies <= 0] = total
    moments = sums[:, 1:] / sums[:, :1]
    mean, square = np.split(moments, 2, axis=1)
    variance = np.maximum(square - mean * mean, var_floor)
    offsets = np.arange(tree.num_pdfs + 1)
    gmms = DiagGmms.from_moments(offsets, np.ones(tree.num_pdfs), mean, variance)
    return AcousticModel(transitions, gmms), occupancies


def _warn_of_rare(transitions: TransitionModel, occupancies: np.ndarray) -> None:
    for pdf in np.flatnonzero(occupancies <= 0).tolist():
        phones = np.unique(transitions.tuples[transitions.tuples[:, 2] == pdf, 0])
        log.warning(
            "no frames for pdf %d of phones %s: let them share a root with other phones",
            pdf,
            " ".join(map(str, phones)),
        )
