"""Lattice files: Kaldi's archives (text, binary, gzipped, compact, state-level) and packs."""

import gzip
import pickle

import kaldifst
import numpy as np
import pytest

from kdspeech import _core
from kdspeech.io.errors import InputError
from kdspeech.io.lattices import ArchiveWriter, LatticePack, LatticePackWriter, read_archive

TEXT = """utt1 
0\t1\t3\t1.5,2.25,7_8_9
0\t2\t4\t0.5,1e+02,
1\t2\t5
2\t0.25,0,4

utt2 
0\t1\t7\t3\t1.5,2.25
1\t2\t0\t0
2

"""  # noqa: W291


def fields(lattice) -> tuple:
    arrays = (lattice.offsets, lattice.arcs, lattice.finals)
    strings = (lattice.final_strings, lattice.string_offsets, lattice.tids)
    return tuple(None if a is None else a.tobytes() for a in arrays + strings)


def text_archive(folder, text=TEXT):
    (folder / "lat.txt").write_text(text)
    return folder / "lat.txt"


def write_archive(path, pairs, binary):
    with ArchiveWriter(path, binary) as writer:
        for key, lattice in pairs:
            writer.write(key, lattice)


def test_text_is_read(tmp_path):
    compact, state_level = dict(read_archive(text_archive(tmp_path))).values()
    assert compact.arcs.tolist() == [
        (1, 3, 1, 1.5, 2.25), (0, 4, 2, 0.5, 100.0), (0, 5, 2, 0.0, 0.0),
    ]  # fmt: skip
    assert compact.finals.tolist() == [(np.inf, np.inf)] * 2 + [(0.25, 0.0)]
    assert compact.tids[compact.string_offsets[1] : compact.string_offsets[2]].tolist() == [7, 8, 9]
    final_string = compact.final_strings[2]
    assert compact.tids[compact.string_offsets[final_string] :].tolist() == [4]
    assert state_level.tids is None
    assert state_level.arcs.tolist() == [(7, 3, 1, 1.5, 2.25), (0, 0, 2, 0.0, 0.0)]
    assert state_level.finals.tolist()[2] == (0.0, 0.0)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["lat.ark", "lat.1.gz"])
def test_round_trip(tmp_path, binary, name):
    lattices = dict(read_archive(text_archive(tmp_path)))
    lattices["empty"] = _core.decode.Lattice(
        np.zeros(1, np.int32), np.empty(0, _core.decode.ARC_DTYPE),
        np.empty(0, _core.decode.COST_DTYPE),
    )  # fmt: skip
    write_archive(tmp_path / name, lattices.items(), binary)
    again = dict(read_archive(tmp_path / name))
    assert list(again) == list(lattices)
    for key in ("utt1", "utt2"):
        assert fields(again[key]) == fields(lattices[key])
    assert len(again["empty"].finals) == 0


@pytest.mark.golden
@pytest.mark.parametrize("name", ["det.mono", "raw.tri3b", "rmali.mono"])
def test_kaldis_text_is_written_as_it_was(golden, tmp_path, name):
    source = golden / "lattice" / f"{name}.lat.txt.gz"
    write_archive(tmp_path / "lat.gz", read_archive(source), binary=False)
    with gzip.open(source) as theirs, gzip.open(tmp_path / "lat.gz") as ours:
        expected, lines = set(theirs.read().split(b"\n")), set(ours.read().split(b"\n"))
    weights = {line.split(b"\t")[-1] for line in expected if b"," in line}
    assert {line.split(b"\t")[-1] for line in lines} >= weights


def test_binary_is_openfsts(tmp_path):
    """Byte by byte: the header and states of a VectorFst, as OpenFst documents its file format."""
    write_archive(tmp_path / "lat.ark", list(read_archive(text_archive(tmp_path)))[1:], True)
    data = (tmp_path / "lat.ark").read_bytes()
    header = b"utt2 \0B" + np.int32(2125659606).tobytes() + b"\6\0\0\0vector\x08\0\0\0lattice4"
    assert data.startswith(header)
    rest = data[len(header) :]
    assert np.frombuffer(rest[:8], np.int32).tolist() == [2, 0]  # version, no symbol tables
    assert np.frombuffer(rest[16:40], np.int64).tolist() == [0, 3, 2]  # start, states, arcs
    assert np.frombuffer(rest[40:48], np.float32).tolist() == [np.inf] * 2
    assert np.frombuffer(rest[48:56], np.int64).tolist() == [1]
    assert np.frombuffer(rest[56:64], np.int32).tolist() == [7, 3]
    assert np.frombuffer(rest[64:72], np.float32).tolist() == [1.5, 2.25]
    assert np.frombuffer(rest[72:76], np.int32).tolist() == [1]


