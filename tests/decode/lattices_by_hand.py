"""Small lattices for tests of scoring."""

import numpy as np

from kdspeech import _core
from kdspeech.decode import Lattice


def parallel(*paths):
    """A state-level lattice of paths (words, graph cost, acoustic cost), side by side."""
    arcs, offsets, ends = [], [0], []
    number = 1
    first, rest = [], []
    for words, graph, acoustic in paths:
        labels = words or [0]
        first.append((1, labels[0], number, graph, acoustic))
        for label in labels[1:]:
            rest.append((number, (1, label, number + 1, 0.0, 0.0)))
            number += 1
        ends.append(number)
        number += 1
    arcs, offsets = list(first), [0, len(first)]
    leaving = dict(rest)
    for state in range(1, number):
        arcs += [leaving[state]] if state in leaving else []
        offsets.append(len(arcs))
    finals = np.full((number, 2), np.inf, np.float32)
    finals[ends] = 0
    return Lattice.from_arrays(
        offsets,
        np.array(arcs, dtype=_core.decode.ARC_DTYPE),
        np.array([tuple(row) for row in finals], dtype=_core.decode.COST_DTYPE),
    )
