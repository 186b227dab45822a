"""BC-ResNet (Kim, Chang, Lee & Sung 2021, "Broadcasted residual learning for efficient keyword
spotting", Interspeech). Inside, tensors are (batch, channels, dim, frames)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.models.norm import InputNorm

SUB_BANDS = 5
# Table 1 of the paper: channels as a multiple of 8 * width, stride over frequency, blocks; the
# dilation over time is 2^stage.
STAGES = ((1.0, 1), (1.5, 2), (2.0, 2), (2.5, 1))
BLOCKS = (2, 2, 4, 4)


class SubSpectralNorm(nn.Module):
    """BatchNorm with statistics and affine of its own for each of `SUB_BANDS` frequency bands
    (Chang et al. 2021, "Subspectral normalization for neural audio data processing").

    Shape: (batch, channels, dim, frames) -> the same; dim a multiple of SUB_BANDS.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels * SUB_BANDS)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, dim, frames = x.shape
        bands = x.reshape(batch, channels * SUB_BANDS, dim // SUB_BANDS, frames)
        return self.bn(bands).view(batch, channels, dim, frames)


class BroadcastBlock(nn.Module):
    """y = relu(x + f2(x) + broadcast(f1(mean over frequency of f2(x)))), eq. 3 of the paper.

    f2 is a depthwise conv over frequency and SubSpectralNorm; f1 a depthwise conv over time,
    BatchNorm, swish, a 1x1 conv and channel dropout. A block that changes the number of channels
    ("transition") starts with a 1x1 conv, BatchNorm and ReLU and has no identity path.
    """

    def __init__(self, inputs: int, channels: int, stride: int, dilation: int, dropout: float):
        super().__init__()
        self.transition = nn.Identity()
        if inputs != channels:
            self.transition = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
            )
        self.identity = inputs == channels
        self.frequency = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), (stride, 1), (1, 0), groups=channels, bias=False),
            SubSpectralNorm(channels),
        )
        self.time = nn.Sequential(
            nn.Conv2d(
                channels,
                channels,
                (1, 3),
                padding=(0, dilation),
                dilation=(1, dilation),
                groups=channels,
                bias=False,
            ),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.frequency(self.transition(x))
        y = y + self.time(y.mean(2, keepdim=True))
        return F.relu(x + y if self.identity else y)


class BCResNet(nn.Module):
    """BC-ResNet-`width` (1, 1.5, 2, 3, 6, 8 in the paper).

    9,232 / 27,284 / 54,168 / 321,068 parameters for width 1 / 2 / 3 / 8, 12 classes.

    Args:
      num_classes: size of the output.
      dim: log-mel bands, a multiple of 40 (three halvings must leave whole sub-bands).
      width: multiplier of the channels.
      dropout: channel dropout in every block.
      blocks: of each stage, 1 or more.

    Shape: (batch, frames, dim) -> (batch, num_classes). Takes any number of frames.
    """

    any_length = True

    def __init__(
        self,
        num_classes: int = 12,
        dim: int = 40,
        width: float = 1,
        dropout: float = 0.1,
        blocks: Sequence[int] = BLOCKS,
    ):
        super().__init__()
        if dim % 40:
            raise ValueError(f"bc_resnet takes 40 (or 80, ...) log-mel bands, got dim = {dim}")
        if len(blocks) != len(STAGES) or min(blocks) < 1:
            raise ValueError(f"blocks: one number, 1 or more, for each of 4 stages, got {blocks}")
        base = int(8 * width)
        self.norm = InputNorm(dim)
        self.first = nn.Sequential(
            nn.Conv2d(1, 2 * base, 5, stride=(2, 1), padding=2, bias=False),
            nn.BatchNorm2d(2 * base),
            nn.ReLU(),
        )
        layers, inputs = [], 2 * base
        for stage, ((multiple, stride), count) in enumerate(zip(STAGES, blocks, strict=True)):
            channels = int(multiple * base)
            for i in range(count):
                first_stride = stride if i == 0 else 1
                layers.append(BroadcastBlock(inputs, channels, first_stride, 2**stage, dropout))
                inputs = channels
        self.blocks = nn.Sequential(*layers)
        self.last = nn.Sequential(
            nn.Conv2d(inputs, inputs, 5, padding=(0, 2), groups=inputs, bias=False),
            nn.Conv2d(inputs, 4 * base, 1, bias=False),
            nn.BatchNorm2d(4 * base),
            nn.ReLU(),
        )
        self.output = nn.Linear(4 * base, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features).transpose(1, 2).unsqueeze(1)  # (B, 1, D, T)
        x = self.last(self.blocks(self.first(x)))
        return self.output(torch.mean(x, (2, 3)))
