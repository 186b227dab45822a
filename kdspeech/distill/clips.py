"""The clips that networks are trained on: the recipe's own, and those of unlabelled packs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kdspeech.data.pack import WavePack
from kdspeech.distill.config import KeywordConfig
from kdspeech.losses.kd import UNLABELLED

if TYPE_CHECKING:
    from kdspeech.distill.family import Node
    from kdspeech.distill.plans import Step


class ClipPool:
    """The recipe's training pack and `distill.unlabelled`, as one: a clip is a number, counted
    over all packs, the recipe's own first.

    Args:
        config: the recipe.
        train: its packed training split.
        seed: chooses the clips of a `fraction`, and silence and unknown of each epoch.
    """

    def __init__(self, config: KeywordConfig, train: WavePack, seed: int):
        self.config, self.seed = config, seed
        self.packs = [train, *map(WavePack, config.distill.unlabelled)]
        self.ends = np.cumsum([len(pack) for pack in self.packs])
        self.starts = self.ends - [len(pack) for pack in self.packs]

    def labelled(self, step: "Step | Node", crop_id: int) -> tuple[np.ndarray, np.ndarray]:
        """A step's clips of an epoch and their classes, (n,) each."""
        task, train, fraction = self.config.task, self.packs[0], self.config.fraction_of(step)
        among = task.part(train, fraction, self.seed) if fraction < 1 else None
        return task.select(train, self.seed + crop_id, among)

    def clips(self, step: "Step | Node", crop_id: int) -> tuple[np.ndarray, np.ndarray]:
        """As `labelled`, and for a student the clips of the other packs, of class UNLABELLED."""
        clips, labels = self.labelled(step, crop_id)
        if not step.teachers:
            return clips, labels
        others = np.arange(self.ends[0], self.ends[-1])
        unlabelled = np.full(len(others), UNLABELLED)
        return np.concatenate([clips, others]), np.concatenate([labels, unlabelled])

    def corpus(self, step: "Step | Node") -> str:
        """Names the clips that a step is trained on, by their packs' fingerprints."""
        fraction = self.config.fraction_of(step)
        own = self.packs[0].fingerprint + (f" x {fraction:g}" if fraction < 1 else "")
        others = self.packs[1:] if step.teachers else []
        return " + ".join([own, *(pack.fingerprint for pack in others)])

    def parts(self, clips: np.ndarray) -> Iterator[tuple[WavePack, np.ndarray, np.ndarray]]:
        """(pack, places in `clips`, numbers in the pack) of each pack that has some of them."""
        of = np.searchsorted(self.ends, clips, side="right")
        for number in np.unique(of):
            at = np.flatnonzero(of == number)
            yield self.packs[number], at, clips[at] - self.starts[number]

    def names(self, clips: np.ndarray) -> list[str]:
        """Of the utterances; those of other packs begin with their pack's fingerprint, as two
        packs may have the same names."""
        names = np.empty(len(clips), dtype=object)
        for pack, at, local in self.parts(clips):
            prefix = "" if pack is self.packs[0] else f"{pack.fingerprint}/"
            names[at] = [prefix + pack.utts[clip] for clip in local]
        return names.tolist()
