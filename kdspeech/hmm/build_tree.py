"""Builds the tree that ties the states of phones in context, as Kaldi's build-tree.

Roots are given (roots.int); each is split by the question that gains most likelihood, the best
root first, until there are enough leaves or nothing gains enough; then leaves of one root that
are hardly different are merged.
"""

import heapq
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdspeech.hmm.clustering import cluster_bottom_up, cluster_within, objective, refine
from kdspeech.hmm.questions import Questions
from kdspeech.hmm.roots import Root
from kdspeech.hmm.topology import HmmTopology
from kdspeech.hmm.tree import DecisionTree, Node, Split, map_events, stub_tree
from kdspeech.hmm.tree_stats import MISSING, TreeStats, sum_by

log = logging.getLogger(__name__)

_LEAVES_MULTIPLE = 8  # Kaldi rounds the number of leaves down to a multiple of this


@dataclass
class TreeReport:
    """What happened: objective per frame gained by splitting, lost by merging leaves."""

    frames: float
    leaves_before: int = 0
    leaves_split: int = 0
    gain: float = 0.0
    smallest_split: float | None = None
    merged: int = 0
    rounded: int = 0
    loss: float = 0.0
    leaves: int = 0


def build_tree(
    stats: TreeStats,
    questions: Questions,
    roots: Sequence[Root],
    topology: HmmTopology,
    max_leaves: int = 0,
    thresh: float = 300.0,
    cluster_thresh: float = -1.0,
    round_num_leaves: bool = True,
    central_position: int = 1,
) -> tuple[DecisionTree, TreeReport]:
    """The tree over events of these statistics.

    Args:
        stats: from TreeStatsAccumulator.
        questions: from compile_questions.
        roots: the phones of each root.
        topology: tells how many classes a phone has, for roots that are not shared.
        max_leaves: stop splitting at so many leaves; 0 for no limit.
        thresh: least gain in log-likelihood of a split.
        cluster_thresh: leaves of a root are merged while that loses at most this; negative for the
            smallest gain of a split, 0 not to merge.
        round_num_leaves: merge on until the number of leaves is a multiple of 8.
        central_position: the phone's own place in the window.
    Raises:
        ValueError: options or roots that contradict each other, an event that no root covers.
    """
    _check_roots(roots, max_leaves, thresh)
    phone_sets, shared = [root.phones for root in roots], [root.shared for root in roots]
    stub, num_roots = stub_tree(central_position, phone_sets, topology, shared)
    report = TreeReport(float(stats.stats[:, 0].sum()), leaves_before=num_roots)
    fixed = [phone for root in roots if not root.split for phone in root.phones]
    split = stats.select(~np.isin(stats.events[:, 1 + central_position], fixed))
    tree = _split_tree(stub, num_roots, split, questions, max_leaves, thresh, report)
    report.leaves = report.leaves_split
    if cluster_thresh < 0:
        cluster_thresh = report.smallest_split or 0.0
    if cluster_thresh > 0:
        tree = _merge_leaves(tree, stub, stats, cluster_thresh, round_num_leaves, report)
    log.info("%s", report)
    return DecisionTree(stats.events.shape[1] - 1, central_position, tree), report


def _check_roots(roots: Sequence[Root], max_leaves: int, thresh: float) -> None:
    if max_leaves <= 0 and thresh <= 0:
        raise ValueError("build_tree needs max_leaves or thresh to know when to stop")
    phones = [phone for root in roots for phone in root.phones]
    if len(set(phones)) != len(phones):
        raise ValueError("a phone is in two roots")
    if any(root.split and not root.shared for root in roots):
        raise ValueError("a root that is not shared cannot be split")


def relabel(tree: Node | None, new: Callable[[int], Node]) -> Node | None:
    """The tree with each leaf replaced by what `new` gives for its pdf."""
    if tree is None:
        return None
    if isinstance(tree, int):
        return new(tree)
    if isinstance(tree, Split):
        return replace(tree, yes=relabel(tree.yes, new), no=relabel(tree.no, new))
    return replace(tree, branches=tuple(relabel(branch, new) for branch in tree.branches))


class _Splitter:
    """A node that knows its best split, and carries it out where it gains most below it."""

    def __init__(self, leaf: int, stats: TreeStats, asker: "_Asker"):
        self._leaf, self._stats, self._asker = leaf, stats, asker
        self._yes: _Splitter | None = None
        self._no: _Splitter | None = None
        self.gain, self._key, self._values = asker.best(stats)

    def split(self, new_leaf: int) -> None:
        if self._yes is None:
            self._split_here(new_leaf)
        else:
            (self._yes if self._yes.gain >= self._no.gain else self._no).split(new_leaf)
        self.gain = max(self._yes.gain, self._no.gain)

    def _split_here(self, new_leaf: int) -> None:
        yes = np.isin(self._stats.events[:, self._key + 1], self._values)
        self._yes = _Splitter(self._leaf, self._stats.select(yes), self._asker)
        self._no = _Splitter(new_leaf, self._stats.select(~yes), self._asker)
        self._stats = None

    def node(self) -> Node:
        if self._yes is None:
            return self._leaf
        return Split(self._key, frozenset(self._values), self._yes.node(), self._no.node())


