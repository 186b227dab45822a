"""Iterative distillation as a search (Yalburgi 2019): a network is made smaller generation by
generation, each taught by those before it, until dev accuracy breaks or a budget is met."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from kdspeech.distill.compare import Gap, paired_gap
from kdspeech.distill.config import GenerationConfig, KeywordConfig
from kdspeech.distill.costs import Costs, Limits
from kdspeech.distill.family import Node, children_of
from kdspeech.distill.plans import Plan, Step
from kdspeech.distill.reach import check_budget
from kdspeech.distill.sweep import Job, run_steps
from kdspeech.io.atomic import atomic_path

AXES = ("parameters", "macs", "latency_ms")  # of the Pareto fronts


def iterative(
    config: KeywordConfig,
    data: str | Path,
    exp: str | Path,
    limits: Limits | None = None,
    max_drop: float | None = None,
    seeds: Sequence[int] = (0,),
    nj: int = 1,
    scheduler: str | None = None,
    command: str = "kdspeech.distill.iterative",
    progress: bool = True,
) -> dict:
    """Searches by the recipe's `iterate` section; writes `exp/family.json` and returns its content.

    Run again after it was killed, or with a longer plan, it keeps the networks that are finished.

    Args:
      config: the recipe.
      data: folder with the packs.
      exp: folder for the results; networks go to `exp/seed<k>/<name>/`.
      limits: a budget. The outcome is the best network on dev within it; accuracy then has no
        bound unless `max_drop` is given.
      max_drop: points of dev accuracy below the root; the recipe's where there is no budget.
      seeds: every network is trained with each; decisions are on their mean.
      nj, scheduler, progress: see `run_steps`; the children of a generation train in parallel.
      command: for the record.

    Raises:
      InputError: no network that the plan can come to meets the budget: names the nearest one.
    """
    job = Job(config, str(data), str(exp), command)
    return run_search(job, limits, max_drop, seeds, nj, scheduler, progress)


def run_search(
    job: Job,
    limits: Limits | None = None,
    max_drop: float | None = None,
    seeds: Sequence[int] = (0,),
    nj: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> dict:
    """`iterative` for a job: of a keyword recipe, or an `ImageJob`."""
    limits = limits or Limits()
    if max_drop is None and not limits.given():
        max_drop = job.config.iterate.max_drop
    search = Search(job, limits, max_drop, tuple(seeds), nj, scheduler, progress)
    if limits.given():
        check_budget(job.config, search.root, search.costs, limits)
    search.grow()
    search.train(search.baselines().values())
    return search.save(finished=True)


@dataclass
class Search:
    """A running search; `status` holds the trained networks and what became of each."""

    job: Job
    limits: Limits
    max_drop: float | None
    seeds: tuple[int, ...]
    nj: int = 1
    scheduler: str | None = None
    progress: bool = False
    status: dict[Step | Node, str] = field(default_factory=dict)
    ended: str = "the plan is at its end"
    answers: dict = field(default_factory=dict)

    @cached_property
    def root(self) -> Step:
        return Plan.parse(self.job.config.plan).steps()[0]

    @cached_property
    def costs(self) -> Costs:
        return Costs(self.job.config, Path(self.job.exp) / "latency.json")

    def cost(self, node: Step | Node) -> dict[str, float]:
        config = self.job.config
        form = (config.model_of(node), node.length, config.members_of(node))
        return self.costs.of(*form, timed=self.limits.latency_ms is not None)

    # Growing.

    def grow(self) -> None:
        """Trains generation after generation."""
        self.train([self.root])
        self.status[self.root] = "root"
        if self.fits(self.root):
            self.ended = "the root is within the budget"
            return
        parents: list[Step | Node] = [self.root]
        for generation in self.job.config.iterate.plan:
            for _ in range(generation.times):
                parents = self.next_generation(parents, generation)
                if not parents:
                    return

    def next_generation(
        self, parents: list[Step | Node], generation: GenerationConfig
    ) -> list[Step | Node]:
        """Trains the children of `parents`; returns those that shall have children of their own."""
        config = self.job.config
        dev = {node.name: self.accuracy(node) for node in self.status}
        born = [node for p in parents for node in children_of(p, generation, config, dev)]
        if not born:
            return parents  # nothing is left to take away so; the plan's next part may go on
        self.train(born)
        for node in born:
            self.status[node] = self.judge(node)
        alive = sorted((node for node in born if self.status[node] == "alive"), key=self.rank)
        kept = alive[: generation.keep]
        for node in alive[len(kept) :]:
            self.status[node] = "passed over"
        if not kept:
            found = sorted({self.status[node] for node in born})
            self.ended = f"generation {born[0].generation} is {' or '.join(found)}"
        self.save()
        return kept

    def train(self, nodes: Iterable[Step | Node]) -> None:
        nodes = list(nodes)
        if nodes:
            run_steps(self.job, nodes, self.seeds, self.nj, self.scheduler, self.progress)

    def judge(self, node: Node) -> str:
        """`broken`, `within budget` (and not to be made smaller) or `alive`."""
        if self.max_drop is not None:
            sure = self.job.config.iterate.confidence
            if self.drop(node).above >= sure:
                return "broken"
        return "within budget" if self.fits(node) else "alive"

    def fits(self, node: Step | Node) -> bool:
        """Whether there is a budget and the network is within it."""
        return bool(self.limits.given()) and self.limits.miss(self.cost(node)) <= 0

    def drop(self, node: Step | Node) -> Gap:
        """How far dev accuracy is below the root's."""
        return paired_gap(self.right(self.root), self.right(node), self.max_drop or 0.0)

    def right(self, node: Step | Node, split: str = "dev") -> np.ndarray:
        """(seeds, clips) bool; whole clips, or their loudest part for a shorter input."""
        if (node.name, split) not in self.answers:
            folders = [Path(self.job.exp) / f"seed{seed}" / node.name for seed in self.seeds]
            rows = [_right(folder / "posteriors.npz", split) for folder in folders]
            self.answers[node.name, split] = np.stack(rows)
        return self.answers[node.name, split]

    def accuracy(self, node: Step | Node, split: str = "dev") -> float:
        return float(100 * self.right(node, split).mean())

    def rank(self, node: Step | Node) -> tuple:
        """Sorts the best on dev first, of those as good the smallest."""
        return (-self.accuracy(node), *self._size(node))

    def _size(self, node: Step | Node) -> tuple:
        cost = self.cost(node)
        return cost["parameters"], cost["macs"]

    # The outcome.

    def best(self) -> Step | Node | None:
        """The smallest that is not broken; with a budget the best on dev within it, if any."""
        sound = [node for node, status in self.status.items() if status != "broken"]
        if self.limits.given():
            return min(filter(self.fits, sound), key=self.rank, default=None)
        return min(sound, key=lambda node: (*self._size(node), -self.accuracy(node)))

    def baselines(self) -> dict[str, Node]:
        """The outcome's architecture from the clips' labels, and taught by the root alone."""
        best = self.best()
        if not self.job.config.iterate.baselines or not isinstance(best, Node):
            return {}
        same = (best.model, best.length, self.root)
        one_step = Node(f"{best.name}.onestep", *same, (self.root,), (1.0,), best.sibling)
        return {
            "from scratch": Node(f"{best.name}.scratch", *same, sibling=best.sibling),
            "one step": best if best.teachers == (self.root,) else one_step,
        }

    def save(self, finished: bool = False) -> dict:
        """Writes `family.json`: the tree with costs and accuracies, fronts, outcome, baselines."""
        rows = [self._row(node) for node in self.status]
        content = {
            "command": self.job.command,
            "seeds": list(self.seeds),
            "classes": len(self.job.config.classes),
            "max_drop": self.max_drop,
            "confidence": self.job.config.iterate.confidence,
            "limits": self.limits.given(),
            "unit": self.job.config.unit,
            "finished": finished,
            "ended": self.ended if finished else "",
            "best": getattr(self.best(), "name", None),
            "outcome": self.outcome(),
            "nodes": rows,
            "pareto": {axis: pareto_front(rows, axis) for axis in AXES},
            "baselines": self._compared() if finished else [],
        }
        with atomic_path(Path(self.job.exp) / "family.json") as part:
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return content

    def outcome(self) -> str:
        """One sentence."""
        best = self.best()
        if best is None:
            return self._failure()
        dev = f"{self.accuracy(best):.2f} % on dev, the root {self.accuracy(self.root):.2f} %"
        if self.limits.given():
            return f"{best.name}: {self.limits.describe(self.cost(best))}; {dev}"
        if best is self.root:
            return f"nothing smaller than {best.name} keeps within {self.max_drop:g} points of it"
        share = self._size(best)[0] / self._size(self.root)[0]
        return f"{best.name}: {100 * share:.3g} % of the root's parameters; {dev}"

    def _failure(self) -> str:
        """Why there is no best network within the budget, and which comes nearest."""
        broken = [node for node in self.status if self.fits(node)]
        if broken:
            near = min(broken, key=self.rank)
            why = f"what is within the budget is more than {self.max_drop:g} points below the root"
        else:
            near = min(self.status, key=lambda node: self.limits.miss(self.cost(node)))
            why = "no trained network is within the budget (more generations, smaller factors or "
            why += "keep: null reach further)"
        dev = f"{self.accuracy(near):.2f} % on dev, the root {self.accuracy(self.root):.2f} %"
        return f"{why}; nearest is {near.name}: {self.limits.describe(self.cost(near))}; {dev}"

    def _row(self, node: Step | Node) -> dict:
        model, drop = self.job.config.model_of(node), self.drop(node)
        return {
            "name": node.name,
            "generation": node.generation,
            "parent": node.parent.name if isinstance(node, Node) else None,
            "teachers": [teacher.name for teacher in node.teachers],
            "weights": list(node.weights),
            "model": model.model_dump(),
            "length_ms": node.length,
            **self.cost(node),
            "latency_ms": self._latency(node),
            "dev": round(self.accuracy(node), 3),
            "test": round(self.accuracy(node, "test"), 3),
            "per_seed": self._per_seed(node),
            "drop": {key: round(value, 4) for key, value in drop._asdict().items()},
            "status": self.status[node],
        }

    def _per_seed(self, node: Step | Node) -> list[float]:
        """Test accuracies."""
        return [round(100 * float(right.mean()), 3) for right in self.right(node, "test")]

    def _latency(self, node: Step | Node) -> float:
        """As the budget has it, else the least of the seeds' scores."""
        cost = self.cost(node)
        if "latency_ms" in cost:
            return cost["latency_ms"]
        scores = [Path(self.job.exp) / f"seed{k}" / node.name / "score.json" for k in self.seeds]
        return round(min(json.loads(path.read_text())["latency_ms"] for path in scores), 4)

    def _compared(self) -> list[dict]:
        """The chain against each baseline on test."""
        best = self.best()
        rows = []
        for what, node in self.baselines().items():
            gap = paired_gap(self.right(best, "test"), self.right(node, "test"))
            rows.append(
                {
                    "what": what,
                    "name": node.name,
                    "dev": round(self.accuracy(node), 3),
                    "test": round(self.accuracy(node, "test"), 3),
                    "per_seed": self._per_seed(node),
                    "chain_minus_it": {k: round(v, 4) for k, v in gap._asdict().items()},
                }
            )
        return rows


def pareto_front(rows: Sequence[dict], axis: str) -> list[str]:
    """Names of the networks than which none is as cheap and better on dev, the cheapest first."""
    front, best = [], -np.inf
    for row in sorted(rows, key=lambda row: (row[axis], -row["dev"])):
        if row["dev"] > best:
            front.append(row["name"])
            best = row["dev"]
    return front


def _right(path: Path, split: str) -> np.ndarray:
    with np.load(path) as arrays:
        key = f"{split}/full" if f"{split}/full" in arrays else f"{split}/best_energy"
        return arrays[key].argmax(1) == arrays[f"{split}/label"]
