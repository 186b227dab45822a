"""1x1 convolutions that stride."""

from torch import Tensor, nn


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution without bias that leaves places out before it, as a stride would after it.

    With a stride of its own oneDNN (3.12, torch 2.13) writes beyond its memory in the backward pass
    on CPUs without AVX-512, with fewer than eight input channels that lie side by side.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(inputs, outputs, 1, bias=False)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., :: self.step, :: self.step])
