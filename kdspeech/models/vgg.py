"""A VGG-like network (Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale
image recognition") of a size for keyword spotting."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.models.norm import InputNorm


class Stage(nn.Sequential):
    """Some 3x3 convolutions, each with BatchNorm and ReLU."""

    def __init__(self, inputs: int, channels: int, convs: int):
        layers = []
        for i in range(convs):
            conv = nn.Conv2d(inputs if i == 0 else channels, channels, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
        super().__init__(*layers)


class VGG(nn.Module):
    """Stages of 3x3 convolutions with a 2x2 maximum after each; then the mean over time and
    frequency, which takes the place of VGG's large hidden layers, dropout and a linear layer.

    Args:
      num_classes: size of the output.
      dim: feature dimensions.
      channels: of each stage.
      convs: convolutions of each stage.
      dropout: before the linear layer.

    Shape: (batch, frames, dim) -> (batch, num_classes); frames and dim at least 2 ** stages.

    Raises:
      ValueError: channels and convs of other numbers of stages, or none, or below 1.
    """

    any_length = True

    def __init__(
        self,
        num_classes: int = 12,
        dim: int = 40,
        channels: Sequence[int] = (32, 64, 128),
        convs: Sequence[int] = (2, 2, 2),
        dropout: float = 0.2,
    ):
        super().__init__()
        if not channels or len(channels) != len(convs) or min(*channels, *convs) < 1:
            raise ValueError(
                f"channels and convs: as many numbers, 1 or more, got {channels}, {convs}"
            )
        self.norm = InputNorm(dim)
        inputs = (1, *channels[:-1])
        self.stages = nn.ModuleList(
            Stage(*sizes) for sizes in zip(inputs, channels, convs, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels[-1], num_classes)
        self.to(memory_format=torch.channels_last)  # convolutions on a CPU are faster so

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features).unsqueeze(1)  # (B, 1, T, D)
        for stage in self.stages:
            x = F.max_pool2d(stage(x), 2)
        return self.output(self.dropout(x.mean((2, 3))))
