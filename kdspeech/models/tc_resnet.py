"""TC-ResNet: convolutions over time alone, feature dimensions as channels (Choi et al. 2019,
"Temporal convolution for real-time keyword spotting on mobile devices", Interspeech)."""

from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.models.norm import InputNorm

KERNEL = 9
CHANNELS = {8: (16, 24, 32, 48), 14: (16, 24, 24, 32, 32, 48, 48)}


class TemporalBlock(nn.Module):
    """Two convs over time with BatchNorm, and the identity or, where the channels change, a
    strided 1x1 conv with BatchNorm beside them.

    Shape: (batch, inputs, frames) -> (batch, channels, frames or half of them).
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        stride = 1 if inputs == channels else 2
        self.convs = nn.Sequential(
            _conv(inputs, channels, KERNEL, stride), nn.ReLU(), _conv(channels, channels, KERNEL)
        )
        self.skip = nn.Identity() if stride == 1 else _conv(inputs, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.convs(x) + self.skip(x))


class TCResNet(nn.Module):
    """TC-ResNet`depth`-`width`.

    65,168 parameters for TC-ResNet8, 303,000 for TC-ResNet14-1.5, with 12 classes and 40
    dimensions.

    Args:
      num_classes: size of the output.
      dim: feature dimensions (the paper: 40 MFCC).
      depth: 8 or 14.
      width: multiplier of the channels.
      dropout: before the output layer.

    Shape: (batch, frames, dim) -> (batch, num_classes). Takes any number of frames.
    """

    any_length = True

    def __init__(
        self,
        num_classes: int = 12,
        dim: int = 40,
        depth: int = 8,
        width: float = 1.0,
        dropout: float = 0.2,
    ):
        super().__init__()
        if depth not in CHANNELS:
            raise ValueError(f"tc_resnet has depth 8 or 14, got {depth}")
        channels = [int(c * width) for c in CHANNELS[depth]]
        self.norm = InputNorm(dim)
        self.first = nn.Sequential(_conv(dim, channels[0], 3), nn.ReLU())
        pairs = zip(channels[:-1], channels[1:], strict=True)
        self.blocks = nn.Sequential(*(TemporalBlock(a, b) for a, b in pairs))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(channels[-1], num_classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features).transpose(1, 2)  # (B, D, T)
        x = self.blocks(self.first(x)).mean(2)
        return self.output(self.dropout(x))


def _conv(inputs: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv1d(inputs, channels, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm1d(channels))
