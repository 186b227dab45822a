"""The soft-label store: a teacher's posteriors, written once and read by any number of students.

One Arrow IPC file, memory-mapped. A row is one crop of one utterance and holds, for each of its
frames (a keyword posterior is a single frame), the `top_k` most probable classes (uint16), their
natural-log probabilities (float16) and the log of the mass that is left for all the others.
What the labels depend on (teacher, corpus, crop law, ...) stands in the schema's metadata, and a
reader who expects something else is refused by the name of what differs.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

MAX_CLASSES = 1 << 16
LOWEST = -60000.0  # log of "no mass"; float16 ends at -65504

Rows = tuple[Sequence[str], Sequence[int], Iterable[np.ndarray]]


class _Block(NamedTuple):
    """Columns of one record batch: (frames, top_k), (frames, top_k) and (frames,)."""

    classes: np.ndarray
    log_probs: np.ndarray
    rest: np.ndarray


class SoftLabelStore:
    """Reads a store.

    Args:
        path: the Arrow file.
        expect: what the reader relies on, e.g. `{"teacher": "1f3a...", "crop_law": "..."}`.

    Raises:
        InputError: no such file, not a store, or made from something else than expected.
    """

    def __init__(self, path: str | Path, expect: dict[str, str | float] | None = None):
        self.path = Path(path)
        table = _open(self.path)
        header = json.loads(table.schema.metadata[b"kdspeech"])
        self.made_from: dict[str, str | float] = header["made_from"]
        self.num_classes: int = header["num_classes"]
        self.top_k: int = header["top_k"]
        _check(self.path, self.made_from, expect or {})
        self._read(table)

    def _read(self, table: pa.Table) -> None:
        names = table["utterance"].to_pylist()
        self._codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
        codes = np.fromiter((self._codes[name] for name in names), np.int64, len(names))
        crops = table["crop"].to_numpy()
        self._num_crops = int(crops.max(initial=0)) + 1
        keys = codes * self._num_crops + crops
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._ends = np.concatenate([[0], np.cumsum(table["frames"].to_numpy(), dtype=np.int64)])
        self._blocks = [
            _Block(classes.reshape(-1, self.top_k), log_probs.reshape(-1, self.top_k), rest)
            for classes, log_probs, rest in zip(
                *(_mapped(table[name]) for name in _Block._fields), strict=True
            )
        ]
        self._block_starts = np.cumsum([0, *(len(block.rest) for block in self._blocks)])

    def __len__(self) -> int:
        """The number of stored crops."""
        return len(self._keys)

    def rows(self, utterances: Sequence[str], crops: Sequence[int]) -> np.ndarray:
        """Row numbers of (utterance, crop) pairs, shape (n,); InputError names a missing one."""
        pairs = zip(utterances, crops, strict=True)
        keys = np.array([self._key(u, c) for u, c in pairs], dtype=np.int64)
        at = np.searchsorted(self._keys, keys)
        found = (keys >= 0) & (at < len(self._keys))
        found[found] = self._keys[at[found]] == keys[found]
        if not found.all():
            i = int(np.argmin(found))
            raise InputError(
                f"{self.path}: no label for crop {crops[i]} of utterance {utterances[i]} "
                "(write the store again for this data)"
            )
        return self._order[at]

    def _key(self, utterance: str, crop: int) -> int:
        known = utterance in self._codes and 0 <= crop < self._num_crops
        return self._codes[utterance] * self._num_crops + crop if known else -1

    def frames(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels by the number of their frame, counted over the whole store; nothing but these is
        read from the mapped file.

        Args:
            numbers: (n,), 0 .. num_frames - 1.
        Returns:
            The top k, most probable first: classes uint16 and log-probabilities float16, both
            (n, top_k); log of the mass of all others, float16 (n,).
        """
        found = _Block(
            np.empty((len(numbers), self.top_k), np.uint16),
            np.empty((len(numbers), self.top_k), np.float16),
            np.empty(len(numbers), np.float16),
        )
        at = np.searchsorted(self._block_starts, numbers, side="right") - 1
        for i in np.unique(at).tolist():
            here = np.flatnonzero(at == i)
            rows = numbers[here] - self._block_starts[i]
            for values, stored in zip(found, self._blocks[i], strict=True):
                values[here] = stored[rows]
        return found

    @property
    def num_frames(self) -> int:
        """Of all crops together."""
        return int(self._ends[-1])

    def log_probs(self, utterances: Sequence[str], crops: Sequence[int]) -> np.ndarray:
        """The labels of crops, frame after frame.

        Returns:
            float32 log-probabilities, (total frames, num_classes), one block per crop in the
            order asked for. Classes outside the top k share the rest mass equally.
        """
        rows = self.rows(utterances, crops)
        classes, log_probs, rest = self.frames(
            np.concatenate(
                [np.arange(self._ends[r], self._ends[r + 1]) for r in rows]
                or [np.zeros(0, np.int64)]
            )
        )
        others = max(self.num_classes - self.top_k, 1)
        share = rest.astype(np.float32) - np.float32(np.log(others))
        dense = np.repeat(share[:, None], self.num_classes, axis=1)
        np.put_along_axis(dense, classes.astype(np.int64), log_probs.astype(np.float32), axis=1)
        return dense


