"""The measures of `kds analyse` by hand, and at their limits."""

import builtins
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from kdspeech.io.errors import InputError
from kdspeech.models import MLP, Ensemble, last_hidden
from kdspeech.report.analysis import (
    agreement,
    best_temperature,
    brier_score,
    calibration,
    changes,
    expected_calibration_error,
    linear_cka,
    log_softmax,
    maximum_calibration_error,
    negative_log_likelihood,
    neighbour_accuracy,
    off_target_correlation,
    outcomes,
    reliability,
    soft_target_stats,
    tsne,
)
from kdspeech.report.analysis.embedding import spread
from kdspeech.report.analysis.soft_targets import over_samples

LOGS = np.log([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])


@pytest.fixture
def random():
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=(200, 5)), 3 * rng.normal(size=(200, 5)), rng.integers(0, 5, 200)


def test_soft_targets_by_hand():
    (soft,) = soft_target_stats(LOGS, [0, 0, 1], [1])
    np.testing.assert_allclose(soft.mean[0], [0.6, 0.225, 0.175])
    np.testing.assert_allclose(soft.mean[1], [0.1, 0.6, 0.3])
    assert np.isnan(soft.mean[2]).all() and np.isnan(soft.entropy[2])
    np.testing.assert_allclose(soft.off_target[:2], [0.4, 0.4])
    first = 0.5 * math.log(2) + 0.5 * math.log(4)
    second = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))
    assert soft.entropy[0] == pytest.approx((first + second) / 2)
    assert soft.counts.tolist() == [2, 1, 0]
    assert over_samples(soft.off_target, soft.counts) == pytest.approx(0.4)


def test_a_temperature_of_two_takes_roots():
    # p ** (1 / 2), normed: 0.64 and 0.04 become 0.8 and 0.2.
    (soft,) = soft_target_stats(np.log([[0.64, 0.04]]), [0], [2])
    np.testing.assert_allclose(soft.mean[0], [0.8, 0.2])


def test_soft_targets_at_their_limits(random):
    logits, _, labels = random
    cold, hot = soft_target_stats(logits, labels, [1e-3, 1e6])
    np.testing.assert_allclose(hot.mean, 0.2, atol=1e-5)
    np.testing.assert_allclose(hot.entropy, math.log(5), atol=1e-9)
    np.testing.assert_allclose(cold.entropy, 0, atol=1e-3)
    wrong = logits.argmax(axis=1) != labels
    assert over_samples(cold.off_target, cold.counts) == pytest.approx(wrong.mean(), abs=1e-3)


def test_which_others_are_alike():
    # Mean masses off the class: 0.3, 0.1 | 0.2, 0.4 | 0.1, 0.5 against twice as much each.
    mean = np.array([[0.6, 0.3, 0.1], [0.2, 0.4, 0.4], [0.1, 0.5, 0.4]])
    (soft,) = soft_target_stats(np.log(mean), [0, 1, 2], [1])
    assert off_target_correlation(soft, soft._replace(mean=2 * mean)) == pytest.approx(1)
    turned = mean[:, [0, 2, 1]]
    expected = np.corrcoef([0.3, 0.1, 0.2, 0.4, 0.1, 0.5], [0.1, 0.3, 0.2, 0.4, 0.1, 0.4])[0, 1]
    assert off_target_correlation(soft, soft._replace(mean=turned)) == pytest.approx(expected)
    (two,) = soft_target_stats(np.eye(2), [0, 1], [1])
    assert np.isnan(off_target_correlation(two, two))


def test_posteriors_serve_as_logits(random):
    logits, _, _ = random
    np.testing.assert_allclose(log_softmax(log_softmax(logits), 3), log_softmax(logits, 3))
    assert np.isfinite(log_softmax(np.array([[1e5, -1e5]]))).all()


def test_agreement_by_hand():
    first, second = np.log([[0.5, 0.25, 0.25]]), np.log([[0.25, 0.5, 0.25]])
    found = agreement(first, second, [0])
    assert found.same.tolist() == [False]
    assert found.kl[0] == pytest.approx(0.5 * math.log(2) + 0.25 * math.log(0.5))
    target = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert found.kl_target[0] == pytest.approx(target)
    # The rest: 1 - p_t times KL((1/2, 1/2) || (2/3, 1/3)).
    others = 0.5 * (0.5 * math.log(0.75) + 0.5 * math.log(1.5))
    assert found.kl[0] - found.kl_target[0] == pytest.approx(others)


