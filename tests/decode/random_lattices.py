"""Small random lattices, and a model for their transition ids."""

from types import SimpleNamespace

import numpy as np

from kdspeech.decode import Lattice


def transitions(num_tids: int) -> SimpleNamespace:
    """Of a model with phones of two transition ids, 1 and 2, 3 and 4, ...; odd ones begin."""
    tids = np.arange(num_tids + 1)
    return SimpleNamespace(
        tid_to_hmm_state=np.where(tids % 2, 0, 1),
        is_self_loop=tids % 2 == 0,
        tid_to_phone=((tids + 1) // 2).astype(np.int32),
        tid_to_pdf=(tids - 1).astype(np.int32),
    )


def random_lattice(seed: int, frames: int = 5, width: int = 3) -> Lattice:
    """`width` states per frame; arcs with and without words, and some without transition id."""
    random = np.random.default_rng(seed)
    offsets, arcs, num_states = [0, 0], [[]], 1 + frames * width
    for state in range(1 + (frames - 1) * width):
        first = 1 + (state + width - 1) // width * width
        for _ in range(random.integers(2, 5)):
            word = int(random.choice([0, 0, 1, 2, 3]))
            tid = int(random.integers(1, 7))
            arcs[state].append((tid, word, first + random.integers(width), *random.random(2) * 4))
        if state % width and random.random() < 0.5:
            arcs[state].append((0, int(random.integers(3)), state + 1, *random.random(2)))
        arcs.append([])
    arcs += [[] for _ in range(num_states - len(arcs))]
    offsets = np.concatenate([[0], np.cumsum([len(a) for a in arcs])])
    finals = [(np.inf, np.inf)] * (num_states - width) + [(0.5 * i, 0.0) for i in range(width)]
    return Lattice.from_arrays(offsets, sum(arcs, []), finals)
