"""What a network is and how it is trained: `conf/dnn.yaml`."""

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from kdspeech.config import Config
from kdspeech.models.highway import Gates
from kdspeech.train import TrainConfig


class NetworkConfig(Config):
    """A network by its name in the papers, with what the name does not say."""

    model: str = Field("HDNN-H512-L10", description="DNN-H<hidden>-L<layers> or HDNN-...")
    activation: Literal["sigmoid", "relu"] = "sigmoid"
    dropout: float = Field(0.0, ge=0, lt=1, description="after every hidden layer")
    gates: Gates = Field("both", description="HDNN: which gates there are")
    gate_bias: float | None = Field(None, description="HDNN: biases of the gates and their start")
    context: int = Field(7, ge=0, description="frames on each side of the one that is classified")


class DnnTrainConfig(TrainConfig):
    """TrainConfig with what Lu, Guo & Renals did, and Kaldi's nnet1 where they do not say."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(256, ge=1, description="frames per step")
    # With momentum as far as nnet1's rate of 0.008 per sample goes without; it learns faster.
    lr: float = Field(0.2, gt=0, description="of the mean over a batch")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "step", "cosine", "one_cycle", "newbob"] = "newbob"
    newbob_threshold: float = Field(0.005, ge=0)
    newbob_drops: int = Field(8, ge=1)
    keep_best: str = "loss"
    keep_best_mode: Literal["max", "min"] = "min"


class DistillConfig(Config):
    """What a student learns from teachers besides, or in place of, the alignment.

    L = L_KD + q L_CE (Lu, Guo & Renals 2016), means over the frames of a batch, with
    L_KD = -sum_j P_j log y_j, the soft cross-entropy, and P = sum_m w_m softmax(z_m / T). L_KD is
    Hinton's: y = softmax(z / T), times T^2, so the student learns the teachers' own posteriors at
    any T. Without `soften_student` y is the student's softmax at temperature 1, that with which it
    decodes, and at T > 1 it learns to be less sure than its teachers.
    """

    teachers: tuple[str, ...] = Field((), description="their directories; none: no distillation")
    frames: tuple[str | None, ...] = Field(
        (), description="a pack for each teacher; null, or none at all: the student's"
    )
    weights: tuple[PositiveFloat, ...] = Field(
        (), description="of the teachers; are made to sum to 1; none: all the same"
    )
    q: float = Field(0.0, ge=0, description="weight of the alignment's cross-entropy")
    temperature: float = Field(1.0, gt=0, description="T, of the teachers")
    soften_student: bool = Field(True, description="the student at the temperature, times T^2")
    store: str | None = Field(None, description="labels of `kds make-soft-labels`; null: on line")
    top_k: int | None = Field(
        None, ge=1, description="use the most probable ones of the store; null: all it has"
    )
    unlabelled: bool = Field(
        False, description="learn from the teachers alone where there is no alignment"
    )

    @model_validator(mode="after")
    def _one_for_each_teacher(self) -> "DistillConfig":
        for name in ("frames", "weights"):
            given = len(getattr(self, name))
            if given not in (0, len(self.teachers)):
                raise ValueError(f"{given} {name} for {len(self.teachers)} teachers")
        if not self.teachers and (self.store or self.unlabelled):
            raise ValueError("store and unlabelled need teachers")
        if self.top_k and not self.store:
            raise ValueError("top_k needs a store")
        return self

    @property
    def student_temperature(self) -> float:
        """That of y in L_KD."""
        return self.temperature if self.soften_student else 1.0

    def normalised_weights(self) -> list[float]:
        """One per teacher, with sum 1."""
        weights = self.weights or (1.0,) * len(self.teachers)
        return [weight / sum(weights) for weight in weights]

    def frames_of_teachers(self) -> tuple[str | None, ...]:
        """One per teacher; None: the student's."""
        return self.frames or (None,) * len(self.teachers)


class DnnConfig(Config):
    """Everything `conf/dnn.yaml` may say."""

    network: NetworkConfig = NetworkConfig()
    train: DnnTrainConfig = DnnTrainConfig()
    distill: DistillConfig = DistillConfig()
    cv_fraction: float = Field(0.1, gt=0, lt=1, description="held out to follow the training")
    cv_by: Literal["speaker", "utterance"] = "speaker"
    priors: Literal["counts", "posteriors"] = Field(
        "counts", description="of the alignment's pdfs, or the network's mean posteriors"
    )
