"""Reads an experiment: EXP/seed<k>/<node>/{score.json,posteriors.npz,metrics.jsonl}, EXP/crops.npz.

A node is one trained or evaluated system, named by its chain of input lengths: `1000` (teacher),
`1000-500` and `1000-800-500` (soft labels), `1000-500.hard`, `500` (trained on the clip's own
label), `1000.pad-500` and `1000.native-500` (a 1000 ms network fed 500 ms, with or without zeros
around them). What else a name adds after a dot makes it a variant.
"""

import json
import re
import zipfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdspeech.io.errors import InputError

SPLITS = ("dev", "test")
PROTOCOLS = ("center", "best_energy", "sliding", "full")
"""How a test clip becomes the network's input; `full` is the clip as it is."""
KINDS = ("teacher", "distilled", "clip_label", "truncated")


class System(BaseModel):
    """`score.json`: what a node is and what it costs. `latency_ms` and `seconds` are times."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    system: str
    kind: Literal["teacher", "distilled", "clip_label", "truncated"]
    labels: Literal["clip", "soft", "hard"]
    steps: tuple[int, ...] = Field(min_length=1)
    length_ms: int = Field(gt=0)
    seed: int
    classes: tuple[str, ...] = Field(min_length=2)
    parameters: int
    macs: int
    latency_ms: float | None = None
    seconds: float | None = None
    command: str = ""
    corpus: str = ""


def variant(name: str) -> str:
    """What a name adds to chain and labels: "" of a plain system, `pad` of 1000.pad-500."""
    suffix = name.partition(".")[2].removeprefix("hard").removeprefix("clip").lstrip(".")
    return re.sub(r"-\d+$", "", suffix)


@dataclass(frozen=True)
class Answers:
    """One system's answers on one split, utterances in sorted order: labels and arg-max classes."""

    utts: np.ndarray
    labels: np.ndarray
    predictions: dict[str, np.ndarray]


@dataclass(frozen=True)
class Run:
    """One node of one seed."""

    directory: Path
    system: System
    answers: dict[str, Answers]


@dataclass(frozen=True)
class Experiment:
    """All finished nodes: `runs[name]` holds one `Run` per seed, in the order of seeds."""

    directory: Path
    runs: dict[str, list[Run]]
    unfinished: list[str] = field(default_factory=list)

    @property
    def systems(self) -> list[System]:
        return [runs[0].system for runs in self.runs.values()]

    @property
    def classes(self) -> tuple[str, ...]:
        return next(iter(self.runs.values()))[0].system.classes

    @property
    def seeds(self) -> list[int]:
        return sorted({run.system.seed for runs in self.runs.values() for run in runs})

    def system(self, name: str) -> System:
        return self.runs[name][0].system


def read_experiment(directory: str | Path) -> Experiment:
    """Reads every finished node below `directory`.

    A node without score.json is still running: it is left out and listed in `unfinished`.

    Raises:
        InputError: no seed folder, no finished node, or a file that does not hold what it should;
            the message names the file.
    """
    directory = Path(directory)
    nodes = _node_folders(directory)
    unfinished = [str(n.relative_to(directory)) for n in nodes if not (n / "score.json").is_file()]
    runs: dict[str, list[Run]] = {}
    for node in nodes:
        if (node / "score.json").is_file():
            runs.setdefault(node.name, []).append(_read_run(node))
    if not runs:
        raise InputError(
            f"{directory}: none of its {len(nodes)} systems is finished (no score.json); "
            "wait for the run, or start it again to finish them"
        )
    _check_consistent(runs)
    return Experiment(directory, dict(sorted(runs.items(), key=_order)), unfinished)


def revisions(experiment: Experiment) -> list[str]:
    """The git revisions that trained the networks, as their config.yaml recorded them, sorted."""
    found = set()
    for run in _every_run(experiment.runs):
        path = run.directory / "config.yaml"
        if path.is_file():
            try:
                versions = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("versions")
            except (yaml.YAMLError, AttributeError):
                raise InputError(f"{path}: not the `key: value` lines of a training") from None
            found.add(str((versions or {}).get("git", "")))
    return sorted(found - {""})


def dates(experiment: Experiment) -> tuple[str, str]:
    """First and last day, UTC, on which a system was scored."""
    times = [(r.directory / "score.json").stat().st_mtime for r in _every_run(experiment.runs)]
    days = [datetime.fromtimestamp(time, timezone.utc).date().isoformat() for time in times]
    return min(days), max(days)


def _every_run(runs: dict[str, list[Run]]) -> list[Run]:
    return [run for group in runs.values() for run in group]


def read_metrics(run: Run) -> list[dict]:
    """The epochs of metrics.jsonl in order, the last entry where an epoch was run twice.

    Returns [] where a node was only evaluated and has no such file. Raises InputError with the
    line that is not a JSON object with an epoch.
    """
    path = run.directory / "metrics.jsonl"
    if not path.is_file():
        return []
    epochs = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            epoch = json.loads(line)
            epochs[epoch["epoch"]] = epoch
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{path}:{number}: not a JSON object with an `epoch`") from None
    return [epochs[key] for key in sorted(epochs)]


@dataclass(frozen=True)
class CropExamples:
    """A few labelled crops: waves (n, samples) int16, starts (n,) and `length` in samples,
    the teacher's log-posteriors (n, classes), labels (n,) and utterance ids."""

    waves: np.ndarray
    starts: np.ndarray
    length: int
    teacher: np.ndarray
    labels: np.ndarray
    utts: list[str]
    sample_rate: int


