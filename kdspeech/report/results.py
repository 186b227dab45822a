"""From an experiment to results.json: rows of accuracy and paired comparisons of systems."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.report.accuracy import (
    REPLICATES,
    confusion_matrix,
    difference,
    estimate,
    utterance_replicates,
)
from kdspeech.report.experiment import (
    PROTOCOLS,
    SPLITS,
    Experiment,
    Run,
    System,
    dates,
    revisions,
    variant,
)

CROPPED = ("best_energy", "center", "sliding")
"""Protocols of a network that sees less than the clip, the headline's choice first."""


@dataclass(frozen=True)
class Row:
    """One system, split and protocol: accuracy in % with its 95 % interval and what it costs.

    `value` is the mean over `seeds` runs, `spread` their standard deviation (None for one run),
    `n` the number of utterances, `seconds` the training time of one run of this step alone.
    """

    system: str
    split: str
    protocol: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    seeds: int
    spread: float | None
    per_seed: list[float]
    kind: str
    labels: str
    steps: list[int]
    length_ms: int
    parameters: int
    macs: int
    latency_ms: float | None
    seconds: float | None
    command: str


@dataclass(frozen=True)
class Comparison:
    """`system` minus `against` on test in percentage points, paired (see accuracy.Difference)."""

    question: str
    system: str
    against: str
    protocol: str
    length_ms: int
    gain: float
    low: float
    high: float
    p_better: float
    seeds: int
    seeds_better: int
    mcnemar: list[float]


@dataclass(frozen=True)
class Words:
    """Confusion counts over all seeds on test, rows spoken, columns answered."""

    system: str
    protocol: str
    confusion: list[list[int]]


@dataclass(frozen=True)
class Results:
    """What results.json holds; the tables, RESULTS.md and the page are rendered from it alone."""

    corpus: str
    classes: list[str]
    revision: str
    date: str
    protocol: str
    headline: str
    rows: list[Row]
    comparisons: list[Comparison]
    words: list[Words]
    unfinished: list[str]

    def row(self, system: str, protocol: str, split: str = "test") -> Row | None:
        """The row of a system; a network that takes the whole clip answers to any protocol."""
        for row in self.rows:
            if (row.system, row.split) == (system, split) and row.protocol in (protocol, "full"):
                return row
        return None

    def systems(self, kind: str | None = None, labels: str | None = None) -> list[Row]:
        """One test row per system, of that kind and with those labels where they are given."""
        first = {}
        for row in self.rows:
            if row.split == "test" and kind in (None, row.kind) and labels in (None, row.labels):
                first.setdefault(row.system, row)
        return list(first.values())

    def plain(self, kind: str, labels: str, steps: Sequence[int], protocol: str) -> Row | None:
        """The test row of the system with this kind, labels and chain that is no variant."""
        for row in self.systems(kind, labels):
            if row.steps == list(steps) and not variant(row.system):
                return self.row(row.system, protocol)
        return None

    def truncated(self, teacher: Row, view: str, length_ms: int, protocol: str) -> Row | None:
        """The test row of a teacher that is fed `length_ms`, shown to it in this view."""
        return self.row(f"{teacher.system}.{view}-{length_ms}", protocol)

    @property
    def views(self) -> list[str]:
        """How networks were shown input that is too short for them, as `pad` and `native`."""
        return sorted({variant(row.system) for row in self.systems("truncated")})

    @property
    def protocols(self) -> list[str]:
        """The protocols of networks that see less than the clip; [`full`] if there is none."""
        present = {row.protocol for row in self.rows}
        return [p for p in CROPPED if p in present] or ["full"]

    @property
    def lengths(self) -> list[int]:
        """Input lengths below the teacher's in ms, longest first."""
        teachers = {row.length_ms for row in self.systems("teacher")}
        return sorted({row.length_ms for row in self.rows} - teachers, reverse=True)


QUESTIONS = {
    "distillation": "distilled against the clip's own label",
    "progressive": "progressive against direct distillation",
    "soft": "soft against hard labels",
    "cut": "direct distillation against the longer network on cut input",
    "variant": "variant against the plain system",
}


