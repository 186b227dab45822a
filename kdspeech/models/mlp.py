"""A multi-layer perceptron over all frames of a clip."""

from torch import Tensor, nn

from kdspeech.models.norm import InputNorm


class MLP(nn.Module):
    """Hidden layers of ReLU units over the flattened features.

    Args:
      num_classes: size of the output.
      dim: feature dimensions.
      frames: frames of every clip; the model takes no other number (`any_length` is False).
      hidden: units of each hidden layer.
      dropout: after each hidden layer.

    Shape: (batch, frames, dim) -> (batch, num_classes).
    """

    any_length = False

    def __init__(
        self,
        num_classes: int = 12,
        dim: int = 40,
        frames: int = 98,
        hidden: tuple[int, ...] = (128, 128),
        dropout: float = 0.0,
    ):
        super().__init__()
        self.frames = frames
        self.norm = InputNorm(dim)
        layers, inputs = [], frames * dim
        for units in hidden:
            layers += [nn.Linear(inputs, units), nn.ReLU(), nn.Dropout(dropout)]
            inputs = units
        self.layers = nn.Sequential(*layers)
        self.output = nn.Linear(inputs, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        x = self.norm(features)
        if x.shape[1] != self.frames:
            raise ValueError(f"this mlp takes {self.frames} frames, got {x.shape[1]}")
        return self.output(self.layers(x.flatten(1)))
