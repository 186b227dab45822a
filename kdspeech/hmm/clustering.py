"""Clustering of Gaussian statistics by likelihood, as the tree's questions and leaves need it.

A row of statistics is [count, sum (dim), sum of squares (dim)], float64, so that rows add. What
clusters are judged by is the log-likelihood of their frames under one diagonal Gaussian each.
Objectives are rounded to float32, as Kaldi's are: which of two nearly equal choices wins hangs on
it.
"""

from collections.abc import Iterator

import numpy as np

VAR_FLOOR = 0.01  # Kaldi's for tree statistics

_KMEANS_TRIES, _REFINE_ITERS = 10, 100  # Kaldi's for clustering phones
_ROUNDING = 1e-6  # of an objective in float32
_MIN_SPLIT = 0.0  # a phone cluster is halved while that gains more than this


def objective(stats: np.ndarray, var_floor: float = VAR_FLOOR) -> np.ndarray:
    """Log-likelihood of each row's frames under their own Gaussian; 0 for empty rows.

    Args:
        stats: (..., 1 + 2 dim).
        var_floor: smallest variance.
    Returns:
        (...) float32.
    """
    dim = stats.shape[-1] // 2
    count = stats[..., 0]
    safe = np.where(count > 0, count, 1.0)[..., None]
    mean = stats[..., 1 : dim + 1] / safe
    var = stats[..., dim + 1 :] / safe - mean * mean
    floored = np.maximum(var, var_floor)
    per_frame = (var / floored).sum(-1) + np.log(floored).sum(-1) + dim * np.log(2 * np.pi)
    return np.where(count > 0, -0.5 * per_frame * count, 0.0).astype(np.float32)


def merge_cost(stats: np.ndarray, other: np.ndarray) -> np.ndarray:
    """What the objective loses when each row of `stats` and the row `other` become one."""
    return np.maximum(objective(stats) + objective(other) - objective(stats + other), 0)


def refine(
    points: np.ndarray, yes: np.ndarray, num_iters: int = _REFINE_ITERS, least: float = 0.0
) -> tuple[np.ndarray, float]:
    """Moves points between two clusters, one after the other, while the objective grows.

    Args:
        points: (n, 1 + 2 dim).
        yes: (n,) bool, the points in the second cluster.
        num_iters: passes over the points at most.
        least: moves that gain no more than this are not made. Kaldi's 0 makes some that gain
            nothing but rounding.
    Returns:
        The new `yes`, and by how much the objective grew.
    """
    yes, gained = yes.copy(), np.float32(0)
    for _ in range(num_iters):
        moved = _refine_once(points, yes, least)
        if moved == 0:
            break
        gained += moved
    return yes, float(gained)


def _refine_once(points: np.ndarray, yes: np.ndarray, least: float) -> np.float32:
    """One pass over the points; changes `yes`, returns the gain."""
    gained, start = np.float32(0), 0
    while start < len(points):
        gains = _move_gains(points, yes)
        better = np.flatnonzero(gains[start:] > least)
        if not len(better):
            break
        point = start + better[0]
        yes[point] = ~yes[point]
        gained += gains[point]
        start = point + 1
    return gained


def _move_gains(points: np.ndarray, yes: np.ndarray) -> np.ndarray:
    """(n,) float32: what each point's move to the other cluster would gain."""
    clusters = np.stack([points[~yes].sum(0), points[yes].sum(0)])
    own, other = yes.astype(int), (~yes).astype(int)
    now = objective(clusters)
    joined, without = objective(clusters[other] + points), objective(clusters[own] - points)
    return joined + without - now[other] - now[own]


def kmeans_two(
    points: np.ndarray, rng: np.random.Generator, tries: int = _KMEANS_TRIES
) -> tuple[np.ndarray, float]:
    """The best of several k-means runs with two clusters, each from random balanced clusters.

    Args:
        points: (n, 1 + 2 dim), n >= 2.
        rng: where the starts come from.
    Returns:
        (n,) bool, the points of the second cluster; the gain over one cluster.
    """
    runs = (_kmeans_once(points, rng) for _ in range(tries))
    return max(runs, key=lambda run: run[1])


def _kmeans_once(points: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    whole = objective(points.sum(0))
    start = rng.permutation(np.arange(len(points)) % 2 == 1)
    yes, _ = refine(points, start, least=_ROUNDING * float(abs(whole)))
    halves = np.stack([points[~yes].sum(0), points[yes].sum(0)])
    return yes, float(objective(halves).sum() - whole)


def cluster_top_down(points: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    """Yields the parts met when all points are halved again and again by k-means.

    Args:
        points: (n, 1 + 2 dim).
        seed: of the random starts.
    Yields:
        Indices of points, sorted: the halves of the whole, their halves, ...
    """
    rng = np.random.default_rng(seed)
    todo = [np.arange(len(points))]
    while todo:
        members = todo.pop()
        if len(members) < len(points):
            yield members
        if len(members) < 2:
            continue
        yes, gain = kmeans_two(points[members], rng)
        if gain > _MIN_SPLIT:
            todo += [members[yes], members[~yes]]


class BottomUp:
    """Agglomerative clustering of one set of points, one cheapest merge after the other.

    Args:
        points: (n, 1 + 2 dim).
    """

    def __init__(self, points: np.ndarray):
        self._stats = points.copy()
        self._parent = np.arange(len(points))
        self.count = len(points)
        self._costs = np.full((len(points), len(points)), np.inf, np.float32)
        for i in range(1, len(points)):
            self._costs[i, :i] = merge_cost(points[:i], points[i])
        self._find_best()

    def _find_best(self) -> None:
        # The first minimum in this order is the one Kaldi's queue of (cost, i, j) gives.
        self._best = np.unravel_index(self._costs.argmin(), self._costs.shape)
        self.best_cost = self._costs[self._best]

    def merge(self) -> None:
        """Merges the two clusters of `best_cost`."""
        i, j = self._best
        self._stats[i] += self._stats[j]
        self._parent[j] = i
        self.count -= 1
        self._costs[j, :] = self._costs[:, j] = np.inf
        alive = self._parent == np.arange(len(self._parent))
        alive[i] = False
        costs = np.where(alive, merge_cost(self._stats, self._stats[i]), np.inf)
        self._costs[i, :i], self._costs[i + 1 :, i] = costs[:i], costs[i + 1 :]
        self._find_best()

    def assignments(self) -> np.ndarray:
        """(n,) the cluster of each point, numbered from 0 in the order of what survived."""
        roots = self._parent
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
        return np.unique(roots, return_inverse=True)[1]


def cluster_bottom_up(points: np.ndarray, max_cost: float) -> np.ndarray:
    """Merges points while the cheapest merge costs at most `max_cost`; returns the assignments."""
    clusters = BottomUp(points)
    while clusters.count > 1 and clusters.best_cost <= max_cost:
        clusters.merge()
    return clusters.assignments()


def cluster_within(groups: list[np.ndarray], num_clusters: int) -> list[np.ndarray]:
    """Merges points, never over the border of a group, until `num_clusters` are left in all.

    Args:
        groups: arrays (n, 1 + 2 dim), at most `num_clusters` of them.
    Returns:
        The assignments within each group.
    """
    clusters = [BottomUp(points) for points in groups]
    left = sum(c.count for c in clusters)
    while left > max(num_clusters, len(groups)):
        min((c for c in clusters if c.count > 1), key=lambda c: c.best_cost).merge()
        left -= 1
    return [c.assignments() for c in clusters]
