"""Crops against a plain numpy reading of the law."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspeech.data import CropLaw, WavePack
from kdspeech.io.errors import InputError

LENGTHS = (4000, 1000, 999, 1, 5001, 2000)


def build(path, lengths, seed):
    rng = np.random.default_rng(seed)
    clips = [
        (f"utt{i}", (rng.normal(0, 3000, n) * np.hanning(n + 2)[1:-1]).astype(np.int16), "a", "s")
        for i, n in enumerate(lengths)
    ]
    return WavePack.build(path, clips, 16000)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return build(tmp_path_factory.mktemp("clips") / "pack", LENGTHS, 0)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    return build(tmp_path_factory.mktemp("noise") / "pack", (20000, 700, 1), 1)


def cut(clip, start, length):
    """Samples start..start + length of a clip that is zero outside."""
    where = start + np.arange(length)
    inside = (where >= 0) & (where < len(clip))
    return np.where(inside, clip[np.clip(where, 0, len(clip) - 1)], 0).astype(np.float32)


def energies(clip, length):
    total = np.concatenate([[0], np.cumsum(clip.astype(np.int64) ** 2)])
    return total[length:] - total[:-length]


@pytest.mark.parametrize("mode", ["random", "center", "best_energy", "energy"])
@pytest.mark.parametrize("shift", [0, 300])
@pytest.mark.parametrize("length", [1, 1000, 6000])
def test_crops_are_the_clips_at_their_starts(pack, mode, shift, length):
    law = CropLaw(length, mode, seed=3, shift=shift)
    everyone = np.arange(len(pack))
    starts = pack.crop_starts(everyone, law)
    crops = pack.crops(everyone, law)
    assert crops.dtype == np.float32 and crops.shape == (len(pack), length)
    expected = [cut(pack[i], start, length) for i, start in enumerate(starts)]
    np.testing.assert_array_equal(crops, expected)
    whole = pack.crops(everyone, law, dtype=np.int16)
    assert whole.dtype == np.int16
    np.testing.assert_array_equal(whole, expected)


def test_random_starts_cover_the_clip_evenly(pack):
    starts = pack.crop_starts([0] * 30000, 3990, crop_ids=np.arange(30000))
    counts = np.bincount(starts, minlength=11)
    assert len(counts) == 11  # 0..4000 - 3990
    assert abs(counts - 30000 / 11).max() < 5 * np.sqrt(30000 / 11)
    starts = pack.crop_starts([3] * 3000, 3, crop_ids=np.arange(3000))  # one sample in three
    assert (np.bincount(-starts, minlength=3) > 850).all() and starts.min() == -2


def test_center_and_pad(pack):
    center = CropLaw(2000, "center")
    assert pack.crop_starts([0, 1, 2, 5], center).tolist() == [1000, -500, -500, 0]
    end = CropLaw(2000, "center", pad="end")
    assert pack.crop_starts([0, 1, 2, 5], end).tolist() == [1000, 0, 0, 0]
    assert pack.crop_starts([1] * 5, 2000, pad="end", crop_ids=range(5)).tolist() == [0] * 5


def test_shift_moves_every_mode_evenly(pack):
    ids = np.arange(20000)
    for mode in ("center", "best_energy"):
        base = pack.crop_starts([0], CropLaw(2000, mode))[0]
        moved = pack.crop_starts([0] * len(ids), CropLaw(2000, mode, shift=5), crop_ids=ids) - base
        counts = np.bincount(moved + 5, minlength=11)
        assert len(counts) == 11
        assert abs(counts - len(ids) / 11).max() < 5 * np.sqrt(len(ids) / 11)


@pytest.mark.parametrize("hop", [None, 7])
def test_best_energy(pack, hop):
    starts = pack.crop_starts([0, 4], CropLaw(1500, "best_energy", hop=hop))
    for i, start in zip([0, 4], starts, strict=True):
        grid = energies(pack[i], 1500)[:: hop or 1]
        assert start == np.argmax(grid) * (hop or 1)


def test_best_energy_is_exact_and_takes_the_first_of_equals(tmp_path):
    loud = np.full(3000, -32768, np.int16)
    pulse = np.zeros(3000, np.int16)
    pulse[[1000, 2000]] = 5, -5
    clips = [("loud", loud, "", ""), ("pulse", pulse, "", ""), ("silent", 0 * loud, "", "")]
    pack = WavePack.build(tmp_path / "pack", clips, 16000)
    law = CropLaw(100, "best_energy")
    assert pack.crop_starts(range(3), law).tolist() == [0, 901, 0]
    starts = pack.crop_starts([2] * 500, CropLaw(2990, "energy"), crop_ids=np.arange(500))
    assert set(starts) == set(range(11))  # every window of silence holds enough of none


@pytest.mark.parametrize("hop", [None, 50])
def test_energy_picks_evenly_among_the_windows_that_hold_enough(pack, hop):
    law = CropLaw(2500, "energy", min_energy=0.97, hop=hop)
    ids = np.arange(40000)
    grid = energies(pack[0], 2500)[:: hop or 1]
    allowed = np.flatnonzero(grid >= 0.97 * grid.max()) * (hop or 1)
    assert 2 < len(allowed) < len(grid)
    starts, counts = np.unique(
        pack.crop_starts([0] * len(ids), law, crop_ids=ids), return_counts=True
    )
    assert set(starts) == set(allowed)
    assert abs(counts - len(ids) / len(allowed)).max() < 6 * np.sqrt(len(ids) / len(allowed))


def test_sliding(pack, noise):
    law = CropLaw(1000, "sliding", hop=700)
    plan = pack.plan([0, 1, 3, 4], law)
    assert plan.offsets.tolist() == [0, 5, 6, 7, 13]
    assert plan.starts.tolist()[:7] == [0, 700, 1400, 2100, 2800, 0, -499]
    crops = pack.crops([0, 1, 3, 4], law)
    expected = [cut(pack[i], s, 1000) for i, s in zip(plan.indices, plan.starts, strict=True)]
    np.testing.assert_array_equal(crops, expected)
    # One noise for all windows of a clip, and the shift moves them together.
    law = CropLaw(1000, "sliding", hop=500, shift=50, noise_prob=1, noise_volume=0.5)
    crops = pack.crops([0], law, noise=noise)
    np.testing.assert_array_equal(crops[1:, :500], crops[:-1, 500:])
    assert (np.diff(pack.crop_starts([0], law)) == 500).all()


def test_a_crop_does_not_depend_on_its_batch(pack, noise):
    law = CropLaw(1200, seed=11, shift=100, noise_prob=0.7, noise_volume=0.3, gain_db=6)
    rng = np.random.default_rng(0)
    utterances, ids = rng.integers(0, len(pack), 200), rng.integers(0, 5, 200)
    crops = pack.crops(utterances, law, crop_ids=ids, noise=noise)
    order = rng.permutation(200)
    names = [pack.utts[i] for i in utterances[order]]
    for threads in (1, 2, 7, 500):
        again = pack.crops(names, law, crop_ids=ids[order], noise=noise, num_threads=threads)
        np.testing.assert_array_equal(again, crops[order])
    alone = [
        pack.crops([i], law, crop_ids=n, noise=noise)[0]
        for i, n in zip(utterances, ids, strict=True)
    ]
    np.testing.assert_array_equal(alone, crops)


def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def draw(seed, utt, crop_id, purpose):
    """The random number of docs/crops.md, in Python's integers."""
    golden, name = 0x9E3779B97F4A7C15, 0xCBF29CE484222325
    for byte in utt.encode():
        name = (name ^ byte) * 0x100000001B3 % 2**64
    key = mix(mix((seed + golden) % 2**64) ^ mix(name))
    key = mix((key + golden * crop_id) % 2**64)
    return mix((key + golden * purpose) % 2**64)


