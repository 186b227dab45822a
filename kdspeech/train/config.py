"""What a training run is: every number of the one training loop."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from kdspeech.config import Config
from kdspeech.train.precision import uses_bf16


class TrainConfig(Config):
    """Settings of `fit`; learning rates are those of a whole (global) batch."""

    epochs: int = Field(26, ge=1, description="passes over the training batches")
    batch_size: int = Field(64, ge=1, description="clips per step, for whoever makes the batches")
    seed: int = Field(0, ge=0, description="of dropout and of everything random in the batches")

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0, description="highest learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    fused: bool = Field(
        False, description="one kernel for the optimizer's step: faster where weights are many"
    )
    nesterov: bool = False
    weight_decay: float = Field(1e-5, ge=0)
    decay_bias_and_norm: bool = Field(
        False, description="decay biases and the affine values of norms as well as weights"
    )
    grad_clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of a running mean of the weights, which is then kept"
    )

    schedule: Literal["constant", "step", "cosine", "one_cycle", "newbob"] = "cosine"
    warmup_epochs: float = Field(0.0, ge=0, description="linear rise from 0 to lr, not one_cycle")
    step_epochs: tuple[float, ...] = Field((), description="step: epochs at which the rate drops")
    step_factor: float = Field(0.1, gt=0, description="step: what it drops by")
    final_factor: float = Field(0.0, ge=0, le=1, description="cosine, one_cycle: last rate / lr")
    one_cycle_rise: float = Field(0.3, gt=0, lt=1, description="one_cycle: part that rises")
    one_cycle_start: float = Field(0.04, gt=0, le=1, description="one_cycle: first rate / lr")
    newbob_factor: float = Field(0.5, gt=0, lt=1, description="newbob: what the rate drops by")
    newbob_threshold: float = Field(
        0.0, ge=0, description="newbob: smallest relative gain on dev that keeps the rate"
    )
    newbob_drops: int = Field(6, ge=1, description="newbob: stops at the drop after this many")

    keep_best: str = Field("accuracy", description="the dev metric that chooses best.pt")
    keep_best_mode: Literal["max", "min"] = "max"

    precision: Annotated[Literal["32", "bf16", "auto"], BeforeValidator(str)] = Field(
        "32", description="bf16: autocast in training; auto: where the machine is faster with it"
    )
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int | None = Field(None, ge=1, description="of torch, per process")
    checkpoint_steps: int | None = Field(
        None, ge=1, description="write last.pt every so many steps, besides every epoch"
    )
    tensorboard: bool = True

    @property
    def bf16(self) -> bool:
        """Whether products are computed in bfloat16 here."""
        return uses_bf16(self.precision, self.accelerator)


# Settings that do not change what is learnt: a resumed run may have others.
FREE_ON_RESUME = ("accelerator", "num_threads", "checkpoint_steps", "tensorboard")

# Of the identity, what runs of before did not write down: where it is missing, nothing is known.
NEWER_IDENTITY = ("frames_id",)
