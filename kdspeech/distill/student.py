"""What a student minimises: the loss that a recipe's `distill` section says."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.distill.config import LossConfig
from kdspeech.io.errors import InputError
from kdspeech.losses.kd import kd_loss
from kdspeech.losses.terms import REGRESSORS, add_regressors, sum_of_terms
from kdspeech.models import outputs_of


class Batch(NamedTuple):
    """Features (n, frames, dim), classes (n,), the teachers' log-probabilities (n, classes), hidden
    layers of the nearest teacher by name, and the epochs done."""

    features: Tensor
    labels: Tensor
    targets: Tensor | None
    hidden: dict[str, Tensor] = {}
    epoch: float = 0.0


def student_loss(
    distill: LossConfig, student: nn.Module, taught: bool, hard: bool = False
) -> Callable[[nn.Module, Batch], tuple[Tensor, dict]]:
    """What `fit` minimises: (model, batch) -> (loss, its terms).

    Args:
      distill: the loss of a student with a teacher.
      student: the plain module, whose layers the loss may look at.
      taught: by a teacher; else the labels are all there is.
      hard: the teacher's arg-max instead of its distribution.

    Raises:
      InputError: hard labels for losses that are of soft ones.
    """
    if hard and distill.losses:
        raise InputError("distill.losses are of soft labels: leave out hard, or the losses")
    if not taught:
        return label_loss
    if distill.losses:
        return partial(composite_loss, distill, student)
    temperature = 1.0 if hard else distill.temperature

    def teacher_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict]:
        logits = model(batch.features)
        options = {"temperature": temperature, "alpha": distill.alpha, "hard": hard}
        return kd_loss(logits, batch.targets, batch.labels, **options), {}

    return teacher_loss


def label_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict]:
    """Cross-entropy with the labels, for each member of an ensemble."""
    logits = model(batch.features).float()
    return F.cross_entropy(logits, batch.labels.repeat(len(logits) // len(batch.labels))), {}


def composite_loss(
    distill: LossConfig, student: nn.Module, model: nn.Module, batch: Batch
) -> tuple[Tensor, dict]:
    """The sum of `distill.losses`; `model` is the student, as the loop wraps it."""
    with outputs_of(student, distill.student_modules) as hidden:
        logits = model(batch.features)
    return sum_of_terms(
        distill.losses,
        logits,
        batch.targets,
        batch.labels,
        hidden,
        batch.hidden,
        getattr(student, REGRESSORS, None),
        batch.epoch,
        {"temperature": distill.temperature, "alpha": distill.alpha},
    )


def add_hint_regressors(distill: LossConfig, model: nn.Module, batch: Batch) -> None:
    """Gives a student the regressors of its hints, for layers as large as a batch shows them.

    Raises:
      InputError: layers that do not fit each other.
    """
    try:
        with torch.no_grad(), outputs_of(model.eval(), distill.student_modules) as hidden:
            model(batch.features)
        add_regressors(model, distill.losses, hidden, batch.hidden)
        composite_loss(distill, model, model, batch)  # whose layers must have fitting shapes
    except ValueError as error:
        raise InputError(f"distill.losses: {error}") from None
