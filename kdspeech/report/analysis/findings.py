"""All numbers of an analysis, and analysis.json."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from kdspeech.io.atomic import atomic_path
from kdspeech.report.accuracy import confusion_matrix, wilson_interval
from kdspeech.report.analysis.agreement import (
    Agreement,
    Changes,
    Outcomes,
    agreement,
    changes,
    outcomes,
)
from kdspeech.report.analysis.calibration import (
    BINS,
    Calibration,
    Reliability,
    calibration,
    reliability,
)
from kdspeech.report.analysis.embedding import linear_cka, neighbour_accuracy, spread, tsne
from kdspeech.report.analysis.soft_targets import (
    SoftTargets,
    log_softmax,
    off_target_correlation,
    soft_target_stats,
)
from kdspeech.report.analysis.study import Network, Study

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
POINTS = 1500  # samples in the picture of an embedding


@dataclass(frozen=True)
class NetworkFindings:
    """Of one network: accuracy in % with Wilson's 95 % interval; counts (classes, classes), row the
    true class; softened outputs; calibration as it is and, if there are held-out samples, `scaled`
    by the temperature that is best there; the share of samples whose neighbours in the penultimate
    layer are of their class, and its picture (points, 2)."""

    name: str
    accuracy: float
    low: float
    high: float
    confusion: np.ndarray
    soft_targets: list[SoftTargets]
    calibration: Calibration
    reliability: Reliability
    held_out_temperature: float | None
    scaled: Calibration | None
    neighbour_accuracy: float | None
    picture: np.ndarray | None


@dataclass(frozen=True)
class PairFindings:
    """Of the reference (or baseline) and another network, posteriors as they are; at each
    temperature the mean divergence `kl_by_temperature` and `off_target_correlation`; `cka` of their
    penultimate layers."""

    first: str
    second: str
    agreement: Agreement
    outcomes: Outcomes
    kl_by_temperature: list[float]
    off_target_correlation: list[float]
    cka: float | None


@dataclass(frozen=True)
class ChangeFindings:
    """What is right after and was not before, and the reverse; over the seeds that both have:

    seeds: how many.
    was_right, is_right: (n,), in how many of them a sample is right before and after.
    mean_fixed, mean_broken: samples, on average over the seeds.
    chance: how many samples one seed of `before` has right that another has wrong, on average;
      None of a single seed.
    """

    before: str
    after: str
    changes: Changes
    seeds: int
    was_right: np.ndarray
    is_right: np.ndarray
    mean_fixed: float
    mean_broken: float
    chance: float | None


@dataclass(frozen=True)
class SeedFindings:
    """Of a network with every seed that all networks of the study have, (seeds,) each: accuracy in
    %; the share of the same answers as the reference of that seed and the mean divergence from it;
    ECE, and the temperature of the least NLL."""

    name: str
    accuracy: np.ndarray
    same: np.ndarray
    kl: np.ndarray
    ece: np.ndarray
    temperature: np.ndarray


@dataclass(frozen=True)
class Findings:
    """Of a study. `pictured` are the samples in the pictures of embeddings, (points,)."""

    networks: list[NetworkFindings]
    pairs: list[PairFindings]
    changes: ChangeFindings
    seeds: list[SeedFindings]
    pictured: np.ndarray

    def network(self, name: str) -> NetworkFindings:
        return next(network for network in self.networks if network.name == name)

    @property
    def temperatures(self) -> list[float]:
        return [soft.temperature for soft in self.networks[0].soft_targets]


def analyse(
    study: Study,
    temperatures: Sequence[float] = TEMPERATURES,
    bins: int = BINS,
    points: int = POINTS,
) -> Findings:
    """All numbers of a study.

    Args:
      study: the networks' outputs.
      temperatures: at which soft targets are described.
      bins: of the reliability diagrams.
      points: samples in the picture of an embedding, at most.

    Raises:
      InputError: see the single measures; an embedding without scikit-learn.
    """
    pictured = spread(study.labels, points)
    networks = [_network(study, n, temperatures, bins, pictured) for n in study.networks]
    others = range(1, len(networks))
    pairs = [(0, other) for other in others] + ([(study.baseline, 1)] if study.baseline else [])
    found = [_pair(study, networks, *pair) for pair in pairs]
    seeds = [_over_seeds(study, network, bins) for network in study.networks]
    return Findings(networks, found, _changes(study), seeds, pictured)


def _network(study, network: Network, temperatures, bins: int, pictured) -> NetworkFindings:
    logits, labels = network.logits, study.labels
    answers = np.argmax(logits, axis=1)
    right = int((answers == labels).sum())
    low, high = wilson_interval(right, len(labels))
    held_out = network.held_out and calibration(*network.held_out).temperature
    shown = None if network.embedding is None else network.embedding[pictured]
    near = None if shown is None else neighbour_accuracy(shown, labels[pictured])
    return NetworkFindings(
        name=network.name,
        accuracy=100 * right / len(labels),
        low=100 * low,
        high=100 * high,
        confusion=confusion_matrix(labels, answers, len(study.classes)),
        soft_targets=soft_target_stats(logits, labels, temperatures),
        calibration=calibration(logits, labels, bins=bins),
        reliability=reliability(np.exp(log_softmax(logits)), labels, bins),
        held_out_temperature=held_out,
        scaled=calibration(logits, labels, held_out, bins) if held_out else None,
        neighbour_accuracy=near,
        picture=None if shown is None else tsne(shown),
    )


def _pair(study: Study, networks: list[NetworkFindings], a: int, b: int) -> PairFindings:
    first, second = study.networks[a], study.networks[b]
    embedded = first.embedding is not None and second.embedding is not None
    soft = list(zip(networks[a].soft_targets, networks[b].soft_targets, strict=True))
    both = (first.logits, second.logits, study.labels)
    return PairFindings(
        first=first.name,
        second=second.name,
        agreement=agreement(*both),
        outcomes=outcomes(*both),
        kl_by_temperature=[agreement(*both, s.temperature).kl.mean() for s, _ in soft],
        off_target_correlation=[off_target_correlation(*s) for s in soft],
        cka=linear_cka(first.embedding, second.embedding) if embedded else None,
    )


def _changes(study: Study) -> ChangeFindings:
    was, now = (_right(network, study.labels) for network in (study.before, study.student))
    seeds = min(len(was), len(now))
    was, now = was[:seeds], now[:seeds]
    apart = [np.sum(b & ~a) for a, b in permutations(was, 2)]
    return ChangeFindings(
        before=study.before.name,
        after=study.student.name,
        changes=changes(study.before.logits, study.student.logits, study.labels),
        seeds=seeds,
        was_right=was.sum(axis=0),
        is_right=now.sum(axis=0),
        mean_fixed=float(np.sum(now & ~was) / seeds),
        mean_broken=float(np.sum(was & ~now) / seeds),
        chance=float(np.mean(apart)) if apart else None,
    )


def _over_seeds(study: Study, network: Network, bins: int) -> SeedFindings:
    seeds = min(len(n.repeats) for n in study.networks) + 1
    mine = (network.logits, *network.repeats)[:seeds]
    reference = (study.reference.logits, *study.reference.repeats)[:seeds]
    both = [agreement(a, b, study.labels) for a, b in zip(reference, mine, strict=True)]
    found = [calibration(z, study.labels, bins=bins) for z in mine]
    return SeedFindings(
        name=network.name,
        accuracy=100 * np.array([np.mean(z.argmax(axis=1) == study.labels) for z in mine]),
        same=np.array([pair.same.mean() for pair in both]),
        kl=np.array([pair.kl.mean() for pair in both]),
        ece=np.array([c.ece for c in found]),
        temperature=np.array([c.temperature for c in found]),
    )


def _right(network: Network, labels: np.ndarray) -> np.ndarray:
    """(seeds, n) bool."""
    return np.array([np.argmax(z, axis=1) == labels for z in (network.logits, *network.repeats)])


def save_json(study: Study, findings: Findings, path: str | Path, command: str = "") -> None:
    """Writes all numbers, and those of every sample, as JSON; NaN becomes null."""
    found = asdict(findings)
    about = {network.name: network.about for network in study.networks}
    head = {
        "command": command,
        "split": study.split,
        "classes": list(study.classes),
        "samples": list(study.samples),
        "labels": study.labels,
        "answers": {n.name: np.argmax(n.logits, axis=1) for n in study.networks},
        "about": about,
    }
    with atomic_path(path) as part:
        part.write_text(json.dumps(_plain(head | found)) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """The value as JSON holds it: named tuples as objects, arrays as lists, numbers to 6 digits."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
