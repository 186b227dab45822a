import pytest
import torch

from kdspeech.io.errors import InputError
from kdspeech.models import MODELS, build_model, num_macs, num_parameters

# Tang & Lin 2018, Kim et al. 2021, Choi et al. 2019; the others by hand.
COUNTS = [
    ("res8", {"maps": 19}, 19_905),
    ("res8", {}, 110_307),
    ("res15", {"maps": 19}, 42_648),
    ("res15", {}, 237_882),
    ("bc_resnet", {"width": 1}, 9_232),
    ("bc_resnet", {"width": 2}, 27_284),
    ("bc_resnet", {"width": 3}, 54_168),
    ("bc_resnet", {"width": 8}, 321_068),
    ("tc_resnet", {}, 65_168),
    ("tc_resnet", {"depth": 14, "width": 1.5}, 303_000),
    ("resnet", {"channels": [4, 8]}, 4 * 27 + 8 * (4 * 9 + 8 * 9 + 4 + 6) + 8 * 12 + 12),
    ("ds_cnn", {"size": "S"}, 64 * 40 + 128 + 4 * (64 * 9 + 64 * 64 + 256) + 64 * 12 + 12),
    ("mlp", {"hidden": (16,)}, 101 * 40 * 16 + 16 + 16 * 12 + 12),
    ("vgg", {}, 9 * (32 + 32**2 + 32 * 64 + 64**2 + 64 * 128 + 128**2) + 4 * 224 + 128 * 12 + 12),
]


@pytest.mark.parametrize("name, options, count", COUNTS)
def test_parameters_are_the_papers(name, options, count):
    assert num_parameters(build_model(name, 12, 40, 101, **options)) == count


@pytest.mark.parametrize("size, thousands", [("S", 23), ("M", 135), ("L", 410)])
def test_ds_cnn_sizes_are_ordered(size, thousands):
    count = num_parameters(build_model("ds_cnn", 12, 10, 49, size=size))
    assert count == pytest.approx(1000 * thousands, rel=0.05)


@pytest.mark.parametrize("name", MODELS)
def test_shape_gradient_and_length(name):
    model = build_model(name, 7, 40, 51)
    assert model(torch.randn(3, 51, 40)).shape == (3, 7)
    model(torch.randn(3, 51, 40)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    if model.any_length:
        assert model(torch.randn(2, 98, 40)).shape == (2, 7)
    else:
        with pytest.raises(ValueError, match="takes 51 frames, got 98"):
            model(torch.randn(2, 98, 40))


@pytest.mark.parametrize("name", MODELS)
def test_clips_of_a_batch_do_not_mix_in_eval_mode(name):
    model = build_model(name, 12, 40, 51).eval()
    clips = torch.randn(4, 51, 40)
    with torch.no_grad():
        alone = torch.cat([model(clip[None]) for clip in clips])
        assert torch.allclose(model(clips), alone, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_wrong_shape_raises(name):
    model = build_model(name, 12, 40, 51)
    with pytest.raises(ValueError, match=r"\(batch, frames, 40\), got \(2, 51, 39\)"):
        model(torch.randn(2, 51, 39))
    with pytest.raises(ValueError, match="got"):
        model(torch.randn(51, 40))


def test_res15_sees_the_frames_its_dilations_reach():
    # One conv, 3 of dilation 1, 2, 4, 8 each and one of 16 reach 1 + 3 * 15 + 16 = 62 frames.
    model = build_model("res15", 2, 1, 1, maps=2).eval()
    for conv in [model.first, *model.convs]:
        conv.weight.data.fill_(0.5)  # nothing is cut by a ReLU
    maps = []
    model.convs[-1].register_forward_hook(lambda m, i, output: maps.append(output))
    clip = torch.ones(1, 201, 1, requires_grad=True)
    model(clip)
    maps[0][0, :, 100].sum().backward()
    reached = clip.grad[0, :, 0].nonzero().flatten()
    assert (reached.min(), reached.max()) == (100 - 62, 100 + 62)


def test_res8_order_of_one_block_by_hand():
    model = build_model("res8", 2, 3, 4, maps=1).eval()
    with torch.no_grad():
        for conv in [model.first, *model.convs]:
            conv.weight.zero_()
            conv.weight[0, 0, 1, 1] = 2.0  # a scale: conv(x) = 2 x
        model.output.weight.fill_(1.0)
        model.output.bias.zero_()
        # ones -> 2; pairs of convs give x -> 4 x + skip with skip the last sum: 2, 10, 50, 250.
        value = 2.0
        skip, eps = value, (1 + 1e-5) ** 0.5
        for i in range(6):
            value = 2 * value
            if i % 2:
                value = skip = value + skip
            value /= eps
        logits = model(torch.ones(1, 4, 3))
    assert logits[0].tolist() == pytest.approx([value, value], rel=1e-5)


def test_bc_resnet_needs_whole_sub_bands():
    with pytest.raises(InputError, match="40 .*log-mel bands, got dim = 64"):
        build_model("bc_resnet", 12, 64, 101)
    assert build_model("bc_resnet", 12, 80, 101)(torch.randn(2, 30, 80)).shape == (2, 12)


def test_bc_resnet_sub_bands_are_normed_apart():
    from kdspeech.models.bc_resnet import SubSpectralNorm

    x = torch.randn(8, 3, 10, 6) * torch.arange(1, 11)[:, None] + 5
    y = SubSpectralNorm(3)(x)
    bands = y.view(8, 3, 5, 2, 6)
    assert torch.allclose(bands.mean((0, 3, 4)), torch.zeros(3, 5), atol=1e-5)
    assert torch.allclose(bands.var((0, 3, 4), unbiased=False), torch.ones(3, 5), atol=1e-3)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("res9", {}, "no model 'res9'; there are res8,"),
        ("res8", {"width": 2}, "model res8 has no option 'width'; it has maps"),
        ("tc_resnet", {"depth": 9}, "tc_resnet has depth 8 or 14, got 9"),
        ("ds_cnn", {"size": "XL"}, "ds_cnn size is one of S, M, L, got 'XL'"),
    ],
)
def test_bad_names_and_options(name, options, message):
    with pytest.raises(InputError, match=message):
        build_model(name, 12, 40, 101, **options)


def test_state_dict_round_trip_keeps_outputs():
    first, second = (build_model("bc_resnet", 12, 40, 51).eval() for _ in range(2))
    first.norm.estimate([torch.randn(5, 51, 40) * 3 + 1])
    second.load_state_dict(first.state_dict())
    clips = torch.randn(2, 51, 40)
    assert torch.equal(first(clips), second(clips))


def test_macs_do_not_depend_on_the_batch_or_mode():
    model = build_model("bc_resnet", 12, 40, 101).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert num_macs(model, (101, 40)) == num_macs(model, (101, 40))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
