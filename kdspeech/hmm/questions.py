"""Questions about phones in context: sets of phones found by clustering, and those given."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdspeech.hmm.clustering import cluster_top_down
from kdspeech.hmm.tree import PDF_CLASS
from kdspeech.hmm.tree_stats import TreeStats, sum_by

log = logging.getLogger(__name__)


@dataclass
class Questions:
    """What the tree may ask.

    Attributes:
        sets: key (as in kdspeech.hmm.tree) -> sets of values, each sorted; the order decides
            between equal splits.
        refine_iters: passes in which a question's set is bettered value by value; 0 for none.
    """

    sets: dict[int, list[list[int]]]
    refine_iters: int = 0


def compile_questions(
    phone_sets: Sequence[Sequence[int]],
    num_pdf_classes: int,
    context_width: int = 3,
    refine_iters: int = 0,
) -> Questions:
    """The same phone sets for every position of the window, and the HMM position, as Kaldi's
    compile-questions.

    Args:
        phone_sets: sets of phones.
        num_pdf_classes: the largest number of a phone in the topology.
        context_width: phones of the window.
        refine_iters: as in Questions.
    """
    unique = sorted({tuple(sorted(set(phones))) for phones in phone_sets if len(phones)})
    sets: dict[int, list[list[int]]] = {
        PDF_CLASS: [list(range(i + 1)) for i in range(num_pdf_classes - 1)]
    }
    for key in range(context_width):
        sets[key] = [list(phones) for phones in unique]
    return Questions(sets, refine_iters)


def cluster_phones(
    stats: TreeStats,
    phone_sets: Sequence[Sequence[int]],
    pdf_classes: Sequence[int] = (1,),
    central_position: int = 1,
    seed: int = 0,
) -> list[list[int]]:
    """Sets of phones that sound alike, as Kaldi's cluster-phones.

    The phone sets are halved again and again by k-means on the Gaussian statistics of their
    frames; every set met on the way is a question. The k-means starts at random, so Kaldi's sets
    need not be the same.

    Args:
        stats: statistics of the tree.
        phone_sets: phones that stay together (sets.int).
        pdf_classes: the HMM positions whose frames are used; the middle state by default.
        central_position: of the window.
        seed: of the random starts.
    Raises:
        ValueError: a phone in two sets.
    """
    phones = [phone for phones in phone_sets for phone in phones]
    if len(set(phones)) != len(phones):
        raise ValueError("a phone is in two of the phone sets")
    owner = np.full(max(phones) + 1, -1)
    for i, members in enumerate(phone_sets):
        owner[list(members)] = i
    points = _sum_by_set(stats, owner, len(phone_sets), pdf_classes, central_position)
    for i in np.flatnonzero(points[:, 0] == 0):
        log.warning("no frames of the phones %s", " ".join(map(str, phone_sets[i])))
    met = [sum((list(phone_sets[i]) for i in rows), []) for rows in cluster_top_down(points, seed)]
    every = {tuple(sorted(s)) for s in [*met, *phone_sets]}
    return [list(s) for s in sorted(every)]


def _sum_by_set(stats, owner, num_sets, pdf_classes, central_position) -> np.ndarray:
    centre = stats.events[:, 1 + central_position]
    known = (centre < len(owner)) & np.isin(stats.events[:, 0], pdf_classes)
    sets = np.where(known, owner[np.minimum(centre, len(owner) - 1)], -1)
    used = sets >= 0
    return sum_by(sets[used], stats.stats[used], num_sets)


def read_phone_sets(path) -> list[list[int]]:
    """Reads sets.int, extra_questions.int or questions.int: sets of phones, one a line."""
    with open(path, encoding="utf-8") as file:
        return [[int(field) for field in line.split()] for line in file if line.strip()]
