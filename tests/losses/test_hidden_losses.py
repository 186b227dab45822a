import pytest
import torch
from torch import nn

from kdspeech.io.errors import InputError
from kdspeech.losses import attention_transfer_loss, hint_loss, hint_regressor
from kdspeech.models import build_model, find_module, outputs_of


def layer(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_hint_by_hand():
    regressor = nn.Linear(1, 2, bias=False)
    regressor.weight.data = torch.tensor([[1.0], [2.0]])
    student, teacher = torch.tensor([[3.0]]), torch.tensor([[1.0, 2.0]])
    # r(3) = (3, 6), off by (2, 4)
    assert hint_loss(student, teacher, regressor).item() == pytest.approx((4 + 16) / 2)


@pytest.mark.parametrize("shape", [(4,), (4, 7), (4, 7, 5)])
def test_regressor_maps_channels_and_the_teacher_itself_costs_nothing(shape):
    student, teacher = layer(2, *shape), layer(2, 6, *shape[1:])
    regressor = hint_regressor(student, teacher)
    assert regressor(student).shape == teacher.shape
    target = regressor(student).detach()
    assert hint_loss(student, target, regressor) == 0


def test_attention_by_hand():
    student = torch.tensor([[[3.0, 4.0]]])  # squares 9, 16; norm sqrt(337)
    teacher = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # squares 1, 1; norm sqrt 2
    a, b = torch.tensor([9.0, 16.0]) / 337**0.5, torch.tensor([1.0, 1.0]) / 2**0.5
    expected = (a - b).square().mean()
    assert attention_transfer_loss(student, teacher).item() == pytest.approx(expected.item())


def test_attention_knows_no_scale_nor_order_of_channels():
    teacher = layer(2, 3, 4, 5)
    assert attention_transfer_loss(7 * teacher[:, [2, 0, 1]], teacher).item() < 1e-12
    assert attention_transfer_loss(layer(2, 1, 4, 5), teacher) > 0


def test_no_gradient_reaches_the_teacher():
    student, teacher = layer(2, 3, 4).requires_grad_(), layer(2, 5, 4).requires_grad_()
    loss = hint_loss(student, teacher, hint_regressor(student, teacher))
    (loss + attention_transfer_loss(student, teacher)).backward()
    assert student.grad.any() and teacher.grad is None


def test_pool_brings_positions_together():
    student, teacher = layer(2, 3, 8, 4), layer(2, 3, 4, 8)
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 4\), the teacher's \(2, 3, 4, 8\): .*pool"):
        attention_transfer_loss(student, teacher)
    assert attention_transfer_loss(student, teacher, pool=True).isfinite()
    constant = torch.ones(2, 3, 8, 4)
    assert attention_transfer_loss(constant, torch.ones(2, 3, 4, 8), pool=True) == 0


@pytest.mark.parametrize(
    "student, teacher, message",
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), "needs layers with positions"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 3, 4, 5), "agree in axes"),
        (torch.zeros(2, 3, 4), torch.zeros(3, 3, 4), "agree in axes and batch"),
    ],
)
def test_layers_that_do_not_fit(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        attention_transfer_loss(student, teacher)


def test_regressor_between_other_axes():
    with pytest.raises(ValueError, match="as many axes"):
        hint_regressor(torch.zeros(2, 3), torch.zeros(2, 3, 4))


def test_outputs_of_modules_by_name():
    model = build_model("res8", 3, 40, 20, maps=4).eval()
    with outputs_of(model, ["convs.0", "convs.-1", "output"]) as outputs:
        logits = model(torch.zeros(2, 20, 40))
    assert outputs.keys() == {"convs.0", "convs.-1", "output"}
    assert torch.equal(outputs["output"], logits) and outputs["convs.0"].shape == (2, 4, 5, 13)
    model(torch.ones(2, 20, 40))  # the hooks are gone
    assert torch.equal(outputs["output"], logits)
    assert find_module(model, "convs.-1") is model.convs[5]


@pytest.mark.parametrize("name", ["blocks.0", "convs.6", "convs.-7"])
def test_a_module_that_is_not_there(name):
    model = build_model("res8", 3, 40, 20, maps=4)
    with pytest.raises(InputError, match=f"Res8 has no module '{name}'; it has .*convs.5"):
        find_module(model, name)
