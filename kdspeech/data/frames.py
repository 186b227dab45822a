"""Frame packs: the features of all utterances in one memory-mapped file, for networks that
classify single frames.

A pack is a folder with `feats.f32`, all frames one after the other (float32, little endian), and
`index.arrow`, an Arrow IPC file with one row per utterance: utt, speaker and num_frames.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

FEATS, INDEX = "feats.f32", "index.arrow"
_BESIDE = ("source.yaml", "cmvn_opts", "delta_opts", "splice_opts", "final.mat")
"""What kdspeech.acoustic.make_frames adds: where the features came from."""

BLOCK_FRAMES = 200_000  # what training holds in memory and shuffles together
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
        cls,
        path: str | os.PathLike,
        utterances: Iterable[tuple[str, str, np.ndarray]],
        beside: Callable[[Path], None] | None = None,
    ) -> "FramePack":
        """Writes a pack, whole or not at all, and opens it.

        Args:
            path: folder to write; an older pack is replaced if it holds nothing else.
            utterances: (utterance, speaker, features (frames, dim)); one at a time is in memory.
            beside: called with the folder at the end, to write more files into it.
        Raises:
            InputError: no utterances, one that comes twice, no frames, NaN, or another dimension
                than the first; names the utterance. A folder with other files.
        """
        with atomic_dir(path, ours=[FEATS, INDEX, *_BESIDE]) as folder:
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
            if beside is not None:
                beside(folder)
        return cls(path)

    def __len__(self) -> int:
        return len(self.utts)

    def __getitem__(self, utterance: int | str) -> np.ndarray:
        """The features of an utterance by number or name: (num_frames, dim), read-only."""
        i = self.index[utterance] if isinstance(utterance, str) else utterance
        return self.feats[self.offsets[i] : self.offsets[i + 1]]

    def blocks(
        self, utterances: np.ndarray, context: int = 0, seed: int | None = None
    ) -> Iterator["FrameBlock"]:
        """The frames of some utterances, about BLOCK_FRAMES at a time: memory does not grow with
        the corpus.

        Args:
            utterances: numbers of those to use.
            context: neighbours on each side of a frame.
            seed: deals the utterances out at random; None keeps their order.
        """
        order = np.asarray(utterances)
        if seed is not None:
            order = np.random.default_rng(seed).permutation(order)
        ends = np.cumsum(np.diff(self.offsets)[order])
        for block in np.split(order, np.flatnonzero(np.diff(ends // BLOCK_FRAMES)) + 1):
            yield FrameBlock(self, block, context)

    def num_frames(self, utterances: np.ndarray) -> int:
        """How many frames some utterances have together."""
        return int(np.diff(self.offsets)[utterances].sum())

    def _map(self) -> np.ndarray:
        path, shape = self.path / FEATS, (int(self.offsets[-1]), self.dim)
        expected = 4 * shape[0] * shape[1]
        found = path.stat().st_size if path.exists() else 0
        if found != expected:
            raise InputError(f"{path}: cut short: {found} bytes, {expected} expected")
        return np.memmap(path, "<f4", "r", shape=shape)


class FrameBlock:
    """Frames of some utterances in memory, to be taken with their neighbours.

    Args:
        pack: FramePack.
        utterances: numbers of the utterances.
        context: neighbours on each side; an utterance's first and last frame are repeated, as by
            splice-feats.
    Attributes:
        positions: int64 (frames,), where each frame stands in the pack.
    """

    def __init__(self, pack: FramePack, utterances: np.ndarray, context: int = 0):
        around = ((context, context), (0, 0))
        padded = np.concatenate([np.pad(pack[i], around, mode="edge") for i in utterances])
        counts = np.diff(pack.offsets)[utterances]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        self.positions = within + np.repeat(pack.offsets[utterances], counts)
        self._starts = within + np.repeat(
            ends - counts + 2 * context * np.arange(len(ends)), counts
        )
        # A frame and its neighbours follow one another: a window is one piece of memory.
        shape = (len(padded) - 2 * context, (2 * context + 1) * pack.dim)
        strides = (padded.strides[0], padded.itemsize)
        self._windows = np.lib.stride_tricks.as_strided(padded, shape, strides, writeable=False)

    def __len__(self) -> int:
        return len(self.positions)

    def spliced(self, rows: np.ndarray | slice) -> np.ndarray:
        """Frames by their numbers in the block: (n, (2 * context + 1) * dim) float32."""
        return self._windows[self._starts[rows]]


def _check(utt: str, feats: np.ndarray, dim: int, seen: dict) -> None:
    if utt in seen:
        raise InputError(f"{utt}: comes twice")
    if feats.ndim != 2 or len(feats) == 0 or feats.shape[1] != dim:
        raise InputError(f"{utt}: features are {feats.shape}, expected (frames, {dim}), not empty")
    if not np.isfinite(feats).all():
        raise InputError(f"{utt}: features that are not finite")
