"""Fused crops and features against crops first and features then."""

import numpy as np
import pytest

from kdspeech.data import CropLaw, WavePack
from kdspeech.features import Fbank, Mfcc, Plp, crop_features
from kdspeech.io.errors import InputError


def build(path, lengths, seed, sample_rate=16000):
    rng = np.random.default_rng(seed)
    clips = [
        (f"utt{i}", rng.normal(0, 2000, n).astype(np.int16), "a", "s")
        for i, n in enumerate(lengths)
    ]
    return WavePack.build(path, clips, sample_rate)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return build(tmp_path_factory.mktemp("clips") / "pack", (16000, 9000, 20000, 3000, 1), 0)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    return build(tmp_path_factory.mktemp("noise") / "pack", (40000, 700), 1)


@pytest.mark.parametrize("mode", ["random", "center", "best_energy", "energy", "sliding"])
@pytest.mark.parametrize(
    "computer",
    [
        Mfcc(num_ceps=13, dither=0),
        Fbank(num_mel_bins=40, dither=0, vtln_warp=1.1),
        Plp(dither=0, snip_edges=False),
    ],
    ids=["mfcc", "fbank", "plp"],
)
def test_features_are_those_of_the_crops(pack, noise, computer, mode):
    law = CropLaw(8000, mode, shift=500, gain_db=3, hop=4000)
    arguments = dict(crop_ids=[0, 1, 2, 3, 4], noise=noise)
    features = crop_features(computer, pack, range(5), law, **arguments)
    crops = pack.crops(range(5), law, **arguments)
    assert features.dtype == np.float32
    assert features.shape == (len(crops), computer.num_frames(8000), computer.dim)
    np.testing.assert_array_equal(features, [computer(crop) for crop in crops])


def test_pad_to_and_start(pack, noise):
    computer, law = Mfcc(dither=0), CropLaw(8001, noise_prob=1)
    start = [-100, 5, 15000]
    features = crop_features(computer, pack, [0, 1, 2], law, start=start, noise=noise, pad_to=16000)
    crops = np.pad(pack.crops([0, 1, 2], law, start=start, noise=noise), ((0, 0), (3999, 4000)))
    np.testing.assert_array_equal(features, [computer(crop) for crop in crops])


def test_features_do_not_depend_on_the_batch_or_the_threads(pack, noise):
    computer, law = Mfcc(dither=1), CropLaw(4000, seed=9, shift=100)
    rng = np.random.default_rng(0)
    utterances, ids = rng.integers(0, 5, 40), rng.integers(0, 3, 40)
    features = crop_features(computer, pack, utterances, law, crop_ids=ids, noise=noise)
    order = rng.permutation(40)
    for threads in (1, 2, 100):
        again = crop_features(
            computer, pack, utterances[order], law, crop_ids=ids[order], noise=noise,
            num_threads=threads,
        )  # fmt: skip
        np.testing.assert_array_equal(again, features[order])
    other = crop_features(computer, pack, [0, 0], law, crop_ids=[0, 1], start=[0, 0])
    assert (other[0] != other[1]).any()  # the dither differs


def test_bad_arguments_are_refused(pack, tmp_path):
    computer = Mfcc(dither=0)
    slow = build(tmp_path / "slow", (9000,), 0, sample_rate=8000)
    with pytest.raises(InputError, match="is at 8000 Hz, the features' sample_frequency is 16000"):
        crop_features(computer, slow, [0], CropLaw(4000))
    with pytest.raises(InputError, match="noise at 8000 Hz"):
        crop_features(computer, pack, [0], CropLaw(4000), noise=slow)
    with pytest.raises(InputError, match="crops of 100 samples are shorter than one frame"):
        crop_features(computer, pack, [0], CropLaw(100))
    with pytest.raises(InputError, match="pad_to is 3000 samples, less than the crops' 4000"):
        crop_features(computer, pack, [0], CropLaw(4000), pad_to=3000)
    with pytest.raises(InputError, match="num_threads is 0"):
        crop_features(computer, pack, [0], CropLaw(4000), num_threads=0)
    with pytest.raises(InputError, match="no utterance 'x'"):
        crop_features(computer, pack, ["x"], CropLaw(4000))


def test_no_crops(pack):
    assert crop_features(Mfcc(), pack, [], CropLaw(4000)).shape == (0, 23, 13)