@pytest.mark.golden
def test_kaldifst_reads_what_is_written_and_writes_what_is_read(golden, tmp_path):
    source = golden / "lattice" / "raw.mono.lat.txt.gz"
    utterance, lattice = next(iter(read_archive(source)))
    write_archive(tmp_path / "lat.ark", [(utterance, lattice)], binary=True)
    prefix = f"{utterance} \0B".encode()
    body = (tmp_path / "lat.ark").read_bytes().removeprefix(prefix)
    (tmp_path / "ours.fst").write_bytes(body)
    theirs = kaldifst.Lattice.read(str(tmp_path / "ours.fst"))
    assert theirs.num_states == len(lattice.finals)
    theirs.write(str(tmp_path / "theirs.fst"))
    (tmp_path / "lat.ark").write_bytes(prefix + (tmp_path / "theirs.fst").read_bytes())
    assert fields(dict(read_archive(tmp_path / "lat.ark"))[utterance]) == fields(lattice)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["lat.ark", "lat.gz"])
def test_a_truncated_archive_is_an_error(tmp_path, binary, name):
    write_archive(tmp_path / name, read_archive(text_archive(tmp_path)), binary)
    whole = (tmp_path / name).read_bytes()
    for size in range(1, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:size])
        try:
            got = [key for key, _ in read_archive(tmp_path / name)]
        except InputError as error:
            assert name in str(error)
        else:
            assert got == ["utt1"]  # cut between two entries: nothing says that more was there


def test_a_damaged_archive_never_crashes(tmp_path):
    write_archive(tmp_path / "lat.ark", read_archive(text_archive(tmp_path)), True)
    whole = (tmp_path / "lat.ark").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(3000):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(len(data), size=2)] = random.integers(256, size=2)
        (tmp_path / "lat.ark").write_bytes(data.tobytes())
        try:
            for _, lattice in read_archive(tmp_path / "lat.ark"):
                assert len(lattice.offsets) == len(lattice.finals) + 1
        except InputError as error:
            assert "lat.ark" in str(error)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("utt1 \n0 1 2 x,y,z\n1\n\n", "not a line of a lattice"),
        ("utt1 \n0 1 2 3 4 5 6\n\n", "not a line of a lattice"),
        ("utt1 \n0 1 2 nan,1,\n1\n\n", "not a line of a lattice"),
        ("utt1 \n0 1 2 1,1,3_0\n1\n\n", "not a line of a lattice"),
        ("utt1 \n0 1 -2 1,1,3\n1\n\n", "not a line of a lattice"),
        ("utt1 \n0 1 2 1,1,3\n0 1 2 3 1,1\n1\n\n", "partly of a compact lattice"),
        ("utt1 \n0 1 2 1,1,3\n1 0 2 1,1,3\n1\n\n", "cycle"),
        ("utt1 [ 1 2\n 3 4 ]\n\n", "not a Kaldi lattice"),
        ("utt1 \n0 1 2 1,1,3\n1\n", "truncated"),
    ],
)
def test_what_is_no_lattice_is_refused(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem) as error:
        list(read_archive(text_archive(tmp_path, text)))
    assert "lat.txt" in str(error.value)


def test_unreachable_and_dead_states_are_left_out(tmp_path):
    text = "u \n4 7 1 1,1,\n4 5 2 1,1,\n6 7 3 1,1,\n7 0,0,\n\n"
    lattice = dict(read_archive(text_archive(tmp_path, text)))["u"]
    assert lattice.arcs.tolist() == [(0, 1, 1, 1.0, 1.0)]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing.ark"):
        list(read_archive(tmp_path / "nothing.ark"))
    with pytest.raises(InputError, match="nothing.pack"):
        LatticePack(tmp_path / "nothing.pack")


def write_pack(path, pairs):
    with LatticePackWriter(path) as writer:
        for key, lattice in pairs:
            writer.write(key, lattice)


def test_pack(tmp_path):
    lattices = dict(read_archive(text_archive(tmp_path)))
    write_pack(tmp_path / "p", lattices.items())
    pack = pickle.loads(pickle.dumps(LatticePack(tmp_path / "p")))
    assert list(pack) == ["utt1", "utt2"] and "utt3" not in pack
    for key, lattice in lattices.items():
        assert fields(pack[key]) == fields(lattice)
    with pytest.raises(KeyError):
        pack["utt3"]


def test_pack_refuses_an_utterance_twice(tmp_path):
    lattice = dict(read_archive(text_archive(tmp_path)))["utt1"]
    with pytest.raises(InputError, match="utt1: given twice"):
        write_pack(tmp_path / "p", [("utt1", lattice), ("utt1", lattice)])
    assert not (tmp_path / "p").exists()


def test_a_damaged_pack_never_crashes(tmp_path):
    write_pack(tmp_path / "p", read_archive(text_archive(tmp_path)))
    whole = (tmp_path / "p").read_bytes()
    random = np.random.default_rng(1)
    for i in range(600):
        data = np.frombuffer(whole, np.uint8).copy()
        data[random.integers(200 if i % 2 else len(data), size=2)] = random.integers(256, size=2)
        (tmp_path / "p").write_bytes(data[: len(data) - i % 3 * 50].tobytes())
        try:
            for lattice in LatticePack(tmp_path / "p").values():
                assert len(lattice.offsets) == len(lattice.finals) + 1
        except InputError as error:
            assert str(tmp_path / "p") in str(error)
