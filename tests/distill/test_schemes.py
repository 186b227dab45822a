"""Students of a part of the data and of unlabelled clips, of their own corpus or of another."""

import numpy as np
import pytest
import torch
from tones import RATE, job, write_recipe

from kdspeech.data.pack import WavePack
from kdspeech.distill import Step, finish_step
from kdspeech.distill.labels import label_source
from kdspeech.io.errors import InputError

SMALL = ["model={name: mlp, options: {hidden: [8]}}", "train.epochs=1", "distill.view=context"]
STUDENT = Step((400, 200), "soft")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The tiny recipe, and a pack `other` of another corpus with two of its utterances' names."""
    folder = write_recipe(tmp_path_factory.mktemp("recipe"))
    noise = np.random.default_rng(5).normal(0, 1000, (3, 2400)).astype(np.int16)
    names = ["low-0", "high-1", "only-here"]
    clips = [(utt, wave, "text", "s") for utt, wave in zip(names, noise, strict=True)]
    WavePack.build(folder / "other", clips, RATE)
    return folder


@pytest.fixture(scope="module")
def exp(recipe, tmp_path_factory):
    """With the teacher trained."""
    folder = tmp_path_factory.mktemp("exp")
    finish_step(job(recipe, folder, *SMALL), 0, Step((400,), "clip"))
    return folder


def settings(recipe, *more):
    return [*SMALL, f"distill.unlabelled=[{recipe / 'other'}]", *more]


def test_a_fraction_is_of_the_students_data_alone(recipe, exp):
    pool = job(recipe, exp, *SMALL, "fraction=0.25").run(0).pool
    own, _ = pool.labelled(Step((400,), "clip"), 0)
    part, labels = pool.labelled(STUDENT, 0)
    again, _ = pool.labelled(STUDENT, 7)
    assert np.bincount(labels).tolist() == [2, 2, 5, 5, 5] and len(own) > 60
    words = labels > 1
    assert set(part[words]) <= set(again)  # other epochs, the same clips
    both = job(recipe, exp, *SMALL, "fraction=0.25", "teacher.fraction=0.5").run(0).pool
    assert len(both.labelled(Step((400,), "clip"), 0)[0]) == 38  # 30 words, 4 of each filler


def test_the_labels_of_an_unlabelled_pack_are_not_used(recipe, exp):
    run = job(recipe, exp, *settings(recipe)).run(0)
    clips, labels = run.pool.clips(STUDENT, 0)
    assert clips[-3:].tolist() == [100, 101, 102] and labels[-3:].tolist() == [-1, -1, -1]
    assert (labels[:-3] >= 0).all()
    teacher_clips, _ = run.pool.clips(Step((400,), "clip"), 0)
    assert teacher_clips.max() < 100
    names = run.pool.names(clips)
    assert names[-1].endswith("/only-here") and len(set(names)) == len(names)


def test_clips_of_several_packs_keep_their_order(recipe, exp):
    run = job(recipe, exp, *settings(recipe)).run(0)
    clips, ids = np.array([101, 3, 100, 0]), np.array([2, 0, 1, 5])
    got = label_source(run, STUDENT)(clips, ids)
    law, packs = run.law(200), run.pool.packs
    for row, (pack, clip) in enumerate([(1, 1), (0, 3), (1, 0), (0, 0)]):
        one = {"crop_ids": ids[row : row + 1], "noise": run.data.noise}
        wave = packs[pack].crops([clip], law, **one)[0]
        np.testing.assert_allclose(got.waves[row], wave, atol=1e-2)
    assert got.targets.shape == (4, 5)


@pytest.mark.parametrize("losses", ["[]", "[{name: kd}, {name: label_smoothing}]"])
def test_a_student_of_few_labels_and_unlabelled_clips_trains(recipe, exp, tmp_path, losses):
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "400").symlink_to(exp / "seed0" / "400")
    options = settings(recipe, "fraction=0.1", "distill.alpha=0.5", f"distill.losses={losses}")
    this = job(recipe, tmp_path, *options)
    finish_step(this, 0, STUDENT)
    assert (tmp_path / "seed0" / "400-200" / "score.json").exists()
    for change in ("fraction=0.2", "distill.unlabelled=[]"):
        with pytest.raises(InputError, match="corpus"):
            finish_step(job(recipe, tmp_path, *options, change), 0, STUDENT)


def test_the_store_names_fraction_and_packs(recipe, exp, tmp_path):
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "400").symlink_to(exp / "seed0" / "400")
    stored = settings(recipe, "fraction=0.2", "distill.store=true", "distill.crops_per_clip=2")
    run = job(recipe, tmp_path, *stored).run(0)
    clips, ids = run.pool.clips(STUDENT, 1)[0], 1
    (tmp_path / "seed0" / "400-200").mkdir()
    got = label_source(run, STUDENT)(clips, np.full(len(clips), ids))
    online = job(recipe, tmp_path, *settings(recipe, "fraction=0.2")).run(0)
    want = label_source(online, STUDENT)(clips, np.full(len(clips), ids))
    assert np.array_equal(got.waves, want.waves)
    torch.testing.assert_close(got.targets, want.targets, atol=1e-2, rtol=1e-3)
    for change in ("fraction=0.1", "distill.unlabelled=[]"):
        with pytest.raises(InputError, match=r"labels\.arrow: made with another corpus"):
            label_source(job(recipe, tmp_path, *stored, change).run(0), STUDENT)


def test_a_pack_of_another_rate_is_refused_with_what_to_do(recipe, exp, tmp_path):
    WavePack.build(tmp_path / "16k", [("a", np.ones(99, np.int16), "", "s")], 16000)
    with pytest.raises(InputError, match="16k: is at 16000 Hz.*--resample"):
        job(recipe, exp, *SMALL, f"distill.unlabelled=[{tmp_path / '16k'}]").run(0)


def test_an_unlabelled_pack_that_is_not_there(recipe, exp):
    with pytest.raises(InputError, match="nowhere: not a waveform pack"):
        job(recipe, exp, *SMALL, "distill.unlabelled=[nowhere]").run(0)