def compute_results(
    experiment: Experiment, protocol: str | None = None, replicates: int = REPLICATES
) -> Results:
    """Scores every system of the experiment; deterministic.

    Args:
        experiment: what `read_experiment` returns.
        protocol: the test protocol of the headline; by default best_energy where it is there.
            The headline is the shortest distilled system that is best on *dev* (see
            choose_headline).
        replicates: bootstrap replicates for intervals and P(better).

    Raises:
        InputError: no system was scored under `protocol`.
    """
    scorer = _Scorer(experiment, replicates)
    rows = [row for name in experiment.runs for row in scorer.rows(name)]
    protocol = _choose_protocol(experiment, rows, protocol)
    headline = choose_headline(rows, protocol)
    first, last = dates(experiment)
    return Results(
        corpus=experiment.systems[0].corpus,
        classes=list(experiment.classes),
        revision=", ".join(revision[:12] for revision in revisions(experiment)),
        date=first if first == last else f"{first} to {last}",
        protocol=protocol,
        headline=headline,
        rows=rows,
        comparisons=list(scorer.comparisons()),
        words=_words(experiment, [headline, *_teachers(experiment)], protocol),
        unfinished=experiment.unfinished,
    )


def compare(
    experiment: Experiment, system: str, against: str, replicates: int = REPLICATES
) -> list[Comparison]:
    """`system` against `against` on test, one comparison per protocol both were scored under."""
    for name in (system, against):
        check_system(experiment, name)
    return list(_Scorer(experiment, replicates, only=(system, against)).pair("", system, against))


def check_system(experiment: Experiment, name: str) -> None:
    """Raises InputError with the names there are when `name` is no finished system."""
    if name not in experiment.runs:
        known = ", ".join(experiment.runs)
        raise InputError(f"{experiment.directory}: no finished system {name}; there are {known}")


def confusion(experiment: Experiment, name: str, protocol: str, split: str = "test") -> np.ndarray:
    """Confusion counts of a system summed over its seeds, (classes, classes)."""
    check_system(experiment, name)
    total = np.zeros((len(experiment.classes),) * 2, dtype=np.int64)
    for run in experiment.runs[name]:
        answers = run.answers[split]
        key = protocol if protocol in answers.predictions else "full"
        if key not in answers.predictions:
            raise InputError(f"{run.directory}: was not scored under the protocol {protocol}")
        total += confusion_matrix(answers.labels, answers.predictions[key], len(total))
    return total


def save_results(results: Results, path: str | Path) -> None:
    """Writes results.json."""
    content = asdict(results)
    for key in ("rows", "comparisons", "words"):
        content[key] = [_rounded(item) for item in content[key]]
    write_rows(content, path)


def write_rows(content: dict, path: str | Path) -> None:
    """Writes JSON with a line for each item of a list of objects, so that differences read well."""
    lines = ["{"]
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n".join("  " + json.dumps(item) for item in value)
            lines.append(f' "{key}": [\n{items}\n ],')
        else:
            lines.append(f' "{key}": {json.dumps(value)},')
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines).rstrip(",") + "\n}\n", encoding="utf-8")


