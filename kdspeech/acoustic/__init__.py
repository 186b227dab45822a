"""Hybrid acoustic models: networks that score the pdfs of a tree, frame by frame."""

from kdspeech.acoustic.config import DistillConfig, DnnConfig, DnnTrainConfig, NetworkConfig
from kdspeech.acoustic.examples import FrameBatches, read_targets
from kdspeech.acoustic.frames import make_frames
from kdspeech.acoustic.network import Network, read_model
from kdspeech.acoustic.sequence import train_sequence
from kdspeech.acoustic.sequence_config import SequenceConfig
from kdspeech.acoustic.soft_labels import make_soft_labels
from kdspeech.acoustic.teachers import open_teachers
from kdspeech.acoustic.train import train_dnn

__all__ = [
    "DistillConfig",
    "DnnConfig",
    "DnnTrainConfig",
    "FrameBatches",
    "Network",
    "NetworkConfig",
    "SequenceConfig",
    "make_frames",
    "make_soft_labels",
    "open_teachers",
    "read_model",
    "read_targets",
    "train_dnn",
    "train_sequence",
]
