import math

import pytest
import torch
from torch.nn import functional as F

from kdspeech.losses import decoupled_kd_loss, kd_loss, label_smoothing_loss

LABELS = torch.tensor([0])
STUDENT = torch.tensor([[math.log(2.0), math.log(1.0), math.log(1.0)]])  # 1/2, 1/4, 1/4
TEACHER = torch.tensor([[math.log(5.0), math.log(4.0), math.log(1.0)]])  # 5/10, 4/10, 1/10


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_decoupled_by_hand():
    # The target's half is right already: TCKD is 0. Of the others: 4/5, 1/5 against 1/2, 1/2.
    nckd = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    loss = decoupled_kd_loss(STUDENT, TEACHER, LABELS, alpha=7, beta=2, temperature=1)
    assert loss.item() == pytest.approx(2 * nckd, rel=1e-5)
    # Label 2: 1/10, 9/10 against 1/4, 3/4; of the others 5/9, 4/9 against 2/3, 1/3.
    tckd = 0.1 * math.log(0.1 / 0.25) + 0.9 * math.log(0.9 / 0.75)
    nckd = 5 / 9 * math.log(5 / 9 * 3 / 2) + 4 / 9 * math.log(4 / 9 * 3)
    loss = decoupled_kd_loss(STUDENT, TEACHER, torch.tensor([2]), 3, 2, temperature=1)
    assert loss.item() == pytest.approx(3 * tckd + 2 * nckd, rel=1e-5)


def test_hintons_loss_is_the_sum_with_the_teachers_weight():
    # Zhao et al. 2022, equation 6: KD = TCKD + (1 - p_y) NCKD, clip by clip.
    student, teacher = random(0, 1, 6), random(1, 1, 6)
    target = torch.tensor([4])
    rest = 1 - (teacher / 3).softmax(1)[0, 4].item()
    entropy = -((teacher / 3).softmax(1) * (teacher / 3).log_softmax(1)).sum()
    kl = kd_loss(student, teacher, temperature=3.0) - 9 * entropy
    loss = decoupled_kd_loss(student, teacher, target, 1.0, rest, temperature=3.0)
    torch.testing.assert_close(loss, kl, atol=1e-5, rtol=1e-4)


def test_nothing_to_learn_from_oneself():
    teacher = random(0, 5, 7)
    loss = decoupled_kd_loss(teacher + 3, teacher, torch.arange(5))
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_high_temperature_matches_centred_logits():
    # NCKD alone for T -> infinity: T^2 KL(q_t || q_s) -> var(v - z) / 2 over the other classes.
    student, teacher = random(0, 1, 4), random(1, 1, 4)
    loss = decoupled_kd_loss(student, teacher, LABELS, 0.0, 1.0, temperature=100.0)
    difference = (teacher - student)[0, 1:]
    assert loss.item() == pytest.approx(difference.var(correction=0).item() / 2, rel=0.05)


def test_one_hot_teacher_is_the_cross_entropy_and_the_others_all_the_same():
    student = random(0, 1, 4).requires_grad_()
    one_hot = torch.tensor([[0.0, -math.inf, -math.inf, -math.inf]])
    target = decoupled_kd_loss(student, one_hot, LABELS, 1.0, 0.0, temperature=1.0)
    torch.testing.assert_close(target, F.cross_entropy(student, LABELS))
    others = decoupled_kd_loss(student, one_hot, LABELS, 0.0, 1.0, temperature=1.0)
    logs = student[0, 1:].log_softmax(0)
    torch.testing.assert_close(others, -math.log(3) - logs.mean())
    (target + others).backward()
    assert student.grad.isfinite().all()


def test_label_smoothing_by_hand():
    logs = STUDENT.log_softmax(1)[0]
    expected = -(0.9 * logs[0] + 0.1 * logs.mean())
    torch.testing.assert_close(label_smoothing_loss(STUDENT, LABELS, 0.1), expected)
    assert label_smoothing_loss(STUDENT, LABELS, 0.0).item() == pytest.approx(math.log(2))
    # Wholly smoothed it is Hinton's loss with a teacher at T -> infinity.
    flat = kd_loss(STUDENT, torch.zeros(1, 3))
    torch.testing.assert_close(label_smoothing_loss(STUDENT, LABELS, 1.0), flat)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"teacher": torch.zeros(2, 4)}, r"got \(2, 3\) and \(2, 4\)"),
        ({"labels": torch.zeros(2)}, "labels must be int64"),
        ({"temperature": 0}, "above 0"),
    ],
)
def test_bad_input(arguments, message):
    good = {"student_logits": torch.zeros(2, 3), "teacher": torch.zeros(2, 3)}
    good["labels"] = torch.zeros(2).long()
    with pytest.raises(ValueError, match=message):
        decoupled_kd_loss(**{**good, **arguments})


def test_smoothing_out_of_range():
    with pytest.raises(ValueError, match="smoothing must be within"):
        label_smoothing_loss(STUDENT, LABELS, 1.5)
