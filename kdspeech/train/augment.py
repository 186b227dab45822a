"""Augmentation of a batch of features; that of waveforms is done where they are cropped."""

import torch
from torch import Tensor


def spec_augment(
    features: Tensor,
    time_masks: int = 2,
    time_width: int = 15,
    freq_masks: int = 2,
    freq_width: int = 6,
    *,
    max_time_part: float = 0.5,
    fill: float | Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Masks random bands of frames and of feature dimensions, other ones in each clip
    (SpecAugment, Park et al. 2019, section 2, without time warping).

    Args:
      features: (batch, frames, dim).
      time_masks, freq_masks: how many bands of each kind.
      time_width, freq_width: widest band; a width is uniform in 0..widest, the place uniform.
      max_time_part: a time band is at most this part of the clip (the paper's p), for short clips.
      fill: value in the bands, a number or (dim,) values; None: each clip's mean over frames, per
        dimension, which normalisation later turns into about zero.
      generator: on the CPU; its state alone decides about the masks.

    Returns:
      A new tensor; `features` is left as it was.
    """
    if features.dim() != 3:
        raise ValueError(f"features must be (batch, frames, dim), got {tuple(features.shape)}")
    batch, frames, dim = features.shape
    time_width = min(time_width, int(max_time_part * frames))
    freq_width = min(freq_width, dim)
    time = _bands(batch, frames, time_masks, time_width, generator)
    freq = _bands(batch, dim, freq_masks, freq_width, generator)
    masked = (time.unsqueeze(2) | freq.unsqueeze(1)).to(features.device)
    if fill is None:
        fill = features.mean(1, keepdim=True)
    fill = torch.as_tensor(fill, dtype=features.dtype, device=features.device)
    return torch.where(masked, fill, features)


def _bands(
    batch: int, size: int, count: int, widest: int, generator: torch.Generator | None
) -> Tensor:
    """(batch, size) bool: the union of `count` random bands in each row."""
    widths = torch.randint(widest + 1, (batch, count, 1), generator=generator)
    places = torch.rand(batch, count, 1, generator=generator)
    starts = (places * (size - widths + 1)).long()
    at = torch.arange(size)
    return ((at >= starts) & (at < starts + widths)).any(1)
