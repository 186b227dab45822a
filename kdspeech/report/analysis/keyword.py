"""Studies of a keyword experiment: what `kds distill` leaves in EXP/seed<k>/<system>."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import yaml

from kdspeech.distill.config import KeywordConfig, ModelConfig
from kdspeech.distill.costs import network as build
from kdspeech.distill.keyword import KeywordData, KeywordRun
from kdspeech.distill.labels import CHUNK
from kdspeech.io.errors import InputError
from kdspeech.losses.terms import REGRESSORS
from kdspeech.models import last_hidden
from kdspeech.report.analysis.exhibits import audio_exhibit
from kdspeech.report.analysis.study import Network, Study
from kdspeech.report.experiment import System, load_npz, read_posteriors, read_system
from kdspeech.report.tables import PROTOCOL_NAMES, millions
from kdspeech.train import load_weights

SAME_SCORES = 0.1  # nats: other machines round otherwise, other data are further off


class Scored:
    """A scored system of a keyword experiment.

    Args:
      folder: EXP/seed<k>/<system>, with score.json and posteriors.npz.
      split: "dev" or "test".
      protocol: of a system that has several; whole clips have the one protocol `full`.

    Raises:
      InputError: no such folder, split or protocol; damaged files.
    """

    def __init__(self, folder: str | Path, split: str, protocol: str):
        self.folder, self.split = Path(folder), split
        if not (self.folder / "score.json").is_file():
            raise InputError(
                f"{self.folder}: no scored system (no score.json); give EXP/seed<k>/<system>"
            )
        self.system: System = read_system(self.folder / "score.json")
        path = self.folder / "posteriors.npz"
        read_posteriors(path, len(self.system.classes))  # refuses what is wrong in it
        self.arrays = load_npz(path)
        self.protocol = "full" if f"{split}/full" in self.arrays else protocol
        if f"{split}/{self.protocol}" not in self.arrays:
            has = [key.split("/")[1] for key in self.arrays if key.startswith(f"{split}/")]
            raise InputError(f"{path}: no {split}/{protocol}; of {split} it has {' '.join(has)}")

    def answers(self, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Utterances in sorted order, labels and log-posteriors of a split; None without it."""
        if f"{split}/{self.protocol}" not in self.arrays:
            return None
        order = np.argsort(self.arrays[f"{split}/utt"], kind="stable")
        keys = (f"{split}/utt", f"{split}/label", f"{split}/{self.protocol}")
        return tuple(self.arrays[key][order] for key in keys)

    def about(self) -> dict[str, str]:
        """What the system is, for people."""
        system = self.system
        taught = {"clip": "clips' own", "soft": "teacher's", "hard": "teacher's arg-max"}
        return {
            "labels": taught[system.labels],
            "input": f"{system.length_ms} ms, {PROTOCOL_NAMES.get(self.protocol, 'whole clip')}",
            "seed": str(system.seed),
            "parameters": f"{system.parameters:,}",
            "multiply-adds": millions(system.macs),
        }

    @cached_property
    def siblings(self) -> dict[int, "Scored"]:
        """The same system with other seeds, by seed.

        Raises:
          InputError: one that was scored on other clips.
        """
        here, found = self.folder.absolute(), {}
        for seed in sorted(here.parent.parent.glob("seed*")):
            if (seed / here.name / "score.json").is_file() and seed != here.parent:
                scored = Scored(seed / here.name, self.split, self.protocol)
                check_same_clips([self, scored])
                found[scored.system.seed] = scored
        return found


def keyword_study(
    folders: Sequence[str | Path],
    baseline: str | Path | None = None,
    split: str = "test",
    protocol: str = "best_energy",
    recipe: tuple[KeywordConfig, str | Path] | None = None,
    embed: bool = True,
) -> Study:
    """A study of scored systems.

    Args:
      folders: EXP/seed<k>/<system> of two or more, teacher and student first.
      baseline: that of the system the student's gains are counted from, one of them or a further
        one; else the first.
      split: "dev" or "test".
      protocol: of the systems that do not take whole clips.
      recipe: configuration and folder of packs; with them clips are played and penultimate layers
        computed.
      embed: whether to compute those.

    Raises:
      InputError: folders that are not scored on the same clips, or not with this recipe.
    """
    folders = [Path(folder).absolute() for folder in folders]
    before = folders[0] if baseline is None else Path(baseline).absolute()
    folders += [before] if before not in folders else []
    scored = [Scored(folder, split, protocol) for folder in folders]
    check_same_clips(scored)
    utts, labels, _ = scored[0].answers(split)
    opened = recipe and _Recipe(*recipe, scored)
    seeds = set.intersection(*(set(s.siblings) for s in scored))
    names = _names(scored)
    networks = [
        _network(s, name, sorted(seeds), opened if embed else None)
        for s, name in zip(scored, names, strict=True)
    ]
    return Study(
        classes=scored[0].system.classes,
        labels=labels,
        samples=tuple(map(str, utts)),
        networks=tuple(networks),
        baseline=folders.index(before),
        split=split,
        exhibit=opened and opened.exhibit(scored, utts),
    )


