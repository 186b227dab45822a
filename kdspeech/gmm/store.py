"""What a split keeps on disk between the passes: features, alignments, training graphs.

Arrays of all frames lie in files one utterance after the other and are mapped, so that memory
holds what a pass is at, whatever the size of the corpus.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np

from kdspeech.gmm.training_graph import ARC, TrainingGraph

_BLOCK_FRAMES = 100_000  # frames of whole utterances handled together


class FrameStore:
    """The frames of a split's utterances.

    Args:
        folder: where `create` made one.

    Attributes:
        utterances, speakers: of each utterance, in the order of the files.
        offsets: int64 (utterances + 1,): utterance i has the frames offsets[i]:offsets[i + 1].
    """

    def __init__(self, folder: Path):
        self.folder = folder
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.utterances, self.speakers = index["utterances"], index["speakers"]
        self.offsets = np.concatenate([[0], np.cumsum(index["frames"], dtype=np.int64)])

    @classmethod
    def create(cls, folder: Path, items: Iterable[tuple[str, str, np.ndarray]]) -> "FrameStore":
        """Makes the store of (utterance, speaker, float32 (frames, dim)), kept as array "base"."""
        index = {"utterances": [], "speakers": [], "frames": []}
        with open(folder / "base", "wb") as file:
            for utterance, speaker, base in items:
                base.tofile(file)
                index["utterances"].append(utterance)
                index["speakers"].append(speaker)
                index["frames"].append(len(base))
        (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
        return cls(folder)

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def num_frames(self) -> int:
        return int(self.offsets[-1])

    def frames(self, i: int) -> slice:
        """Where utterance i lies in the arrays."""
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def array(self, name: str) -> np.ndarray:
        """Features of all frames by their name, mapped for reading: float32 (frames, dim)."""
        mapped = np.memmap(self.folder / name, np.float32, mode="r")
        return mapped.reshape(self.num_frames, -1)

    def write_array(self, name: str, parts: Iterable[np.ndarray]) -> None:
        """Writes the features `name` from those of the utterances, in order."""
        temporary = self.folder / f"{name}.tmp"
        with open(temporary, "wb") as file:
            for part in parts:
                np.ascontiguousarray(part).tofile(file)
        temporary.replace(self.folder / name)

    @contextmanager
    def new_alignment(self, name: str = "tids") -> Iterator[np.ndarray]:
        """The alignment to be, all 0, mapped for writing; it takes the place of the one before
        when the block ends well."""
        temporary = self.folder / f"{name}.tmp"
        tids = np.memmap(temporary, np.int32, mode="w+", shape=(self.num_frames,))
        yield tids
        tids.flush()
        temporary.replace(self.folder / name)

    def alignment(self, name: str = "tids") -> np.ndarray:
        """int32 (frames,): transition ids, 0 in utterances that have no alignment."""
        return np.memmap(self.folder / name, np.int32, mode="r")

    def aligned(self, tids: np.ndarray) -> Iterator[int]:
        """Numbers of the utterances that have an alignment."""
        return iter(np.flatnonzero(tids[self.offsets[:-1]] > 0).tolist())

    def blocks(self, max_frames: int = _BLOCK_FRAMES) -> Iterator[range]:
        """Runs of utterances, each run of at most so many frames unless it is one utterance."""
        first = 0
        for i in range(len(self)):
            if i > first and self.offsets[i + 1] - self.offsets[first] > max_frames:
                yield range(first, i)
                first = i
        if len(self) > first:
            yield range(first, len(self))

    def span(self, utterances: range) -> slice:
        """The frames of a run of utterances."""
        return slice(int(self.offsets[utterances.start]), int(self.offsets[utterances.stop]))

    @cached_property
    def by_speaker(self) -> dict[str, list[int]]:
        """Speaker -> numbers of its utterances."""
        groups: dict[str, list[int]] = {}
        for i, speaker in enumerate(self.speakers):
            groups.setdefault(speaker, []).append(i)
        return groups


class GraphStore:
    """Training graphs of a split's utterances, without transition probabilities.

    Args:
        folder: where `create` made one.
    """

    def __init__(self, folder: Path):
        self._index = np.load(folder / "graph.index.npy")
        self._arcs = np.memmap(folder / "graph.arcs", ARC, mode="r")
        self._finals = np.memmap(folder / "graph.finals", np.float32, mode="r")

    @classmethod
    def create(cls, folder: Path, graphs: Iterable[TrainingGraph]) -> "GraphStore":
        """Makes the store of the utterances' graphs, in order."""
        index, num_arcs, num_states = [], 0, 0
        with open(folder / "graph.arcs", "wb") as arcs, open(folder / "graph.finals", "wb") as ends:
            for graph in graphs:
                graph.arcs.tofile(arcs)
                graph.finals.tofile(ends)
                num_arcs, num_states = num_arcs + len(graph.arcs), num_states + len(graph.finals)
                index.append((graph.start, num_arcs, num_states))
        np.save(folder / "graph.index.npy", np.array(index, np.int64))
        return cls(folder)

    def __getitem__(self, i: int) -> TrainingGraph:
        """The graph of utterance i."""
        start, arc_end, state_end = self._index[i].tolist()
        arc_begin, state_begin = self._index[i - 1, 1:].tolist() if i else (0, 0)
        return TrainingGraph(
            start, self._arcs[arc_begin:arc_end], self._finals[state_begin:state_end]
        )