def test_starts_follow_the_documented_hash(pack):
    law = CropLaw(500, seed=2**64 - 1, shift=10)
    starts = pack.crop_starts([0] * 100, law, crop_ids=np.arange(100) - 50)
    for start, crop_id in zip(starts, range(-50, 50), strict=True):
        first, shift = (draw(2**64 - 1, "utt0", crop_id, purpose) for purpose in (1, 2))
        assert start == first % 3501 + shift % 21 - 10


def test_the_law_gives_the_same_starts_for_ever(pack):
    # A change here breaks every soft-label store: raise _LAW_VERSION in kdspeech/data/crops.py.
    law = CropLaw(500, seed=1, shift=10)
    starts = pack.crop_starts([0, 1, 2, 0], law, crop_ids=[0, 0, 0, 1])
    assert starts.tolist() == [864, 341, 390, 1027]


def test_a_pack_with_other_clips_gives_the_same_crops(tmp_path, pack):
    clips = [(pack.utts[i], pack[i], "other", "t") for i in (4, 0)]
    part = WavePack.build(tmp_path / "part", clips, 16000)
    law = CropLaw(1500, shift=20)
    np.testing.assert_array_equal(part.crops(["utt0"], law), pack.crops(["utt0"], law))


def test_noise(pack, noise):
    law = CropLaw(1000, noise_prob=0.8, noise_volume=0.1)
    ids = np.arange(4000)
    clean = pack.crops([0] * 4000, law, crop_ids=ids)
    noisy = pack.crops([0] * 4000, law, crop_ids=ids, noise=noise)
    added = noisy - clean
    with_noise = added.any(axis=1)
    assert 0.75 < with_noise.mean() < 0.85
    # The scale is U(0, 0.1): read off the crops of the noise that has only one sample.
    constant = with_noise & (np.ptp(added, axis=1) < 0.5)
    scale = added[constant].mean(axis=1) / noise[2][0]
    assert len(scale) > 500 and scale.min() > -0.001 and 0.09 < scale.max() < 0.101
    always = pack.crops([0] * 50, CropLaw(1000, noise_prob=1), crop_ids=ids[:50], noise=noise)
    assert (always != clean[:50]).any(axis=1).all()
    never = pack.crops([0] * 50, CropLaw(1000, noise_prob=0), crop_ids=ids[:50], noise=noise)
    np.testing.assert_array_equal(never, clean[:50])