def read_crops(experiment: Experiment) -> CropExamples | None:
    """EXP/crops.npz (wave, start, length, teacher, label, utt, sample_rate), or None without it."""
    path = experiment.directory / "crops.npz"
    if not path.is_file():
        return None
    arrays = load_npz(path)
    needed = ("wave", "start", "length", "teacher", "label", "utt", "sample_rate")
    for key in needed:
        if key not in arrays:
            raise InputError(f"{path}: no array `{key}` (it needs {', '.join(needed)})")
    n = len(arrays["wave"])
    _check_shape(path, "wave", arrays["wave"], (n, None))
    _check_shape(path, "teacher", arrays["teacher"], (n, len(experiment.classes)))
    for key in ("start", "label", "utt"):
        _check_shape(path, key, arrays[key], (n,))
    return CropExamples(
        waves=arrays["wave"],
        starts=arrays["start"],
        length=int(arrays["length"]),
        teacher=arrays["teacher"],
        labels=arrays["label"],
        utts=[str(utt) for utt in arrays["utt"]],
        sample_rate=int(arrays["sample_rate"]),
    )


def _node_folders(directory: Path) -> list[Path]:
    seeds = [d for d in sorted(directory.glob("seed*")) if re.fullmatch(r"seed\d+", d.name)]
    nodes = [n for d in seeds for n in sorted(d.iterdir()) if n.is_dir() and n.name[0] != "."]
    if not nodes:
        raise InputError(
            f"{directory}: not an experiment (no seed<k>/<system> folder); "
            "give the folder that `kds distill` wrote"
        )
    return nodes


def _order(item: tuple[str, list[Run]]) -> tuple:
    system = item[1][0].system
    return KINDS.index(system.kind), system.labels != "soft", len(system.steps), system.steps


def _read_run(node: Path) -> Run:
    system = read_system(node / "score.json")
    if node.parent.name != f"seed{system.seed}":
        raise InputError(
            f"{node / 'score.json'}: seed is {system.seed} but the folder is {node.parent.name}"
        )
    if system.system != node.name:
        raise InputError(
            f"{node / 'score.json'}: system is {system.system} but the folder is {node.name}"
        )
    return Run(node, system, read_posteriors(node / "posteriors.npz", len(system.classes)))


def read_system(path: Path) -> System:
    """Reads a score.json; InputError names the file and what is wrong in it."""
    try:
        return System.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where + ': ' if where else ''}{first['msg']}") from None


def read_posteriors(path: str | Path, num_classes: int) -> dict[str, Answers]:
    """Reads posteriors.npz: per split the utterances, labels and each protocol's arg-max.

    Raises InputError naming file and array when something is missing or has the wrong shape.
    """
    path = Path(path)
    arrays = load_npz(path)
    splits = [s for s in SPLITS if f"{s}/utt" in arrays]
    if "test" not in splits:
        raise InputError(f"{path}: no array `test/utt`; score the system again")
    return {split: _read_split(path, arrays, split, num_classes) for split in splits}


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file; InputError where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; score the system again") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable npz file ({error}); write it again") from None


def _read_split(path: Path, arrays: dict, split: str, num_classes: int) -> Answers:
    utts = arrays[f"{split}/utt"]
    n = len(utts)
    if f"{split}/label" not in arrays:
        raise InputError(f"{path}: no array `{split}/label`")
    labels = arrays[f"{split}/label"]
    _check_shape(path, f"{split}/label", labels, (n,))
    if n == 0 or labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"{path}: {split}/label: need 1 or more labels in 0..{num_classes - 1}")
    order = np.argsort(utts, kind="stable")
    if len(np.unique(utts)) != n:
        raise InputError(f"{path}: {split}/utt: an utterance is there twice")
    predictions = {}
    for protocol in PROTOCOLS:
        key = f"{split}/{protocol}"
        if key in arrays:
            _check_shape(path, key, arrays[key], (n, num_classes))
            if np.isnan(arrays[key]).any():
                raise InputError(f"{path}: {key}: holds NaN; the network diverged, train it again")
            predictions[protocol] = arrays[key].argmax(axis=1)[order]
    if not predictions:
        raise InputError(f"{path}: {split}: no protocol (one of {', '.join(PROTOCOLS)})")
    return Answers(utts[order].astype(str), labels[order].astype(np.int64), predictions)


def _check_shape(path: Path, key: str, array: np.ndarray, shape: tuple) -> None:
    fits = array.ndim == len(shape) and all(
        want in (None, have) for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if want is None else want for want in shape)
        raise InputError(f"{path}: {key} has shape {array.shape}, expected {wanted}")


def _check_consistent(runs: dict[str, list[Run]]) -> None:
    """One set of classes for all, and the same test utterances: else nothing is comparable."""
    every = _every_run(runs)
    first = every[0]
    for run in every:
        if run.system.classes != first.system.classes:
            raise InputError(
                f"{run.directory}: its classes differ from those of {first.directory}; "
                "keep one task per experiment"
            )
        for split in run.answers:
            _check_same_utterances(first, run, split)


def _check_same_utterances(first: Run, run: Run, split: str) -> None:
    a, b = first.answers.get(split), run.answers[split]
    if a is None or not np.array_equal(a.utts, b.utts) or not np.array_equal(a.labels, b.labels):
        raise InputError(
            f"{run.directory / 'posteriors.npz'}: its {split} utterances or labels differ from "
            f"those of {first.directory}; score both on the same data"
        )
