"""Reads a speech recognition experiment: its scores, and what its folders say of how they came.

EXP/results.json has the rows of `kds score`; EXP/<system>/decode_<split>[.<pass>] the scoring files
behind each (system `<system>` or `<system>.<pass>`), EXP/<system>/metrics.jsonl the passes of the
training, EXP/times/<step> the CPU and wall seconds of a step as the recipe measured them. Networks
and their seeds are told by their names (asr_networks).
"""

import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from kdspeech.io.errors import InputError
from kdspeech.report.asr_networks import NetworkFacts, SystemName, read_networks
from kdspeech.report.wer import WerRow, load_rows

log = logging.getLogger(__name__)

FRAMES_PER_SECOND = 100
SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Reference:
    """What another toolkit reached; None where nothing is known. Seconds are CPU seconds."""

    wer: float | None = None
    train_seconds: float | None = None
    align_seconds: float | None = None
    decode_seconds: float | None = None


@dataclass(frozen=True)
class AsrExperiment:
    """Everything the tables, the figures and the page show.

    Attributes:
        rows: of results.json, systems in the order they were scored.
        seconds: CPU seconds of each step (train_mono, decode_tri1_test, ...).
        audio: seconds of speech of each split.
        metrics: system -> what each pass of its training recorded.
        references: (system, split) -> what another toolkit reached; `toolkit` is its name.
        networks: by name without seed; the other systems are Gaussian.
    """

    directory: Path
    rows: list[WerRow]
    seconds: dict[str, float]
    audio: dict[str, float]
    metrics: dict[str, list[dict]]
    references: dict[tuple[str, str], Reference]
    toolkit: str = ""
    networks: dict[str, NetworkFacts] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """All of them, seeds not told apart."""
        return list(dict.fromkeys(SystemName.parse(row.system).system for row in self.rows))

    @property
    def gaussian_systems(self) -> list[str]:
        return [s for s in self.systems if SystemName.parse(s).base not in self.networks]

    @property
    def network_systems(self) -> list[str]:
        """Networks, each training's beside each other, adapted ones included."""
        found = [s for s in self.systems if SystemName.parse(s).base in self.networks]
        forms = [self.form(system) for system in found]
        return sorted(found, key=lambda system: forms.index(self.form(system)))

    def form(self, system: str) -> str:
        """Kind and training of a network: DNN CE, HDNN KD + sMBR."""
        name = SystemName.parse(system)
        return f"{self.networks[name.base].kind} {name.training}"

    @property
    def splits(self) -> list[str]:
        found = {row.split for row in self.rows}
        return [s for s in SPLITS if s in found] + sorted(found - set(SPLITS))

    def seeds(self, system: str, split: str) -> dict[int, WerRow]:
        """The row of each seed of a system, by seed; empty where it was not scored."""
        names = ((SystemName.parse(row.system), row) for row in self.rows if row.split == split)
        rows = {name.seed: row for name, row in names if name.system == system}
        return dict(sorted(rows.items()))

    def row(self, system: str, split: str) -> WerRow | None:
        """The first seed's row."""
        return next(iter(self.seeds(system, split).values()), None)

    def mean(self, system: str, split: str) -> float:
        """WER in %, the mean over the seeds; infinite where it was not scored."""
        values = [row.value for row in self.seeds(system, split).values()]
        return sum(values) / len(values) if values else float("inf")

    @property
    def headline(self) -> WerRow:
        """The row of the last split, test, of the system that is best on the first, dev; of the
        one that is best on test itself where no system was scored on both."""
        split, last = self.headline_split, self.splits[-1]
        usable = [s for s in self.systems if self.row(s, split) and self.row(s, last)]
        return self.row(min(usable, key=lambda system: self.mean(system, split)), last)

    @property
    def headline_split(self) -> str:
        """What the headline was chosen on: the first split, or the last."""
        first, last = self.splits[0], self.splits[-1]
        both = any(self.row(s, first) and self.row(s, last) for s in self.systems)
        return first if both else last

    def folder(self, system: str, split: str) -> Path:
        """The decoding directory of a row."""
        name, dot, suffix = system.partition(".")
        return self.directory / name / f"decode_{split}{dot}{suffix}"

    def train_seconds(self, system: str) -> float | None:
        return self.seconds.get(f"train_{system.partition('.')[0]}")

    def align_seconds(self, system: str) -> float | None:
        """Of the training speech, for the next system."""
        return self.seconds.get(f"align_{system}")

    def decode_seconds(self, system: str, split: str) -> float | None:
        """Of both passes, for a system that has an earlier one (`<system>.si`)."""
        return self.seconds.get(f"decode_{system}_{split}")

    def real_time_factor(self, system: str, split: str) -> float | None:
        """CPU seconds of decoding for each second of speech."""
        seconds, audio = self.decode_seconds(system, split), self.audio.get(split)
        return seconds / audio if seconds is not None and audio else None


