"""Archives of alignments."""

import gzip

import kaldiio
import numpy as np
import pytest

from kdspeech.io.alignments import iter_alignments, read_alignments, write_alignments
from kdspeech.io.errors import InputError

ALIGNMENTS = {
    "utt1": np.array([3, 3, 4, 70000], dtype=np.int32),
    "utt2": np.array([], dtype=np.int32),
    "ütt3": np.arange(1, 400, dtype=np.int32),
}


def same(found, wanted=ALIGNMENTS):
    assert list(found) == list(wanted)
    for name, tids in wanted.items():
        assert found[name].dtype == np.int32
        np.testing.assert_array_equal(found[name], tids)


@pytest.mark.parametrize("name", ["ali.1.gz", "ali.1.ark"])
@pytest.mark.parametrize("binary", [True, False])
def test_written_and_read(tmp_path, name, binary):
    write_alignments(tmp_path / name, ALIGNMENTS, binary)
    same(read_alignments(tmp_path / name))
    same(read_alignments(tmp_path))
    first = (tmp_path / name).read_bytes()
    write_alignments(tmp_path / name, ALIGNMENTS.items(), binary)
    assert (tmp_path / name).read_bytes() == first


def test_other_readers_agree(tmp_path):
    write_alignments(tmp_path / "ali.ark", {"a": ALIGNMENTS["utt1"], "b": ALIGNMENTS["ütt3"]})
    for name, tids in kaldiio.load_ark(str(tmp_path / "ali.ark")):
        np.testing.assert_array_equal(tids, ALIGNMENTS["utt1" if name == "a" else "ütt3"])
    kaldiio.save_ark(str(tmp_path / "peer.ark"), {"a": ALIGNMENTS["utt1"]})
    same(read_alignments(tmp_path / "peer.ark"), {"a": ALIGNMENTS["utt1"]})


def test_files_of_a_directory_come_in_order(tmp_path):
    for number in (1, 2, 10):
        write_alignments(tmp_path / f"ali.{number}.gz", {f"u{number}": np.array([number])})
    (tmp_path / "ali.x.gz").write_bytes(b"other")
    assert [name for name, _ in iter_alignments(tmp_path)] == ["u1", "u2", "u10"]
    (tmp_path / "num_jobs").write_text("4\n")
    with pytest.raises(InputError, match="num_jobs says 4, there are 3"):
        read_alignments(tmp_path)


def test_missing_and_double(tmp_path):
    with pytest.raises(InputError, match="no ali"):
        read_alignments(tmp_path)
    for number in (1, 2):
        write_alignments(tmp_path / f"ali.{number}.gz", {"u": np.array([number])})
    with pytest.raises(InputError, match="u comes twice"):
        read_alignments(tmp_path)


def test_every_cut_of_a_binary_archive_is_found(tmp_path):
    write_alignments(tmp_path / "a.ark", {"first": np.array([1, 2]), "second": np.array([5, 6, 7])})
    whole, cut = (tmp_path / "a.ark").read_bytes(), tmp_path / "cut.ark"
    second = whole.index(b"second")
    for size in range(second + 8, len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(InputError, match="cut.ark: after first: truncated"):
            read_alignments(cut)


@pytest.mark.parametrize(
    "data",
    [
        b"utt1 \0B\x08\x01\0\0\0" + bytes(9),
        b"utt1 \0B\x04\xff\xff\xff\x7f" + bytes(9),
        b"utt1 \0B\x04\xff\xff\xff\xff" + bytes(9),
        b"utt1 \0B\x04\x01\0\0\0\x02" + bytes(4),
        b"utt1 \0BFM \x04",
        b"utt1 1 2 x\n",
        b"utt1 1 2.5\n",
        b"utt1 99999999999\n",
        b"\xff\xfe\xfa 1 2\n",
        b"x" * 3000,
    ],
)
def test_damage_is_named(tmp_path, data):
    (tmp_path / "ali.1.gz").write_bytes(gzip.compress(data))
    with pytest.raises(InputError, match="ali.1.gz: after its start: "):
        read_alignments(tmp_path)
