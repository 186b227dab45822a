import numpy as np
import pytest
from tones import CONF, RATE, clips, job

from kdspeech.data.pack import WavePack
from kdspeech.distill import Plan, run_steps, write_examples


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A tiny recipe without noise, its teacher trained for an epoch."""
    folder = tmp_path_factory.mktemp("recipe")
    for seed, split in enumerate(("train", "dev", "test")):
        WavePack.build(folder / "packs" / split, clips(np.random.default_rng(seed), 6), RATE)
    (folder / "fbank.conf").write_text("--sample-frequency=8000\n--num-mel-bins=40\n")
    (folder / "kws.yaml").write_text(CONF.replace("FOLDER", str(folder)))
    teacher = Plan.parse("400").steps()
    run_steps(job(recipe=folder, exp=folder / "exp"), teacher, progress=False)
    return folder


def test_examples_go_from_sure_to_lost(recipe):
    made = job(recipe, recipe / "exp")
    path = write_examples(made, Plan.parse("400,200").steps(), seed=0, count=3)
    crops = np.load(path)
    assert path == recipe / "exp" / "crops.npz"
    assert crops["wave"].shape == (3, 3200) and crops["wave"].dtype == np.int16
    assert crops["length"] == 1600 and crops["sample_rate"] == RATE
    assert np.exp(crops["teacher"]).sum(axis=1) == pytest.approx(1, abs=1e-4)
    own = crops["teacher"][np.arange(3), crops["label"]]
    assert own[0] >= own[1] >= own[2]
    pack = WavePack(recipe / "packs" / "train")
    assert np.array_equal(crops["wave"][0], pack[str(crops["utt"][0])])


def test_no_teacher_no_examples(recipe, tmp_path):
    assert write_examples(job(recipe, tmp_path), Plan.parse("400").steps(), seed=0) is None
    assert not list(tmp_path.iterdir())
