import pytest
import torch

from kdspeech.models import InputNorm, num_parameters


def test_estimate_over_batches_equals_one_pass():
    batches = [torch.randn(4, 9, 3) * 2 + 7, torch.randn(2, 5, 3) - 100]
    frames = torch.cat([b.reshape(-1, 3) for b in batches])
    norm = InputNorm(3)
    norm.estimate(batches)
    assert torch.allclose(norm.mean, frames.mean(0), rtol=1e-5)
    assert torch.allclose(norm.std, frames.std(0, unbiased=False), rtol=1e-5)
    normed = norm(batches[0])
    assert torch.allclose(normed, (batches[0] - norm.mean) / norm.std)


def test_one_pair_for_all_dimensions():
    features = torch.randn(4, 9, 3) * 2 + torch.tensor([0.0, 5.0, 9.0])
    norm = InputNorm(3)
    norm.estimate([features[:1], features[1:]], per_dim=False)
    assert torch.allclose(norm.mean, features.mean().expand(3), rtol=1e-5)
    assert torch.allclose(norm.std, features.std(unbiased=False).expand(3), rtol=1e-5)


def test_it_changes_nothing_until_estimated_and_has_no_parameters():
    norm = InputNorm(3)
    features = torch.randn(2, 4, 3)
    assert torch.equal(norm(features), features)
    assert num_parameters(norm) == 0
    assert set(norm.state_dict()) == {"mean", "std"}


def test_constant_dimension_stays_finite():
    norm = InputNorm(2)
    norm.estimate([torch.full((3, 4, 2), 5.0)])
    assert norm(torch.full((1, 2, 2), 5.0)).abs().max() == 0


def test_nothing_to_estimate_from():
    with pytest.raises(ValueError, match="no training features"):
        InputNorm(2).estimate([])
