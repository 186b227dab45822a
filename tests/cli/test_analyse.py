"""`kds analyse` on networks that were really trained, on tones."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "distill"))
import tones

from kdspeech.cli.main import app
from kdspeech.config import load_config
from kdspeech.data.images import ImagePack
from kdspeech.distill import ImageConfig, ImageJob, Plan, Step, run_steps, run_truncated
from kdspeech.report.analysis.scored import read_study


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Trained and scored: seed 0 of 400, 400-200, 200 and 400.native-200; exp/seed1 a copy."""
    folder = tones.write_recipe(tmp_path_factory.mktemp("recipe"))
    job = tones.job(folder, folder / "exp", "train.epochs=2")
    steps = Plan.parse("400,200").steps()
    run_steps(job, [*steps, Step((200,), "clip")], progress=False)
    run_truncated(job, steps[0], [200], [0], progress=False)
    for score in (folder / "exp" / "seed0").glob("*/score.json"):
        other = folder / "exp" / "seed1" / score.parent.name
        other.mkdir(parents=True)
        shutil.copy(score.parent / "posteriors.npz", other)
        (other / "score.json").write_text(score.read_text().replace('"seed": 0', '"seed": 1'))
    return folder


IMAGES = """
images: {shape: [8, 8], classes: [none, rows, columns]}
model: {name: mlp, options: {hidden: [8]}}
train: {epochs: 1, batch_size: 32, lr: 0.05, num_threads: 1, tensorboard: false, accelerator: cpu}
systems: {teacher: {}, kd: {teachers: [teacher], distill: {temperature: 4, alpha: 0.5}}}
"""
SYSTEMS = ("400", "400-200", "400-300", "200", "400.native-200")


def analyse(recipe, *arguments):
    """The names of systems become their folders."""
    folder = recipe / "exp" / "seed0"
    words = [str(folder / word) if word in SYSTEMS else word for word in arguments]
    return CliRunner().invoke(app, ["analyse", *words])


def with_recipe(recipe):
    return "--config", str(recipe / "kws.yaml"), "--data", str(recipe / "packs")


def refused(result, message):
    """Exit status 1 and one line on stderr that says so."""
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_page_and_numbers(recipe, tmp_path):
    result = analyse(recipe, "400", "400-200", "--baseline", "200", *with_recipe(recipe),
                     "--out", str(tmp_path), "--temperatures", "1,20", "--clips", "3")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output.strip().splitlines()[-1] == str(tmp_path / "analysis.html")
    assert "400-200 answers as 400 does on" in result.output
    text = (tmp_path / "analysis.html").read_text(encoding="utf-8")
    assert 'aria-label="200 ms"' in text and 'id="embedding"' in text
    found = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    score = np.load(recipe / "exp/seed0/400/posteriors.npz")
    accuracy = 100 * np.mean(score["test/full"].argmax(1) == score["test/label"])
    assert found["networks"][0]["accuracy"] == pytest.approx(accuracy, abs=1e-3)
    assert found["about"]["400-200"]["input"] == "200 ms, best-energy crop"
    assert found["changes"]["before"] == "200" and found["changes"]["seeds"] == 2
    assert found["changes"]["chance"] == 0  # the second seed is a copy of the first
    assert 0 < found["pairs"][0]["cka"] <= 1
    assert found["networks"][0]["held_out_temperature"] > 0


def test_without_recipe_there_are_numbers_alone(recipe):
    folders = [recipe / "exp/seed0" / name for name in ("400", "400.native-200")]
    study = read_study(folders, split="dev", protocol="sliding")
    score = np.load(folders[1] / "posteriors.npz")
    order = np.argsort(score["dev/utt"])
    np.testing.assert_array_equal(study.student.logits, score["dev/sliding"][order])
    assert study.exhibit is None and study.student.embedding is None
    assert study.student.held_out is None  # they are dev's


def test_embedding_of_sliding_windows(recipe):
    """It is the mean over the windows, and checked against the scores as it is computed."""
    folders = [recipe / "exp/seed0" / name for name in ("200", "400.native-200")]
    given = (tones.job(recipe, "exp").config, recipe / "packs")
    study = read_study(folders, protocol="sliding", recipe=given)
    assert study.reference.embedding.shape == (len(study.labels), 8)
    assert study.student.embedding is None  # it has no weights of its own


def test_images(tmp_path):
    """The systems of an image recipe, with pictures in place of players."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 96), ("test", 40)):
        labels = rng.integers(0, 3, count)
        images = rng.integers(0, 100, (count, 8, 8), np.uint8)
        images[labels == 1, ::2] += 100
        images[labels == 2, :, ::2] += 100
        ImagePack.build(tmp_path / "data" / split, images, labels, ["none", "rows", "columns"])
    (tmp_path / "tables.yaml").write_text(IMAGES)
    config = load_config(ImageConfig, tmp_path / "tables.yaml")
    job = ImageJob(config, str(tmp_path / "data"), str(tmp_path / "exp"), "test")
    run_steps(job, config.systems_of(), progress=False)
    systems = [str(tmp_path / "exp/seed0" / name) for name in ("teacher", "kd")]
    given = ("--config", str(tmp_path / "tables.yaml"), "--data", str(tmp_path / "data"))
    out = ("--out", str(tmp_path), "--temperatures", "1,20", "--clips", "4")
    result = CliRunner().invoke(app, ["analyse", *systems, *given, *out])
    assert result.exit_code == 0, result.output
    assert "of 40 test images" in result.output
    text = (tmp_path / "analysis.html").read_text(encoding="utf-8")
    assert text.count('class="sample" alt') >= 4 and "<audio" not in text
    found = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    assert found["about"]["kd"]["input"] == "8 rows"
    assert found["networks"][0]["picture"] and found["networks"][0]["held_out_temperature"] is None


def test_another_recipe_is_found_out(recipe, tmp_path):
    result = analyse(recipe, "400", "400-200", *with_recipe(recipe), "--out", str(tmp_path),
                     "--set", "features.floor=20")  # fmt: skip
    refused(result, "its posteriors are not those in posteriors.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["400"], "give two systems or more"),
        (["400", "400-300"], "400-300: no scored system (no score.json)"),
        (["400", "400"], "give each system once"),
        (["400", "400-200", "--split", "train"], "--split dev or test"),
        (["400", "400-200", "--protocol", "full"], "no test/full; of test it has"),
        (["400", "400-200", "--temperatures", "hot"], "--temperatures hot: write finite numbers"),
        (["400", "400-200", "--temperatures", "0"], "temperature 0: must be above 0"),
        (["400", "400-200", "--config", "kws.yaml"], "--config and --data: give both or neither"),
    ],
)
def test_bad_input_is_one_line(recipe, arguments, message):
    refused(analyse(recipe, *arguments), message)


def test_systems_of_other_clips(recipe, tmp_path):
    shutil.copytree(recipe / "exp/seed0/200", tmp_path / "seed0" / "other")
    arrays = dict(np.load(recipe / "exp/seed0/200/posteriors.npz"))
    arrays["test/label"] = np.roll(arrays["test/label"], 1)
    np.savez(tmp_path / "seed0/other/posteriors.npz", **arrays)
    result = analyse(recipe, "400", str(tmp_path / "seed0/other"))
    refused(result, "differ from those of")
