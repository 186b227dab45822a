import math

import pytest
import torch
from torch.nn import functional as F

from kdspeech.losses import (
    decoupled_kd_loss,
    kd_loss,
    soft_cross_entropy,
    teacher_targets,
    top_k_cross_entropy,
)
from kdspeech.losses.terms import LossTerm, sum_of_terms

LOGITS = torch.tensor([[0.0, math.log(3.0)]])  # softmax: 1/4, 3/4
TEACHER = torch.tensor([[math.log(4.0), 0.0]])  # softmax: 4/5, 1/5


def test_soft_loss_by_hand():
    expected = -(0.8 * math.log(1 / 4) + 0.2 * math.log(3 / 4))
    assert kd_loss(LOGITS, TEACHER).item() == pytest.approx(expected, rel=1e-6)


def test_temperature_by_hand():
    # At T = 2: student 1 : sqrt 3, teacher 2 : 1.
    p, t = 1 / (1 + math.sqrt(3)), 2 / 3
    expected = -4 * (t * math.log(p) + (1 - t) * math.log(1 - p))
    assert kd_loss(LOGITS, TEACHER, temperature=2).item() == pytest.approx(expected, rel=1e-6)


def test_mixed_loss_by_hand():
    soft = -(0.8 * math.log(1 / 4) + 0.2 * math.log(3 / 4))
    hard = -math.log(3 / 4)
    loss = kd_loss(LOGITS, TEACHER, torch.tensor([1]), alpha=0.3)
    assert loss.item() == pytest.approx(0.3 * soft + 0.7 * hard, rel=1e-6)


def test_hard_targets_by_hand():
    assert kd_loss(LOGITS, TEACHER, hard=True).item() == pytest.approx(math.log(4), rel=1e-6)


def test_alpha_zero_is_cross_entropy():
    student, teacher = torch.randn(5, 12), torch.randn(5, 12)
    labels = torch.randint(12, (5,))
    loss = kd_loss(student, teacher, labels, alpha=0, label_smoothing=0.1)
    expected = F.cross_entropy(student, labels, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


def test_gradient_is_alpha_T_times_difference():
    # d/dz of T^2 CE(softmax(z/T), p) = T (softmax(z/T) - p), the mean over the batch.
    student, teacher = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    kd_loss(student, teacher, torch.zeros(6).long(), temperature=3.0, alpha=1.0).backward()
    expected = 3.0 * ((student / 3).softmax(1) - (teacher / 3).softmax(1)) / 6
    assert torch.allclose(student.grad, expected, atol=1e-6)


def test_high_temperature_matches_centred_logits():
    # Hinton et al. 2015, eq. 4: for T -> infinity the gradient is (z - v) / K of centred logits.
    student, teacher = (torch.randn(2, 5, dtype=torch.float64) for _ in range(2))
    student -= student.mean(1, keepdim=True)
    teacher -= teacher.mean(1, keepdim=True)
    student = student.float().requires_grad_()
    kd_loss(student, teacher.float(), temperature=300.0).backward()
    assert torch.allclose(student.grad, (student - teacher.float()) / 5 / 2, atol=2e-3)


def test_low_temperature_goes_to_the_hard_target():
    teacher = torch.stack([torch.randperm(6).float() for _ in range(4)])  # no near ties
    soft = teacher_targets(teacher, temperature=1e-3)
    assert torch.allclose(soft, teacher_targets(teacher, hard=True), atol=1e-4)


def test_loss_is_least_at_the_teachers_output():
    teacher = torch.randn(3, 5)
    entropy = -(teacher.softmax(1) * teacher.log_softmax(1)).sum(1).mean()
    assert torch.allclose(kd_loss(teacher, teacher), entropy)
    assert kd_loss(teacher + torch.randn(3, 5), teacher) > entropy


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_logits_log_probabilities_and_probabilities_agree(temperature):
    student, teacher = torch.randn(3, 5), torch.randn(3, 5)
    loss = kd_loss(student, teacher, temperature=temperature)
    logs = kd_loss(student, teacher.log_softmax(1), temperature=temperature)
    probs = kd_loss(student, teacher.softmax(1), temperature=temperature, kind="probs")
    assert torch.allclose(logs, loss) and torch.allclose(probs, loss)


def test_zero_probability_and_far_logits_stay_finite():
    probs = torch.tensor([[1.0, 0.0, 0.0]])
    student = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    loss = kd_loss(student, probs, temperature=2.0, kind="probs")
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


def test_no_gradient_reaches_the_teacher_and_bfloat16_is_computed_in_float32():
    teacher = torch.randn(2, 3, requires_grad=True)
    student = torch.randn(2, 3).bfloat16().requires_grad_()
    loss = kd_loss(student, teacher)
    loss.backward()
    assert teacher.grad is None and loss.dtype == torch.float32


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"teacher": torch.zeros(2, 4)}, r"got \(2, 3\) and \(2, 4\)"),
        ({"student_logits": torch.zeros(3), "teacher": torch.zeros(3)}, "must both be"),
        ({"temperature": 0}, "temperature must be above 0"),
        ({"alpha": 1.5}, "alpha must be within 0 and 1"),
        ({"alpha": 0.5}, "there are no labels"),
        ({"alpha": 0.5, "labels": torch.zeros(3).long()}, r"labels must be int64 \(2,\)"),
        ({"alpha": 0.5, "labels": torch.zeros(2)}, "labels must be int64"),
        ({"hard": True, "temperature": 2}, "hard targets have no temperature"),
        ({"kind": "prob"}, 'is "logits" or "probs"'),
        ({"kind": "probs", "teacher": -torch.ones(2, 3)}, "are these logits"),
    ],
)
def test_bad_input_raises(arguments, message):
    defaults = {"student_logits": torch.zeros(2, 3), "teacher": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=message):
        kd_loss(**{**defaults, **arguments})


