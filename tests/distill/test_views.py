import numpy as np
import pytest

from kdspeech.data.crops import CropLaw
from kdspeech.data.pack import WavePack
from kdspeech.distill.views import paired_crops

LENGTH, TEACHER, CLIP = 400, 700, 1000


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Clips whose samples count up, so that a crop tells where it was cut; and some noise."""
    folder = tmp_path_factory.mktemp("packs")
    ramp = np.arange(1, CLIP + 1, dtype=np.int16)
    clips = [("long", ramp, "a", "s"), ("short", ramp[:300], "b", "s")]
    noise = [("n", np.random.default_rng(0).integers(-900, 900, 5000).astype(np.int16), "", "n")]
    build = WavePack.build
    return build(folder / "clips", clips, 8000), build(folder / "noise", noise, 8000)


def cut(packs, view, noise=False, clip=0, teacher=TEACHER, n=50, **law):
    law = CropLaw(length=LENGTH, seed=3, **law)
    ids = np.arange(n)
    pack = packs[0]
    return paired_crops(
        pack, np.full(n, clip), law, ids, teacher, view, packs[1] if noise else None
    )


def test_native_shows_the_crop_itself(packs):
    waves = cut(packs, "native", noise=True)
    assert waves.student.shape == (50, LENGTH)
    np.testing.assert_array_equal(waves.teacher, waves.student)


def test_pad_puts_the_crop_in_the_middle_of_silence(packs):
    waves = cut(packs, "pad")
    before = (TEACHER - LENGTH) // 2
    np.testing.assert_array_equal(waves.teacher[:, before : before + LENGTH], waves.student)
    assert not waves.teacher[:, :before].any() and not waves.teacher[:, before + LENGTH :].any()


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("shift", [0, 200])
def test_context_holds_the_crop_and_its_noise(packs, noise, shift):
    waves = cut(packs, "context", noise=noise, shift=shift)
    assert waves.teacher.shape == (50, TEACHER)
    for student, teacher in zip(waves.student, waves.teacher, strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(teacher, LENGTH)
        assert (windows == student).all(axis=1).any()


def test_context_stays_within_the_clip_where_it_can(packs):
    waves = cut(packs, "context")
    assert (waves.teacher > 0).all()  # no zero was padded


def test_context_of_the_whole_clip_is_the_clip(packs):
    waves = cut(packs, "context", teacher=CLIP)
    np.testing.assert_array_equal(waves.teacher, np.tile(packs[0][0], (50, 1)))


def test_context_of_a_clip_shorter_than_the_crop(packs):
    waves = cut(packs, "context", clip=1)
    assert (np.sort(waves.student, axis=1)[:, -300:] == np.arange(1, 301)).all()
    assert (np.sort(waves.teacher, axis=1)[:, -300:] == np.arange(1, 301)).all()
