"""Lattice files: Kaldi's archives, and packs of lattices that are mapped into memory.

An archive (lat.1.gz) is Kaldi's: text or binary, compact or state-level, also gzipped. A pack is
this package's own: one file, arrays as the C++ core uses them, so that a lattice is opened without
being read; made for the state-level lattices of sequence training. Lattices are the core's here;
`kdspeech.decode.Lattice` gives them their methods.
"""

import gzip
import json
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from kdspeech import _core
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

_CORE = _core.decode
_BLOCK = 1 << 22
_MAGIC = b"KDSLATP1"
_HEADER = 16  # bytes: the magic and where the index begins


def read_archive(path: str | os.PathLike) -> Iterator[tuple[str, "_CORE.Lattice"]]:
    """Yields (utterance, lattice) of a Kaldi lattice archive, in order.

    Lattices come trimmed and sorted topologically.
    Raises:
        InputError: the file is missing, truncated or holds no lattices; names file and utterance.
    """
    buffer, begin, previous = b"", 0, "its start"
    for block, last in _blocks(path):
        buffer, begin = buffer[begin:] + block, 0
        while True:
            try:
                entry = _CORE.read_lattice_entry(buffer, begin)
            except InputError as error:
                raise InputError(f"{path}: after {previous}: {error}") from error
            if entry is None:
                if last:
                    raise InputError(f"{path}: truncated after {previous} (make it again)")
                break
            key, lattice, size = entry
            if not key:
                break
            previous = _decode(key, path, previous)
            begin += size
            yield previous, lattice


def _decode(key: bytes, path, previous: str) -> str:
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a lattice archive after {previous}") from error


def _blocks(path) -> Iterator[tuple[bytes, bool]]:
    """The file's bytes in blocks that grow (an entry may be large), and whether it is the last."""
    try:
        with _open(path) as file:
            size, block = _BLOCK, file.read(_BLOCK)
            while block:
                following = file.read(size)
                yield block, not following
                block, size = following, 2 * size
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _open(path):
    return gzip.open(path) if os.fspath(path).endswith(".gz") else open(path, "rb")


class ArchiveWriter(AbstractContextManager):
    """Writes a Kaldi lattice archive, whole or not at all; gzipped if its name ends in .gz.

    Args:
        path: the file to write.
        binary: Kaldi's binary format (the default of its tools) or text.
    """

    def __init__(self, path: str | os.PathLike, binary: bool = True):
        self._path, self._binary = Path(path), binary

    def __enter__(self) -> "ArchiveWriter":
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            if self._path.suffix == ".gz":
                self._file = stack.enter_context(gzip.open(temporary, "wb", compresslevel=6))
            else:
                self._file = stack.enter_context(open(temporary, "wb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def write(self, utterance: str, lattice: "_CORE.Lattice") -> None:
        """Appends a lattice: compact or state-level, as it is."""
        self._file.write(_CORE.lattice_entry_bytes(utterance, lattice, self._binary))


class LatticePack(Mapping):
    """The lattices of a pack, by utterance. A lattice is opened where it lies, without a copy.

    Args:
        path: file that `LatticePackWriter` wrote.
    Raises:
        InputError: no such file, or not a pack, or damaged; on access too, naming the utterance.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._data = _map(self.path)
        self._entries = _read_index(self.path, self._data)

    def __getitem__(self, utterance: str) -> "_CORE.Lattice":
        try:
            return _CORE.Lattice(**_arrays(self._data, *self._entries[utterance]))
        except (ValueError, TypeError, OverflowError, InputError) as error:
            raise InputError(f"{self.path}: {utterance}: damaged: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, utterance) -> bool:
        return utterance in self._entries

    def __reduce__(self):
        return type(self), (self.path,)


def _map(path: Path) -> mmap.mmap:
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if data[: len(_MAGIC)] != _MAGIC:
        raise InputError(f"{path}: not a pack of lattices")
    return data


def _read_index(path: Path, data: mmap.mmap) -> dict[str, tuple[int, ...]]:
    begin = int.from_bytes(data[len(_MAGIC) : _HEADER], "little")
    try:
        entries = json.loads(data[begin:])
        return {utterance: tuple(map(int, numbers)) for utterance, numbers in entries.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: a damaged pack of lattices (make it again): {error}") from error


def _arrays(data, position: int, num_states: int, num_arcs: int, num_strings: int, num_tids: int):
    parts = [
        ("offsets", np.int32, num_states + 1),
        ("arcs", _CORE.ARC_DTYPE, num_arcs),
        ("finals", _CORE.COST_DTYPE, num_states),
    ]
    if num_strings:
        parts += [
            ("final_strings", np.int32, num_states),
            ("string_offsets", np.int32, num_strings + 1),
            ("tids", np.int32, num_tids),
        ]
    arrays = {}
    for name, dtype, size in parts:
        arrays[name] = np.frombuffer(data, dtype, size, position)
        position += arrays[name].nbytes
    return arrays


class LatticePackWriter(AbstractContextManager):
    """Writes a pack of lattices, whole or not at all.

    Args:
        path: the file to write.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = Path(path)
        self._index: dict[str, list[int]] = {}  # where each begins, and the sizes of its arrays

    def __enter__(self) -> "LatticePackWriter":
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            self._file = stack.enter_context(open(temporary, "wb"))
            self._file.write(_MAGIC.ljust(_HEADER, b"\0"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind, *error):
        if kind is None:
            self._write_index()
        return self._stack.__exit__(kind, *error)

    def write(self, utterance: str, lattice: "_CORE.Lattice") -> None:
        """Appends a lattice. Raises InputError where the utterance is there already."""
        if utterance in self._index:
            raise InputError(f"{self._path}: {utterance}: given twice")
        arrays = [lattice.offsets, lattice.arcs, lattice.finals]
        sizes = [len(lattice.finals), len(lattice.arcs), 0, 0]
        if lattice.tids is not None:
            arrays += [lattice.final_strings, lattice.string_offsets, lattice.tids]
            sizes[2:] = len(lattice.string_offsets) - 1, len(lattice.tids)
        self._index[utterance] = [self._file.tell(), *sizes]
        for array in arrays:
            self._file.write(array.data)

    def _write_index(self) -> None:
        begin = self._file.tell()
        self._file.write(json.dumps(self._index, ensure_ascii=False).encode())
        self._file.seek(len(_MAGIC))
        self._file.write(begin.to_bytes(_HEADER - len(_MAGIC), "little"))
