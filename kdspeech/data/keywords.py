"""Keyword spotting as a task on a corpus of spoken words: which word is which class.

The corpus says what was spoken (`text` holds the word); the task says which words are keywords,
what becomes `_unknown_`, and how much silence and unknown a set contains.
"""

import hashlib

import numpy as np
from pydantic import Field

from kdspeech.config import Config
from kdspeech.data.pack import WavePack
from kdspeech.io.errors import InputError

SILENCE = "_silence_"
UNKNOWN = "_unknown_"


class KeywordTask(Config):
    """The classes of a keyword spotter: silence, unknown, then the words in their order.

    The shares are those of the whole set, 10 % each in Speech Commands (Warden 2018); a share
    of 0 leaves the class out. Where a corpus has less of it than its share, all of it is used.
    """

    words: list[str] = Field(min_length=1)
    unknown_percent: float = Field(10.0, ge=0, lt=50)
    silence_percent: float = Field(10.0, ge=0, lt=50)

    @property
    def classes(self) -> list[str]:
        fillers = [(SILENCE, self.silence_percent), (UNKNOWN, self.unknown_percent)]
        return [name for name, percent in fillers if percent > 0] + self.words

    def labels(self, pack: WavePack) -> np.ndarray:
        """The class of every clip of a pack, int64 (n,); -1 where the task leaves it out."""
        number = {name: i for i, name in enumerate(self.classes)}
        unknown = number.get(UNKNOWN, -1)
        return np.array(
            [
                number.get(SILENCE, -1) if text == SILENCE else number.get(text, unknown)
                for text in pack.texts
            ],
            dtype=np.int64,
        )

    def part(self, pack: WavePack, fraction: float, seed: int = 0) -> np.ndarray:
        """That fraction of each class's clips, at least one: (n,) indices in ascending order."""
        labels = self.labels(pack)
        parts = []
        for label in range(len(self.classes)):
            clips = np.flatnonzero(labels == label)
            count = max(1, round(fraction * len(clips)))
            parts.append(_draw(pack, clips, count, seed))
        return np.sort(np.concatenate(parts))

    def select(
        self, pack: WavePack, seed: int = 0, among: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The clips of a set: all keywords, and silence and unknown in their shares.

        Args:
            pack: the packed split.
            seed: chooses among the silence and unknown clips; one seed per epoch in training
                shows all of them in time, the fixed default serves dev and test.
            among: (n,) indices of the only clips to take, see `part`; all.

        Returns:
            (clips, labels), int64 arrays: indices into the pack in ascending order, and classes.

        Raises:
            InputError: a keyword that no clip of the pack carries.
        """
        labels = self.labels(pack)
        if among is not None:
            labels[np.setdiff1d(np.arange(len(pack)), among)] = -1
        present = set(pack.texts)
        absent = [word for word in self.words if word not in present]
        if absent:
            raise InputError(f"{pack.path}: no clip of the keyword(s) {' '.join(absent)}")
        fillers = [self.classes.index(c) for c in (SILENCE, UNKNOWN) if c in self.classes]
        known = int(((labels >= 0) & ~np.isin(labels, fillers)).sum())
        total = known / (1 - (self.silence_percent + self.unknown_percent) / 100)
        chosen = (labels >= 0) & ~np.isin(labels, fillers)
        for label, percent in zip(fillers, self._filler_percents(), strict=True):
            clips = np.flatnonzero(labels == label)
            chosen[_draw(pack, clips, round(total * percent / 100), seed)] = True
        clips = np.flatnonzero(chosen)
        return clips, labels[clips]

    def _filler_percents(self) -> list[float]:
        return [p for p in (self.silence_percent, self.unknown_percent) if p > 0]


def _draw(pack: WavePack, clips: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the clips, by a hash of seed and utterance: the same whatever else is there."""
    if len(clips) <= count:
        return clips
    keys = [
        hashlib.blake2b(f"{seed} {pack.utts[i]}".encode(), digest_size=8).digest() for i in clips
    ]
    return clips[np.argsort(keys)[:count]]
