import pytest
import torch

from kdspeech.models import DNN, HighwayDNN, num_parameters

PDFS = 3760  # with about so many all counts of the paper come out; it does not say how many


@pytest.mark.parametrize(
    "kind,hidden,layers,millions",
    [
        # Lu, Guo & Renals 2017, table 1
        (DNN, 2048, 6, "30"),
        (DNN, 512, 10, "4.6"),
        (DNN, 256, 10, "1.7"),
        (DNN, 128, 10, "0.71"),
        (HighwayDNN, 512, 10, "5.1"),
        (HighwayDNN, 256, 10, "1.8"),
        (HighwayDNN, 128, 10, "0.74"),
    ],
)
def test_parameter_counts_are_the_papers(kind, hidden, layers, millions):
    with torch.device("meta"):
        count = num_parameters(kind(PDFS, 600, hidden, layers)) / 1e6
    assert f"{count:.2g}" == millions


def test_a_layer_is_the_papers_equation():
    torch.manual_seed(0)
    model = HighwayDNN(5, 6, hidden=4, layers=2)
    x = torch.randn(3, 6)
    first = torch.sigmoid(model.hidden[0](x))
    w_t, w_c = model.gate.weight[:4], model.gate.weight[4:]
    new = torch.sigmoid(model.hidden[1](first))
    second = new * torch.sigmoid(first @ w_t.T) + first * torch.sigmoid(first @ w_c.T)
    torch.testing.assert_close(model(x), model.output(second))


def test_dropout_leaves_what_a_layer_carries_on():
    torch.manual_seed(0)
    model = HighwayDNN(5, 6, hidden=4, layers=2, dropout=0.5)
    model.dropout.p = 1.0  # nothing new comes through
    h = torch.rand(3, 4)
    carry = torch.sigmoid(h @ model.gate.weight[4:].T)
    torch.testing.assert_close(model.train().layer(1, h), h * carry)
    new = torch.sigmoid(model.hidden[1](h)) * torch.sigmoid(h @ model.gate.weight[:4].T)
    torch.testing.assert_close(model.eval().layer(1, h), new + h * carry)


@pytest.mark.parametrize("gates,size", [("both", 32), ("transform", 16), ("constrained", 16)])
def test_variants_of_the_gates(gates, size):
    model = HighwayDNN(5, 6, hidden=4, layers=3, gates=gates, gate_bias=-1.0)
    assert model.gate.weight.numel() == size and torch.all(model.gate.bias == -1)
    transform, carry = model.open_gates(torch.rand(3, 4))
    if gates == "constrained":
        torch.testing.assert_close(transform + carry, torch.ones(3, 4))
    if gates == "transform":
        assert carry == 1
    assert model(torch.rand(3, 6)).shape == (3, 5)


def test_groups_are_all_parameters_once():
    model = HighwayDNN(5, 6, hidden=4, layers=3)
    groups = model.groups()
    assert sorted(groups) == ["gates", "hidden", "softmax"]
    ids = [id(p) for group in groups.values() for p in group]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


def test_ten_sigmoid_layers_pass_a_signal():
    torch.manual_seed(0)
    for kind in (DNN, HighwayDNN):
        model = kind(5, 20, hidden=64, layers=10)
        logits = model(torch.randn(200, 20))
        assert logits.std(0).mean() > 0.008, kind  # else 0.002 and 0.007


@pytest.mark.parametrize("bad", [{"layers": 0}, {"activation": "tanh"}, {"gates": "none"}])
def test_bad_options(bad):
    with pytest.raises(ValueError):
        HighwayDNN(5, 6, hidden=4, **bad)
