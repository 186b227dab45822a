"""Distillation from the teacher's output distribution."""

import torch
from torch import Tensor
from torch.nn import functional as F

UNLABELLED = -1  # a label that is not known


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of -sum_k targets_k log softmax(logits)_k.

    Shape: both (batch, classes); the targets are distributions.
    """
    if logits.dim() != 2 or logits.shape != targets.shape:
        raise ValueError(
            "logits and target distributions must both be (batch, classes), got "
            f"{tuple(logits.shape)} and {tuple(targets.shape)}"
        )
    return -(targets * logits.log_softmax(1)).sum(1).mean()


def top_k_cross_entropy(logits: Tensor, classes: Tensor, probs: Tensor, rest: Tensor) -> Tensor:
    """Soft cross-entropy with labels that say of most classes only what they have together.

    Mean over the batch of -sum_j P_j log y_j - P_rest log sum_i y_i, y being softmax(logits), j
    running over the classes that are named and i over all others: these are one class, and how it
    is shared among them is left to the student. With every class named it is
    `soft_cross_entropy`. To share the rest equally would be to teach that every rare class is as
    likely as a frequent one, which ruins a likelihood posterior / prior.

    Args:
      logits: (batch, classes).
      classes: int64 (batch, k), those that are named; none twice.
      probs: (batch, k), their probabilities.
      rest: (batch,), of the others together; the sum with probs is made 1.
    """
    total = probs.sum(1) + rest
    logs = logits.log_softmax(1)
    value = (probs * logs.gather(1, classes)).sum(1)
    if classes.shape[1] < logits.shape[1]:
        value = value + rest * logs.scatter(1, classes, -torch.inf).logsumexp(1)
    return -(value / total).mean()


def teacher_targets(
    teacher: Tensor, temperature: float = 1.0, kind: str = "logits", hard: bool = False
) -> Tensor:
    """The distribution a student learns from.

    Args:
      teacher: (batch, classes) logits or log-probabilities (kind="logits", the two give the same
        softmax) or probabilities (kind="probs").
      temperature: softmax(logits / T); for probabilities p^(1/T), normalised, which is the same.
      kind: "logits" or "probs".
      hard: the one-hot vector of the arg-max instead; the temperature then has no effect.

    Returns:
      (batch, classes) float32, rows summing to one, without gradient.
    """
    if kind not in ("logits", "probs"):
        raise ValueError(f'teacher kind is "logits" or "probs", got {kind!r}')
    if teacher.dim() != 2:
        raise ValueError(f"teacher output must be (batch, classes), got {tuple(teacher.shape)}")
    teacher = teacher.detach().float()
    if hard:
        return F.one_hot(teacher.argmax(1), teacher.shape[1]).float()
    if kind == "logits":
        return (teacher / temperature).softmax(1)
    if (teacher < 0).any():
        raise ValueError('negative teacher probabilities: are these logits (kind="logits")?')
    scaled = teacher if temperature == 1 else teacher.pow(1 / temperature)
    return scaled / scaled.sum(1, keepdim=True)


def kd_loss(
    student_logits: Tensor,
    teacher: Tensor,
    labels: Tensor | None = None,
    temperature: float = 1.0,
    alpha: float = 1.0,
    *,
    kind: str = "logits",
    hard: bool = False,
    label_smoothing: float = 0.0,
) -> Tensor:
    """L = alpha T^2 CE(softmax(z_s / T), p_T) + (1 - alpha) CE(z_s, y), mean over the batch
    (Hinton, Vinyals & Dean 2015, section 2; T^2 keeps the gradient's size at every T). A clip whose
    y is -1, unlabelled, has the first term alone.

    Args:
      student_logits: z_s, (batch, classes).
      teacher: (batch, classes), what `teacher_targets` takes; p_T is its result.
      labels: y, (batch,) class indices, -1 for none; needed unless alpha is 1.
      temperature: T > 0. Hard targets need T = 1: an arg-max has no temperature.
      alpha: weight of the teacher, 0 to 1.
      kind: whether `teacher` holds "logits" (or log-probabilities) or "probs".
      hard: learn the teacher's arg-max instead of its distribution.
      label_smoothing: of the second term, as in torch's cross_entropy.

    Returns:
      A scalar. With p_T itself as the student's output it is T^2 times the entropy of p_T, not 0.

    Raises:
      ValueError: shapes that do not fit, or a value out of its range.
    """
    _check(student_logits, teacher, labels, temperature, alpha, hard)
    student_logits = student_logits.float()
    loss = student_logits.new_zeros(())
    if alpha > 0:
        targets = teacher_targets(teacher, temperature, kind, hard)
        soft = soft_cross_entropy(student_logits / temperature, targets)
        loss = alpha * temperature**2 * soft
    if alpha < 1:
        how = {"ignore_index": UNLABELLED, "label_smoothing": label_smoothing}
        ce = F.cross_entropy(student_logits, labels, reduction="sum", **how) / len(labels)
        loss = loss + (1 - alpha) * ce
    return loss


def _check(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None,
    temperature: float,
    alpha: float,
    hard: bool,
) -> None:
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            "student and teacher must both be (batch, classes), got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be within 0 and 1, got {alpha}")
    if hard and temperature != 1:
        raise ValueError(f"hard targets have no temperature: use 1, got {temperature}")
    if alpha == 1:
        return
    if labels is None:
        raise ValueError(f"alpha = {alpha} gives the labels a weight, but there are no labels")
    if labels.shape != student.shape[:1] or labels.dtype != torch.long:
        raise ValueError(
            f"labels must be int64 ({student.shape[0]},), got {labels.dtype} {tuple(labels.shape)}"
        )
