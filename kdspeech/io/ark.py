"""Kaldi archives: matrices and vectors in ark files, and scp files that point into them.

Reading goes through kaldiio, whose licence is for evaluation: no other module imports it.
Plain matrices and vectors are written here, in Kaldi's binary format (Matrix::Write,
Vector::Write, BasicVectorHolder::Write); compressed ones by kaldiio.
"""

import gzip
import io
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import numpy as np

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.io.tables import read_table

_LOCATION = re.compile(r"^(?P<path>.*?)(?::(?P<offset>\d+))?(?:\[(?P<range>[\d:,]*)\])?$")
_TOKENS = {(2, "f"): b"FM ", (2, "d"): b"DM ", (1, "f"): b"FV ", (1, "d"): b"DV "}
# What kaldiio takes besides Kaldi's own formats; the first of them runs code from the file.
_REFUSED = (b"PKL", b"NPY", b"RIF", b"fLa", b"AUD")
# kaldiio's compression_method for the names of Kaldi's copy-feats --compression-method.
COMPRESSION_METHODS = {"speech-feature": 2, "two-byte-auto": 3}


def read_ark(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (key, array) of an ark file (also .gz) in order; binary or text, also compressed.

    Arrays: (rows, columns) or (length,), float32, float64 or int32; they may be read-only.
    Raises:
        InputError: the file is missing, truncated or no Kaldi archive; names the file and key.
    """
    from kaldiio.matio import read_token

    with _open(path) as file:
        previous = "its start"
        while True:
            try:
                key = read_token(file)
            except UnicodeDecodeError as error:
                raise InputError(f"{path}: not a Kaldi archive after {previous}") from error
            if key is None:
                return
            key = key.lstrip("\n")
            if not key:
                return
            yield key, _read_value(file, f"{path}: {key}")
            previous = key


def read_matrix(location: str) -> np.ndarray:
    """Reads one matrix or vector: `file`, `file:offset` or `file:offset[first:last,...]`.

    A range is Kaldi's, both ends included. Pipes are refused.
    """
    path, offset, part = _parse_location(location)
    with _open(path) as file:
        file.seek(offset)
        return _cut(_read_value(file, location), part, location)


class Scp(Mapping):
    """The arrays an scp file points to, read when asked for.

    Args:
        path: scp file of "key file:offset" lines.
    Raises:
        InputError: the table is damaged; on access, when the archive is. Entries that are shell
            commands (`... |`) are refused.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._locations = read_table(path)
        self._name, self._file = None, None

    def __getitem__(self, key: str) -> np.ndarray:
        name, offset, part = _parse_location(self._locations[key])
        if name != self._name:
            self.close()
            self._name, self._file = name, _open(name, f"{self.path}: {key}: ")
        self._file.seek(offset)
        where = f"{self.path}: {key} ({self._locations[key]})"
        return _cut(_read_value(self._file, where), part, where)

    def __iter__(self) -> Iterator[str]:
        return iter(self._locations)

    def __len__(self) -> int:
        return len(self._locations)

    def __contains__(self, key) -> bool:
        return key in self._locations

    def close(self) -> None:
        """Closes the archive that was read last."""
        if self._file is not None:
            self._file.close()
        self._name, self._file = None, None


class ArkWriter(AbstractContextManager):
    """Writes an ark file and its scp, both whole or not at all.

    Args:
        ark: the archive to write.
        scp: the scp file to write, or None.
        location: path of the archive as the scp shall name it; `ark` itself if not given.
        compress: None, or one of COMPRESSION_METHODS (float matrices only).
    """

    def __init__(self, ark, scp=None, location=None, compress: str | None = None):
        self._ark, self._scp = Path(ark), scp and Path(scp)
        self._location = os.fspath(location or ark)
        self._method = None if compress is None else COMPRESSION_METHODS[compress]
        self._position = 0

    def __enter__(self) -> "ArkWriter":
        with ExitStack() as stack:
            if self._scp:
                lines = stack.enter_context(atomic_path(self._scp))
                self._lines = stack.enter_context(open(lines, "w", encoding="utf-8"))
            data = stack.enter_context(atomic_path(self._ark))
            self._file = stack.enter_context(open(data, "wb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def write(self, key: str, array: np.ndarray) -> None:
        """Appends one array: (rows, columns) or (length,) of float32, float64 or integers."""
        self.write_all([(key, array)])

    def write_all(self, pairs: Iterable[tuple[str, np.ndarray]]) -> None:
        """Appends several arrays, with one write."""
        parts, lines = [], []
        for key, array in pairs:
            name = key.encode() + b" "
            value = self._encode(np.asarray(array))
            lines.append(f"{key} {self._location}:{self._position + len(name)}\n")
            parts += [name, *value]
            self._position += len(name) + sum(len(part) for part in value)
        self._file.write(b"".join(parts))
        if self._scp:
            self._lines.write("".join(lines))

    def _encode(self, array: np.ndarray) -> tuple[bytes, ...]:
        if self._method is not None and array.ndim == 2:
            return (_compressed(array, self._method),)
        if array.dtype.kind in "iu":
            return (_encode_integers(array),)
        token = _TOKENS.get((array.ndim, array.dtype.char))
        if token is None:
            raise TypeError(f"an archive holds no {array.dtype} of shape {array.shape}")
        sizes = b"".join(struct.pack("<Bi", 4, size) for size in array.shape)
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return b"\0B" + token + sizes, little.tobytes()


def write_ark(ark, pairs: Iterable[tuple[str, np.ndarray]], scp=None) -> None:
    """Writes (key, array) pairs to an ark file and, if named, its scp; whole or not at all."""
    with ArkWriter(ark, scp) as writer:
        for key, array in pairs:
            writer.write(key, array)


def _encode_integers(array: np.ndarray) -> bytes:
    if array.ndim != 1:
        raise TypeError(f"an archive holds integer vectors only, not shape {array.shape}")
    packed = np.empty(len(array), dtype=[("size", "i1"), ("value", "<i4")])
    packed["size"], packed["value"] = 4, array
    return b"\0B" + struct.pack("<Bi", 4, len(array)) + packed.tobytes()


def _compressed(array: np.ndarray, method: int) -> bytes:
    from kaldiio.matio import write_array

    buffer = io.BytesIO()
    write_array(buffer, np.asarray(array, dtype=np.float32), compression_method=method)
    return buffer.getvalue()


def _open(path, where: str = ""):
    try:
        return gzip.open(path) if os.fspath(path).endswith(".gz") else open(path, "rb")
    except OSError as error:
        raise InputError(f"{where}{path}: cannot be read: {error.strerror}") from error


def _parse_location(location: str) -> tuple[str, int, str | None]:
    if location.endswith("|"):
        raise InputError(f"{location}: archives are read from files, not from commands")
    found = _LOCATION.match(location)
    return found["path"], int(found["offset"] or 0), found["range"]


def _cut(array: np.ndarray, part: str | None, where: str) -> np.ndarray:
    if part is None:
        return array
    slices = []
    for size, ends in zip(array.shape, part.split(","), strict=False):
        first, _, last = ends.partition(":")
        slices.append(slice(int(first or 0), int(last) + 1 if last else size))
        if not slices[-1].start < slices[-1].stop <= size:
            raise InputError(f"{where}: range [{part}] does not fit shape {array.shape}")
    return array[tuple(slices)]


def _read_value(file, where: str) -> np.ndarray:
    from kaldiio.matio import read_kaldi

    start = file.tell()
    head = file.read(3)
    file.seek(start)
    if head in _REFUSED:
        raise InputError(f"{where}: holds no Kaldi matrix or vector but {head!r}...")
    try:
        if len(head) < 2:
            raise ValueError("nothing there")
        return read_kaldi(file)
    except (ValueError, AssertionError, RuntimeError, struct.error, EOFError, OSError) as error:
        raise InputError(
            f"{where}: truncated or not a Kaldi matrix or vector ({error or 'damaged'})"
        ) from error
