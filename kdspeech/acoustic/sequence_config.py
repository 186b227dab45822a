"""What a sequence training is: `conf/sequence.yaml`."""

from typing import Literal

from pydantic import Field, PositiveFloat, model_validator

from kdspeech.acoustic.config import DistillConfig
from kdspeech.config import Config
from kdspeech.train import TrainConfig


class SequenceTrainConfig(TrainConfig):
    """TrainConfig with what Lu, Guo & Renals did. Learning rates are per frame: a step is `lr`
    times the gradient's sum over the frames of its batch."""

    epochs: int = Field(4, ge=1)
    batch_size: int = Field(4000, ge=1, description="frames per step, by whole utterances")
    lr: float = Field(1e-5, gt=0, description="per frame")
    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "step", "cosine", "one_cycle", "newbob"] = "constant"
    keep_best: str = "criterion"
    keep_best_mode: Literal["max", "min"] = "max"


class LatticeConfig(Config):
    """Lattices made during the training: options of the decoder, those of make_denlats.sh."""

    beam: float = Field(13.0, gt=0)
    lattice_beam: float = Field(7.0, gt=0)
    max_active: int = Field(5000, ge=1)
    min_active: int = Field(200, ge=0)


class SequenceConfig(Config):
    """Everything `conf/sequence.yaml` may say."""

    criterion: Literal["mmi", "bmmi", "smbr", "mpfe", "kd"] = "smbr"
    acoustic_scale: float = Field(0.1, gt=0, description="kappa")
    lm_scale: float = Field(1.0, ge=0)
    boost: float = Field(0.1, ge=0, description="of bmmi")
    one_silence_class: bool = Field(True, description="smbr, mpfe: silence for silence is right")
    drop_frames: bool = Field(True, description="mmi, bmmi: see docs/sequence.md")
    missing: Literal["keep", "add", "skip"] = Field(
        "keep", description="lattices without the reference"
    )
    ce_weight: float = Field(0.2, ge=0, description="of the cross entropy: F-smoothing")
    teachers: tuple[str, ...] = Field((), description="networks' directories: kd, kl_weight")
    teacher_frames: tuple[str | None, ...] = Field(
        (), description="a pack for each teacher; null, or none at all: the student's"
    )
    teacher_weights: tuple[PositiveFloat, ...] = Field(
        (), description="of the teachers; are made to sum to 1; none: all the same"
    )
    teacher_scale: float | None = Field(
        None, gt=0, description="of the teachers' scores; acoustic_scale by default"
    )
    nbest: int | None = Field(
        None, ge=1, description="kd on the teachers' N best word sequences alone"
    )
    kl_weight: float = Field(0.0, ge=0, description="of the teachers' posteriors, by frames")
    temperature: float = Field(1.0, gt=0, description="of these posteriors")
    dropout: float | None = Field(None, ge=0, lt=1, description="the network's own by default")
    regenerate: int | None = Field(None, ge=1, description="new lattices every so many epochs")
    lattices: LatticeConfig = LatticeConfig()
    train: SequenceTrainConfig = SequenceTrainConfig()
    cv_fraction: float = Field(0.1, gt=0, lt=1, description="held out to follow the training")
    cv_by: Literal["speaker", "utterance"] = "speaker"

    @model_validator(mode="after")
    def _teachers_where_needed(self) -> "SequenceConfig":
        wanted = self.criterion == "kd" or self.kl_weight > 0
        if wanted != bool(self.teachers):
            raise ValueError(
                "teachers go with criterion kd or a kl_weight, and these need teachers"
            )
        if self.nbest and self.criterion != "kd":
            raise ValueError("nbest goes with criterion kd")
        self.distill()
        return self

    def distill(self) -> DistillConfig:
        """Of the teachers."""
        return DistillConfig(
            teachers=self.teachers,
            frames=self.teacher_frames,
            weights=self.teacher_weights,
            temperature=self.temperature,
        )
