"""Input normalisation inside the model, so that a checkpoint carries it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class InputNorm(nn.Module):
    """(x - mean) / std per feature dimension; `mean` and `std` are buffers, not parameters.

    They are 0 and 1 (no change) until `estimate` or a checkpoint sets them.

    Args:
      dim: feature dimensions.
      axes: 3 for clips, 2 for frames, 4 for images with colours (dim 3).

    Shape: (batch, frames, dim), (frames, dim) or (batch, rows, columns, dim) -> the same.
    """

    def __init__(self, dim: int, axes: int = 3):
        super().__init__()
        self.axes = axes
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def forward(self, features: Tensor) -> Tensor:
        if features.dim() != self.axes or features.shape[-1] != self.mean.numel():
            names = {2: ["frames"], 3: ["batch", "frames"], 4: ["batch", "rows", "columns"]}
            shape = names[self.axes]
            raise ValueError(
                f"the model takes features ({', '.join(shape)}, {self.mean.numel()}), "
                f"got {tuple(features.shape)}"
            )
        return (features - self.mean) / self.std

    @torch.no_grad()
    def estimate(
        self, batches: Iterable[Tensor], per_dim: bool = True, floor: float = 1e-3
    ) -> None:
        """Sets mean and standard deviation from training features.

        Args:
          batches: tensors (..., dim), e.g. a few training batches.
          per_dim: else one mean and one deviation for all dimensions, which keeps the tilt of
            log-mel spectra (and suits no MFCC, whose dimensions differ by orders).
          floor: smallest standard deviation, so that a constant dimension stays finite.
        """
        dim = self.mean.numel()
        count, total, squares = 0, torch.zeros(dim).double(), torch.zeros(dim).double()
        for batch in batches:
            frames = batch.reshape(-1, dim).double().cpu()
            count += len(frames)
            total += frames.sum(0)
            squares += frames.square().sum(0)
        if count == 0:
            raise ValueError("no training features to estimate the input normalisation from")
        mean = total / count
        square = squares / count
        if not per_dim:
            mean, square = mean.mean().expand(dim), square.mean().expand(dim)
        variance = (square - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        self.std.copy_(variance.sqrt().clamp_min(floor))
