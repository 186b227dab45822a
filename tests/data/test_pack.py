"""Waveform packs: written whole or not at all, and refused when they are not whole."""

import pickle
import weakref

import numpy as np
import pyarrow as pa
import pytest

from kdspeech.data import WavePack
from kdspeech.io.errors import InputError


def make_clips(lengths=(5, 1, 16000), seed=0):
    rng = np.random.default_rng(seed)
    return [
        (f"utt{i}", rng.integers(-32768, 32768, n).astype(np.int16), f"wörd {i}", f"spk{i % 2}")
        for i, n in enumerate(lengths)
    ]


@pytest.fixture
def pack(tmp_path):
    return WavePack.build(tmp_path / "pack", make_clips(), 16000)


def test_round_trip(pack):
    assert len(pack) == 3
    assert pack.utts == ["utt0", "utt1", "utt2"]
    assert pack.texts == ["wörd 0", "wörd 1", "wörd 2"]
    assert pack.speakers == ["spk0", "spk1", "spk0"]
    assert pack.sample_rate == 16000
    assert pack.num_samples.tolist() == [5, 1, 16000]
    for i, (utt, samples, _, _) in enumerate(make_clips()):
        assert pack.index(utt) == i
        np.testing.assert_array_equal(pack[i], samples)
        np.testing.assert_array_equal(pack[utt], samples)
    assert np.shares_memory(pack[0], pack[0])
    with pytest.raises(ValueError, match="read-only"):
        pack[0][0] = 1


def test_rows_beyond_one_batch_of_the_index(tmp_path):
    clips = ((f"u{i}", np.full(1 + i % 3, i % 100, np.int16), "a", "s") for i in range(9000))
    pack = WavePack.build(tmp_path / "pack", clips, 8000)
    assert len(pack) == 9000
    assert all((pack[i] == i % 100).all() for i in (0, 4095, 4096, 8191, 8192, 8999))


def test_fingerprint_follows_the_content(tmp_path, pack):
    def fingerprint(clips, rate=16000):
        return WavePack.build(tmp_path / "other", clips, rate).fingerprint

    assert fingerprint(make_clips()) == pack.fingerprint
    assert WavePack(pack.path).fingerprint == pack.fingerprint
    changed = make_clips()
    changed[2][1][-1] ^= 1
    relabelled = [(utt, samples, "x", spk) for utt, samples, _, spk in make_clips()]
    others = [changed, relabelled, make_clips()[:2], make_clips()[::-1]]
    assert len({pack.fingerprint, fingerprint(make_clips(), 8000), *map(fingerprint, others)}) == 6


def test_pickle_opens_the_pack_again(pack):
    copy = pickle.loads(pickle.dumps(pack))
    np.testing.assert_array_equal(copy[2], pack[2])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(3, np.float32), "utt1: samples are float32, must be int16"),
        (np.array([0.0, np.nan]), "utt1: samples with NaN"),
        (np.zeros(0, np.int16), "utt1: no samples"),
        (np.zeros((3, 2), np.int16), r"utt1: samples have shape \(3, 2\)"),
        (np.array([1, 40000]), "utt1: samples are int64"),
    ],
)
def test_bad_samples_are_refused_by_name(tmp_path, samples, message):
    clips = [("utt0", np.ones(3, np.int16), "", ""), ("utt1", samples, "", "")]
    with pytest.raises(InputError, match=message):
        WavePack.build(tmp_path / "pack", clips, 16000)
    assert not list(tmp_path.iterdir())


def test_bad_corpora_are_refused(tmp_path):
    one = np.ones(3, np.int16)
    with pytest.raises(InputError, match="utt0 is given twice"):
        WavePack.build(tmp_path / "pack", [("utt0", one, "", "")] * 2, 16000)
    with pytest.raises(InputError, match="no utterances"):
        WavePack.build(tmp_path / "pack", [], 16000)
    with pytest.raises(InputError, match="None, must be a str"):
        WavePack.build(tmp_path / "pack", [("utt0", one, None, "")], 16000)
    with pytest.raises(InputError, match="sample_rate"):
        WavePack.build(tmp_path / "pack", [("utt0", one, "", "")], 0)
    assert not list(tmp_path.iterdir())


def test_a_build_that_dies_keeps_the_old_pack(tmp_path, pack):
    def dying():
        yield from make_clips((100,), seed=1)
        raise RuntimeError("disk gone")

    with pytest.raises(RuntimeError):
        WavePack.build(pack.path, dying(), 16000)
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
    assert WavePack(pack.path).fingerprint == pack.fingerprint


def test_a_build_replaces_an_old_pack(pack):
    new = WavePack.build(pack.path, make_clips((7,), seed=1), 16000)
    assert new.num_samples.tolist() == [7]
    assert len(pack[2]) == 16000  # the one that is open still has its own file


def test_only_one_clip_is_in_memory_while_building(tmp_path):
    alive = []

    def clips():
        for i in range(50):
            samples = np.zeros(1000, np.int16)
            alive.append(weakref.ref(samples))
            yield f"u{i}", samples, "", ""
            assert sum(clip() is not None for clip in alive) <= 2

    WavePack.build(tmp_path / "pack", clips(), 16000)


def test_a_truncated_pack_is_refused(pack):
    waves = pack.path / "waves.i16"
    data = waves.read_bytes()
    waves.write_bytes(data[:-2])
    with pytest.raises(InputError, match=f"truncated: {len(data) - 2} bytes, {len(data)} expected"):
        WavePack(pack.path)
    waves.write_bytes(data + b"\0")
    with pytest.raises(InputError, match="too long"):
        WavePack(pack.path)
    waves.unlink()
    with pytest.raises(InputError, match=r"no waves\.i16"):
        WavePack(pack.path)


def test_a_damaged_index_is_refused(tmp_path, pack):
    index = pack.path / "index.arrow"
    data = index.read_bytes()
    for damaged in (data[: len(data) // 2], b"", b"text"):
        index.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged index"):
            WavePack(pack.path)
    table = pa.table({"utt": ["a"]})
    with pa.ipc.new_file(index, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="columns"):
        WavePack(pack.path)
    index.unlink()
    with pytest.raises(InputError, match="not a waveform pack"):
        WavePack(pack.path)


@pytest.mark.parametrize(("column", "values"), [("offset", [0, 4, 6]), ("num_samples", [5, 0, 6])])
def test_an_index_whose_clips_do_not_fit_is_refused(pack, column, values):
    index = pack.path / "index.arrow"
    with pa.ipc.open_file(pa.BufferReader(index.read_bytes())) as reader:
        table = reader.read_all()
    place = table.schema.get_field_index(column)
    table = table.set_column(place, column, pa.array(values, pa.int64()))
    with pa.ipc.new_file(index, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match="damaged index"):
        WavePack(pack.path)


def test_unknown_utterances_are_named(pack):
    with pytest.raises(InputError, match="no utterance 'x'"):
        pack.index("x")
    with pytest.raises(InputError, match="no utterance 'x'"):
        pack["x"]
    for number in (3, -1):
        with pytest.raises(InputError, match=f"no utterance number {number}; it has 3"):
            pack[number]


def test_a_build_replaces_nothing_but_packs(tmp_path):
    mine = tmp_path / "train" / "wav.scp"
    mine.parent.mkdir()
    mine.write_text("a a.wav\n")
    with pytest.raises(InputError, match="holds something else .*, wav.scp"):
        WavePack.build(tmp_path / "train", [("a", np.ones(9, np.int16), "", "")], 8000)
    assert mine.exists()
