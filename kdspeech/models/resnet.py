"""A thin residual network with strides, for keyword spotting where training time counts.

He et al. 2016 ("Deep residual learning", figure 2 left) on time x frequency: unlike res8 and
res15, whose maps keep the input's resolution, every stage halves it and widens, which takes
fewer multiplications per parameter and trains several times faster on a CPU.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.models.norm import InputNorm
from kdspeech.models.pointwise import PointwiseConv


class ResBlock(nn.Module):
    """conv - BN - ReLU - conv - BN, plus the input (through a 1x1 convolution), then ReLU."""

    def __init__(self, inputs: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.skip = nn.Sequential(PointwiseConv(inputs, channels, stride), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.skip(x))


class ResNet(nn.Module):
    """5x5 convolution, one ResBlock of stride 2 per further width, mean, dropout, linear.

    Args:
      num_classes: size of the output.
      dim: feature dimensions.
      channels: widths of the first convolution and of each block.
      time_stride, freq_stride: of the first convolution.
      dropout: before the linear layer.

    Shape: (batch, frames, dim) -> (batch, num_classes); any number of frames.
    """

    any_length = True

    def __init__(
        self,
        num_classes: int = 12,
        dim: int = 40,
        channels: Sequence[int] = (24, 48, 96),
        time_stride: int = 2,
        freq_stride: int = 2,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.norm = InputNorm(dim)
        stride = (time_stride, freq_stride)
        self.stem = nn.Conv2d(1, channels[0], 5, stride, padding=2, bias=False)
        self.bn = nn.BatchNorm2d(channels[0])
        widths = zip(channels[:-1], channels[1:], strict=True)
        self.blocks = nn.Sequential(*(ResBlock(i, o, stride=2) for i, o in widths))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels[-1], num_classes)
        self.to(memory_format=torch.channels_last)  # convolutions on a CPU are faster so

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features)[:, None].contiguous(memory_format=torch.channels_last)
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.output(self.dropout(x.mean((2, 3))))
