"""Networks for colour images: sizes of the papers, shapes, options."""

import pytest
import torch

from kdspeech.io.errors import InputError
from kdspeech.models import build_image_model, num_macs, num_parameters

# Name, options, parameters, what the paper says in millions (Li 2018, He et al. 2016 a and b,
# Zagoruyko & Komodakis 2016 table 4, Huang et al. 2017 table 2, Xie et al. 2017 table 7).
SIZES = [
    ("cnn5", {}, 357_514, "0.357514"),
    ("resnet18", {}, 11_173_962, "11.2"),
    ("preresnet", {}, 1_703_258, "1.7"),
    ("preresnet", {"bottleneck": False}, 1_730_522, "1.7"),
    ("wide_resnet", {}, 36_479_194, "36.5"),
    ("densenet", {}, 769_162, "0.8"),
    ("resnext", {}, 34_426_698, "34.4"),
]


@pytest.mark.parametrize(("name", "options", "parameters", "millions"), SIZES)
def test_sizes_are_those_of_the_papers(name, options, parameters, millions):
    assert num_parameters(build_image_model(name, 10, **options)) == parameters
    places = len(millions.partition(".")[2])
    assert f"{parameters / 1e6:.{places}f}" == millions


def test_the_cnn_by_hand():
    """Three convolutions on 32, 16 and 8 places a side, then 2048 x 128 and 128 x 10."""
    convs = 32**2 * 27 * 32 + 16**2 * 9 * 32 * 64 + 8**2 * 9 * 64 * 128
    model = build_image_model("cnn5", 10)
    assert num_macs(model, (32, 32, 3)) == convs + 2048 * 128 + 128 * 10


SMALL = [
    ("cnn5", {"channels": 4}),
    ("resnet18", {"width": 4}),
    ("preresnet", {"blocks": 1}),
    ("preresnet", {"blocks": 2, "bottleneck": False}),
    ("wide_resnet", {"depth": 10, "width": 1}),
    ("densenet", {"depth": 10, "growth": 4}),
    ("resnext", {"depth": 11, "groups": 1}),
]


@pytest.mark.parametrize(("name", "options"), SMALL)
def test_every_parameter_learns(name, options):
    torch.manual_seed(0)
    model = build_image_model(name, 3, **options)
    images = torch.rand(4, 32, 32, 3)
    model.norm.estimate([images])
    assert model(images).shape == (4, 3)
    torch.nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    model.eval()
    with torch.no_grad():
        whole, alone = model(images), model(images[1:2])
    assert torch.allclose(whole[1:2], alone, atol=1e-4)


def test_norm_is_of_each_colour():
    model = build_image_model("cnn5", 10, channels=2)
    images = torch.rand(8, 32, 32, 3) * torch.tensor([1.0, 0.5, 0.1])
    model.norm.estimate([images])
    flat = images.reshape(-1, 3)
    assert torch.allclose(model.norm.mean, flat.mean(0), atol=1e-5)
    assert torch.allclose(model.norm.std, flat.std(0, correction=0), atol=1e-5)
    with pytest.raises(ValueError, match=r"features \(batch, rows, columns, 3\), got \(8, 3, 32"):
        model(images.permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("vgg", {}, "no model 'vgg'; there are cnn5"),
        ("cnn5", {"width": 3}, "has no option 'width'; it has channels, dropout"),
        ("resnet18", {"num_classes": 3}, "has no option 'num_classes'; it has width"),
        ("wide_resnet", {"depth": 11}, "depth is 6 n"),
        ("densenet", {"depth": 12}, "depth is 6 n"),
        ("resnext", {"depth": 30}, "depth is 9 n"),
    ],
)
def test_bad_options_are_named(name, options, says):
    with pytest.raises(InputError, match=says):
        build_image_model(name, 10, **options)
