"""Epsilons out of a graph, and its weights to where a search wants them."""

import numpy as np

from kdspeech import _core
from kdspeech.io.fst import ARC, Fst


def remove_symbols(fst: Fst, first: int) -> Fst:
    """Makes epsilons of the input labels from `first` on: the disambiguation symbols."""
    arcs = fst.arcs.copy()
    arcs["ilabel"][arcs["ilabel"] >= first] = 0
    return Fst(fst.start, fst.finals, fst.offsets, arcs)


def remove_epsilons(fst: Fst) -> Fst:
    """Removes epsilons where that makes the transducer no larger, as Kaldi's fstrmepslocal."""
    arrays = _core.graph.remove_epsilons(fst.start, fst.finals, fst.offsets, fst.arcs)
    start, finals, offsets, arcs = arrays
    return Fst(start, finals, offsets, arcs.view(ARC))


def push_weights(fst: Fst, max_iters: int = 200, delta: float = 1e-3) -> Fst:
    """Moves weights along paths until what leaves a state adds up the same for every state.

    The end is taken for a way back to the start, so that the sum is the greatest eigenvalue of the
    matrix of transition probabilities and its eigenvector, found by the power method, says how
    much to move. That is Kaldi's fstpushspecial, which suits graphs that are not stochastic.

    Args:
        fst: every state reaches an end.
        max_iters: of the power method.
        delta: stops when the logs of the sums differ less than this.
    """
    sources, to = fst.sources, fst.arcs["next"]
    probs, ends = np.exp(-fst.arcs["cost"].astype(float)), np.exp(-fst.finals.astype(float))
    mass = np.ones(fst.num_states)
    for _ in range(max_iters):
        total = np.bincount(sources, probs * mass[to], fst.num_states) + ends * mass[fst.start]
        ratios = total / mass
        if ratios.max() <= ratios.min() * np.exp(delta):
            break
        mass = total + ratios.mean() * mass  # half of it stays, against cycles
        mass /= mass.max()
    potential = np.log(mass)
    arcs = fst.arcs.copy()
    arcs["cost"] += potential[sources] - potential[to]
    return Fst(fst.start, fst.finals + potential - potential[fst.start], fst.offsets, arcs)
