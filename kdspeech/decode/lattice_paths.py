"""Single paths in and out of lattices: whether one is there, adding one, the N best alone."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from kdspeech import _core
from kdspeech.decode.lattice import Lattice
from kdspeech.decode.posteriors import ACOUSTIC_SCALE
from kdspeech.io.errors import InputError


class Path(NamedTuple):
    """A path to add, of the same fields as what `Lattice.best_path` returns.

    Attributes:
        tids: transition ids, int (frames,).
        words: ids, at most as many as frames.
        graph_cost, acoustic_cost: unscaled.
    """

    tids: np.ndarray
    words: Sequence[int] = ()
    graph_cost: float = 0.0
    acoustic_cost: float = 0.0


def contains(lattice: Lattice, tids: np.ndarray, tid_to_pdf: np.ndarray) -> bool:
    """Whether the lattice has a path of the same pdfs as `tids`: all that scores can tell apart.

    Raises:
        InputError: a transition id that the table lacks.
    """
    lattice = lattice.to_state_level()
    labels, times = lattice.arcs["ilabel"], lattice.state_times()
    for ids in (labels, tids):
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(tid_to_pdf):
            raise InputError("lattice or alignment: a transition id that is not in the model")
    if lattice.num_states == 0 or len(tids) == 0:
        return False
    sources = np.repeat(np.arange(lattice.num_states), np.diff(lattice.offsets))
    wanted = tid_to_pdf[tids][np.clip(times[sources], 0, len(tids) - 1)]
    fits = np.flatnonzero((labels == 0) | (tid_to_pdf[labels] == wanted))
    reached = np.zeros(lattice.num_states, dtype=bool)
    reached[0] = True
    for source, target in zip(sources[fits], lattice.arcs["nextstate"][fits], strict=True):
        reached[target] |= reached[source]
    ends = np.isfinite(lattice.finals["graph_cost"]) & (times == len(tids))
    return bool(np.any(reached & ends))


def add_paths(lattice: Lattice, paths: Iterable[Path]) -> Lattice:
    """The state-level lattice with more paths from its start, each of states of its own.

    Raises:
        InputError: a path without frames, or with more words than frames.
    """
    lattice, paths = lattice.to_state_level(), list(paths)
    first, chains, finals = [], [], []
    state = max(lattice.num_states, 1)
    for path in paths:
        arcs = _arcs(path, state)
        first.append(arcs[:1])
        chains.append(arcs[1:])
        finals.append(_finals(len(arcs)))
        state += len(arcs)
    offsets = lattice.offsets if lattice.num_states else np.array([0, 0], np.int32)
    own = lattice.finals if lattice.num_states else _finals(2)[:1]
    arcs = np.concatenate([lattice.arcs[: offsets[1]], *first, lattice.arcs[offsets[1] :], *chains])
    leaving = np.diff(offsets)
    leaving[0] += len(paths)
    counts = [leaving, *(np.append(np.ones(len(c), np.int32), 0) for c in chains)]
    new_offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return Lattice.from_arrays(new_offsets, arcs, np.concatenate([own, *finals]))


def nbest_lattice(
    lattice: Lattice, n: int, acoustic_scale: float = ACOUSTIC_SCALE, lm_scale: float = 1.0
) -> Lattice:
    """The lattice of the n best paths alone, by the lattice's own costs.

    For a model's N best, give `lattice.rescore_acoustic(loglikes, transitions)`. The paths of a
    state-level lattice may differ in their alignments alone, and near the best one they do; for n
    word sequences, each with its best alignment, determinize the rescored lattice.
    """
    paths = lattice.nbest(n, acoustic_scale, lm_scale)
    empty = Lattice.from_arrays([0], [], [])
    return add_paths(empty, paths) if paths else empty


def _arcs(path: Path, state: int) -> np.ndarray:
    """The arcs from the start through `state`, state + 1 and so on."""
    frames = len(path.tids)
    if frames == 0 or len(path.words) > frames:
        raise InputError(f"path: {frames} frames, {len(path.words)} words: cannot make a lattice")
    arcs = np.zeros(frames, dtype=_core.decode.ARC_DTYPE)
    arcs["ilabel"] = path.tids
    arcs["olabel"][: len(path.words)] = path.words
    arcs["nextstate"] = np.arange(state, state + frames)
    arcs["graph_cost"][0], arcs["acoustic_cost"][0] = path.graph_cost, path.acoustic_cost
    return arcs


def _finals(states: int) -> np.ndarray:
    """Of which the last one is final."""
    finals = np.full(states, np.inf, dtype=_core.decode.COST_DTYPE)
    finals[-1] = (0.0, 0.0)
    return finals
