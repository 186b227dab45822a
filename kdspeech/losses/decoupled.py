"""Decoupled distillation, and label smoothing as the control that needs no teacher."""

import torch
from torch import Tensor
from torch.nn import functional as F

LOWEST = -1e4  # log of "no mass": of a one-hot teacher's other classes all the same is left


def decoupled_kd_loss(
    student_logits: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """L = T^2 (alpha TCKD + beta NCKD), mean over the batch: decoupled KD (Zhao et al. 2022,
    equation 7).

    With p = softmax(z / T) and y the label, TCKD = KL(b_t || b_s) for b = (p_y, 1 - p_y), and
    NCKD = KL(q_t || q_s) for q = softmax of the classes other than y (equation 5). Hinton's KL is
    TCKD + (1 - p_y of the teacher) NCKD: it hushes what a sure teacher knows of the others.
    The paper adds the cross-entropy of the labels, and lets this loss rise over 20 epochs.

    Args:
      student_logits: (batch, classes).
      teacher: (batch, classes) logits or log-probabilities, without gradient.
      labels: y, (batch,) int64.
      alpha, beta: weights of the target class and of the others among themselves.
      temperature: T > 0.

    Returns:
      A scalar; 0 where the student is the teacher.

    Raises:
      ValueError: shapes that do not fit, or a value out of its range.
    """
    _check(student_logits, teacher, labels)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    student = student_logits.float() / temperature
    teacher = teacher.detach().float().clamp_min(LOWEST) / temperature
    target = F.one_hot(labels, student.shape[1]).bool()
    tckd = _kl(_two_classes(teacher, target), _two_classes(student, target))
    nckd = _kl(_other_classes(teacher, target), _other_classes(student, target))
    return temperature**2 * (alpha * tckd + beta * nckd)


def label_smoothing_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """CE with (1 - e) one-hot(y) + e / K: label smoothing (Szegedy et al. 2016, section 7).

    What a teacher of no knowledge but the label gives; a student has to do better than with this.

    Args:
      logits: (batch, classes).
      labels: (batch,) int64.
      smoothing: e, 0 to 1; 0 is the cross-entropy.
    """
    _check(logits, logits, labels)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must be within 0 and 1, got {smoothing}")
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def _two_classes(logits: Tensor, target: Tensor) -> Tensor:
    """log (p_y, 1 - p_y), (batch, 2)."""
    return torch.stack(
        [logits[target], logits.masked_fill(target, -torch.inf).logsumexp(1)], 1
    ).log_softmax(1)


def _other_classes(logits: Tensor, target: Tensor) -> Tensor:
    """log softmax over the classes but y, (batch, classes - 1)."""
    return logits[~target].view(len(logits), -1).log_softmax(1)


def _kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL of two log-distributions, (batch, n) each, mean over the batch."""
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _check(student: Tensor, teacher: Tensor, labels: Tensor) -> None:
    if student.dim() != 2 or student.shape[1] < 2 or student.shape != teacher.shape:
        raise ValueError(
            "student and teacher must both be (batch, classes), 2 or more, got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if labels.shape != student.shape[:1] or labels.dtype != torch.long:
        raise ValueError(
            f"labels must be int64 ({student.shape[0]},), got {labels.dtype} {tuple(labels.shape)}"
        )
