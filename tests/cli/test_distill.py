"""`kds distill` as a user calls it; the engine itself is tested in tests/distill."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "distill"))
import tones

from kdspeech.cli.main import app


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return tones.write_recipe(tmp_path_factory.mktemp("recipe"))


def distill(recipe, exp, command, *arguments, data="packs"):
    common = ["--config", recipe / "kws.yaml", "--data", recipe / data, "--exp", exp]
    words = ["distill", command, *common, *arguments]
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(result, message):
    """Exit status 1 and one line on stderr that says so."""
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--set", "crops.mood=random"], "--set: crops.mood: unknown key"),
        (["--set", "train.epochs=two"], "--set: train.epochs: Input should be a valid integer"),
        (["--set", "model.name=res9"], "no model 'res9'"),
        (["--set", "train.accelerator=cuda"], "accelerator cuda"),
        (["--plan", "200,400"], "plan 200,400: lengths must fall"),
        (["--plan", "400;200"], "plan '400;200': write lengths in ms"),
        (["--labels", "firm"], "--labels firm: soft or hard"),
        (["--seeds", "0;1"], "--seeds 0;1: write numbers"),
        (["--seeds", "-1"], "--seeds -1: -1 is not within 0 and"),
        (["--seeds", ""], "--seeds : write numbers"),
    ],
)
def test_bad_input_of_progressive_is_one_line(recipe, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    refused(distill(recipe, tmp_path / "exp", "progressive", *arguments), message)
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize(
    "lengths,problem",
    [
        ("long", "write numbers"),
        ("0", "0 is not within 1 and 400"),
        ("200,500", "500 is not within 1 and 400"),
    ],
)
def test_bad_lengths_of_the_baselines(recipe, tmp_path, lengths, problem):
    result = distill(recipe, tmp_path, "baselines", "--lengths", lengths)
    refused(result, f"--lengths {lengths}: {problem}")


def test_missing_packs(recipe, tmp_path):
    result = distill(recipe, tmp_path, "teacher", data="nowhere")
    refused(result, "nowhere/train: not a waveform pack")


def test_missing_configuration(tmp_path):
    result = distill(tmp_path, tmp_path, "teacher")
    refused(result, "kws.yaml: cannot read the configuration")


def test_baselines_before_the_teacher(recipe, tmp_path):
    result = distill(recipe, tmp_path, "baselines", "--set", "train.epochs=1")
    assert result.exit_code == 1
    assert "no such checkpoint" in result.stderr.splitlines()[-1]


def test_a_sweep_widened_later_keeps_finished_steps(recipe, tmp_path):
    settings = ["train.epochs=1", "plan=400,200", "direct=[200]", "hard=false", "chains="]
    first = [part for setting in settings for part in ("--set", setting)]
    first[-1] = "chains=[]"
    result = distill(recipe, tmp_path, "sweep", *first)
    assert result.exit_code == 0, result.output
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("seed0/*/best.pt")}
    assert {path.parent.name for path in done} == {"400", "400-200", "200"}
    more = [*first[:-1], "chains=['400,300,200']"]
    result = distill(recipe, tmp_path, "sweep", *more)
    assert result.exit_code == 0, result.output
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())
    names = {path.parent.name for path in tmp_path.glob("seed0/*/score.json")}
    assert names >= {"400-300", "400-300-200", "300", "400.native-300", "400.pad-200"}
    assert (tmp_path / "crops.npz").exists()
