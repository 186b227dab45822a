"""Speech features: thin faces of the C++ core."""

from kdspeech.features.crops import crop_features
from kdspeech.features.extract import Fbank, Mfcc, Plp, simd_variants
from kdspeech.features.pitch import Pitch, process_pitch
from kdspeech.features.post import (
    CmvnStats,
    add_deltas,
    apply_affine,
    compose_transforms,
    energy_vad,
    sliding_cmvn,
    speaker_cmvn,
    splice,
)

__all__ = [
    "CmvnStats",
    "Fbank",
    "Mfcc",
    "Pitch",
    "Plp",
    "add_deltas",
    "apply_affine",
    "compose_transforms",
    "crop_features",
    "energy_vad",
    "process_pitch",
    "simd_variants",
    "sliding_cmvn",
    "speaker_cmvn",
    "splice",
]
