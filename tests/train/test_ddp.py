"""Two processes under torchrun (gloo, CPU) train as one does on the whole batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch

from kdspeech.io.errors import InputError
from kdspeech.train import read_metrics

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def torchrun(directory, **options) -> subprocess.CompletedProcess:
    program = str(Path(tiny_run.__file__))
    command = [*TORCHRUN, program, str(directory), json.dumps(options)]
    options = {"capture_output": True, "text": True, "timeout": 300}
    return subprocess.run(command, check=False, env=tiny_run.environment(), **options)


def weights(directory) -> dict:
    return torch.load(directory / "last.pt", weights_only=True)["model"]


def test_two_processes_equal_one_and_resume(tmp_path):
    # No BatchNorm in this model: its statistics would be those of half a batch.
    one, two, broken = (tmp_path / name for name in ("one", "two", "broken"))
    options = {"model": "mlp", "train": {"epochs": 3, "momentum": 0.5}}
    tiny_run.run(one, "mlp", **options["train"])
    done = torchrun(two, **options)
    assert done.returncode == 0, done.stderr
    for key, value in weights(one).items():
        assert torch.allclose(value, weights(two)[key], atol=1e-5), key
    first, second = (read_metrics(d / "metrics.jsonl") for d in (one, two))
    assert len(first) == len(second) == 3
    for key in ("train_loss", "train_accuracy", "dev_loss", "lr", "step"):
        assert [r[key] for r in first] == pytest.approx([r[key] for r in second], abs=1e-4), key
    assert len((two / "train.log").read_text().splitlines()) == 4  # rank 0 alone writes

    assert torchrun(broken, **options, kill_at=tiny_run.STEPS + 3).returncode != 0
    assert torch.load(broken / "last.pt", weights_only=True)["state"]["epoch"] == 1
    assert torchrun(broken, **options).returncode == 0
    assert all(torch.equal(value, weights(broken)[key]) for key, value in weights(two).items())
    with pytest.raises(InputError, match="processes was 2, is 1"):
        tiny_run.run(broken, "mlp", **options["train"])
