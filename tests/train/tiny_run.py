"""A tiny training, imported by the tests and run by them as a program:

python tiny_run.py DIRECTORY '{"model": "res8", "kill_at": 17, "train": {"epochs": 4}}'
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

import kdspeech
from kdspeech.models import build_model
from kdspeech.train import TrainConfig, fit, shard, spec_augment

CLASSES, DIM, FRAMES, STEPS, BATCH = 3, 40, 12, 5, 8
DEFAULTS = {"epochs": 4, "lr": 0.05, "num_threads": 1, "accelerator": "cpu", "tensorboard": False}


def clips(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch that can be learnt: the class is the place of a band of energy."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (BATCH,), generator=generator)
    features = torch.randn(BATCH, FRAMES, DIM, generator=generator)
    for feature, label in zip(features, labels, strict=True):
        feature[:, 10 * label : 10 * label + 10] += 2.0
    return features, labels


class Batches:
    """The batches of an epoch: a pure function of its number."""

    def __init__(self, epoch: int, augment: bool = False):
        self.epoch, self.augment = epoch, augment

    def __len__(self) -> int:
        return STEPS

    def __iter__(self):
        for step in range(STEPS):
            seed = 1000 * self.epoch + step
            features, labels = clips(seed)
            if self.augment:
                generator = torch.Generator().manual_seed(seed)
                features = spec_augment(features, generator=generator)
            yield shard(features), shard(labels)


def loss_fn(model, batch):
    features, labels = batch
    logits = model(features)
    accuracy = 100 * (logits.argmax(1) == labels).float().mean()
    return F.cross_entropy(logits, labels), {"accuracy": accuracy}


def dev_fn(model):
    features, labels = clips(999_999)
    logits = model(features)
    return {
        "accuracy": 100 * (logits.argmax(1) == labels).float().mean(),
        "loss": F.cross_entropy(logits, labels),
    }


def make_model(name: str = "res8"):
    torch.manual_seed(1)
    options = {"res8": {"maps": 4}, "mlp": {"hidden": (8,), "dropout": 0.0}, "bc_resnet": {}}
    return build_model(name, CLASSES, DIM, FRAMES, **options[name])


def run(directory, model: str = "res8", kill_at: int | None = None, **train) -> dict:
    """Trains; at step `kill_at` the process kills itself, as an operator would, without notice."""
    calls = 0

    def loss(wrapped, batch):
        nonlocal calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss_fn(wrapped, batch)

    config = TrainConfig(**{**DEFAULTS, **train})
    return fit(
        make_model(model), lambda epoch: Batches(epoch, True), loss, dev_fn, config, directory
    )


def environment() -> dict:
    """For running this file: it finds the package that the tests run, installed or not."""
    path = [str(Path(kdspeech.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    run(Path(sys.argv[1]), options.get("model", "res8"), options.get("kill_at"), **options["train"])