def write_soft_labels(
    path: str | Path,
    blocks: Iterable[Rows],
    num_classes: int,
    top_k: int,
    made_from: dict[str, str | float],
) -> None:
    """Writes a store, block by block, to a temporary name that is renamed at the end.

    Args:
        path: the file to write.
        blocks: tuples of utterance ids, crop numbers and, per crop, log-probabilities of shape
            (frames, num_classes); an iterator of these has one at a time in memory.
        num_classes: the size of the teacher's output, at most 65536.
        top_k: how many classes are kept per frame, 1 .. num_classes.
        made_from: what the labels depend on; compared by `SoftLabelStore(expect=...)`.

    Raises:
        InputError: `top_k` or `num_classes` out of range, or labels of another width.
    """
    if not 1 <= top_k <= num_classes <= MAX_CLASSES:
        raise InputError(
            f"top_k {top_k}, {num_classes} classes: need 1 <= top_k <= classes <= 2^16"
        )
    header = {"made_from": made_from, "num_classes": num_classes, "top_k": top_k}
    schema = _SCHEMA.with_metadata({"kdspeech": json.dumps(header, sort_keys=True)})
    with atomic_path(path) as part, pa.ipc.new_file(str(part), schema) as writer:
        for utterances, crops, log_probs in blocks:
            writer.write_batch(_batch(utterances, crops, log_probs, num_classes, top_k, schema))


_SCHEMA = pa.schema(
    [
        ("utterance", pa.string()),
        ("crop", pa.int32()),
        ("frames", pa.int32()),
        ("classes", pa.list_(pa.uint16())),
        ("log_probs", pa.list_(pa.float16())),
        ("rest", pa.list_(pa.float16())),
    ]
)


def _batch(utterances, crops, log_probs, num_classes, top_k, schema) -> pa.RecordBatch:
    parts = []
    for utterance, block in zip(utterances, log_probs, strict=True):
        if block.ndim != 2 or block.shape[1] != num_classes:
            raise InputError(f"{utterance}: labels {block.shape}, expected (frames, {num_classes})")
        parts.append(_top_k(np.asarray(block, dtype=np.float32), top_k))
    frames = np.array([len(rest) for _, _, rest in parts], dtype=np.int32)
    classes, kept, rest = (np.concatenate(values) for values in zip(*parts, strict=True))
    ends = np.concatenate([[0], np.cumsum(frames)]).astype(np.int32)
    columns = [
        pa.array(utterances, pa.string()),
        pa.array(crops, pa.int32()),
        pa.array(frames),
        pa.ListArray.from_arrays(ends * top_k, pa.array(classes.ravel())),
        pa.ListArray.from_arrays(ends * top_k, pa.array(kept.ravel())),
        pa.ListArray.from_arrays(ends, pa.array(rest)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _top_k(log_probs: np.ndarray, k: int) -> _Block:
    """Splits (frames, classes) into the k best classes, their values and the log of the rest."""
    best = np.argpartition(-log_probs, k - 1, axis=1)[:, :k]
    best.sort(axis=1)  # of equal values the first class comes first
    values = np.take_along_axis(log_probs, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best, values = (np.take_along_axis(x, order, axis=1) for x in (best, values))
    others = np.exp(log_probs)
    np.put_along_axis(others, best, 0.0, axis=1)
    with np.errstate(divide="ignore"):
        rest = np.log(others.sum(axis=1))
    half = [np.maximum(x, LOWEST).astype(np.float16) for x in (values, rest)]
    return _Block(best.astype(np.uint16), *half)


def _open(path: Path) -> pa.Table:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except FileNotFoundError:
        raise InputError(f"{path}: no such soft-label store (write it first)") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a soft-label store, or cut short ({error})") from None
    if b"kdspeech" not in (table.schema.metadata or {}):
        raise InputError(f"{path}: an Arrow file, but not a soft-label store of kdspeech")
    return table


def _check(path: Path, made_from: dict, expect: dict) -> None:
    for name, value in expect.items():
        if made_from.get(name) != value:
            raise InputError(
                f"{path}: made with another {name.replace('_', ' ')} "
                f"({made_from.get(name)}, this run has {value}); write it again or delete it"
            )


def _mapped(column: pa.ChunkedArray) -> list[np.ndarray]:
    """The values of a list column, one array for each record batch, not copied from the file."""
    return [chunk.flatten().to_numpy() for chunk in column.chunks]
