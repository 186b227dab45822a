"""What a keyword-spotting recipe's `conf/*.yaml` may say, with the defaults."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat, model_validator
from torch import nn

from kdspeech.config import Config
from kdspeech.data.keywords import KeywordTask
from kdspeech.distill.plans import Plan, Step
from kdspeech.distill.views import View
from kdspeech.features import Fbank, Mfcc
from kdspeech.losses.terms import LossTerm
from kdspeech.models import build_model
from kdspeech.train import TrainConfig

if TYPE_CHECKING:
    from kdspeech.distill.family import Node


class FeatureConfig(Config):
    """Which features, and the Kaldi-style file with their options (path as the recipe sees it).

    Values below `floor` are raised to it. Padded zeros have a log-mel energy of -16, far from any
    recording; 7 is about what Kaldi's dither of 1 would give them.
    """

    kind: Literal["mfcc", "fbank"] = "fbank"
    conf: str
    floor: float | None = None

    def computer(self) -> Mfcc | Fbank:
        return (Mfcc if self.kind == "mfcc" else Fbank).from_conf(self.conf)


class ModelConfig(Config):
    """A model of kdspeech.models by name, with its options."""

    name: str = "res8"
    options: dict[str, int | float | str | bool | list[int]] = {}


class TeacherConfig(Config):
    """What the plan's first network has of its own: it is no student and may be larger.

    Of several `members` the posteriors are averaged: an ensemble. `fraction`: see Recipe.
    """

    model: ModelConfig | None = None
    epochs: int | None = Field(None, ge=1)
    members: int = Field(1, ge=1)
    fraction: float = Field(1.0, gt=0, le=1)


class CropConfig(Config):
    """How training clips are cut and disturbed (Tang & Lin 2018: shift 100 ms, noise 0.8 / 0.1)."""

    mode: Literal["random", "center", "best_energy", "energy"] = "random"
    min_energy: float = Field(0.8, ge=0, le=1)
    shift_ms: int = Field(100, ge=0)
    noise_prob: float = Field(0.8, ge=0, le=1)
    noise_volume: float = Field(0.1, ge=0)
    speed: float = Field(0.0, ge=0, le=0.5)
    gain_db: float = Field(0.0, ge=0)
    pad: Literal["center", "end"] = "center"


class SpecAugmentConfig(Config):
    """Masks on the student's features (Park et al. 2019); 0 masks is none."""

    time_masks: int = Field(0, ge=0)
    time_width: int = Field(20, ge=0)
    freq_masks: int = Field(0, ge=0)
    freq_width: int = Field(5, ge=0)


class LossConfig(Config):
    """The loss of a student. `losses` take the place of the one loss with `temperature` and
    `alpha`, which are then defaults of their term `kd`.
    """

    temperature: float = Field(1.0, gt=0)
    alpha: float = Field(1.0, ge=0, le=1)
    losses: list[LossTerm] = []

    @property
    def student_modules(self) -> list[str]:
        """Names of the student's modules whose output the losses need."""
        return [term.student for term in self.losses if term.student]

    @property
    def teacher_modules(self) -> list[str]:
        return [term.teacher for term in self.losses if term.teacher]


class DistillConfig(LossConfig):
    """What a student learns from its teacher.

    `store` writes the labels of `crops_per_clip` crops of every clip once, before training;
    without it the teacher labels new crops in every epoch. `unlabelled` are packs of clips whose
    own labels are not used: of them students learn what their teachers say.
    """

    view: View = "native"
    store: bool = False
    crops_per_clip: int = Field(10, ge=1)
    top_k: int = Field(12, ge=1)
    unlabelled: list[str] = []


class ChildConfig(Config):
    """A child of a network: it made smaller, the `same` again, or another `model`.

    `depth`: fewer blocks; `width`: narrower ones; `length`: a shorter input. `factor` is what is
    left of them.
    """

    by: Literal["depth", "width", "length", "same"] | None = None
    factor: float = Field(0.7, gt=0, lt=1)
    model: ModelConfig | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "ChildConfig":
        if (self.by is None) == (self.model is None):
            raise ValueError("a child has either `by` or `model`")
        return self


