"""Losses: plain functions of tensors."""

from kdspeech.losses.kd import kd_loss, soft_cross_entropy, teacher_targets
from kdspeech.losses.lattice_batch import SequenceReport
from kdspeech.losses.sequence import mmi_loss, sequence_kd_loss, smbr_loss

__all__ = [
    "SequenceReport",
    "kd_loss",
    "mmi_loss",
    "sequence_kd_loss",
    "smbr_loss",
    "soft_cross_entropy",
    "teacher_targets",
]
