import pytest
import torch

from kdspeech.io.errors import InputError
from kdspeech.models import (
    MODELS,
    SHRINK,
    build_acoustic_model,
    build_model,
    num_macs,
    num_parameters,
    shrink,
)

SHAPE = (64, 40)


def built(name, options):
    with torch.device("meta"):
        if name in MODELS:
            return build_model(name, 12, 40, 64, **options)
        return build_acoustic_model(name, 12, 40)


def test_every_family_can_be_shrunk():
    assert SHRINK.keys() == MODELS.keys()


@pytest.mark.parametrize("by", ["depth", "width"])
@pytest.mark.parametrize("name", [*MODELS, "DNN-H32-L5", "HDNN-H32-L5"])
def test_each_shrinking_gives_a_smaller_network_until_none_is_left(name, by):
    model = (name, {"depth": 14} if name == "tc_resnet" else {})
    sizes = [num_parameters(built(*model))]
    while model := shrink(*model, by, 0.6):
        sizes.append(num_parameters(built(*model)))
        assert len(sizes) < 40
    assert len(sizes) > 1
    fell = all(a > b for a, b in zip(sizes, sizes[1:], strict=False))
    # A depth of one block less may take a layer that had made the output smaller.
    assert fell or (by == "depth" and name in ("resnet", "mlp", "vgg")), sizes


@pytest.mark.parametrize(
    "name, options, by, expected",
    [
        ("res8", {}, "width", {"maps": 22}),
        ("res8", {"maps": 19}, "depth", {"maps": 19, "layers": 4}),
        ("res15", {}, "depth", {"layers": 7}),
        ("bc_resnet", {"width": 2}, "width", {"width": 1.0}),
        ("bc_resnet", {}, "depth", {"blocks": [1, 1, 2, 2]}),
        ("resnet", {"channels": [32, 64, 128]}, "depth", {"channels": [32, 128]}),
        ("tc_resnet", {"depth": 14}, "depth", {"depth": 8}),
        ("ds_cnn", {"size": "L"}, "width", {"size": "L", "channels": 138}),
        ("ds_cnn", {}, "depth", {"blocks": 2}),
        ("mlp", {"hidden": [64, 32, 16]}, "depth", {"hidden": [64, 16]}),
        ("vgg", {}, "depth", {"convs": [1, 1, 1]}),
        ("vgg", {"convs": [1, 1, 1]}, "depth", {"channels": [32, 128], "convs": [1, 1]}),
    ],
)
def test_half_of_it_by_hand(name, options, by, expected):
    assert shrink(name, options, by, 0.5) == (name, expected)


def test_acoustic_models_shrink_by_their_names():
    assert shrink("HDNN-H512-L10", {}, "depth", 0.5) == ("HDNN-H512-L5", {})
    assert shrink("DNN-H512-L6", {"a": 1}, "width", 0.5) == ("DNN-H256-L6", {"a": 1})
    assert shrink("DNN-H1-L6", {}, "width", 0.5) is None


@pytest.mark.parametrize("name, options", [("res8", {"layers": 2}), ("ds_cnn", {"channels": 5})])
def test_the_new_options_change_the_network(name, options):
    model = build_model(name, 12, 40, 64, **options).eval()
    assert model(torch.zeros(2, *SHAPE)).shape == (2, 12)
    assert num_macs(model, SHAPE) < num_macs(build_model(name, 12, 40, 64), SHAPE)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("res8", {}, "height", 0.5), "depth or width"),
        (("res8", {}, "width", 1.0), "within 0 and 1"),
        (("lstm", {}, "width", 0.5), "no way to shrink 'lstm'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        shrink(*arguments)


def test_vgg_refuses_stages_that_do_not_fit():
    with pytest.raises(InputError, match="as many numbers"):
        build_model("vgg", 12, 40, 64, channels=[8], convs=[1, 1])