def check_same_clips(scored: Sequence[Scored]) -> None:
    """Refuses systems whose classes or clips differ from those of the first."""
    first = scored[0].answers(scored[0].split)
    for other in scored[1:]:
        answers = other.answers(other.split)
        same = other.system.classes == scored[0].system.classes and all(
            np.array_equal(a, b) for a, b in zip(first[:2], answers[:2], strict=True)
        )
        if not same:
            raise InputError(
                f"{other.folder}: its classes or {other.split} clips differ from those of "
                f"{scored[0].folder}; analyse systems of one task, scored on the same data"
            )


def _names(scored: list[Scored]) -> list[str]:
    """Names of the systems, with as much of the path as tells them apart."""
    parts = [s.folder.absolute().parts for s in scored]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError(f"{scored[0].folder}: give each system once")


def _network(scored: Scored, name: str, seeds: list[int], recipe: "_Recipe | None") -> Network:
    other = scored.answers("dev") if scored.split == "test" else None
    return Network(
        name=name,
        logits=scored.answers(scored.split)[2],
        about=scored.about(),
        embedding=recipe.embedding(scored) if recipe else None,
        held_out=other and (other[2], other[1]),
        repeats=tuple(scored.siblings[seed].answers(scored.split)[2] for seed in seeds),
    )


class _Recipe:
    """A recipe's configuration and packs, to hear the clips and to run the networks again."""

    def __init__(self, config: KeywordConfig, data: str | Path, scored: list[Scored]):
        self.config = config
        self.run = KeywordRun(config, KeywordData.open(data), scored[0].folder.parent)
        self.pack = self.run.data.splits()[scored[0].split]
        if tuple(config.task.classes) != scored[0].system.classes:
            raise InputError(
                f"{scored[0].folder}: its classes are not those of the configuration; give the "
                "one it was trained with"
            )

    def exhibit(self, scored: list[Scored], utts: np.ndarray):
        """Shows a clip, and the crop that the shortest network hears, if it is one."""
        shortest = min(scored, key=lambda s: s.system.length_ms)
        clips = np.array([self.pack.index(str(utt)) for utt in utts])
        length, starts = self.run.samples(shortest.system.length_ms), None
        if shortest.protocol in ("center", "best_energy"):
            law = self.run.test_law(shortest.system.length_ms, shortest.protocol)
            starts = self.pack.crop_starts(clips, law)

        def show(i: int) -> str:
            crop = None if starts is None else (int(starts[i]), length)
            return audio_exhibit(self.pack[int(clips[i])], self.pack.sample_rate, crop)

        return show

    def embedding(self, scored: Scored) -> np.ndarray | None:
        """The penultimate layer of a system on its clips, (n, dim), as its protocol shows them; of
        several crops the mean. None of a system without weights of its own (`1000.native-500`)."""
        if not (scored.folder / "best.pt").is_file():
            return None
        utts, _, log_probs = scored.answers(scored.split)
        clips = np.array([self.pack.index(str(utt)) for utt in utts])
        model, ms = self._model(scored), scored.system.length_ms
        mode = "center" if scored.protocol == "full" else scored.protocol
        outputs = []
        for part in np.array_split(clips, max(1, len(clips) // CHUNK)):
            outputs.append(self._chunk(model, part, self.run.test_law(ms, mode)))
        hidden, again = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        if np.abs(np.exp(again) - np.exp(log_probs)).max() > SAME_SCORES:
            raise InputError(
                f"{scored.folder}: with this configuration and data its posteriors are not those "
                "in posteriors.npz; give those it was scored with"
            )
        return hidden

    def _chunk(self, model, clips: np.ndarray, law) -> tuple[np.ndarray, np.ndarray]:
        """Penultimate layer and log-posteriors of clips, means over each clip's crops."""
        counts = np.diff(self.pack.plan(clips, law).offsets)
        with last_hidden(model) as inputs:
            log_probs = self.run.log_probs(model, self.pack.crops(clips, law)).numpy()
        hidden = torch.cat(inputs, dim=1).numpy()
        firsts = np.cumsum(counts) - counts
        sums = (np.add.reduceat(x, firsts) for x in (hidden, np.exp(log_probs)))
        hidden, probs = (x / counts[:, None] for x in sums)
        return hidden, np.log(np.maximum(probs, np.finfo(np.float32).tiny))

    def _model(self, scored: Scored) -> torch.nn.Module:
        """The trained network, built as its config.yaml says."""
        path = scored.folder / "config.yaml"
        try:
            identity = yaml.safe_load(path.read_text(encoding="utf-8"))["identity"]
            form = ModelConfig.model_validate(identity["model"])
            members = int(identity.get("members", 1))
        except (KeyError, TypeError, ValueError, yaml.YAMLError):
            raise InputError(f"{path}: does not say which model was trained") from None
        model = build(self.config, form, scored.system.length_ms, members)
        load_weights(model, scored.folder / "best.pt", without=REGRESSORS)
        return model.eval()