def read_asr(
    directory: str | Path, data: str | Path | None = None, reference: str | Path | None = None
) -> AsrExperiment:
    """Reads an experiment; what is not there is left out of the report.

    A system without any decoding directory is left out too, and a warning names it: whoever removes
    a system's directory, to make it again, still has its rows in results.json.

    Args:
        directory: EXP.
        data: the folder of the data directories, for the length of the splits.
        reference: YAML `toolkit: name` and `systems: {system: {split or train_seconds or
            decode_seconds: number}}`.
    Raises:
        InputError: no results.json, none of its systems is there, or a file that does not hold
            what it should.
    """
    directory = Path(directory)
    rows = _rows_of_what_is_there(directory)
    names = {row.system.partition(".")[0] for row in rows}
    toolkit, references = _read_reference(reference) if reference else ("", {})
    return AsrExperiment(
        directory,
        rows,
        {path.name: _cpu_seconds(path) for path in sorted((directory / "times").glob("[!.]*"))},
        _read_lengths(Path(data)) if data else {},
        {name: _read_metrics(directory / name) for name in sorted(names)},
        references,
        toolkit,
        read_networks(directory, [row.system for row in rows]),
    )


def _rows_of_what_is_there(directory: Path) -> list[WerRow]:
    path = directory / "results.json"
    rows = load_rows(path)
    gone = list(dict.fromkeys(r.system for r in rows if not _is_there(directory, r.system)))
    if gone:
        log.warning("%s: left out, without a decoding directory: %s", path, ", ".join(gone))
    rows = [row for row in rows if row.system not in gone]
    if not rows:
        raise InputError(f"{path}: has no row of a system that is there (run `kds score` first)")
    return rows


def _is_there(directory: Path, system: str) -> bool:
    """Whether any decoding of a system (`<name>[.<pass or adaptation>]`) is there."""
    name, dot, suffix = system.partition(".")
    return any((directory / name).glob(f"decode_*{dot}{suffix}"))


def _cpu_seconds(path: Path) -> float:
    """User and system seconds of "user system wall", a line each time that the step was begun."""
    times = [row for row in map(_floats, path.read_text().splitlines()) if len(row) == 3]
    if not times:
        raise InputError(f"{path}: not the three times of a step (run its stage again)")
    return sum(user + system for user, system, _ in times)


def _floats(line: str) -> list[float]:
    """Of a line of numbers; of another one, such as what a shell says of a killed step, nothing."""
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return []


def _read_lengths(data: Path) -> dict[str, float]:
    lengths = {}
    for path in data.glob("*/utt2num_frames"):
        frames = sum(int(line.split()[1]) for line in path.read_text().splitlines())
        lengths[path.parent.name] = frames / FRAMES_PER_SECOND
    return lengths


def _read_metrics(folder: Path) -> list[dict]:
    """Rows of metrics.jsonl; as epoch 0 what was measured before, where initial.json has it."""
    path, initial = folder / "metrics.jsonl", folder / "initial.json"
    if not path.is_file():
        return []
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if initial.is_file():
            before = json.loads(initial.read_text(encoding="utf-8")).items()
            rows.insert(0, {"epoch": 0} | {f"dev_{key}": value for key, value in before})
        return rows
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({error}); train the system again") from None


def _read_reference(path: str | Path) -> tuple[str, dict[tuple[str, str], Reference]]:
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        toolkit, systems = content["toolkit"], content["systems"]
        found = {}
        for system, numbers in systems.items():
            for split in SPLITS:
                found[system, split] = Reference(
                    numbers.get(split),
                    numbers.get("train_seconds"),
                    numbers.get("align_seconds"),
                    numbers.get("decode_seconds") if split == "test" else None,
                )
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not `toolkit:` and `systems:` ({error})") from None
    return toolkit, found


def read_sweep(folder: Path) -> dict[tuple[float, float], float]:
    """(LM scale, penalty) -> WER in %, of the files that `kds score` left."""
    sweep = {}
    for path in folder.glob("wer_*"):
        match = re.fullmatch(r"wer_([\d.]+)_([\d.]+)", path.name)
        found = re.match(r"%WER ([\d.]+)", path.read_text(encoding="utf-8"))
        if match and found:
            sweep[float(match[1]), float(match[2])] = float(found[1])
    return dict(sorted(sweep.items()))


def read_speakers(folder: Path) -> dict[str, tuple[int, int]]:
    """Speaker -> errors and words, of wer_details/per_spk; {} where it was not scored."""
    path = folder / "scoring_kaldi/wer_details/per_spk"
    if not path.is_file():
        return {}
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    raw = {fields[0]: fields for fields in rows if len(fields) > 8 and fields[1] == "raw"}
    raw.pop("SUM", None)
    return {speaker: (int(fields[8]), int(fields[3])) for speaker, fields in raw.items()}


def read_alignments(folder: Path) -> dict[str, list[str]]:
    """Utterance -> its lines `ref`, `hyp` and `op` of wer_details/per_utt."""
    path = folder / "scoring_kaldi/wer_details/per_utt"
    found: dict[str, list[str]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            utterance, kind, *words = line.split(" ", 2)
            if kind in ("ref", "hyp", "op"):
                found.setdefault(utterance, []).append(f"{kind:4}{' '.join(words).strip()}")
    return found
