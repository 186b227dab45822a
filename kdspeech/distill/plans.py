"""Plans of progressive label distillation: lines of shrinking inputs (Lin & Wong 2019).

A plan is a list of input lengths in ms, longest first. Its first network learns from the clips'
own labels; every further one learns from its predecessor's labels for shorter crops. Direct
distillation is the plan of two lengths. Plans that begin alike share their steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from kdspeech.io.errors import InputError

Labels = Literal["clip", "soft", "hard"]

# Table 2 of the paper: the chains that end at 500 ms, beside the direct one of Table 1.
PAPER_CHAINS = [
    "1000,600,500",
    "1000,700,500",
    "1000,800,500",
    "1000,900,500",
    "1000,700,600,500",
    "1000,800,600,500",
    "1000,900,700,500",
    "1000,800,700,600,500",
    "1000,900,800,700,500",
    "1000,900,800,700,600,500",
]
PAPER_DIRECT = [900, 800, 700, 600, 500]


@dataclass(frozen=True)
class Step:
    """One network to train: the line of inputs that leads to it, and whose labels it learns.

    `lengths` is in ms, from the first teacher to this network. `labels` is "clip" (the clip's own
    class; the line is then this network alone), "soft" (the teacher's whole distribution) or
    "hard" (its arg-max).
    """

    lengths: tuple[int, ...]
    labels: Labels

    model = None  # the recipe's
    sibling = 0  # with no other seed than the run's
    generation = 0  # the root of a family

    @property
    def name(self) -> str:
        """`1000`, `1000-800-500` or `1000-800-500.hard`: also the name of its folder."""
        line = "-".join(map(str, self.lengths))
        return f"{line}.hard" if self.labels == "hard" else line

    @property
    def length(self) -> int:
        """This network's own input, in ms."""
        return self.lengths[-1]

    @property
    def teacher(self) -> "Step | None":
        """The step whose network labels this one's crops; None where the clip's label serves."""
        return _step(self.lengths[:-1], self.labels) if len(self.lengths) > 1 else None

    @property
    def teachers(self) -> "tuple[Step, ...]":
        return (self.teacher,) if self.teacher else ()

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the teachers."""
        return (1.0,) * len(self.teachers)


def _step(lengths: tuple[int, ...], labels: Labels) -> Step:
    """The step at the end of a line; the first of a line learns from the clips' labels."""
    return Step(lengths, labels if len(lengths) > 1 else "clip")


@dataclass(frozen=True)
class Plan:
    """A chain of input lengths in ms, strictly falling: `Plan.parse("1000,800,500")`."""

    lengths: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Plan":
        try:
            lengths = tuple(int(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"plan {text!r}: write lengths in ms, e.g. 1000,800,500") from None
        return cls(lengths)

    def __post_init__(self):
        falling = all(a > b for a, b in pairwise(self.lengths))
        if not self.lengths or not falling or self.lengths[-1] <= 0:
            raise InputError(f"plan {self}: lengths must fall from step to step and be above 0")

    def __str__(self) -> str:
        return ",".join(map(str, self.lengths))

    def steps(self, labels: Labels = "soft") -> list[Step]:
        """The networks of the plan in the order they are trained."""
        return [_step(self.lengths[: i + 1], labels) for i in range(len(self.lengths))]


def shared_steps(plans: Iterable[Plan], labels: Labels = "soft") -> list[Step]:
    """All steps of several plans, each once, teachers before their students."""
    return list(dict.fromkeys(step for plan in plans for step in plan.steps(labels)))


def sweep_steps(plan: str, chains: Iterable[str], direct: Iterable[int], hard: bool) -> list[Step]:
    """The steps of a sweep, teachers before students, each once.

    Args:
        plan: the recipe's main plan; its first length is that of all.
        chains: further plans.
        direct: lengths distilled straight from the first network.
        hard: also distil the direct ones with hard labels.

    Returns:
        All of them, and for each length the network that learns from the clips' own labels.

    Raises:
        InputError: a chain that begins with another length than the plan.
    """
    main = Plan.parse(plan)
    root = main.lengths[0]
    straight = [Plan((root, length)) for length in direct]
    plans = [main, *straight, *(Plan.parse(chain) for chain in chains)]
    for other in plans:
        if other.lengths[0] != root:
            raise InputError(f"chain {other}: begins with another length than the plan {main}")
    steps = shared_steps(plans)
    own_labels = [Step((ms,), "clip") for ms in dict.fromkeys(step.length for step in steps)]
    hard_steps = shared_steps(straight, "hard") if hard else []
    return list(dict.fromkeys([*steps, *own_labels, *hard_steps]))