def test_a_network_agrees_with_itself(random):
    logits, _, labels = random
    found = agreement(logits, logits + 7, labels)
    assert found.same.all()
    np.testing.assert_allclose(found.kl, 0, atol=1e-12)


def test_divergence_is_not_negative_and_falls_with_temperature(random):
    first, second, labels = random
    warm, hot = (agreement(first, second, labels, t) for t in (1, 50))
    assert (warm.kl >= warm.kl_target).all() and (warm.kl_target >= 0).all()
    assert hot.kl.mean() < 1e-2 < warm.kl.mean()


def test_two_classes_leave_nothing_to_the_others(random):
    first, second, labels = random
    found = agreement(first[:, :2], second[:, :2], labels % 2)
    np.testing.assert_allclose(found.kl, found.kl_target)


def test_outcomes_and_changes_by_hand():
    answers = {"before": [0, 1, 2, 0, 1, 1], "after": [0, 0, 2, 1, 1, 0]}
    labels = np.array([0, 0, 0, 0, 1, 2])
    before, after = (np.eye(3)[a] for a in answers.values())
    assert outcomes(before, after, labels) == (2, 1, 1, 1, 1)
    found = changes(before, after, labels)
    assert found.fixed.tolist() == [1] and found.broken.tolist() == [3]
    assert found.mcnemar == 1.0


def test_reliability_by_hand():
    # Two bins: confidences 0.5 and 0.4 belong to the lower one, 0.9 and 0.7 to the upper.
    probs = np.array([[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.9, 0.1, 0.0], [0.7, 0.2, 0.1]])
    found = reliability(probs, [0, 1, 0, 0], bins=2)
    assert found.counts.tolist() == [2, 2]
    np.testing.assert_allclose(found.confidence, [0.45, 0.8])
    np.testing.assert_allclose(found.accuracy, [0.5, 1.0])
    ece = expected_calibration_error(probs, [0, 1, 0, 0], bins=2)
    assert ece == pytest.approx(0.5 * 0.05 + 0.5 * 0.2)
    assert maximum_calibration_error(probs, [0, 1, 0, 0], bins=2) == pytest.approx(0.2)


def test_empty_bins_say_nothing():
    found = reliability(np.array([[0.95, 0.05]]), [0], bins=10)
    assert found.counts.tolist() == [0] * 9 + [1]
    assert np.isnan(found.accuracy[:9]).all()
    assert expected_calibration_error(np.array([[0.95, 0.05]]), [0]) == pytest.approx(0.05)


def test_perfect_calibration_is_zero():
    probs = np.tile([0.8, 0.2], (10, 1))
    labels = np.array([0] * 8 + [1] * 2)
    assert expected_calibration_error(probs, labels) == pytest.approx(0)
    sure = np.eye(3)[[0, 1, 2]]
    assert expected_calibration_error(sure, [0, 1, 2]) == 0
    assert expected_calibration_error(sure, [1, 2, 0]) == 1


def test_likelihood_and_brier_by_hand():
    probs = np.array([[0.5, 0.5], [0.2, 0.8]])
    likelihood = negative_log_likelihood(np.log(probs), [0, 1])
    assert likelihood == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)
    assert brier_score(probs, [0, 1]) == pytest.approx((0.5 + 0.08) / 2)
    assert brier_score(np.eye(2), [1, 0]) == 2


def test_best_temperature_is_that_of_a_general_minimiser(random):
    logits, _, labels = random
    labels[:120] = logits[:120].argmax(axis=1)
    best = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits, labels, np.exp(log_t)), bounds=(-3, 3)
    )
    assert best_temperature(logits, labels) == pytest.approx(np.exp(best.x), rel=1e-4)


