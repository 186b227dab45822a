"""Kaldi archives, ours against kaldiio's."""

import os
import pickle

import kaldiio
import numpy as np
import pytest

from kdspeech.io.ark import COMPRESSION_METHODS, ArkWriter, Scp, read_ark, read_matrix, write_ark
from kdspeech.io.errors import InputError

RNG = np.random.default_rng(0)
ARRAYS = {
    "float": RNG.normal(size=(20, 13)).astype(np.float32),
    "double": RNG.normal(size=(2, 14)),
    "vector": RNG.normal(size=7).astype(np.float32),
    "doubles": RNG.normal(size=7),
    "ints": np.array([3, -1, 2**31 - 1], np.int32),
    "no-ints": np.array([], np.int32),
}


@pytest.fixture
def archive(tmp_path):
    write_ark(tmp_path / "a.ark", ARRAYS.items(), tmp_path / "a.scp")
    return tmp_path / "a.scp"


def same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_written_archives_are_kaldis(archive):
    ours = archive.with_suffix(".ark")
    theirs = archive.with_name("b.ark")
    kaldiio.save_ark(str(theirs), dict(ARRAYS))
    assert ours.read_bytes() == theirs.read_bytes()
    for key, array in kaldiio.load_scp(str(archive)).items():
        same(array, ARRAYS[key])


def test_scp_reads_what_was_written(archive):
    scp = Scp(archive)
    assert list(scp) == list(ARRAYS) and len(scp) == len(ARRAYS) and "float" in scp
    for key, array in scp.items():
        same(array, ARRAYS[key])
    scp.close()


def test_ark_reads_in_order_also_gzipped_and_text(archive):
    for found, (key, array) in zip(
        read_ark(archive.with_suffix(".ark")), ARRAYS.items(), strict=True
    ):
        assert found[0] == key
        same(found[1], array)
    import gzip

    with gzip.open(archive.with_name("ali.1.gz"), "wb") as file:
        file.write(b"utt1 [ 1 2 3 ]\nutt2 [ 4 5 ]\n")
    ali = dict(read_ark(archive.with_name("ali.1.gz")))
    assert ali["utt1"].tolist() == [1, 2, 3] and ali["utt2"].tolist() == [4, 5]


@pytest.mark.parametrize("method", COMPRESSION_METHODS)
def test_compressed_matrices(tmp_path, method):
    with ArkWriter(tmp_path / "a.ark", tmp_path / "a.scp", compress=method) as writer:
        writer.write("a", ARRAYS["float"])
    np.testing.assert_allclose(Scp(tmp_path / "a.scp")["a"], ARRAYS["float"], atol=0.05)


def test_ranges_include_their_end(archive):
    location = archive.read_text().split()[1]
    same(read_matrix(f"{location}[2:4]"), ARRAYS["float"][2:5])
    same(read_matrix(f"{location}[2:4,0:1]"), ARRAYS["float"][2:5, :2])
    with pytest.raises(InputError, match="does not fit"):
        read_matrix(f"{location}[2:40]")


def test_location_may_differ_from_where_it_is_written(tmp_path):
    with ArkWriter(tmp_path / "work.ark", tmp_path / "a.scp", location="/there/x.ark") as writer:
        writer.write("key", ARRAYS["float"])
    assert (tmp_path / "a.scp").read_text() == "key /there/x.ark:4\n"


def test_failure_leaves_neither_file(tmp_path):
    with (
        pytest.raises(TypeError, match="complex"),
        ArkWriter(tmp_path / "a.ark", tmp_path / "a.scp") as writer,
    ):
        writer.write("a", ARRAYS["float"])
        writer.write("b", np.zeros((2, 2), complex))
    assert os.listdir(tmp_path) == []


def test_damaged_archives_are_named(archive):
    ark = archive.with_suffix(".ark")
    data = ark.read_bytes()
    ark.write_bytes(data[:500])
    with pytest.raises(InputError, match=r"a\.scp: float \(.*truncated"):
        Scp(archive)["float"]
    with pytest.raises(InputError, match=r"a\.ark: float: truncated"):
        dict(read_ark(ark))
    ark.unlink()
    with pytest.raises(InputError, match=r"a\.scp: float: .*a\.ark: cannot be read"):
        Scp(archive)["float"]


def test_archives_run_no_code(tmp_path):
    ark = tmp_path / "a.ark"
    ark.write_bytes(b"a PKL" + b"\x01\x10" + pickle.dumps(os.getcwd))
    with pytest.raises(InputError, match="no Kaldi matrix"):
        dict(read_ark(ark))
    (tmp_path / "a.scp").write_text(f"a touch {tmp_path}/ran; cat {ark} |\n")
    with pytest.raises(InputError, match="not from commands"):
        Scp(tmp_path / "a.scp")["a"]
    assert not (tmp_path / "ran").exists()