def load_results(path: str | Path) -> Results:
    """Reads results.json. Raises InputError when it is missing or of another layout."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        parts = {"rows": Row, "comparisons": Comparison, "words": Words}
        return Results(**{k: [parts[k](**v) for v in c] if k in parts else c
                          for k, c in content.items()})  # fmt: skip
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `kds distill score` first") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a results file ({error}); run `kds distill score` again"
        ) from None


def choose_headline(rows: list[Row], protocol: str) -> str:
    """The distilled system with the shortest input that is best on dev (test without a dev).

    Chosen on dev because the best of eleven chains on test would be flattered by the choice.
    Falls back to the shortest system there is when nothing is distilled yet.
    """
    split = headline_split(rows)
    usable = [r for r in rows if r.split == split and r.protocol in (protocol, "full")]
    chosen = [r for r in usable if r.kind == "distilled"] or usable
    shortest = min(row.length_ms for row in chosen)
    return max((r for r in chosen if r.length_ms == shortest), key=lambda r: r.value).system


def headline_split(rows: list[Row]) -> str:
    """What the headline is chosen on: dev, or test where there is none."""
    return "dev" if any(row.split == "dev" for row in rows) else "test"


def _choose_protocol(experiment: Experiment, rows: list[Row], protocol: str | None) -> str:
    present = [p for p in (*CROPPED, "full") if any(row.protocol == p for row in rows)]
    if protocol is not None and protocol not in present:
        raise InputError(
            f"{experiment.directory}: nothing was scored under the protocol {protocol}; "
            f"there is {', '.join(present)}"
        )
    return protocol or present[0]


def _teachers(experiment: Experiment) -> list[str]:
    return [name for name in experiment.runs if experiment.system(name).kind == "teacher"]


def _words(experiment: Experiment, names: list[str], protocol: str) -> list[Words]:
    return [
        Words(name, protocol, confusion(experiment, name, protocol).tolist())
        for name in dict.fromkeys(names)
    ]


def _rounded(item: dict) -> dict:
    """Four decimals: far below what a percentage means here, and stable between machines."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in item.items()}
    for key in ("per_seed",):
        if key in item:
            rounded[key] = [round(v, 4) for v in item[key]]
    if "mcnemar" in item:
        rounded["mcnemar"] = [float(f"{v:.3g}") for v in item["mcnemar"]]
    return rounded


class _Scorer:
    """Correctness of all systems, and replicates over the same resampled utterances."""

    def __init__(self, experiment: Experiment, replicates: int, only: tuple[str, ...] = ()):
        self.experiment = experiment
        self.correct: dict[tuple[str, str, str], np.ndarray] = {}  # (seeds, utterances)
        self.replicates: dict[tuple[str, str, str], np.ndarray] = {}  # (seeds, replicates)
        names = only or experiment.runs
        for split in SPLITS:
            self._add_split(split, {name: experiment.runs[name] for name in names}, replicates)

    def _add_split(self, split: str, runs: dict[str, list[Run]], replicates: int) -> None:
        correct = {
            (name, split, protocol): right
            for name, group in runs.items()
            for protocol in PROTOCOLS
            if (right := _correct(group, split, protocol)) is not None
        }
        if not correct:
            return
        means = utterance_replicates(np.concatenate(list(correct.values())), replicates)
        ends = np.cumsum([len(right) for right in correct.values()])
        self.correct.update(correct)
        self.replicates.update(zip(correct, np.split(means, ends[:-1]), strict=True))

    def rows(self, name: str) -> Iterable[Row]:
        systems = [run.system for run in self.experiment.runs[name]]
        for (system, split, protocol), correct in self.correct.items():
            if system == name:
                key = (system, split, protocol)
                yield _row(systems, split, protocol, correct, self.replicates[key])

    def comparisons(self) -> Iterable[Comparison]:
        systems = self.experiment.systems
        for system in systems:
            for question, against in _opponents(system, systems):
                yield from self.pair(question, system.system, against)
        yield from self._mean_of_chains(systems)

    def pair(self, question: str, name: str, against: str) -> Iterable[Comparison]:
        for protocol in PROTOCOLS:
            a, b = (name, "test", protocol), (against, "test", protocol)
            if a in self.correct and b in self.correct:
                yield self._compare(question, name, [name], against, protocol)

    def _mean_of_chains(self, systems: list[System]) -> Iterable[Comparison]:
        """All progressive chains of a length together: one question instead of ten."""
        for direct in systems:
            chains = [s.system for s in systems if ("progressive", direct.system) in
                      _opponents(s, systems)]  # fmt: skip
            for protocol in PROTOCOLS if len(chains) > 1 else ():
                if all((n, "test", protocol) in self.correct for n in [direct.system, *chains]):
                    name = f"mean of {len(chains)} chains"
                    yield self._compare("progressive", name, chains, direct.system, protocol)

    def _compare(
        self, question: str, name: str, members: list[str], against: str, protocol: str
    ) -> Comparison:
        seeds = self._common_seeds([*members, against])
        a = [self._select(member, protocol, seeds) for member in members]
        right, replicates = (np.mean(parts, axis=0) for parts in zip(*a, strict=True))
        b, replicates_b = self._select(against, protocol, seeds)
        return Comparison(
            question=question,
            system=name,
            against=against,
            protocol=protocol,
            length_ms=self.experiment.system(members[0]).length_ms,
            **_as_lists(difference(right, b, replicates, replicates_b)),
        )

    def _common_seeds(self, names: list[str]) -> list[int]:
        sets = [{run.system.seed for run in self.experiment.runs[name]} for name in names]
        common = sorted(set.intersection(*sets))
        if not common:
            raise InputError(
                f"{self.experiment.directory}: {' and '.join(names)} have no seed in common"
            )
        return common

    def _select(self, name: str, protocol: str, seeds: list[int]) -> tuple[np.ndarray, np.ndarray]:
        have = [run.system.seed for run in self.experiment.runs[name]]
        index = [have.index(seed) for seed in seeds]
        key = (name, "test", protocol)
        return self.correct[key][index], self.replicates[key][index]