def test_best_temperature_undoes_a_scale():
    rng = np.random.default_rng(1)
    logits = 2 * rng.normal(size=(20000, 4))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1)
    assert best_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)
    found = calibration(3 * logits, labels, temperature=3)
    assert found.ece < 0.01 < calibration(3 * logits, labels).ece


def test_best_temperature_stays_within_bounds():
    assert best_temperature(np.eye(3), [0, 1, 2]) == pytest.approx(0.02, rel=1e-3)
    assert best_temperature(np.eye(3), [1, 2, 0]) == pytest.approx(50, rel=1e-3)


def test_neighbours_by_hand():
    line = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0], [1.5]])
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    # 1.5 alone is among others; it is one of two neighbours of 0, 1 and 2, where 0 wins the tie.
    assert neighbour_accuracy(line, labels, 2) == pytest.approx(6 / 7)
    with pytest.raises(InputError, match="need more than the 7 neighbours"):
        neighbour_accuracy(line, labels, 7)


def test_cka_knows_no_rotation_and_no_scale(random):
    x, y, _ = random
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(5, 5)))[0]
    assert linear_cka(x, 3 * x @ turn + 1) == pytest.approx(1)
    assert linear_cka(x, y) < 0.1
    assert linear_cka(x[:, :1], x[:, :1] ** 2 * 0 + 1) != linear_cka(x, x)  # constant: NaN


def test_cka_by_hand():
    x = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    # X'X is twice the identity, norm 2 sqrt 2; y is its first column, norm of y'y 2.
    assert linear_cka(x, x[:, :1]) == pytest.approx(4 / (2 * math.sqrt(2) * 2))


def test_tsne_keeps_groups_together():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], 20)
    x = 10 * np.eye(3)[labels] @ rng.normal(size=(3, 8)) + rng.normal(size=(60, 8))
    picture = tsne(x)
    assert picture.shape == (60, 2)
    assert neighbour_accuracy(picture, labels) == 1
    np.testing.assert_array_equal(picture, tsne(x))


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    original = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"pip install 'kdspeech\[analysis\]'"):
        tsne(np.zeros((10, 3)))


def test_spread_keeps_the_shares():
    labels = np.repeat([0, 1, 2], [300, 200, 100])
    chosen = spread(labels, 60)
    np.testing.assert_allclose(np.bincount(labels[chosen]), [30, 20, 10], atol=1)
    assert spread(labels, 600).tolist() == list(range(600))


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: soft_target_stats(np.zeros((3, 2)), [0, 1]), "must be"),
        (lambda: soft_target_stats(np.zeros((0, 2)), []), "must be"),
        (lambda: soft_target_stats(np.zeros((2, 2)), [0, 2]), "labels from 0 to 2"),
        (lambda: soft_target_stats(np.full((2, 2), np.nan), [0, 1]), "NaN"),
        (lambda: soft_target_stats(np.zeros((2, 2)), [0, 1], [0]), "temperature 0"),
        (lambda: agreement(np.zeros((2, 2)), np.zeros((2, 3)), [0, 1]), "not of the same task"),
        (lambda: reliability(np.array([[2.0, 1.0]]), [0]), "apply softmax first"),
        (lambda: reliability(np.eye(2), [0, 1], bins=0), "bins 0"),
        (lambda: neighbour_accuracy(np.zeros((3, 2)), [0, 1]), "must be"),
        (lambda: tsne(np.zeros((3, 2))), "needs 4 or more"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_what_the_output_layer_sees():
    torch.manual_seed(0)
    members = [MLP(3, dim=4, frames=2, hidden=(5,)) for _ in range(2)]
    features = torch.randn(7, 2, 4)
    with last_hidden(Ensemble(members).eval()) as inputs, torch.no_grad():
        log_probs = Ensemble(members).eval()(features)
    both = [m.output(x).softmax(1) for m, x in zip(members, inputs, strict=True)]
    torch.testing.assert_close(log_probs.exp(), (both[0] + both[1]) / 2)
    plain = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    with last_hidden(plain) as inputs:
        logits = plain(features[:, 0])
    torch.testing.assert_close(plain[2](inputs[0]), logits)
    with pytest.raises(InputError, match="neither `output` nor a linear"), last_hidden(plain[1]):
        pass
