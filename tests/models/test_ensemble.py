import pytest
import torch

from kdspeech.models import Ensemble, build_model, num_macs, num_parameters


def make(members):
    torch.manual_seed(0)
    return Ensemble([build_model("mlp", 3, 40, 12, hidden=[8]) for _ in range(members)])


def test_posteriors_are_the_mean_of_the_members():
    ensemble, features = make(3).eval(), torch.randn(5, 12, 40)
    mean = torch.stack([m(features).softmax(1) for m in ensemble.members]).mean(0)
    torch.testing.assert_close(ensemble(features).exp(), mean)


def test_members_train_apart_and_share_the_normalisation():
    ensemble, features = make(2), torch.randn(5, 12, 40)
    ensemble.norm.estimate([features + 3])
    logits = ensemble(features)
    assert logits.shape == (10, 3)
    logits[:5].sum().backward()
    moved = [any(p.grad.any() for p in member.parameters()) for member in ensemble.members]
    assert moved == [True, False]
    assert ensemble.members[1].norm.mean is ensemble.members[0].norm.mean


def test_size_is_that_of_all_members():
    one, two = make(1), make(2)
    assert num_parameters(two) == 2 * num_parameters(one)
    assert num_macs(two, (12, 40)) == 2 * num_macs(one, (12, 40))


def test_no_members():
    with pytest.raises(ValueError, match="needs members"):
        Ensemble([])