def test_noise_is_a_stretch_of_one_clip_and_wraps(tmp_path, pack):
    short = np.arange(1, 8, dtype=np.int16) * 1000
    noise = WavePack.build(tmp_path / "noise", [("n", short, "", "")], 16000)
    law = CropLaw(50, "center", noise_prob=1, noise_volume=1)
    added = pack.crops([0] * 300, law, crop_ids=np.arange(300), noise=noise) - pack.crops([0], law)
    np.testing.assert_allclose(added[:, 7:], added[:, :-7], atol=0.01)
    ranks = np.argsort(added[:, :7], axis=1)
    phases = {tuple(np.argsort(np.roll(short, -k))) for k in range(7)}
    big = added.max(axis=1) > 10
    assert {tuple(rank) for rank in ranks[big]} == phases


def test_long_noise_does_not_wrap_inside_the_clip(tmp_path, pack):
    ramp = np.arange(1, 6001, dtype=np.int16)
    noise = WavePack.build(tmp_path / "noise", [("n", ramp, "", "")], 16000)
    law = CropLaw(4000, noise_prob=1, noise_volume=1)
    ids = np.arange(100)
    added = pack.crops([0] * 100, law, crop_ids=ids, noise=noise) - pack.crops([0], law)
    assert (np.diff(added, axis=1) > -0.01).all()


def test_a_crop_inside_a_crop_is_a_part_of_it(pack, noise):
    teacher = CropLaw(1500, shift=100, noise_prob=0.9, noise_volume=0.5, gain_db=3)
    student = CropLaw(600, noise_prob=0.9, noise_volume=0.5, gain_db=3)
    everyone, ids = np.arange(len(pack)), np.arange(len(pack)) + 5
    starts = pack.crop_starts(everyone, teacher, crop_ids=ids)
    outer = pack.crops(everyone, teacher, crop_ids=ids, noise=noise)
    inner = pack.crops(everyone, student, crop_ids=ids, start=starts + 250, noise=noise)
    np.testing.assert_array_equal(inner, outer[:, 250:850])


def test_speed_plays_the_clip_between_its_samples(pack):
    """Each crop is the clip read at one constant speed within the law, and all of them are used."""
    law = CropLaw(1000, speed=0.2)
    clip = pack[0].astype(np.float64)
    ids = np.arange(300)
    starts = pack.crop_starts([0] * 300, law, crop_ids=ids)
    crops = pack.crops([0] * 300, law, crop_ids=ids, start=np.zeros(300, np.int64))
    found = []
    for crop in crops:
        speeds = np.linspace(0.8, 1.2, 401)
        played = [np.interp(np.arange(400) * speed, np.arange(len(clip)), clip) for speed in speeds]
        best = np.argmin([np.abs(crop[:400] - wave).mean() for wave in played])
        found.append(speeds[best])
    assert 0.8 <= min(found) < 0.81 and 1.19 < max(found) <= 1.2
    assert abs(np.mean(found) - 1) < 0.02
    played = 1 + np.floor((len(clip) - 1) / np.array(found))
    assert (starts >= 0).all() and (starts <= played - 1000 + 10).all()


