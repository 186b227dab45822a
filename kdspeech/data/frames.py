"""Frame packs: the features of all utterances in one memory-mapped file, for networks that
classify single frames.

A pack is a folder with `feats.f32`, all frames one after the other (float32, little endian), and
`index.arrow`, an Arrow IPC file with one row per utterance: utt, speaker and num_frames.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

FEATS, INDEX = "feats.f32", "index.arrow"
BLOCK_FRAMES = 200_000  # frames that are shuffled together: what training holds in memory
_SCHEMA = pa.schema([("utt", pa.string()), ("speaker", pa.string()), ("num_frames", pa.int64())])


class FramePack:
    """A frame pack opened for reading.

    Args:
        path: the pack's folder.
    Attributes:
        utts, speakers: lists of str, one per utterance.
        offsets: int64, (utterances + 1,): the frames of utterance i are offsets[i]:offsets[i + 1].
        feats: float32, (frames, dim), memory-mapped.
    Raises:
        InputError: no pack at `path`, or one that is cut short.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            with pa.memory_map(os.fspath(self.path / INDEX)) as source:
                table = pa.ipc.open_file(source).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{self.path}: no frame pack there ({error})") from error
        self.utts: list[str] = table["utt"].to_pylist()
        self.speakers: list[str] = table["speaker"].to_pylist()
        self.offsets = np.concatenate(([0], np.cumsum(table["num_frames"].to_numpy())))
        self.dim = int(table.schema.metadata[b"dim"])
        self.feats = self._map()
        self.index = {utt: i for i, utt in enumerate(self.utts)}

    @classmethod
    def build(
        cls, path: str | os.PathLike, utterances: Iterable[tuple[str, str, np.ndarray]]
    ) -> "FramePack":
        """Writes a pack, whole or not at all, and opens it.

        Args:
            path: folder to write; an older pack is replaced.
            utterances: (utterance, speaker, features (frames, dim)); one at a time is in memory.
        Raises:
            InputError: no utterances, one that comes twice, no frames, NaN, or another dimension
                than the first; names the utterance.
        """
        with atomic_dir(path) as folder:
            rows: dict[str, tuple[str, int]] = {}
            dim = 0
            with open(folder / FEATS, "wb") as out:
                for utt, speaker, feats in utterances:
                    dim = dim or feats.shape[-1]
                    _check(utt, feats, dim, rows)
                    out.write(np.ascontiguousarray(feats, dtype="<f4"))
                    rows[utt] = (speaker, len(feats))
            if not rows:
                raise InputError(f"{path}: no utterances to pack")
            speakers, counts = zip(*rows.values(), strict=True)
            schema = _SCHEMA.with_metadata({"dim": str(dim)})
            table = pa.table([list(rows), list(speakers), list(counts)], schema=schema)
            with pa.ipc.new_file(os.fspath(folder / INDEX), schema) as index:
                index.write_table(table)
        return cls(path)

    def __len__(self) -> int:
        return len(self.utts)

    def __getitem__(self, utterance: int | str) -> np.ndarray:
        """The features of an utterance by number or name: (num_frames, dim), read-only."""
        i = self.index[utterance] if isinstance(utterance, str) else utterance
        return self.feats[self.offsets[i] : self.offsets[i + 1]]

    def spliced(self, frames: np.ndarray, context: int) -> np.ndarray:
        """Frames with their neighbours, as splice-feats: the first and last are repeated.

        Args:
            frames: (n,) positions in `feats`.
            context: neighbours on each side.
        Returns:
            (n, (2 * context + 1) * dim) float32.
        """
        utterance = np.searchsorted(self.offsets, frames, side="right") - 1
        first, last = self.offsets[utterance], self.offsets[utterance + 1] - 1
        around = frames[:, None] + np.arange(-context, context + 1)
        around = np.clip(around, first[:, None], last[:, None])
        return self.feats[around].reshape(len(frames), -1)

    def blocks(self, utterances: np.ndarray, seed: int) -> Iterator[np.ndarray]:
        """An epoch's frames in random order: positions in `feats`, a block at a time.

        Utterances are drawn at random into blocks of about BLOCK_FRAMES and frames are shuffled
        within a block, so that memory does not grow with the corpus.

        Args:
            utterances: numbers of those to use.
            seed: decides the order.
        """
        random = np.random.default_rng(seed)
        order = random.permutation(utterances)
        ends = np.cumsum(np.diff(self.offsets)[order])
        for block in np.split(order, np.flatnonzero(np.diff(ends // BLOCK_FRAMES)) + 1):
            frames = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in block]
            yield random.permutation(np.concatenate(frames))

    def _map(self) -> np.ndarray:
        path, shape = self.path / FEATS, (int(self.offsets[-1]), self.dim)
        expected = 4 * shape[0] * shape[1]
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise InputError(f"{path}: cut short: {found} bytes, {expected} expected")
        return np.memmap(path, "<f4", "r", shape=shape)


def _check(utt: str, feats: np.ndarray, dim: int, seen: dict) -> None:
    if utt in seen:
        raise InputError(f"{utt}: comes twice")
    if feats.ndim != 2 or len(feats) == 0 or feats.shape[1] != dim:
        raise InputError(f"{utt}: features are {feats.shape}, expected (frames, {dim}), not empty")
    if not np.isfinite(feats).all():
        raise InputError(f"{utt}: features that are not finite")
