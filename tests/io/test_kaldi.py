"""Kaldi's objects in files: both forms, and what is damaged."""

import gzip
import struct

import numpy as np
import pytest

from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter, read_kaldi_matrix, write_kaldi_matrix


def write_some(binary):
    writer = KaldiWriter(binary)
    writer.token("<Thing>")
    writer.integer(-7)
    writer.unsigned(3_000_000_000)
    writer.real(0.1)
    writer.integers([1, -2, 3])
    writer.vector(np.array([1.5, -1e-7, np.inf]))
    writer.matrix(np.array([[1, 2], [3, 4.25]]))
    writer.matrix(np.empty((0, 0)))
    writer.token("</Thing>")
    writer.line_end()
    return writer.contents()


@pytest.mark.parametrize("binary", [True, False])
def test_what_is_written_is_read(binary):
    reader = KaldiReader(write_some(binary), "thing")
    assert reader.binary == binary
    assert reader.expect("<Other>", "<Thing>") == "<Thing>"
    assert reader.integer() == -7
    assert reader.integer() == 3_000_000_000
    assert reader.real() == pytest.approx(0.1)
    assert reader.integers().tolist() == [1, -2, 3]
    np.testing.assert_array_equal(reader.vector(), np.float32([1.5, -1e-7, np.inf]))
    np.testing.assert_array_equal(reader.matrix(), [[1, 2], [3, 4.25]])
    assert reader.matrix().size == 0
    assert reader.peek() == "</Thing>" == reader.token()
    reader.finish()


def test_bytes_are_kaldis():
    assert write_some(True).startswith(
        b"\0B<Thing> \x04" + struct.pack("<i", -7) + b"\xfc" + struct.pack("<I", 3_000_000_000)
        + b"\x04" + struct.pack("<f", 0.1) + b"\x04" + struct.pack("<4i", 3, 1, -2, 3)
        + b"FV \x04" + struct.pack("<i", 3)
    )  # fmt: skip
    assert write_some(False) == (
        b"<Thing> -7 3000000000 0.1 [ 1 -2 3 ]\n [ 1.5 -1e-07 inf ]\n"
        b" [\n  1 2 \n  3 4.25 ]\n [ ]\n</Thing> \n"
    )


def test_doubles_are_read():
    vector = b"\0BDV \x04" + struct.pack("<i", 2) + np.array([0.1, 2]).tobytes()
    np.testing.assert_array_equal(KaldiReader(vector, "v").vector(), [0.1, 2])
    assert KaldiReader(b"\0B\x08" + struct.pack("<d", 0.1), "d").real() == 0.1


@pytest.mark.parametrize("binary", [True, False])
def test_every_cut_is_found(binary):
    """No prefix of a file is taken for the whole, and none ends in another error."""
    whole = write_some(binary).rstrip()
    for size in range(len(whole)):
        reader = KaldiReader(whole[:size], "cut.mdl")
        with pytest.raises(InputError, match="^cut.mdl: (byte|line) "):
            reader.expect("<Thing>")
            reader.integer(), reader.integer(), reader.real(), reader.integers()
            reader.vector(), reader.matrix(), reader.matrix()
            reader.expect("</Thing>")


@pytest.mark.parametrize(
    ("data", "read", "message"),
    [
        (b"\0B\x08" + bytes(8), "integer", "byte 2: expected a 32-bit integer"),
        (b"\0B\x02\0\0", "real", "byte 2: expected a float or a double"),
        (b"\0BFV \x04" + struct.pack("<i", 2**30), "vector", "1073741824 numbers are promised"),
        (b"\0BFV \x04" + struct.pack("<i", -1), "vector", "-1 numbers are promised"),
        (b"\0BFM \x04" + struct.pack("<iBi", 2**30, 4, 2**30), "matrix", "are promised"),
        (b"\0BFM \x04" + struct.pack("<iBi", -2, 4, -2), "matrix", "-2 rows"),
        (b"\0BCM " + bytes(20), "matrix", "expected FM or DM, found 'CM'"),
        (b"[ 1 x ]", "vector", "line 1: expected numbers"),
        (b"\n[ 1 2\n 3 ]", "matrix", "line 2: a matrix whose rows differ"),
        (b"[ 1 2", "vector", "closing bracket"),
        (b"[ 99999999999 ]", "integers", "expected numbers"),
        (b"\n\nx", "integer", "line 3: expected a whole number, found 'x'"),
        (b"\0B" + b"x" * 200, "token", ""),
        (b"", "token", "ends too early"),
    ],
)
def test_damage_is_named(data, read, message):
    if not message:
        assert len(KaldiReader(data, "bad").token()) <= 100
        return
    with pytest.raises(InputError, match=f"^bad: .*{message}"):
        getattr(KaldiReader(data, "bad"), read)()


def test_matrix_files(tmp_path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    for binary in (True, False):
        write_kaldi_matrix(tmp_path / "final.mat", matrix, binary)
        np.testing.assert_array_equal(read_kaldi_matrix(tmp_path / "final.mat"), matrix)
    (tmp_path / "final.mat").write_bytes(b"")
    with pytest.raises(InputError, match="final.mat: is an empty file"):
        read_kaldi_matrix(tmp_path / "final.mat")
    with pytest.raises(InputError, match="none.mat: cannot be read: No such file"):
        read_kaldi_matrix(tmp_path / "none.mat")
    (tmp_path / "more.mat").write_bytes(b" [\n 1 2 ]\n [ 3 ]\n")
    with pytest.raises(InputError, match="more.mat: line 3: has more contents"):
        read_kaldi_matrix(tmp_path / "more.mat")


def test_gzip_files(tmp_path):
    packed = gzip.compress(b" [\n 1 2 ]\n")
    (tmp_path / "a.gz").write_bytes(packed)
    assert read_kaldi_matrix(tmp_path / "a.gz").shape == (1, 2)
    for damaged in (packed[:-10], packed[:8], b"no gzip", packed[:12] + b"\xff" + packed[13:]):
        (tmp_path / "a.gz").write_bytes(damaged)
        with pytest.raises(InputError, match="a.gz: truncated or damaged gzip"):
            read_kaldi_matrix(tmp_path / "a.gz")
