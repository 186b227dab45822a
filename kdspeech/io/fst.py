"""Weighted transducers as arrays, and OpenFst's files of them.

OpenFst's `vector` and `const` files with standard arcs (tropical weights, costs) are read and
written here rather than by kaldifst, which ends the process on a damaged file.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("cost", "<f4"), ("next", "<i4")])
"""An arc; label 0 is epsilon, the cost a negative natural logarithm."""

_CONST_STATE = np.dtype(
    [("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("ieps", "<u4"), ("oeps", "<u4")]
)
_MAGIC = 2125659606
_EXPANDED, _MUTABLE = 1, 2  # the only properties we vouch for: OpenFst finds the others itself
_STATIC = {b"vector": _EXPANDED | _MUTABLE, b"const": _EXPANDED}
_HAS_SYMBOLS, _IS_ALIGNED = 3, 4
_ALIGNED_CONST, _ALIGNMENT = 1, 16
_STATE_WORDS, _ARC_WORDS = 3, 4  # a state of a vector file: final cost, number of arcs (64 bits)


@dataclass
class Fst:
    """A transducer; state s has the arcs offsets[s] up to offsets[s + 1].

    Attributes:
        start: the first state, -1 in an empty transducer.
        finals: float32 (states,): cost of ending in a state, infinity where one cannot.
        offsets: int64 (states + 1,).
        arcs: ARC (arcs,).
    """

    start: int
    finals: np.ndarray
    offsets: np.ndarray
    arcs: np.ndarray

    @property
    def num_states(self) -> int:
        return len(self.finals)

    @property
    def sources(self) -> np.ndarray:
        """The state each arc leaves: int32 (arcs,)."""
        states = np.arange(self.num_states, dtype=np.int32)
        return np.repeat(states, np.diff(self.offsets))

    @classmethod
    def from_arcs(cls, start: int, sources, arcs: np.ndarray, finals) -> "Fst":
        """Makes a transducer of arcs in any order; arcs of one state keep theirs.

        Args:
            start: the first state.
            sources: the state each arc leaves.
            arcs: ARC (arcs,).
            finals: cost of ending, for every state.
        """
        sources, finals = np.asarray(sources, np.int32), np.asarray(finals, np.float32)
        order = np.argsort(sources, kind="stable")
        counts = np.bincount(sources, minlength=len(finals))
        return cls(start, finals, np.concatenate([[0], np.cumsum(counts)]), arcs[order])

    @classmethod
    def from_kaldifst(cls, fst) -> "Fst":
        """The same transducer from kaldifst."""
        with _scratch_file() as path:
            fst.write(path)
            return cls.read(path)

    def to_kaldifst(self):
        """The same transducer as kaldifst.StdVectorFst."""
        import kaldifst

        with _scratch_file() as path:
            Path(path).write_bytes(self.to_bytes())
            return kaldifst.StdVectorFst.read(path)

    def to_bytes(self) -> bytes:
        """An OpenFst file of type vector."""
        return b"".join(_vector_parts(self))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Fst":
        """Reads an OpenFst file of type vector or const.

        Raises:
            InputError: no such file, another type, or a damaged file; names it.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        return _Reader(path, data).fst()

    def write(self, path: str | os.PathLike, const: bool = False) -> None:
        """Writes an OpenFst file of type vector, or const."""
        parts = _const_parts(self) if const else _vector_parts(self)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.writelines(parts)


