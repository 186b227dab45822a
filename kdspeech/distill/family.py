"""The family of a search: networks, whose children they are and who teaches them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kdspeech.distill.config import ChildConfig, GenerationConfig, ModelConfig, Recipe
from kdspeech.distill.plans import Labels, Step
from kdspeech.models.shrink import shrink

SHORTEST_MS = 50
_TAGS = {"width": "w", "depth": "d", "length": "l"}


@dataclass(frozen=True)
class Node:
    """A network of a search; the root is the `Step` of the recipe's first network.

    `teachers` are in the order of their generations; without any the clips' labels serve. A node
    is known by its name, which says all of its line: a search that is run again, or widened,
    finds it by that.
    """

    name: str
    model: ModelConfig = field(compare=False)
    length: int = field(compare=False)
    parent: "Step | Node" = field(compare=False)
    teachers: "tuple[Step | Node, ...]" = field(default=(), compare=False)
    weights: tuple[float, ...] = field(default=(), compare=False)
    sibling: int = field(default=0, compare=False)

    @property
    def labels(self) -> Labels:
        return "soft" if self.teachers else "clip"

    @property
    def generation(self) -> int:
        return self.parent.generation + 1

    @property
    def lengths(self) -> tuple[int, ...]:
        """Inputs in ms from the root to this network; of one without teachers its own."""
        return (*self.parent.lengths, self.length) if self.teachers else (self.length,)


def ancestors(node: Step | Node) -> list[Step | Node]:
    """From the root to the parent."""
    line = []
    while isinstance(node, Node):
        node = node.parent
        line.insert(0, node)
    return line


def children_of(
    parent: Step | Node,
    generation: GenerationConfig,
    config: Recipe,
    dev: Mapping[str, float],
) -> list[Node]:
    """The children of a network; none of those that cannot be made smaller.

    Args:
      parent: a node or the root.
      generation: which children, how many of each, and who teaches them.
      config: the recipe.
      dev: accuracies by name, for teachers: best.
    """
    line = [*ancestors(parent), parent]
    teachers, weights, mark = _teachers(line, generation, dev)
    born = []
    for child in generation.children:
        form = form_of(config, config.model_of(parent), parent.length, child)
        for sibling in range(generation.siblings if form else 0):
            more = f"_{sibling}" if sibling else ""
            name = f"{parent.name}.{tag(child)}{more}{mark}"
            born.append(Node(name, *form, parent, teachers, weights, sibling))
    return born


def form_of(
    config: Recipe, model: ModelConfig, length: int, child: ChildConfig
) -> tuple[ModelConfig, int] | None:
    """Network and input of a child, None where nothing is left to take away."""
    if child.model:
        return child.model, length
    if child.by == "same":
        return model, length
    if child.by == "length":
        shorter = int(length * child.factor) // 10 * 10
        return (model, shorter) if shorter >= SHORTEST_MS else None
    smaller = shrink(model.name, model.options, child.by, child.factor)
    return (ModelConfig(name=smaller[0], options=smaller[1]), length) if smaller else None


def tag(child: ChildConfig) -> str:
    """`w70`: 70 % of the width; `d50`, `l80`, `same`, or the model's name and options."""
    if child.model:
        options = "".join(f"-{key}{value}" for key, value in child.model.options.items())
        return re.sub(r"[^A-Za-z0-9]+", "-", child.model.name + options).strip("-")
    if child.by == "same":
        return "same"
    return _TAGS[child.by] + f"{100 * child.factor:g}".replace(".", "p")


def _teachers(line: list, generation: GenerationConfig, dev: Mapping[str, float]) -> tuple:
    """Teachers, their weights, and the mark in the name if it is not the parent alone."""
    if generation.teachers == "ancestors" and len(line) > 1:
        weights = generation.weights[: len(line)] or [1.0] * len(line)
        teachers = line[-len(weights) :]
        mark = "".join(f"-{weight:g}" for weight in generation.weights[: len(line)])
        shares = tuple(weight / sum(weights) for weight in reversed(weights))
        return tuple(teachers), shares, "+all" + mark.replace(".", "p")
    teacher = line[-1]
    if generation.teachers == "root":
        teacher = line[0]
    elif generation.teachers == "best":
        teacher = max(line, key=lambda node: (dev[node.name], node.generation))
    return (teacher,), (1.0,), "" if teacher is line[-1] else f"+g{teacher.generation}"
