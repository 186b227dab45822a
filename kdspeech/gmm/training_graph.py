"""The graph of one transcript: transition probabilities put in, and paths without a model."""

import random
from collections import deque
from dataclasses import dataclass

import numpy as np

from kdspeech.decode.graph import Graph
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.io.fst import Fst

ARC = np.dtype(
    [("source", "<i4"), ("tid", "<i4"), ("word", "<i4"), ("next", "<i4"), ("cost", "<f4")]
)
_RANDOM_TRIES = 10  # Kaldi's, for a random path that is short enough


@dataclass(frozen=True)
class TrainingGraph:
    """All ways to say a transcript, as a graph of transition ids.

    Attributes:
        start: the start state.
        arcs: (num_arcs,) of ARC, sorted by source; costs without transition probabilities.
        finals: float32 (num_states,), infinite where a state is not final.
    """

    start: int
    arcs: np.ndarray
    finals: np.ndarray

    @classmethod
    def of(cls, fst: Fst) -> "TrainingGraph":
        """From what kdspeech.graph.TrainingGraphs makes with scales of 0."""
        arcs = np.empty(len(fst.arcs), ARC)
        arcs["source"] = fst.sources
        for mine, theirs in zip(ARC.names[1:], ("ilabel", "olabel", "next", "cost"), strict=True):
            arcs[mine] = fst.arcs[theirs]
        return cls(fst.start, arcs, fst.finals)

    def with_costs(self, tid_costs: np.ndarray, careful: bool = False) -> Graph:
        """The graph to search: the cost of each arc's transition id is added.

        Args:
            tid_costs: float32 (num_tids + 1,), see transition_costs.
            careful: append a copy that leads nowhere, so that a path which is through with the
                words too early gets lost there and the utterance fails (Kaldi's --careful).
        """
        arcs, finals, start = self.arcs, self.finals, self.start
        costs = arcs["cost"] + tid_costs[arcs["tid"]]
        columns = [arcs["source"], arcs["next"], arcs["tid"], arcs["word"], costs]
        if careful:
            columns, finals = self._with_dead_end(columns)
        return Graph.from_arrays(*columns, finals, start)

    def _with_dead_end(self, columns: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        count = len(self.finals)
        ends = np.flatnonzero(np.isfinite(self.finals)).astype(np.int32)
        entry = np.full(len(ends), count + self.start, np.int32)
        none = np.zeros(len(ends), np.int32)
        bridge = [ends, entry, none, none, self.finals[ends]]
        copy = [columns[0] + count, columns[1] + count, *columns[2:]]
        columns = [np.concatenate(parts) for parts in zip(columns, copy, bridge, strict=True)]
        return columns, np.concatenate([self.finals, np.full(count, np.inf, np.float32)])

    def equal_path(self, num_frames: int, seed: str) -> np.ndarray | None:
        """Transition ids of a random path, int32 (num_frames,): the frames are dealt out evenly to
        its self-loops (Kaldi's align-equal-compiled).

        Where random paths are too long the shortest one is taken.

        Returns:
            None if that is too long as well, or if the path cannot be made long enough.
        """
        walker = _Walker(self)
        rng = random.Random(seed)
        for _ in range(_RANDOM_TRIES):
            path = walker.random_path(rng, num_frames)
            if path is not None:
                break
        else:
            path = walker.shortest_path()
        return walker.stretch(path, num_frames)

    def min_frames(self) -> int:
        """How many frames an utterance needs at least."""
        walker = _Walker(self)
        return sum(walker.tids[arc] > 0 for arc in walker.shortest_path())


def transition_costs(
    transitions: TransitionModel, transition_scale: float = 1.0, self_loop_scale: float = 0.1
) -> np.ndarray:
    """Costs of transition ids, float32 (num_tids + 1,): self-loops and the probability to leave a
    state by one scale, the choice between the arcs that leave it by another."""
    log_probs = transitions.log_probs
    leave = transitions.forward_log_probs[transitions.tid_to_state]
    forward = self_loop_scale * leave + transition_scale * (log_probs - leave)
    costs = -np.where(transitions.is_self_loop, self_loop_scale * log_probs, forward)
    costs[0] = 0.0
    return costs.astype(np.float32)


class _Walker:
    """Paths through a graph that stay in no state; arcs are told by their numbers."""

    def __init__(self, graph: TrainingGraph):
        arcs, self._start = np.array(graph.arcs), graph.start
        self._final = np.isfinite(graph.finals).tolist()
        self.tids, self._next = arcs["tid"].tolist(), arcs["next"].tolist()
        loops = arcs["source"] == arcs["next"]
        self._leaving: list[list[int]] = [[] for _ in self._final]
        for arc, source in enumerate(arcs["source"].tolist()):
            if self._next[arc] != source:
                self._leaving[source].append(arc)
        loop_tids = zip(arcs["source"][loops].tolist(), arcs["tid"][loops].tolist(), strict=True)
        self._loop_tid = dict(loop_tids)

    def random_path(self, rng: random.Random, max_frames: int) -> list[int] | None:
        """A path in which each step is equally likely, None if it takes too many frames."""
        path, state, frames = [], self._start, 0
        while frames <= max_frames:
            leaving = self._leaving[state]
            step = rng.randrange(len(leaving) + self._final[state])
            if step == len(leaving):
                return path
            path.append(leaving[step])
            frames += self.tids[path[-1]] > 0
            state = self._next[path[-1]]
        return None

    def shortest_path(self) -> list[int]:
        """The path to a final state that takes fewest frames."""
        frames, came = {self._start: 0}, {self._start: None}
        queue = deque([self._start])
        while queue:  # arcs without transition id take no frame: their ends go first
            state = queue.popleft()
            for arc in self._leaving[state]:
                target, emits = self._next[arc], self.tids[arc] > 0
                if frames[state] + emits < frames.get(target, len(self.tids) + 1):
                    frames[target], came[target] = frames[state] + emits, (state, arc)
                    (queue.append if emits else queue.appendleft)(target)
        state = min((s for s in frames if self._final[s]), key=frames.__getitem__)
        path = []
        while came[state] is not None:
            state, arc = came[state]
            path.append(arc)
        return path[::-1]

    def stretch(self, path: list[int], num_frames: int) -> np.ndarray | None:
        """The transition ids of a path with as many self-loops put in as there are frames left."""
        states = [self._start, *(self._next[arc] for arc in path)]
        extra = num_frames - sum(self.tids[arc] > 0 for arc in path)
        loops = sum(state in self._loop_tid for state in states)
        if extra < 0 or (extra > 0 and not loops):
            return None
        each, more = divmod(extra, loops) if loops else (0, 0)
        tids: list[int] = []
        for state, arc in zip(states, [*path, None], strict=True):
            if state in self._loop_tid:
                tids += [self._loop_tid[state]] * (each + (more > 0))
                more -= 1
            if arc is not None and self.tids[arc]:
                tids.append(self.tids[arc])
        return np.array(tids, np.int32)