@pytest.mark.parametrize("mode", ["random", "center", "best_energy", "energy"])
def test_a_crop_inside_a_played_crop_is_a_part_of_it(pack, noise, mode):
    teacher = CropLaw(1500, mode, shift=100, noise_prob=0.9, speed=0.3)
    student = CropLaw(600, noise_prob=0.9, speed=0.3)
    everyone = np.arange(len(pack))
    starts = pack.crop_starts(everyone, teacher)
    outer = pack.crops(everyone, teacher, noise=noise)
    inner = pack.crops(everyone, student, start=starts + 250, noise=noise)
    np.testing.assert_array_equal(inner, outer[:, 250:850])


def test_best_energy_finds_the_played_burst(tmp_path):
    wave = np.zeros(10000, np.int16)
    wave[6000:6500] = 9000
    pack = WavePack.build(tmp_path / "pack", [("a", wave, "", "")], 16000)
    crops = pack.crops([0] * 50, CropLaw(900, "best_energy", speed=0.3), crop_ids=np.arange(50))
    loud = (np.abs(crops) > 4000).sum(axis=1)
    assert (loud >= 500 / 1.3 - 3).all() and (loud <= 500 / 0.7 + 3).all()


def test_gain_is_even_in_decibel_and_applies_to_the_clip(pack):
    law = CropLaw(4000, "center", gain_db=6)
    crops = pack.crops([0] * 5000, law, crop_ids=np.arange(5000))
    peak = np.argmax(np.abs(pack[0]))
    decibel = 20 * np.log10(crops[:, peak] / pack[0][peak])
    assert -6 <= decibel.min() < -5.9 and 5.9 < decibel.max() <= 6
    assert abs(decibel.mean()) < 0.2 and abs(decibel.std() - 12 / np.sqrt(12)) < 0.1


def test_int16_crops_are_rounded_and_saturated(tmp_path):
    full = np.tile(np.array([32767, -32768], np.int16), 500)
    pack = WavePack.build(tmp_path / "pack", [("a", full, "", "")], 16000)
    law = CropLaw(1000, "center", gain_db=20)
    for crop_id in range(20):
        real = pack.crops([0], law, crop_ids=crop_id)
        whole = pack.crops([0], law, crop_ids=crop_id, dtype=np.int16)
        np.testing.assert_array_equal(whole, np.clip(np.rint(real), -32768, 32767))


@pytest.mark.parametrize("start", [-(2**63), -(10**12), -10, 0, 3999, 4000, 2**62, 2**63 - 1])
def test_any_start_is_zero_outside_the_clip(pack, noise, start):
    crop = pack.crops([0], CropLaw(10), start=[start])
    expected = cut(pack[0], start, 10) if -100 < start < 10**6 else np.zeros(10)
    np.testing.assert_array_equal(crop[0], expected)
    noisy = pack.crops([0], CropLaw(10, noise_prob=1), start=[start], noise=noise)
    assert np.isfinite(noisy).all()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_fuzz(pack, noise, data):
    whole = st.integers(1, 7000)
    mode = data.draw(st.sampled_from(["random", "center", "best_energy", "energy", "sliding"]))
    law = CropLaw(
        data.draw(whole),
        mode,
        seed=data.draw(st.integers(0, 2**64 - 1)),
        shift=data.draw(st.integers(0, 8000)),
        noise_prob=data.draw(st.floats(0, 1)),
        noise_volume=data.draw(st.floats(0, 10)),
        gain_db=data.draw(st.floats(0, 20)),
        speed=0.0 if mode == "sliding" else data.draw(st.floats(0, 0.5)),
        pad=data.draw(st.sampled_from(["center", "end"])),
        min_energy=data.draw(st.floats(0, 1)),
        hop=data.draw(st.integers(50, 3000)),
    )
    utterances = data.draw(st.lists(st.integers(0, len(pack) - 1), max_size=5))
    ids = data.draw(st.integers(-(2**63), 2**63 - 1))
    plan = pack.plan(utterances, law, crop_ids=ids)
    with_noise = data.draw(st.sampled_from([None, noise]))
    dtype = data.draw(st.sampled_from([np.float32, np.int16]))
    crops = pack.crops(utterances, law, crop_ids=ids, noise=with_noise, dtype=dtype)
    assert crops.shape == (plan.offsets[-1], law.length)
    assert np.isfinite(crops).all()
    counts = np.diff(plan.offsets)
    assert (counts >= 1).all() and (law.mode == "sliding" or (counts == 1).all())
    n = pack.num_samples[plan.indices] * (1 / (1 - law.speed))
    low = pack.num_samples[plan.indices] / (1 + law.speed) - 1
    assert (plan.starts >= np.minimum(0, low - law.length) - law.shift).all()
    assert (plan.starts <= np.maximum(0, n - law.length) + law.shift).all()