class GenerationConfig(Config):
    """What becomes of the networks that a generation begins with; `times` such generations.

    Each of them has all `children`, and of each child `siblings` with other initial weights.
    `keep` of a generation's networks, the best on dev, have children of their own; null: all.
    `teachers`: the parent; the root; all `ancestors`, whose posteriors are averaged with `weights`
    (from the parent on backwards; none: all the same); or of the ancestors the `best` on dev.
    """

    children: list[ChildConfig] = Field([ChildConfig(by="width")], min_length=1)
    times: int = Field(1, ge=1)
    siblings: int = Field(1, ge=1)
    keep: int | None = Field(1, ge=1)
    teachers: Literal["parent", "root", "ancestors", "best"] = "parent"
    weights: list[PositiveFloat] = []

    @model_validator(mode="after")
    def _weights_of_ancestors(self) -> "GenerationConfig":
        if self.weights and self.teachers != "ancestors":
            raise ValueError("weights are of teachers: ancestors")
        return self


class IterateConfig(Config):
    """A search for a smaller network: `kds distill iterate`.

    It ends where dev accuracy is more than `max_drop` points below the root's with the
    `confidence` of a one-sided test, unless it has a budget.
    """

    plan: list[GenerationConfig] = Field([GenerationConfig(times=8)], min_length=1)
    max_drop: float = Field(1.0, ge=0)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    baselines: bool = True


class Recipe(Config):
    """What recipes of clips and of images have in common: all that a search needs to know.

    Each has besides `plan`, whose first length is that of the inputs; their `unit`; `classes`;
    `input_shape(length)` and `build(model, length)`. `fraction` is the part of the training clips
    (of each class) or images that networks learn from, by the run's seed; the plan's first network,
    their teacher, has its own.
    """

    model: ModelConfig = ModelConfig()
    teacher: TeacherConfig = TeacherConfig()
    fraction: float = Field(1.0, gt=0, le=1)
    train: TrainConfig = TrainConfig()
    iterate: IterateConfig = IterateConfig()

    @property
    def first_length(self) -> int:
        """That of the plan's first network, of whole clips or images."""
        return Plan.parse(self.plan).lengths[0]

    def model_of(self, step: "Step | Node") -> ModelConfig:
        """The network of a step; the plan's first one may be another."""
        return step.model or (self.is_first(step) and self.teacher.model) or self.model

    def epochs_of(self, step: "Step | Node") -> int:
        return (self.is_first(step) and self.teacher.epochs) or self.train.epochs

    def members_of(self, step: "Step | Node") -> int:
        return self.teacher.members if self.is_first(step) else 1

    def fraction_of(self, step: "Step | Node") -> float:
        return self.teacher.fraction if self.is_first(step) else self.fraction

    def is_first(self, step: "Step | Node") -> bool:
        """Whether a step is the plan's first network, for whole clips or images."""
        return step.lengths == (self.first_length,) and step.model is None


class KeywordConfig(Recipe):
    """Everything a keyword recipe's `conf/*.yaml` may say."""

    task: KeywordTask
    sample_rate: int = 16000
    features: FeatureConfig
    crops: CropConfig = CropConfig()
    spec_augment: SpecAugmentConfig = SpecAugmentConfig()
    distill: DistillConfig = DistillConfig()
    plan: str = "1000,800,500"
    chains: list[str] = []
    direct: list[int] = []
    hard: bool = True
    sliding_hop_ms: int = Field(50, ge=1)

    @property
    def classes(self) -> list[str]:
        return self.task.classes

    @property
    def unit(self) -> str:
        """Of the lengths of a plan."""
        return "ms"

    @property
    def clip_ms(self) -> int:
        """The plan's first length: that of whole clips."""
        return self.first_length

    def input_shape(self, ms: int) -> tuple[int, int]:
        """(frames, dim) of clips of a length."""
        computer = self.features.computer()
        return computer.num_frames(ms * self.sample_rate // 1000), computer.dim

    def build(self, model: ModelConfig, ms: int) -> nn.Module:
        """An untrained network for clips of a length."""
        frames, dim = self.input_shape(ms)
        return build_model(model.name, len(self.classes), dim, frames, **model.options)
