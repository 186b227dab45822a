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

import numpy as np
import pyarrow as pa

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

MAX_CLASSES = 1 << 16
LOWEST = -60000.0  # log of "no mass"; float16 ends at -65504

Rows = tuple[Sequence[str], Sequence[int], list[np.ndarray]]


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
        self._read(table.combine_chunks())

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
        self._classes = _flat(table["classes"]).reshape(-1, self.top_k)
        self._log_probs = _flat(table["log_probs"]).reshape(-1, self.top_k)
        self._rest = _flat(table["rest"])

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

    def log_probs(self, utterances: Sequence[str], crops: Sequence[int]) -> np.ndarray:
        """The labels of crops, frame after frame.

        Returns:
            float32 log-probabilities, (total frames, num_classes), one block per crop in the
            order asked for. Classes outside the top k share the rest mass equally.
        """
        rows = self.rows(utterances, crops)
        frames = np.concatenate(
            [np.arange(self._ends[r], self._ends[r + 1]) for r in rows] or [np.zeros(0, np.int64)]
        )
        others = max(self.num_classes - self.top_k, 1)
        share = self._rest[frames].astype(np.float32) - np.float32(np.log(others))
        dense = np.repeat(share[:, None], self.num_classes, axis=1)
        np.put_along_axis(
            dense,
            self._classes[frames].astype(np.int64),
            self._log_probs[frames].astype(np.float32),
            axis=1,
        )
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
            (frames, num_classes).
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
    frames = np.array([len(block) for block in log_probs], dtype=np.int32)
    for utterance, block in zip(utterances, log_probs, strict=True):
        if block.ndim != 2 or block.shape[1] != num_classes:
            raise InputError(f"{utterance}: labels {block.shape}, expected (frames, {num_classes})")
    packed = np.concatenate([np.asarray(b, dtype=np.float32) for b in log_probs])
    classes, kept, rest = _top_k(packed, top_k)
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


def _top_k(log_probs: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits (frames, classes) into the k best classes, their values and the log of the rest."""
    order = np.argsort(-log_probs, axis=1, kind="stable")
    kept = np.take_along_axis(log_probs, order[:, :k], axis=1)
    others = np.take_along_axis(log_probs, order[:, k:], axis=1)
    rest = np.logaddexp.reduce(others, axis=1, initial=-np.inf)
    half = [np.maximum(x, LOWEST).astype(np.float16) for x in (kept, rest)]
    return order[:, :k].astype(np.uint16), half[0], half[1]


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


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    """The values of a list column in one array, zero-copy where it is one chunk."""
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [np.zeros(0, np.float16)])
