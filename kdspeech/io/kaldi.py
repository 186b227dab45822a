"""Kaldi's objects in files: tokens, numbers, vectors and matrices, binary or text.

The forms are those of Kaldi's base/io-funcs and matrix: a binary file begins with "\\0B", a number
is preceded by its size in bytes, and text numbers have seven digits.
"""

import gzip
import os
import re
import struct
import zlib

import numpy as np

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

_BINARY = b"\0B"
_TOKEN = re.compile(rb"\s*(\S+)")
_SPACE = re.compile(rb"\s*")
_MAX_TOKEN = 100
_FLOATS = {"FV": "<f4", "DV": "<f8", "FM": "<f4", "DM": "<f8"}
_REALS = {4: "<f", 8: "<d"}


def read_bytes(path: str | os.PathLike) -> bytes:
    """The whole file, unpacked when its name ends in .gz.

    Raises:
        InputError: it cannot be read, or is no whole gzip file.
    """
    try:
        with gzip.open(path) if os.fspath(path).endswith(".gz") else open(path, "rb") as file:
            return file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged gzip file: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


class KaldiReader:
    """Reads one object after another from bytes; every error names the file and the place.

    Args:
        data: the contents, with the binary mark if there is one.
        name: what to call them in messages.
        position: where to begin, in bytes.
    """

    def __init__(self, data: bytes, name: str | os.PathLike, position: int = 0):
        self.data, self.name, self.position = data, os.fspath(name), position
        self.binary = data.startswith(_BINARY, position)
        if self.binary:
            self.position += len(_BINARY)

    @classmethod
    def open(cls, path: str | os.PathLike) -> "KaldiReader":
        """Reads a file (also .gz); raises InputError when it is empty or not there."""
        data = read_bytes(path)
        if not data:
            raise InputError(f"{path}: is an empty file (0 bytes)")
        return cls(data, path)

    def fail(self, message: str, position: int | None = None) -> InputError:
        """The error to raise: file, byte or line, message.

        Args:
            message: what is wrong.
            position: where the wrong thing begins; if not given, it ends where the reader stands.
        """
        if self.binary:
            place = f"byte {self.position if position is None else position}"
        elif position is None:
            place = f"line {self._line(self.position - 1)}"
        else:
            place = f"line {self._line(_SPACE.match(self.data, position).end())}"
        return InputError(f"{self.name}: {place}: {message}")

    def _line(self, position: int) -> int:
        return self.data.count(b"\n", 0, max(position, 0)) + 1

    def token(self) -> str:
        """The next word."""
        found, word = self._match()
        self.position = min(found.end() + 1, len(self.data))
        return word

    def peek(self) -> str:
        """The next word, which stays to be read."""
        return self._match()[1]

    def _match(self):
        found = _TOKEN.match(self.data, self.position, self.position + _MAX_TOKEN)
        if not found:
            raise self.fail("ends too early" if self.at_end() else "holds no word here")
        return found, found[1].decode("latin-1")

    def expect(self, *tokens: str) -> str:
        """Reads one of these words and gives it back."""
        position = self.position
        found = self.token()
        if found not in tokens:
            raise self.fail(f"expected {' or '.join(tokens)}, found {found[:30]!r}", position)
        return found

    def integer(self) -> int:
        """A 32-bit integer, signed or not."""
        if not self.binary:
            return self._number(int, "a whole number")
        size = self.take(1)
        if size not in (b"\x04", b"\xfc"):
            raise self.fail("expected a 32-bit integer", self.position - 1)
        return struct.unpack("<i" if size == b"\x04" else "<I", self.take(4))[0]

    def real(self) -> float:
        """A float or a double."""
        if not self.binary:
            return self._number(float, "a number")
        size = self.take(1)[0]
        if size not in _REALS:
            raise self.fail("expected a float or a double", self.position - 1)
        return struct.unpack(_REALS[size], self.take(size))[0]

    def _number(self, kind, what: str):
        position = self.position
        word = self.token()
        try:
            return kind(word)
        except ValueError:
            raise self.fail(f"expected {what}, found {word[:30]!r}", position) from None

    def integers(self) -> np.ndarray:
        """A vector of integers, int32 (n,), in Kaldi's form inside objects."""
        if self.binary:
            if self.take(1) != b"\x04":
                raise self.fail("expected a vector of 32-bit integers", self.position - 1)
            return self._array("<i4", self._count(4))
        return self._bracketed(np.int32)

    def vector(self) -> np.ndarray:
        """A vector, (n,): float32, or float64 where the binary file says so."""
        if not self.binary:
            return self._bracketed(np.float32)
        dtype = _FLOATS[self.expect("FV", "DV")]
        return self._array(dtype, self._count(int(dtype[-1]), self.integer()))

    def matrix(self) -> np.ndarray:
        """A matrix, (rows, columns): float32, or float64 where the binary file says so."""
        if not self.binary:
            return self._text_matrix()
        dtype = _FLOATS[self.expect("FM", "DM")]
        rows, columns = self.integer(), self.integer()
        if rows < 0 or columns < 0:
            raise self.fail(f"a matrix of {rows} rows and {columns} columns")
        return self._array(dtype, self._count(int(dtype[-1]), rows * columns)).reshape(
            rows, columns
        )

    def _text_matrix(self) -> np.ndarray:
        position = self.position
        rows = [row.split() for row in self._between_brackets().split(b"\n") if row.strip()]
        if len({len(row) for row in rows}) > 1:
            raise self.fail("a matrix whose rows differ in length", position)
        return self._numbers(rows or np.empty((0, 0)), np.float32, position)

    def _bracketed(self, dtype) -> np.ndarray:
        position = self.position
        return self._numbers(self._between_brackets().split(), dtype, position)

    def _numbers(self, words, dtype, position: int) -> np.ndarray:
        try:
            return np.array(words, dtype=dtype)
        except (ValueError, OverflowError) as error:
            raise self.fail(f"expected numbers: {error}", position) from None

    def _between_brackets(self) -> bytes:
        self.expect("[")
        end = self.data.find(b"]", self.position - 1)
        if end < 0:
            raise self.fail("a vector or matrix without its closing bracket")
        start, self.position = self.position, end + 1
        return self.data[start:end]

    def _count(self, item_size: int, count: int | None = None) -> int:
        if count is None:
            count = struct.unpack("<i", self.take(4))[0]
        if not 0 <= count * item_size <= len(self.data) - self.position:
            raise self.fail(f"{count} numbers are promised, the file is too short for them")
        return count

    def _array(self, dtype: str, count: int) -> np.ndarray:
        array = np.frombuffer(self.data, dtype, count, self.position)
        self.position += array.nbytes
        return array

    def take(self, count: int) -> bytes:
        """The next bytes."""
        taken = self.data[self.position : self.position + count]
        if len(taken) < count:
            raise self.fail("truncated")
        self.position += count
        return taken

    def at_end(self) -> bool:
        """Whether nothing but white space is left."""
        return not self.data[self.position :].strip()

    def finish(self) -> None:
        """Raises InputError if something is left to be read."""
        if not self.at_end():
            raise self.fail("has more contents than it should", self.position)


