"""Decoding graphs: compact, read-only, shared by threads and, memory-mapped, by processes."""

import os
import tempfile
from typing import Any

import numpy as np

from kdspeech import _core
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.io.fst import Fst

_CORE = _core.decode
_COMPACT_MAGIC = b"KDSGRAPH"


class Graph:
    """An HCLG, or the training graph of one utterance: arcs from transition ids to words.

    Args:
        core: the core's graph; `read`, `from_fst` and `from_arrays` make one.
    """

    def __init__(self, core: "_CORE.Graph"):
        self.core = core

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Graph":
        """Reads an OpenFst binary file (const or vector, as Kaldi's HCLG.fst), or maps a compact
        file that `write` wrote.

        Raises:
            InputError: no such file, or one that is damaged or cannot be searched.
        """
        path = os.fspath(path)
        with open(path, "rb") as file:
            compact = file.read(len(_COMPACT_MAGIC)) == _COMPACT_MAGIC
        try:
            return cls(_CORE.open_graph(path) if compact else _CORE.read_openfst(path))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_fst(cls, fst: Any) -> "Graph":
        """Takes over a kdspeech.io.fst.Fst, a kaldifst FST, or the bytes of an OpenFst binary file.

        Raises:
            InputError: the FST cannot be searched.
        """
        if isinstance(fst, Fst):
            fst = fst.to_bytes()
        return cls(_CORE.graph_from_openfst(fst if isinstance(fst, bytes) else fst_bytes(fst)))

    @classmethod
    def from_arrays(cls, sources, nexts, tids, words, costs, finals, start: int = 0) -> "Graph":
        """Makes a graph of its arcs, in any order.

        Args:
            sources, nexts, tids, words: (num_arcs,) integers: an arc's two states, its transition
                id (0: none) and its word (0: none).
            costs: (num_arcs,) negative log probabilities; arcs of infinite cost are left out.
            finals: (num_states,) final costs, infinite where a state is not final.
            start: the start state.
        Raises:
            InputError: a state or label out of range, a cost that is no number, no final state,
                or a cycle of arcs without transition id.
        """
        integers = (np.ascontiguousarray(x, np.int32) for x in (sources, nexts, tids, words))
        floats = (np.ascontiguousarray(x, np.float32) for x in (costs, finals))
        return cls(_CORE.graph_from_arrays(*integers, *floats, start))

    def write(self, path: str | os.PathLike) -> None:
        """Writes the compact file that `read` maps; an older one is replaced as a whole."""
        with atomic_path(path) as temporary:
            self.core.write(os.fspath(temporary))

    @property
    def num_states(self) -> int:
        return self.core.num_states

    @property
    def num_arcs(self) -> int:
        return self.core.num_arcs

    @property
    def start(self) -> int:
        return self.core.start

    @property
    def arcs(self) -> np.ndarray:
        """(num_arcs,) of fields tid, word, next, cost; by state, arcs without tid first."""
        return self.core.arcs

    @property
    def offsets(self) -> np.ndarray:
        """State s has its arcs without tid in arcs[offsets[2 s] : offsets[2 s + 1]], the others
        from there to offsets[2 s + 2]."""
        return self.core.offsets

    @property
    def finals(self) -> np.ndarray:
        """(num_states,) final costs."""
        return self.core.finals

    def __repr__(self) -> str:
        return f"<Graph: {self.num_states} states, {self.num_arcs} arcs>"


def fst_bytes(fst: Any) -> bytes:
    """A kaldifst FST as the bytes of its file (a file in memory, where there is such a thing)."""
    if not hasattr(os, "memfd_create"):
        return _bytes_by_file(fst)
    handle = os.memfd_create("fst")
    try:
        fst.write(f"/proc/self/fd/{handle}")
        return os.pread(handle, os.fstat(handle).st_size, 0)
    finally:
        os.close(handle)


def _bytes_by_file(fst: Any) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        fst.write(file.name)
        return file.read()
