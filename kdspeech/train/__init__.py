"""The one training loop, its schedules, checkpoints and augmentation."""

from kdspeech.io.record import read_metrics
from kdspeech.train.augment import spec_augment
from kdspeech.train.checkpoint import load_weights
from kdspeech.train.config import TrainConfig
from kdspeech.train.divergence import DivergedError
from kdspeech.train.loop import fit, shard

__all__ = [
    "DivergedError",
    "TrainConfig",
    "fit",
    "load_weights",
    "read_metrics",
    "shard",
    "spec_augment",
]
