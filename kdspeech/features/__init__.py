"""Speech features: thin faces of the C++ core."""

from kdspeech.features.crops import crop_features
from kdspeech.features.extract import Fbank, Mfcc, Plp, simd_variants
from kdspeech.features.fmllr import Fmllr, FmllrStats, estimate_fmllr
from kdspeech.features.gaussians import Gaussians, Posteriors, accumulate_gmms, log_likelihoods
from kdspeech.features.lda import Lda, LdaStats, estimate_lda
from kdspeech.features.mllt import Mllt, MlltStats, estimate_mllt
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
    "accumulate_gmms",
    "log_likelihoods",
    "estimate_mllt",
    "estimate_lda",
    "estimate_fmllr",
    "Posteriors",
    "MlltStats",
    "Mllt",
    "LdaStats",
    "Lda",
    "Gaussians",
    "FmllrStats",
    "Fmllr",
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
