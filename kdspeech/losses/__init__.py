"""Losses: plain functions of tensors."""

from kdspeech.losses.decoupled import decoupled_kd_loss, label_smoothing_loss
from kdspeech.losses.hidden import attention_transfer_loss, hint_loss, hint_regressor
from kdspeech.losses.kd import (
    kd_loss,
    soft_cross_entropy,
    teacher_targets,
    top_k_cross_entropy,
)
from kdspeech.losses.lattice_batch import SequenceReport
from kdspeech.losses.sequence import mmi_loss, sequence_kd_loss, smbr_loss

__all__ = [
    "SequenceReport",
    "attention_transfer_loss",
    "decoupled_kd_loss",
    "hint_loss",
    "hint_regressor",
    "kd_loss",
    "label_smoothing_loss",
    "mmi_loss",
    "sequence_kd_loss",
    "smbr_loss",
    "soft_cross_entropy",
    "teacher_targets",
    "top_k_cross_entropy",
]
