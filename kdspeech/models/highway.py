"""Acoustic models that classify one spliced frame: plain and highway networks.

Highway networks for small-footprint acoustic models: Lu, Guo & Renals 2016 ("Knowledge
distillation for small-footprint highway networks", equations 1-4).
"""

import re
from typing import Literal

import torch
from torch import Tensor, nn

from kdspeech.io.errors import InputError
from kdspeech.models.norm import InputNorm

ACTIVATIONS = {"sigmoid": torch.sigmoid_, "relu": torch.relu_}  # in place: half the memory traffic
GATES = ("transform", "carry")

Gates = Literal["both", "transform", "carry", "constrained"]


class DNN(nn.Module):
    """`layers` hidden layers of `hidden` units, all connected: DNN-H<hidden>-L<layers>.

    Args:
      num_classes: pdfs of the tree.
      dim: values of a spliced frame.
      hidden: units of a layer.
      layers: number of hidden layers.
      activation: "sigmoid" or "relu".
      dropout: of every hidden layer's new values. What a highway layer carries on is left whole:
        dropped in each of ten layers, little of it would arrive.

    Shape: (frames, dim) -> logits (frames, num_classes).

    Raises:
      ValueError: no layer, or an activation that is not there.
    """

    any_length = True

    def __init__(
        self,
        num_classes: int,
        dim: int,
        hidden: int = 512,
        layers: int = 10,
        activation: str = "sigmoid",
        dropout: float = 0.0,
    ):
        super().__init__()
        if layers < 1:
            raise ValueError(f"needs a hidden layer, got layers={layers}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r}: one of {', '.join(ACTIVATIONS)}")
        self.norm = InputNorm(dim, axes=2)
        self.activation = ACTIVATIONS[activation]
        widths = [dim] + (layers - 1) * [hidden]
        self.hidden = nn.ModuleList(nn.Linear(width, hidden) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, num_classes)
        self.register_parameter("amplitudes", None)
        self._start(sigmoid=activation == "sigmoid")

    @torch.no_grad()
    def _start(self, sigmoid: bool) -> None:
        """First weights, such that a signal passes many layers.

        A sigmoid's slope is 1/4 at 0 (hence gain 4, Glorot & Bengio 2010), and its output is around
        1/2: without a bias against that mean, ten layers leave nothing of the input.
        """
        for index, layer in enumerate(self.hidden):
            nn.init.xavier_uniform_(layer.weight, 4.0 if sigmoid else 2**0.5)
            nn.init.zeros_(layer.bias)
            if sigmoid and index > 0:
                layer.bias -= layer.weight.sum(1) / 2

    def forward(self, features: Tensor) -> Tensor:
        h = self.norm(features)
        for index in range(len(self.hidden)):
            h = self.layer(index, h)
        return self.output(h)

    def layer(self, index: int, h: Tensor) -> Tensor:
        """Hidden layer `index`, from 0: (frames, inputs) -> (frames, hidden)."""
        h = self.dropout(self.activation(self.hidden[index](h)))
        return h if self.amplitudes is None else h * (2 * torch.sigmoid(self.amplitudes[index]))

    def add_lhuc(self) -> None:
        """Gives every hidden unit an amplitude 2 sigmoid(a), a starting at 0: learning hidden unit
        contributions (Swietojanski & Renals 2014, equation 3). A highway layer's is that of its
        new values, before the gates."""
        if self.amplitudes is None:
            shape = (len(self.hidden), self.output.in_features)
            self.amplitudes = nn.Parameter(self.output.weight.new_zeros(shape))

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The parameters by name, for updates of a part: hidden (theta_h), softmax (theta_c); lhuc
        where there are amplitudes."""
        groups = {
            "hidden": list(self.hidden.parameters()),
            "softmax": list(self.output.parameters()),
        }
        return groups if self.amplitudes is None else groups | {"lhuc": [self.amplitudes]}


class HighwayDNN(DNN):
    """A DNN whose hidden layers but the first pass their input on through gates:

        h_l = sigma(h_{l-1}; theta_l) * T(h_{l-1}) + h_{l-1} * C(h_{l-1})

    T and C are sigmoids of h W_T and h W_C, the same matrices in every layer.

    Args:
      num_classes, dim, hidden, layers, activation, dropout: as for `DNN`.
      gates: "both"; "transform" or "carry" alone, the other being 1; or "constrained", C = 1 - T.
      gate_bias: adds a bias to the gates, which starts at this value (-1: mostly closed).

    Shape: (frames, dim) -> logits (frames, num_classes).
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        hidden: int = 512,
        layers: int = 10,
        activation: str = "sigmoid",
        dropout: float = 0.0,
        gates: Gates = "both",
        gate_bias: float | None = None,
    ):
        super().__init__(num_classes, dim, hidden, layers, activation, dropout)
        if gates not in ("both", *GATES, "constrained"):
            raise ValueError(f"gates {gates!r}: both, transform, carry or constrained")
        self.gates = gates
        size = 2 * hidden if gates == "both" else hidden
        self.gate = nn.Linear(hidden, size, bias=gate_bias is not None)  # [W_T; W_C]
        nn.init.xavier_uniform_(self.gate.weight)
        if gate_bias is not None:
            nn.init.constant_(self.gate.bias, gate_bias)

    def layer(self, index: int, h: Tensor) -> Tensor:
        new = super().layer(index, h)
        if index == 0:  # its input has another size
            return new
        transform, carry = self.open_gates(h)
        return torch.addcmul(h * carry, new, transform)

    def open_gates(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """T and C for a layer's input (frames, hidden); 1 where a gate is not there."""
        opened = torch.sigmoid_(self.gate(h))
        one = opened.new_ones(())
        if self.gates == "both":
            return opened.chunk(2, dim=-1)
        if self.gates == "constrained":
            return opened, 1 - opened
        return (opened, one) if self.gates == "transform" else (one, opened)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """hidden (theta_h), softmax (theta_c) and gates (theta_g)."""
        return super().groups() | {"gates": list(self.gate.parameters())}


def build_acoustic_model(
    model: str,
    num_classes: int,
    dim: int,
    activation: str = "sigmoid",
    dropout: float = 0.0,
    gates: Gates = "both",
    gate_bias: float | None = None,
) -> DNN:
    """Builds a network by its name: DNN-H<hidden>-L<layers> or HDNN-H<hidden>-L<layers>.

    Args:
      model: the name.
      num_classes, dim, activation, dropout: see DNN.
      gates, gate_bias: see HighwayDNN; a DNN has none.

    Raises:
      InputError: a name of another form, or a value the network refuses.
    """
    found = re.fullmatch(r"(H?)DNN-H(\d+)-L(\d+)", model)
    if not found:
        raise InputError(f"no network {model!r}: DNN-H512-L6 or HDNN-H512-L10, with any numbers")
    hidden, layers = int(found[2]), int(found[3])
    options = (num_classes, dim, hidden, layers, activation, dropout)
    try:
        return HighwayDNN(*options, gates, gate_bias) if found[1] else DNN(*options)
    except ValueError as error:
        raise InputError(f"{model}: {error}") from error