def test_soft_cross_entropy_refuses_other_shapes():
    with pytest.raises(ValueError, match="must both be"):
        soft_cross_entropy(torch.zeros(2, 3), torch.zeros(2))


def test_what_top_k_labels_do_not_tell_apart_is_one_class():
    """y = (1/2, 1/4, 1/8, 1/8): of classes 2 and 0 by name, the other two have 3/8 together."""
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log() + 3
    named = torch.tensor([[2, 0]]), torch.tensor([[0.2, 0.4]]), torch.tensor([0.4])
    expected = -(0.2 * math.log(1 / 8) + 0.4 * math.log(1 / 2) + 0.4 * math.log(3 / 8))
    assert top_k_cross_entropy(logits, *named).item() == pytest.approx(expected, abs=1e-6)
    twice = named[0], 2 * named[1], 2 * named[2]
    assert top_k_cross_entropy(logits, *twice).item() == pytest.approx(expected, abs=1e-6)
    sparse = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    probs, classes = torch.randn(5, 7, dtype=torch.float64).softmax(1).topk(3)
    assert torch.autograd.gradcheck(
        lambda x: top_k_cross_entropy(x, classes, probs, 1 - probs.sum(1)), sparse
    )


def test_with_every_class_named_top_k_is_the_soft_cross_entropy():
    logits = torch.randn(4, 6, requires_grad=True)
    targets = torch.randn(4, 6).softmax(1)
    probs, classes = targets.topk(6)
    losses = (
        soft_cross_entropy(logits, targets),
        top_k_cross_entropy(logits, classes, probs, torch.zeros(4)),
    )
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits) for loss in losses))


def test_the_student_shares_the_rest_as_it_did():
    """The gradient leaves the proportions among the classes without a name as they are."""
    logits = torch.randn(3, 6, requires_grad=True)
    probs, classes = torch.randn(3, 6).softmax(1).topk(2)
    top_k_cross_entropy(logits, classes, probs, 1 - probs.sum(1)).backward()
    unnamed = torch.ones(3, 6).scatter(1, classes, 0).bool()
    ratio = (logits.grad / logits.softmax(1))[unnamed].reshape(3, 4)
    torch.testing.assert_close(ratio, ratio[:, :1].expand(3, 4))


def test_a_clip_without_a_label_has_the_teachers_part_alone():
    generator = torch.Generator().manual_seed(3)
    student, teacher = (torch.randn(3, 4, generator=generator) for _ in range(2))
    labels = torch.tensor([2, -1, 0])
    each = [kd_loss(student[i : i + 1], teacher[i : i + 1], temperature=2.0) for i in range(3)]
    soft = 0.3 * sum(each) / 3
    own = -(student.log_softmax(1)[0, 2] + student.log_softmax(1)[2, 0]) / 3
    loss = kd_loss(student, teacher, labels, 2.0, 0.3)
    torch.testing.assert_close(loss, soft + 0.7 * own)
    assert torch.isfinite(kd_loss(student, teacher, torch.full((3,), -1), 2.0, 0.3))


def test_terms_that_need_labels_leave_unlabelled_clips_out():
    generator = torch.Generator().manual_seed(4)
    student, teacher = (torch.randn(4, 3, generator=generator) for _ in range(2))
    labels, some = torch.tensor([1, -1, -1, 2]), torch.tensor([0, 3])
    terms = [LossTerm(name="kd", options={"alpha": 0.5}), LossTerm(name="decoupled_kd")]
    total, values = sum_of_terms(terms, student, teacher, labels, {}, {})
    half = decoupled_kd_loss(student[some], teacher[some], labels[some]) / 2
    torch.testing.assert_close(values["decoupled_kd"], half)
    torch.testing.assert_close(total, kd_loss(student, teacher, labels, 1.0, 0.5) + half)
    none = torch.full((4,), -1)
    assert sum_of_terms(terms[1:], student, teacher, none, {}, {})[0] == 0
