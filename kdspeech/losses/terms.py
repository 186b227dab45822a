"""A student's loss as a weighted sum of terms, as `distill.losses` of a recipe lists them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field, model_validator
from torch import Tensor, nn

from kdspeech.config import Config
from kdspeech.losses.decoupled import decoupled_kd_loss, label_smoothing_loss
from kdspeech.losses.hidden import attention_transfer_loss, hint_loss, hint_regressor
from kdspeech.losses.kd import UNLABELLED, kd_loss

# Functions of (student's logits, teacher's log-posteriors, labels, **options).
OUTPUT_LOSSES: dict[str, Callable[..., Tensor]] = {
    "kd": kd_loss,
    "decoupled_kd": decoupled_kd_loss,
    "label_smoothing": lambda logits, _teacher, labels, smoothing=0.1: label_smoothing_loss(
        logits, labels, smoothing
    ),
}
# Functions of (student's layer, teacher's layer, **options); hint's `regressor` is made for it.
LAYER_LOSSES: dict[str, Callable[..., Tensor]] = {
    "hint": hint_loss,
    "attention": attention_transfer_loss,
}
REGRESSORS = "regressors"  # the student's submodule that holds those of its hints


class LossTerm(Config):
    """`{name: hint, weight: 100, student: blocks.1, teacher: blocks.3}`."""

    name: str = Field(description=f"one of {', '.join([*OUTPUT_LOSSES, *LAYER_LOSSES])}")
    weight: float = Field(1.0, gt=0)
    warmup_epochs: float = Field(0.0, ge=0, description="of linear rise from 0 to the weight")
    student: str | None = Field(None, description="hint, attention: the student's module")
    teacher: str | None = Field(None, description="hint, attention: the teacher's module")
    options: dict[str, float | bool] = Field({}, description="further arguments of the function")

    @model_validator(mode="after")
    def _check(self) -> "LossTerm":
        functions = OUTPUT_LOSSES | LAYER_LOSSES
        if self.name not in functions:
            raise ValueError(f"no loss {self.name!r}; there are {', '.join(functions)}")
        given = 2 if self.of_layers else 3
        known = list(inspect.signature(functions[self.name]).parameters)[given:]
        if self.name == "hint":
            known.remove("regressor")
        for key in self.options:
            if key not in known:
                raise ValueError(f"{self.name} has no option {key!r}; it has {', '.join(known)}")
        modules = (self.student, self.teacher)
        if self.of_layers != all(modules) or self.of_layers != any(modules):
            need = "needs" if self.of_layers else "has no"
            raise ValueError(f"{self.name} {need} `student` and `teacher`, names of modules")
        return self

    @property
    def of_layers(self) -> bool:
        return self.name in LAYER_LOSSES

    def weight_at(self, epoch: float) -> float:
        """The weight after so many epochs, of which some may be a part."""
        return self.weight * min(1.0, epoch / self.warmup_epochs if self.warmup_epochs else 1.0)


def add_regressors(
    model: nn.Module, terms: Sequence[LossTerm], student: dict, teacher: dict
) -> None:
    """Gives a student the regressors of its hints, as its submodule `regressors`.

    They are trained and kept with it, and left out where it is used.

    Args:
      model: the student.
      terms: the loss.
      student, teacher: outputs of the modules that the terms name, of the same clips.
    """
    regressors = {
        str(i): hint_regressor(student[term.student], teacher[term.teacher])
        for i, term in enumerate(terms)
        if term.name == "hint"
    }
    if regressors:
        model.add_module(REGRESSORS, nn.ModuleDict(regressors))


def sum_of_terms(
    terms: Sequence[LossTerm],
    logits: Tensor,
    targets: Tensor,
    labels: Tensor,
    student: dict[str, Tensor],
    teacher: dict[str, Tensor],
    regressors: nn.ModuleDict | None = None,
    epoch: float = 0.0,
    defaults: dict[str, Any] | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """sum_i w_i L_i.

    Args:
      terms: the L_i with weights and warm-up.
      logits: the student's, (batch, classes).
      targets: the teacher's log-posteriors, (batch, classes).
      labels: (batch,) int64, -1 where there is none: such clips have `kd`'s part of the teacher and
        the layers' terms, none of the others.
      student, teacher: outputs of modules by name.
      regressors: see `add_regressors`.
      epoch: epochs done, for warm-up.
      defaults: options of `kd` where a term does not give them.

    Returns:
      The sum, a scalar, and the terms without their weights, `hint` or, where there are several,
      `hint.2`: by place in the list.

    Raises:
      ValueError: layers whose shapes do not fit.
    """
    total, values = logits.new_zeros((), dtype=targets.dtype), {}
    for i, term in enumerate(terms):
        options = (defaults or {}) | term.options if term.name == "kd" else dict(term.options)
        if term.of_layers:
            if term.name == "hint":
                options["regressor"] = regressors[str(i)]
            pair = (student[term.student], teacher[term.teacher])
            value = LAYER_LOSSES[term.name](*pair, **options)
        else:
            value = _output_loss(term.name, logits, targets, labels, options)
        values[f"{term.name}.{i}" if term.name in values else term.name] = value.detach()
        total = total + term.weight_at(epoch) * value
    return total, values


def _output_loss(name: str, logits: Tensor, targets: Tensor, labels: Tensor, options: dict):
    """A term by the outputs, a mean over the batch to which clips without a label add nothing."""
    known = labels != UNLABELLED
    if name == "kd" or known.all():
        return OUTPUT_LOSSES[name](logits, targets, labels, **options)
    if not known.any():
        return logits.sum() * 0
    value = OUTPUT_LOSSES[name](logits[known], targets[known], labels[known], **options)
    return value * known.float().mean()