def join_arcs(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of ARC one after another; as integers, which numpy does many times quicker."""
    return np.concatenate([table.view("<i4") for table in tables]).view(ARC)


@contextlib.contextmanager
def _scratch_file() -> Iterator[str]:
    """The path of an empty file, in memory where the system has such a thing."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as file:
            yield file.name
        return
    handle = os.memfd_create("fst")
    try:
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


class _Reader:
    """Walks through the bytes of a file."""

    def __init__(self, path, data: bytes):
        self._path, self._data, self._place = path, data, 0

    def fst(self) -> Fst:
        if self._take("<i4") != _MAGIC:
            raise InputError(f"{self._path}: not an OpenFst file")
        kind, arc_type = self._string(), self._string()
        if kind not in _STATIC or arc_type != b"standard":
            found = f"{kind.decode('latin1')} with {arc_type.decode('latin1')} arcs"
            raise InputError(f"{self._path}: a transducer of type {found}, not vector or const")
        version, flags = self._take("<i4"), self._take("<i4")
        if flags & _HAS_SYMBOLS:
            raise InputError(f"{self._path}: holds symbol tables (fstsymbols can take them out)")
        self._take("<u8")
        start, num_states, num_arcs = (self._take("<i8") for _ in range(3))
        if kind == b"vector":
            return self._checked(self._vector(start, num_states))
        aligned = version == _ALIGNED_CONST or bool(flags & _IS_ALIGNED)
        return self._checked(self._const(start, num_states, num_arcs, aligned))

    def _vector(self, start: int, num_states: int) -> Fst:
        size = (len(self._data) - self._place) // 4
        words = np.frombuffer(self._data[self._place :][: 4 * size], "<i4")  # a copy is aligned
        heads = self._heads(words, num_states)
        finals = words[heads].view("<f4").copy()
        offsets = np.concatenate([[0], np.cumsum(words[heads + 1], dtype=np.int64)])
        is_arc = np.ones(size, bool)
        is_arc[(heads[:, None] + np.arange(_STATE_WORDS)).ravel()] = False
        is_arc[_STATE_WORDS * num_states + _ARC_WORDS * offsets[-1] :] = False
        return Fst(start, finals, offsets, words[is_arc].view(ARC))

    def _heads(self, words: np.ndarray, num_states: int) -> np.ndarray:
        """Where each state begins, in words of four bytes."""
        if not 0 <= num_states * _STATE_WORDS <= len(words):
            raise self._damaged()
        heads, place, size = np.empty(num_states, np.int64), 0, len(words)
        words = memoryview(words)  # quicker to index
        for state in range(num_states):
            if place + _STATE_WORDS > size or words[place + 1] < 0 or words[place + 2]:
                raise self._damaged()
            heads[state] = place
            place += _STATE_WORDS + _ARC_WORDS * words[place + 1]
        if place > size:
            raise self._damaged()
        return heads

    def _const(self, start: int, num_states: int, num_arcs: int, aligned: bool) -> Fst:
        states = self._array(_CONST_STATE, num_states, aligned)
        arcs = self._array(ARC, num_arcs, aligned)
        offsets = np.concatenate([[0], np.cumsum(states["arcs"], dtype=np.int64)])
        if (offsets[:-1] != states["first"]).any() or offsets[-1] != num_arcs:
            raise self._damaged()
        return Fst(start, states["final"].copy(), offsets, arcs)

    def _array(self, dtype: np.dtype, count: int, aligned: bool) -> np.ndarray:
        if aligned:
            self._place += -self._place % _ALIGNMENT
        if not 0 <= count * dtype.itemsize <= len(self._data) - self._place:
            raise self._damaged()
        array = np.frombuffer(self._data, dtype, count, self._place)
        self._place += array.nbytes
        return array

    def _checked(self, fst: Fst) -> Fst:
        states, arcs = fst.num_states, fst.arcs
        outside = (arcs["next"] < 0) | (arcs["next"] >= states)
        labels = (arcs["ilabel"] < 0) | (arcs["olabel"] < 0)
        numbers = np.isnan(arcs["cost"]).any() or np.isnan(fst.finals).any()
        if outside.any() or labels.any() or numbers or not -1 <= fst.start < states:
            raise self._damaged()
        return fst

    def _take(self, dtype: str) -> int:
        size = np.dtype(dtype).itemsize
        if self._place + size > len(self._data):
            raise self._damaged()
        value = np.frombuffer(self._data, dtype, 1, self._place)[0]
        self._place += size
        return int(value)

    def _string(self) -> bytes:
        size = self._take("<i4")
        if not 0 <= size < 64:
            raise self._damaged()
        self._place += size
        return self._data[self._place - size : self._place]

    def _damaged(self) -> InputError:
        return InputError(f"{self._path}: damaged (make it again)")


def _header(fst: Fst, kind: bytes) -> bytes:
    names = b"".join(np.int32(len(s)).tobytes() + s for s in (kind, b"standard"))
    sizes = np.array([fst.start, fst.num_states, len(fst.arcs)], "<i8")
    version_flags = np.array([2, 0], "<i4")
    properties = np.array([_STATIC[kind]], "<u8")
    parts = (np.int32(_MAGIC), names, version_flags, properties, sizes)
    return b"".join(p if isinstance(p, bytes) else p.tobytes() for p in parts)


def _vector_parts(fst: Fst) -> list[bytes]:
    heads = _STATE_WORDS * np.arange(fst.num_states) + _ARC_WORDS * fst.offsets[:-1]
    words = np.empty(_STATE_WORDS * fst.num_states + _ARC_WORDS * len(fst.arcs), "<i4")
    is_arc = np.ones(len(words), bool)
    is_arc[(heads[:, None] + np.arange(_STATE_WORDS)).ravel()] = False
    words[is_arc] = np.ascontiguousarray(fst.arcs).view("<i4")
    words[heads] = fst.finals.astype("<f4").view("<i4")
    words[heads + 1] = np.diff(fst.offsets)
    words[heads + 2] = 0
    return [_header(fst, b"vector"), words.tobytes()]


def _const_parts(fst: Fst) -> list[bytes]:
    states = np.zeros(fst.num_states, _CONST_STATE)
    states["final"], states["first"] = fst.finals, fst.offsets[:-1]
    states["arcs"] = np.diff(fst.offsets)
    for name, label in (("ieps", "ilabel"), ("oeps", "olabel")):
        epsilons = np.concatenate([[0], np.cumsum(fst.arcs[label] == 0)])
        states[name] = np.diff(epsilons[fst.offsets])
    return [_header(fst, b"const"), states.tobytes(), fst.arcs.tobytes()]
