"""Losses: plain functions of tensors."""

from kdspeech.losses.kd import kd_loss, soft_cross_entropy, teacher_targets

__all__ = ["kd_loss", "soft_cross_entropy", "teacher_targets"]
