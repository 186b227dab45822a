import numpy as np
import pytest

from kdspeech.data import frames
from kdspeech.data.frames import FramePack
from kdspeech.features import splice
from kdspeech.io.errors import InputError

RANDOM = np.random.default_rng(0)
LENGTHS = [5, 1, 9, 30]
FEATS = [RANDOM.standard_normal((n, 3)).astype(np.float32) for n in LENGTHS]


def utterances():
    return [(f"u{i}", f"s{i // 2}", feats) for i, feats in enumerate(FEATS)]


@pytest.fixture
def pack(tmp_path):
    return FramePack.build(tmp_path / "pack", utterances())


def test_what_was_packed_is_there(pack):
    assert pack.utts == ["u0", "u1", "u2", "u3"] and pack.speakers == ["s0", "s0", "s1", "s1"]
    for i, feats in enumerate(FEATS):
        np.testing.assert_array_equal(pack[i], feats)
    np.testing.assert_array_equal(pack["u2"], FEATS[2])


def test_spliced_frames_are_kaldis(pack):
    (block,) = pack.blocks(np.array([2, 0, 1, 3]), context=4)
    order = [2, 0, 1, 3]
    expected = [splice(FEATS[i], left_context=4, right_context=4) for i in order]
    np.testing.assert_array_equal(block.spliced(slice(None)), np.concatenate(expected))
    rows = np.arange(len(block))[::-2]
    np.testing.assert_array_equal(block.spliced(rows), np.concatenate(expected)[rows])
    plain = np.concatenate([FEATS[i] for i in order])
    np.testing.assert_array_equal(pack.feats[block.positions], plain)


def test_blocks_show_every_frame_once_in_another_order(pack, monkeypatch):
    monkeypatch.setattr(frames, "BLOCK_FRAMES", 12)
    chosen = np.array([0, 2, 3])

    def shown(seed):
        blocks = list(pack.blocks(chosen, seed=seed))
        assert len(blocks) > 1
        return np.concatenate([block.positions for block in blocks])

    everything = np.concatenate([np.arange(pack.offsets[i], pack.offsets[i + 1]) for i in chosen])
    assert len(everything) == pack.num_frames(chosen)
    np.testing.assert_array_equal(shown(None), everything)
    np.testing.assert_array_equal(np.sort(shown(1)), everything)
    assert any(not np.array_equal(shown(1), shown(seed)) for seed in range(2, 6))
    np.testing.assert_array_equal(shown(1), shown(1))


def test_files_beside_are_part_of_the_pack(tmp_path):
    with pytest.raises(ZeroDivisionError):
        FramePack.build(tmp_path / "pack", utterances(), lambda folder: 1 / 0)
    assert list(tmp_path.iterdir()) == []
    FramePack.build(tmp_path / "pack", utterances(), lambda folder: (folder / "x").write_text("y"))
    assert (tmp_path / "pack" / "x").read_text() == "y"


@pytest.mark.parametrize(
    "bad,message",
    [
        (("u0", "s", FEATS[0]), "u0: comes twice"),
        (("v", "s", FEATS[0][:, :2]), r"v: features are \(5, 2\), expected \(frames, 3\)"),
        (("v", "s", FEATS[0][:0]), r"v: features are \(0, 3\)"),
        (("v", "s", FEATS[0] * np.nan), "v: features that are not finite"),
    ],
)
def test_bad_utterances_are_named_and_nothing_is_left(tmp_path, bad, message):
    with pytest.raises(InputError, match=message):
        FramePack.build(tmp_path / "pack", [*utterances(), bad])
    assert list(tmp_path.iterdir()) == []


def test_no_pack_or_a_damaged_one(tmp_path, pack):
    with pytest.raises(InputError, match="no frame pack there"):
        FramePack(tmp_path / "none")
    with pytest.raises(InputError, match="no utterances"):
        FramePack.build(tmp_path / "empty", [])
    path = pack.path / frames.FEATS
    data = path.read_bytes()
    path.write_bytes(data[:-4])
    with pytest.raises(InputError, match=f"cut short: {len(data) - 4} bytes"):
        FramePack(pack.path)


def test_only_packs_are_replaced(tmp_path):
    path = tmp_path / "pack"
    for _ in range(2):
        FramePack.build(path, utterances(), lambda folder: (folder / "source.yaml").touch())
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"pack: holds something else .*, thesis\.txt"):
        FramePack.build(path, utterances())
    assert (path / "thesis.txt").exists()
