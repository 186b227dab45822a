"""What an image recipe's `conf/*.yaml` may say, with the defaults."""

from dataclasses import dataclass
from typing import NamedTuple

from pydantic import Field, model_validator
from torch import nn

from kdspeech.config import Config, check_config
from kdspeech.data.images import ImagePack
from kdspeech.distill.config import LossConfig, ModelConfig, Recipe
from kdspeech.distill.family import Node
from kdspeech.distill.plans import Step
from kdspeech.io.errors import InputError
from kdspeech.models import build_image_model, build_model
from kdspeech.train import TrainConfig


class ImagesConfig(Config):
    """Which images. `dev` of the training images are set apart, the same for every seed; without
    any the last epoch of a training is kept. `pad` and `flip` move training images about."""

    shape: list[int] = Field(min_length=2, max_length=3)
    classes: list[str] = Field(min_length=2)
    dev: int = Field(0, ge=0)
    pad: int = Field(0, ge=0)
    flip: bool = False

    @property
    def moved(self) -> bool:
        return bool(self.pad) or self.flip


class SystemConfig(Config):
    """A network of a recipe's tables.

    `train` is over the recipe's section of that name. With `teachers`, other systems whose
    posteriors are averaged, it learns by `distill`; `alpha: 1` makes no use of labels. `fraction`
    is the part of the training images that it sees. `table`, `row` and `column` say where its
    accuracy stands, `published` what a paper has there, in % or as a word.
    """

    model: ModelConfig | None = None
    train: dict[str, int | float | str | bool | list[float]] = {}
    teachers: list[str] = []
    distill: LossConfig = LossConfig()
    fraction: float = Field(1.0, gt=0, le=1)
    table: str = ""
    row: str = ""
    column: str = ""
    published: float | str | None = None


@dataclass(frozen=True)
class System:
    """A network of a table, with its teachers."""

    name: str
    teachers: "tuple[System, ...]" = ()

    sibling = 0

    @property
    def weights(self) -> tuple[float, ...]:
        return (1 / len(self.teachers),) * len(self.teachers) if self.teachers else ()


class Training(NamedTuple):
    """How a network is trained."""

    model: ModelConfig
    members: int
    train: TrainConfig
    loss: LossConfig
    fraction: float


class ImageConfig(Recipe):
    """Everything an image recipe's `conf/*.yaml` may say: `systems` for tables, `iterate` with
    `model`, `teacher`, `train`, `distill` and `fraction` for a search."""

    images: ImagesConfig
    distill: LossConfig = LossConfig()
    systems: dict[str, SystemConfig] = {}

    @model_validator(mode="after")
    def _whole_images(self) -> "ImageConfig":
        for generation in self.iterate.plan:
            if any(child.by == "length" for child in generation.children):
                raise ValueError("iterate: a child of an image network has no shorter input")
        return self

    @property
    def plan(self) -> str:
        """The one length: rows."""
        return str(self.images.shape[0])

    @property
    def unit(self) -> str:
        return "px"

    @property
    def classes(self) -> list[str]:
        return self.images.classes

    def input_shape(self, _length: int) -> tuple[int, ...]:
        return tuple(self.images.shape)

    def build(self, model: ModelConfig, _length: int) -> nn.Module:
        """An untrained network."""
        rows, columns, *colours = self.images.shape
        if colours:
            return build_image_model(model.name, len(self.classes), **model.options)
        return build_model(model.name, len(self.classes), columns, rows, **model.options)

    def epochs_of(self, node: "System | Step | Node") -> int:
        return self.training_of(node).train.epochs

    def training_of(self, node: System | Step | Node) -> Training:
        """How a network of a table or of a search is trained."""
        if not isinstance(node, System):
            train = self.train.model_copy(update={"epochs": super().epochs_of(node)})
            form = (self.model_of(node), self.members_of(node))
            return Training(*form, train, self.distill, self.fraction_of(node))
        own = self.systems[node.name]
        values = {**self.train.model_dump(), **own.train}
        train = check_config(TrainConfig, values, f"systems.{node.name}.train")
        return Training(own.model or self.model, 1, train, own.distill, own.fraction)

    def systems_of(self, names: list[str] | None = None) -> list[System]:
        """The named systems, or all, after their teachers, each once.

        Raises:
          InputError: no such system, or teachers in a circle.
        """
        found: dict[str, System] = {}
        for name in names or self.systems:
            self._find(name, (), found)
        return list(found.values())

    def _find(self, name: str, students: tuple[str, ...], found: dict[str, System]) -> System:
        if name in students:
            raise InputError(f"systems: {' -> '.join([*students, name])} teach in a circle")
        if name not in self.systems:
            raise InputError(f"no system {name!r}; there are {', '.join(self.systems) or 'none'}")
        if name not in found:
            line = (*students, name)
            teachers = tuple(self._find(t, line, found) for t in self.systems[name].teachers)
            found[name] = System(name, teachers)
        return found[name]

    def check_pack(self, pack: ImagePack) -> None:
        """Refuses a pack of other images or classes."""
        shape = list(pack.images.shape[1:])
        if shape != self.images.shape or len(pack.classes) != len(self.classes):
            raise InputError(
                f"{pack.path}: images of {shape} in {len(pack.classes)} classes, but the recipe's "
                f"are of {self.images.shape} in {len(self.classes)} (images.shape, images.classes)"
            )
