"""Training of HMM-GMM models: Kaldi's steps from monophones to speaker-adapted triphones."""

from kdspeech.gmm.align import align, align_fmllr
from kdspeech.gmm.deltas import train_deltas
from kdspeech.gmm.lda_mllt import train_lda_mllt
from kdspeech.gmm.mono import train_mono
from kdspeech.gmm.options import (
    AlignOptions,
    Jobs,
    LdaMlltOptions,
    MonoOptions,
    SatOptions,
    TriphoneOptions,
)
from kdspeech.gmm.sat import train_sat
from kdspeech.gmm.session import Report

__all__ = [
    "AlignOptions",
    "Jobs",
    "LdaMlltOptions",
    "MonoOptions",
    "Report",
    "SatOptions",
    "TriphoneOptions",
    "align",
    "align_fmllr",
    "train_deltas",
    "train_lda_mllt",
    "train_mono",
    "train_sat",
]
