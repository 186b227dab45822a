"""Random paths through a graph, and what a pair of label sequences costs in it."""

import kaldifst
import numpy as np

from kdspeech.io.fst import Fst


def random_path(fst: Fst, random) -> tuple[list[int], list[int]]:
    """The labels of a path to an end."""
    state, tids, words = fst.start, [], []
    while True:
        first, last = fst.offsets[state : state + 2]
        choices = last - first + np.isfinite(fst.finals[state])
        choice = int(random.integers(choices))
        if choice == last - first:
            return tids, words
        tid, word, _, state = fst.arcs[first + choice].item()
        tids += [tid] * (tid > 0)
        words += [word] * (word > 0)


def total_cost(fst: Fst, tids, words) -> float:
    """-log of the sum over all paths with these labels, infinity where there is none."""
    graph = fst.to_kaldifst()
    kaldifst.arcsort(graph)
    acceptors = [kaldifst.make_linear_acceptor([int(x) for x in row]) for row in (tids, words)]
    found = kaldifst.StdVectorFst(kaldifst.compose(acceptors[0], graph))
    kaldifst.arcsort(found, sort_type="olabel")
    return _sum(Fst.from_kaldifst(kaldifst.compose(found, acceptors[1])))


def _sum(fst: Fst) -> float:
    """-log of the sum over all paths of an acyclic transducer."""
    if not fst.num_states:
        return np.inf
    log_mass = np.full(fst.num_states, -np.inf)
    log_mass[fst.start] = 0
    waiting = np.bincount(fst.arcs["next"], minlength=fst.num_states)
    ready = np.flatnonzero(waiting == 0).tolist()
    while ready:
        state = ready.pop()
        for *_, cost, to in fst.arcs[fst.offsets[state] : fst.offsets[state + 1]].tolist():
            log_mass[to] = np.logaddexp(log_mass[to], log_mass[state] - cost)
            waiting[to] -= 1
            if not waiting[to]:
                ready.append(to)
    return -float(np.logaddexp.reduce(log_mass - fst.finals))
