"""Hybrid acoustic models: networks that score the pdfs of a tree, frame by frame."""

from kdspeech.acoustic.config import DnnConfig, DnnTrainConfig, NetworkConfig
from kdspeech.acoustic.examples import FrameBatches, read_targets
from kdspeech.acoustic.frames import make_frames
from kdspeech.acoustic.network import Network, read_model
from kdspeech.acoustic.train import train_dnn

__all__ = [
    "DnnConfig",
    "DnnTrainConfig",
    "FrameBatches",
    "Network",
    "NetworkConfig",
    "make_frames",
    "read_model",
    "read_targets",
    "train_dnn",
]
