import pytest
import torch
from torch import nn

from kdspeech.models import build_model, latency_ms, num_macs, num_parameters


class Clip(nn.Sequential):
    """The layers over (batch, 1, frames, dim)."""

    def forward(self, features):
        return super().forward(features.unsqueeze(1))


def test_macs_by_hand():
    model = Clip(
        nn.Conv2d(1, 4, 3, padding=1),  # 10 x 6 places, 4 maps, 9 products
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4),  # 5 x 3 places, 4 maps, 9
        nn.Conv2d(4, 8, 1, groups=2),  # 5 x 3, 8 maps, 2
        nn.Flatten(),
        nn.Linear(8 * 15, 7),
    )
    expected = 60 * 4 * 9 + 15 * 4 * 9 + 15 * 8 * 2 + 120 * 7
    assert num_macs(model, (10, 6)) == expected


def test_macs_of_a_linear_layer_over_frames():
    assert num_macs(nn.Linear(40, 8), (101, 40)) == 101 * 40 * 8


def test_macs_of_res8_by_hand():
    # 101 x 40 places before the pool of 4 x 3, 25 x 13 after it.
    expected = 101 * 40 * 45 * 9 + 6 * 25 * 13 * 45 * 45 * 9 + 45 * 12
    assert num_macs(build_model("res8", 12, 40, 101), (101, 40)) == expected


def test_parameters_are_those_that_train():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    assert num_parameters(model) == 3 * 4 + 4 + 8


def test_latency_is_positive_and_leaves_the_model_and_threads_alone():
    model = build_model("mlp", 12, 40, 20).train()
    threads = torch.get_num_threads()
    assert 0 < latency_ms(model, (20, 40), repeats=3) < 1000
    assert model.training and torch.get_num_threads() == threads


def test_hooks_are_removed_when_the_model_fails():
    model = build_model("mlp", 12, 40, 20)
    with pytest.raises(ValueError, match="takes 20 frames"):
        num_macs(model, (30, 40))
    assert not any(m._forward_hooks for m in model.modules())
