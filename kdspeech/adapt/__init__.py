"""Speaker adaptation of acoustic networks: a speaker's small difference to the weights."""

from kdspeech.adapt.apply import AdaptedNetwork
from kdspeech.adapt.config import AdaptConfig, AdaptTrainConfig
from kdspeech.adapt.jobs import adapt
from kdspeech.adapt.speaker import SpeakerResult, adapt_speaker
from kdspeech.adapt.targets import FrameTargets, read_frame_targets

__all__ = [
    "AdaptConfig",
    "AdaptTrainConfig",
    "AdaptedNetwork",
    "FrameTargets",
    "SpeakerResult",
    "adapt",
    "adapt_speaker",
    "read_frame_targets",
]
