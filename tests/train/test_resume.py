"""A run that is killed and resumed ends as one that was never stopped."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch
from tiny_run import STEPS

from kdspeech.io.errors import InputError
from kdspeech.train import TrainConfig, fit, load_weights, read_metrics

PROGRAM = Path(tiny_run.__file__)


def run_process(directory, **options) -> int:
    command = [sys.executable, str(PROGRAM), str(directory), json.dumps(options)]
    return subprocess.run(command, check=False, env=tiny_run.environment()).returncode


def content(directory) -> dict:
    return torch.load(directory / "last.pt", weights_only=True)


def assert_same(first, second):
    """Nested content is equal, tensors bit by bit."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same(a, b)
    else:
        assert first == second


def without_seconds(run: dict) -> dict:
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in run["state"]["history"]]
    return {**run, "state": {**run["state"], "history": history}}


CASES = [
    # bc_resnet has dropout, so the random generator counts.
    {"model": "bc_resnet", "train": {"optimizer": "adamw", "lr": 0.01, "ema": 0.9}},
    {"model": "res8", "train": {"schedule": "newbob", "newbob_threshold": 0.2, "epochs": 5}},
    {"model": "bc_resnet", "train": {"checkpoint_steps": 2, "schedule": "one_cycle"}},
]


@pytest.mark.parametrize("case", CASES, ids=["adamw+ema", "newbob", "within an epoch"])
def test_killed_and_resumed_ends_with_the_same_bits(case, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tiny_run.run(whole, case["model"], **case["train"])
    kill_at = 2 * STEPS + 4
    assert run_process(broken, **case, kill_at=kill_at) == -signal.SIGKILL
    left = content(broken)["state"]
    within = "checkpoint_steps" in case["train"]
    assert (left["epoch"], left["epoch_step"]) == (2, 2 if within else 0)
    tiny_run.run(broken, case["model"], **case["train"])
    assert_same(without_seconds(content(whole)), without_seconds(content(broken)))
    best = [torch.load(d / "best.pt", weights_only=True) for d in (whole, broken)]
    assert_same(*best)
    epochs = [row["epoch"] for row in read_metrics(broken / "metrics.jsonl")]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) == content(whole)["state"]["epoch"] > left["epoch"]


def test_killed_between_files(tmp_path):
    """A kill after metrics.jsonl and best.pt, before last.pt: that epoch's end is done again."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tiny_run.run(whole)
    tiny_run.run(tmp_path / "later")
    assert run_process(broken, train={}, kill_at=STEPS + 2) == -signal.SIGKILL
    for name in ("metrics.jsonl", "best.pt"):
        (broken / name).write_bytes((tmp_path / "later" / name).read_bytes())
    (broken / ".last.123-abc.tmp.pt").write_bytes(b"half of a checkpoint")
    tiny_run.run(broken)
    assert_same(without_seconds(content(whole)), without_seconds(content(broken)))
    assert [row["epoch"] for row in read_metrics(broken / "metrics.jsonl")] == [1, 2, 3, 4]
    assert not list(broken.glob(".*"))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = tiny_run.run(tmp_path)
    stamp = (tmp_path / "last.pt").stat().st_mtime_ns
    again = tiny_run.run(tmp_path, kill_at=1)
    assert again == first
    assert (tmp_path / "last.pt").stat().st_mtime_ns == stamp


def test_other_settings_are_refused_by_name(tmp_path):
    tiny_run.run(tmp_path, epochs=1)
    with pytest.raises(InputError, match=r"last.pt .*train.lr was 0.05, is 0.1; train.seed was 0"):
        tiny_run.run(tmp_path, epochs=1, lr=0.1, seed=3)


def test_other_identity_is_refused_by_name(tmp_path):
    def train(identity):
        config = TrainConfig(**tiny_run.DEFAULTS | {"epochs": 1})
        arguments = (tiny_run.make_model(), tiny_run.Batches, tiny_run.loss_fn, tiny_run.dev_fn)
        return fit(*arguments, config, tmp_path, identity=identity)

    train({"teacher": {"name": "a"}, "pack": "x"})
    with pytest.raises(InputError, match="identity.teacher.name was a, is b"):
        train({"teacher": {"name": "b"}, "pack": "x"})
    with pytest.raises(InputError, match="identity.pack was x, is not set"):
        train({"teacher": {"name": "a"}})


def test_settings_without_effect_may_change(tmp_path):
    tiny_run.run(tmp_path, epochs=1)
    tiny_run.run(tmp_path, epochs=1, tensorboard=True, checkpoint_steps=7)


def test_an_option_newer_than_the_run_had_its_default(tmp_path):
    tiny_run.run(tmp_path, epochs=1)
    content = torch.load(tmp_path / "last.pt")
    del content["settings"]["train"]["fused"]
    torch.save(content, tmp_path / "last.pt")
    tiny_run.run(tmp_path, epochs=1)
    with pytest.raises(InputError, match="train.fused was False, is True"):
        tiny_run.run(tmp_path, epochs=1, fused=True)


def test_another_model_is_refused(tmp_path):
    tiny_run.run(tmp_path, epochs=1)
    with pytest.raises(InputError, match="last.pt holds another model than MLP"):
        tiny_run.run(tmp_path, "mlp", epochs=1)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(damage, tmp_path):
    tiny_run.run(tmp_path, epochs=1)
    path = tmp_path / "last.pt"
    path.write_bytes(path.read_bytes()[:-2000] if damage is None else damage)
    with pytest.raises(InputError, match="last.pt: not a checkpoint"):
        tiny_run.run(tmp_path, epochs=1)


def test_load_weights(tmp_path):
    result = tiny_run.run(tmp_path, epochs=2)
    model = tiny_run.make_model()
    extra = load_weights(model, tmp_path / "best.pt")
    assert extra["epoch"] == result["best_epoch"] and extra["accuracy"] == result["best"]
    assert float(tiny_run.dev_fn(model.eval())["accuracy"]) == result["best"]
    with pytest.raises(InputError, match="none.pt: no such checkpoint"):
        load_weights(model, tmp_path / "none.pt")