class _Asker:
    """Finds the question that splits statistics best."""

    def __init__(self, questions: Questions):
        self._questions = questions
        self._masks = {}
        for key, sets in questions.sets.items():
            mask = np.zeros((len(sets), 1 + max((max(s) for s in sets), default=0)))
            for row, values in zip(mask, sets, strict=True):
                row[values] = 1
            self._masks[key] = mask

    def best(self, stats: TreeStats) -> tuple[np.float32, int, list[int]]:
        """Gain, key and values of the best question; gain 0 where there is none."""
        best = (np.float32(0), 0, [])
        if len(stats) > 1:
            for key in sorted(self._questions.sets):
                found = self._best_of_key(stats, key)
                if found[0] > best[0]:
                    best = found
        return best

    def _best_of_key(self, stats: TreeStats, key: int) -> tuple[np.float32, int, list[int]]:
        values, groups = np.unique(stats.events[:, key + 1], return_inverse=True)
        if values[0] == MISSING or not len(self._masks[key]):
            return np.float32(0), key, []
        summed = sum_by(groups, stats.stats, len(values))
        gain, chosen = self._ask(summed, values, key)
        if self._questions.refine_iters:
            # Values without frames take part: they move for nothing but rounding, in Kaldi too.
            points = np.zeros((values[-1] + 1, summed.shape[1]))
            points[values] = summed
            start = np.isin(np.arange(len(points)), chosen)
            yes, more = refine(points, start, self._questions.refine_iters)
            return gain + np.float32(more), key, np.flatnonzero(yes).tolist()
        return gain, key, chosen

    def _ask(self, summed: np.ndarray, values: np.ndarray, key: int):
        mask = self._masks[key]
        known = values < mask.shape[1]
        total = summed.sum(0)
        yes = mask[:, values[known]] @ summed[known]
        gains = objective(total - yes) + objective(yes) - objective(total)
        best = int(gains.argmax())
        if gains[best] <= 0:
            return np.float32(0), []
        return gains[best], self._questions.sets[key][best]


def _split_tree(stub, num_leaves, stats, questions, max_leaves, thresh, report) -> Node:
    asker = _Asker(questions)
    leaves = map_events(stub, stats.events)
    splitters = [_Splitter(i, stats.select(leaves == i), asker) for i in range(num_leaves)]
    queue = [(-s.gain, -i) for i, s in enumerate(splitters)]
    heapq.heapify(queue)
    while -queue[0][0] > thresh and (max_leaves <= 0 or num_leaves < max_leaves):
        gain, i = -queue[0][0], -queue[0][1]
        splitters[i].split(num_leaves)
        heapq.heapreplace(queue, (-splitters[i].gain, -i))
        num_leaves += 1
        report.gain += float(gain) / report.frames
        report.smallest_split = min(float(gain), report.smallest_split or np.inf)
    report.leaves_split = num_leaves
    return relabel(stub, lambda pdf: splitters[pdf].node())


def _merge_leaves(tree, stub, stats, cluster_thresh, round_num_leaves, report) -> Node:
    before = _total_objective(tree, stats)
    groups = _leaves_by_root(tree, stub, stats)
    found = [cluster_bottom_up(points, cluster_thresh) for _, points in groups]
    tree, report.merged = _join(tree, groups, found)
    report.leaves -= report.merged
    required = report.leaves // _LEAVES_MULTIPLE * _LEAVES_MULTIPLE
    groups = _leaves_by_root(tree, stub, stats)
    if round_num_leaves and len(groups) <= required < report.leaves:
        without_frames = report.leaves - sum(len(ids) for ids, _ in groups)
        found = cluster_within([points for _, points in groups], required - without_frames)
        tree, report.rounded = _join(tree, groups, found)
        report.leaves -= report.rounded
    report.loss = (before - _total_objective(tree, stats)) / report.frames
    return tree


def _total_objective(tree: Node, stats: TreeStats) -> float:
    leaves = map_events(tree, stats.events)
    return float(objective(sum_by(leaves, stats.stats, leaves.max() + 1)).sum(dtype=np.float64))


def _leaves_by_root(tree: Node, stub: Node, stats: TreeStats) -> list[tuple]:
    """For each root with statistics: its leaves that have some, and their statistics."""
    roots, leaves = map_events(stub, stats.events), map_events(tree, stats.events)
    groups = []
    for root in np.unique(roots):
        rows = roots == root
        ids, inverse = np.unique(leaves[rows], return_inverse=True)
        groups.append((ids, sum_by(inverse, stats.stats[rows], len(ids))))
    return groups


def _join(tree: Node, groups: list[tuple], found: list[np.ndarray]) -> tuple[Node, int]:
    """Merges leaves by the clusters found within each root and numbers them anew from 0."""
    merged = {
        int(old): int(ids[cluster])
        for (ids, _), clusters in zip(groups, found, strict=True)
        for old, cluster in zip(ids, clusters, strict=True)
    }
    left: set[int] = set()
    relabel(tree, lambda pdf: left.add(merged.get(pdf, pdf)) or pdf)
    numbers = {pdf: i for i, pdf in enumerate(sorted(left))}
    removed = sum(len(clusters) - int(clusters.max()) - 1 for clusters in found)
    return relabel(tree, lambda pdf: numbers[merged.get(pdf, pdf)]), removed
