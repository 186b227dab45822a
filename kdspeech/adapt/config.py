"""How speakers are adapted: `conf/adapt.yaml`."""

from typing import Literal

from pydantic import Field, model_validator

from kdspeech.acoustic.config import DistillConfig
from kdspeech.config import Config
from kdspeech.train import TrainConfig

_OF_TARGETS = "targets", "lm_scale", "confidence", "min_confidence"  # settings of AdaptConfig


class AdaptTrainConfig(TrainConfig):
    """TrainConfig for the few minutes of a speaker: plain gradient descent at a constant rate."""

    epochs: int = Field(5, ge=1)
    batch_size: int = Field(256, ge=1, description="frames per step; all where there are fewer")
    lr: float = Field(0.05, gt=0, description="of the mean over a batch")
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "step", "cosine", "one_cycle", "newbob"] = "constant"
    keep_best: Literal["loss"] = "loss"
    keep_best_mode: Literal["min"] = "min"
    accelerator: Literal["auto", "cpu", "cuda"] = "cpu"
    num_threads: int | None = Field(1, ge=1, description="of torch; speakers run in parallel")
    tensorboard: bool = False


class AdaptConfig(Config):
    """Everything `conf/adapt.yaml` may say.

    Means over the frames, with w a target's weight (1 unless `confidence`, its posterior in the
    lattice with `targets: lattice`) and y the softmax:

        L = (1 - rho) L_t + rho L_SI,   L_t = -sum w log y_target (ce), or that of `distill` (kl)

    L_SI is the soft cross-entropy with the outputs of the network before adaptation (Yu et al.
    2013, "KL-divergence regularized deep neural network adaptation", equation 6).
    """

    update: tuple[str, ...] = Field(
        ("gates",),
        min_length=1,
        description="groups of the network: gates, hidden, softmax or all of these, and lhuc",
    )
    loss: Literal["ce", "kl"] = "ce"
    distill: DistillConfig = Field(
        DistillConfig(), description="kl: as in conf/dnn.yaml; no teachers: the network itself"
    )
    rho: float = Field(0.0, ge=0, lt=1, description="pull towards the outputs before adaptation")
    targets: Literal["best", "lattice"] = Field(
        "best", description="lattices: the best path's pdfs, or all with their posteriors"
    )
    lm_scale: float = Field(12.0, gt=0, description="lattices: of the path or of the posteriors")
    confidence: bool = Field(False, description="lattices: weigh frames by their pdf's posterior")
    min_confidence: float = Field(
        0.0, ge=0, le=1, description="lattices: targets with a lower posterior are left out"
    )
    min_frames: int = Field(
        200, ge=1, description="with targets; speakers with fewer stay as they are"
    )
    relevance: float = Field(
        0.0,
        ge=0,
        description="r: of a speaker's difference, n / (n + r) is kept; n: frames with targets",
    )
    held_out: float = Field(
        0.1, ge=0, lt=1, description="part of the frames, in utterances, to choose the epoch by"
    )
    lhuc_lr: float = Field(
        1.0,
        gt=0,
        description="in place of train.lr where lhuc alone is updated: amplitudes are few",
    )
    train: AdaptTrainConfig = AdaptTrainConfig()

    @model_validator(mode="after")
    def _something_to_learn(self) -> "AdaptConfig":
        distill = self.distill
        if self.loss == "ce" and distill != DistillConfig():
            raise ValueError("distill goes with loss kl")
        if self.confidence and self.targets == "lattice":
            raise ValueError("confidence weighs a best path; a lattice's posteriors are weights")
        if distill.unlabelled:
            raise ValueError("distill.unlabelled: give '-' in place of the targets")
        fields = type(self).model_fields
        idle = [name for name in _OF_TARGETS if getattr(self, name) != fields[name].default]
        if idle and not self.needs_targets:
            raise ValueError(
                f"{', '.join(idle)}: of targets, at which loss kl does not look where distill.q = 0"
            )
        own = not (distill.teachers or self.needs_targets)
        if own and distill.student_temperature == distill.temperature:
            raise ValueError(
                "loss kl with the network's own outputs is at its minimum from the start: "
                "name distill.teachers, or give distill.q, or distill.temperature with "
                "distill.soften_student=false"
            )
        return self

    @property
    def needs_targets(self) -> bool:
        """Whether the loss looks at a frame's pdf at all."""
        return self.loss == "ce" or self.distill.q > 0