class KaldiWriter:
    """Collects objects in Kaldi's form and writes them as one file."""

    def __init__(self, binary: bool = True):
        self.binary = binary
        self._parts = [_BINARY] if binary else []

    def token(self, *words: str) -> None:
        """Adds words, each with a space after it."""
        self._parts += [word.encode() + b" " for word in words]

    def line_end(self) -> None:
        """Ends the line of a text file."""
        if not self.binary:
            self._parts.append(b"\n")

    def integer(self, value: int) -> None:
        """Adds a 32-bit integer."""
        self._parts.append(
            struct.pack("<Bi", 4, value) if self.binary else b"%d " % value  # as io-funcs
        )

    def unsigned(self, value: int) -> None:
        """Adds an unsigned 32-bit integer."""
        self._parts.append(struct.pack("<bI", -4, value) if self.binary else b"%d " % value)

    def real(self, value: float) -> None:
        """Adds a float."""
        self._parts.append(struct.pack("<Bf", 4, value) if self.binary else b"%.7g " % value)

    def integers(self, values) -> None:
        """Adds a vector of integers in Kaldi's form inside objects."""
        array = np.asarray(values, dtype="<i4")
        if self.binary:
            self._parts.append(struct.pack("<Bi", 4, len(array)) + array.tobytes())
        else:
            self._parts.append(b"[ " + b"".join(b"%d " % value for value in array) + b"]\n")

    def vector(self, values: np.ndarray) -> None:
        """Adds a vector of floats."""
        if self.binary:
            self._parts.append(b"FV " + struct.pack("<Bi", 4, len(values)))
            self._parts.append(np.asarray(values, "<f4").tobytes())
        else:
            self._parts.append(b" [ " + _text_row(values) + b"]\n")

    def matrix(self, values: np.ndarray) -> None:
        """Adds a matrix of floats."""
        if self.binary:
            self._parts.append(b"FM " + struct.pack("<BiBi", 4, len(values), 4, values.shape[1]))
            self._parts.append(np.asarray(values, "<f4").tobytes())
        else:
            rows = [b"\n  " + _text_row(row) for row in values]
            self._parts.append(b" [" + b"".join(rows or [b" "]) + b"]\n")

    def contents(self) -> bytes:
        """What the file will hold."""
        return b"".join(self._parts)

    def write(self, path: str | os.PathLike) -> None:
        """Writes the file, whole or not at all."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.contents())


def _text_row(values) -> bytes:
    return b"".join(b"%.7g " % value for value in np.asarray(values, np.float32).tolist())


def read_kaldi_matrix(path: str | os.PathLike) -> np.ndarray:
    """A matrix file such as final.mat, float32 (rows, columns); binary or text.

    Raises:
        InputError: the file is damaged, or holds something else.
    """
    reader = KaldiReader.open(path)
    matrix = reader.matrix()
    reader.finish()
    return np.array(matrix, dtype=np.float32)


def write_kaldi_matrix(path: str | os.PathLike, matrix: np.ndarray, binary: bool = True) -> None:
    """Writes a float32 matrix (rows, columns) as a Kaldi matrix file such as final.mat."""
    writer = KaldiWriter(binary)
    writer.matrix(np.atleast_2d(matrix))
    writer.write(path)