def _correct(group: list[Run], split: str, protocol: str) -> np.ndarray | None:
    """Whether each seed's answer to each utterance is right, (seeds, utterances) float32."""
    scored = [
        run.answers[split]
        for run in group
        if split in run.answers and protocol in run.answers[split].predictions
    ]
    if scored and len(scored) < len(group):
        raise InputError(
            f"{group[0].directory}: some of its {len(group)} seeds lack {split}/{protocol}; "
            "score all seeds under the same protocols"
        )
    right = [answers.predictions[protocol] == answers.labels for answers in scored]
    return np.array(right, dtype=np.float32) if right else None


def _opponents(system: System, systems: list[System]) -> list[tuple[str, str]]:
    """What `system` is compared with: (question, name of the other system)."""

    def named(kind: str, labels: str, steps: tuple[int, ...]) -> list[str]:
        wanted = (kind, labels, steps)
        found = [s for s in systems if (s.kind, s.labels, s.steps) == wanted]
        return [s.system for s in found if kind == "truncated" or not variant(s.system)]

    if system.kind == "truncated":
        return []
    if variant(system.system):
        return [("variant", n) for n in named(system.kind, system.labels, system.steps)]
    if system.kind != "distilled":
        return []
    ends = (system.steps[0], system.steps[-1])
    pairs = [("distillation", n) for n in named("clip_label", "clip", ends[1:])]
    if len(system.steps) > 2:
        pairs += [("progressive", n) for n in named("distilled", system.labels, ends)]
    if system.labels == "soft":
        pairs += [("soft", n) for n in named("distilled", "hard", system.steps)]
    if len(system.steps) == 2:
        pairs += [("cut", n) for n in named("truncated", "clip", ends)]
    return pairs


def _row(
    systems: list[System], split: str, protocol: str, correct: np.ndarray, replicates: np.ndarray
) -> Row:
    first = systems[0]
    score = estimate(correct, replicates)
    return Row(
        system=first.system,
        split=split,
        protocol=protocol,
        metric="accuracy",
        value=score.value,
        low=score.low,
        high=score.high,
        n=correct.shape[1],
        seeds=len(correct),
        spread=score.spread,
        per_seed=list(score.per_seed),
        kind=first.kind,
        labels=first.labels,
        steps=list(first.steps),
        length_ms=first.length_ms,
        parameters=first.parameters,
        macs=first.macs,
        latency_ms=_summary(median, [s.latency_ms for s in systems]),
        seconds=_summary(fmean, [s.seconds for s in systems]),
        command=first.command,
    )


def _summary(function, values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return function(known) if known else None


def _as_lists(item) -> dict:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(item).items()}
