"""Studies of an experiment: what `kds distill` and `kds image` leave in EXP/seed<k>/<system>."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from kdspeech.io.errors import InputError
from kdspeech.report.analysis.recipes import Config, Recipe, open_recipe
from kdspeech.report.analysis.study import Network, Study
from kdspeech.report.experiment import System, load_npz, read_posteriors, read_system
from kdspeech.report.tables import PROTOCOL_NAMES, millions


class Scored:
    """A scored system of an experiment.

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
        protocol = "" if self.of_images else f", {PROTOCOL_NAMES[self.protocol]}"
        return {
            "labels": taught[system.labels],
            "input": f"{system.length_ms} {'rows' if self.of_images else 'ms'}{protocol}",
            "seed": str(system.seed),
            "parameters": f"{system.parameters:,}",
            "multiply-adds": millions(system.macs),
        }

    @cached_property
    def identity(self) -> dict:
        """What its training depended on, as config.yaml says; {} of one that was not trained."""
        path = self.folder / "config.yaml"
        if not path.is_file():
            return {}
        try:
            return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["identity"])
        except (KeyError, TypeError, ValueError, yaml.YAMLError):
            raise InputError(f"{path}: not as a training leaves it (no identity)") from None

    @property
    def of_images(self) -> bool:
        return "images" in self.identity

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


def read_study(
    folders: Sequence[str | Path],
    baseline: str | Path | None = None,
    split: str = "test",
    protocol: str = "best_energy",
    recipe: tuple[Config, str | Path] | None = None,
    embed: bool = True,
) -> Study:
    """A study of scored systems.

    Args:
      folders: EXP/seed<k>/<system> of two or more, teacher and student first.
      baseline: that of the system the student's gains are counted from, one of them or a further
        one; else the first.
      split: "dev" or "test".
      protocol: of the systems that do not take whole clips.
      recipe: configuration and folder of packs; with them clips are played, images shown and
        penultimate layers computed.
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
    opened = recipe and open_recipe(*recipe, scored)
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
        unit="image" if scored[0].of_images else "clip",
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


def _network(scored: Scored, name: str, seeds: list[int], recipe: Recipe | None) -> Network:
    other = scored.answers("dev") if scored.split == "test" else None
    return Network(
        name=name,
        logits=scored.answers(scored.split)[2],
        about=scored.about(),
        embedding=recipe.embedding(scored) if recipe else None,
        held_out=other and (other[2], other[1]),
        repeats=tuple(scored.siblings[seed].answers(scored.split)[2] for seed in seeds),
    )