def test_out_is_filled(pack):
    out = np.empty((2, 100), np.float32)
    assert pack.crops([0, 1], 100, out=out) is out
    np.testing.assert_array_equal(out, pack.crops([0, 1], 100))
    read_only = np.empty((2, 100), np.float32)
    read_only.flags.writeable = False
    for bad in (np.empty((2, 99), np.float32), np.empty((2, 200), np.int16)[:, ::2], read_only):
        with pytest.raises(InputError, match="out must be"):
            pack.crops([0, 1], 100, out=bad)
    with pytest.raises(InputError, match="float32 or int16, not float64"):
        pack.crops([0, 1], 100, dtype=np.float64)


def test_keywords_make_a_law(pack):
    law = CropLaw(700, "center", seed=4, shift=9)
    same = pack.crops(["utt0"], 700, mode="center", seed=4, shift=9)
    np.testing.assert_array_equal(same, pack.crops(["utt0"], law))
    with pytest.raises(InputError, match="seed given beside a law"):
        pack.crops([0], law, seed=1)
    with pytest.raises(InputError, match="unknown sead"):
        pack.crops([0], 700, sead=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 0}, "length is 0"),
        ({"length": 0.5}, "length is 0.5, must be an integer"),
        ({"length": True}, "length is True"),
        ({"mode": "middle"}, "mode is 'middle', must be one of random, center"),
        ({"pad": "left"}, "pad is 'left'"),
        ({"seed": -1}, "seed is -1"),
        ({"shift": -1}, "shift is -1"),
        ({"hop": 0}, "hop is 0"),
        ({"noise_prob": 1.5}, "noise_prob is 1.5"),
        ({"noise_volume": float("nan")}, "noise_volume is nan"),
        ({"gain_db": -1}, "gain_db is -1"),
        ({"speed": 0.6}, "speed is 0.6"),
        ({"mode": "sliding", "hop": 5, "speed": 0.1}, "takes clips as they are"),
        ({"min_energy": "a"}, "min_energy is 'a', must be a number"),
        ({"mode": "sliding"}, "needs hop"),
    ],
)
def test_bad_laws_are_refused_by_name(fields, message):
    with pytest.raises(InputError, match=message):
        CropLaw(**{"length": 100, **fields})


def test_bad_arguments_are_refused(pack, tmp_path):
    other = WavePack.build(tmp_path / "n", [("n", np.ones(9, np.int16), "", "")], 8000)
    for arguments, message in [
        ({"utterances": ["nobody"]}, "no utterance 'nobody'"),
        ({"utterances": [0, 6]}, "no utterance number 6; it has 6"),
        ({"utterances": "utt0"}, "a list is expected"),
        ({"utterances": [0.5]}, "utterances: integers expected"),
        ({"crop_ids": [1, 2]}, "crop_ids: 1 values expected"),
        ({"start": [0.5]}, "start: integers expected"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"noise": other}, "noise at 8000 Hz cannot be mixed"),
    ]:
        with pytest.raises(InputError, match=message):
            pack.crops(**{"utterances": [0], "law": 100, **arguments})


def test_no_crops(pack):
    assert pack.crops([], 100).shape == (0, 100)
    assert pack.crops([], CropLaw(100, "sliding", hop=1)).shape == (0, 100)


def test_fingerprint(noise):
    law = CropLaw(8000)
    assert json.loads(law.fingerprint())["length"] == 8000
    assert CropLaw(np.int64(8000), noise_prob=0.5).fingerprint() == law.fingerprint()
    assert CropLaw(8000, noise_prob=0.5).fingerprint(noise) != law.fingerprint(noise)
    assert noise.fingerprint in law.fingerprint(noise)
    assert CropLaw(8000, shift=1).fingerprint() != law.fingerprint()
