"""Waveform packs: all clips of a data set in one memory-mapped file, and crops of them.

A pack is a folder with `waves.i16`, the samples of all clips one after the other (int16, little
endian), and `index.arrow`, an Arrow IPC file with one row per clip: utt, offset and num_samples
(in samples), text, speaker. Its schema metadata hold the sampling rate and a hash of the content.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from kdspeech import _core
from kdspeech.data.crops import CropLaw
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

WAVES, INDEX = "waves.i16", "index.arrow"
_SCHEMA = pa.schema(
    [
        ("utt", pa.string()),
        ("offset", pa.int64()),
        ("num_samples", pa.int64()),
        ("text", pa.string()),
        ("speaker", pa.string()),
    ]
)
_ROWS_PER_BATCH = 4096
_WRITE_BUFFER = 1 << 20

Utterances = Sequence[int] | Sequence[str] | np.ndarray


class CropPlan(NamedTuple):
    """Which crops a call cuts; all vectors int64, shape (crops,)."""

    indices: np.ndarray  # of the clip in the pack
    crop_ids: np.ndarray
    starts: np.ndarray  # first sample in the clip; may lie outside it
    offsets: np.ndarray  # (utterances + 1,): the crops of utterance i are offsets[i]:offsets[i + 1]


class WavePack:
    """A waveform pack opened for reading.

    Args:
        path: the pack's folder.
    Attributes:
        utts, texts, speakers: lists of str, one per clip.
        num_samples: int64, shape (clips,).
        sample_rate: in Hz.
        fingerprint: hash of the content (samples, names, texts, speakers, rate).
    Raises:
        InputError: no pack at `path`, or one that is truncated or damaged.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        table = _read_index(self.path)
        self.utts: list[str] = table["utt"].to_pylist()
        self.texts: list[str] = table["text"].to_pylist()
        self.speakers: list[str] = table["speaker"].to_pylist()
        self.num_samples = table["num_samples"].to_numpy()
        self.sample_rate = int(table.schema.metadata[b"sample_rate"])
        self.fingerprint = table.schema.metadata[b"fingerprint"].decode()
        self._offsets = table["offset"].to_numpy()
        self._samples = _map_samples(self.path, self._offsets, self.num_samples)
        self._index = {utt: i for i, utt in enumerate(self.utts)}
        self.clips = _core.Clips(self._samples, self._offsets, self.num_samples, self.utts)

    @classmethod
    def build(
        cls,
        path: str | os.PathLike,
        clips: Iterable[tuple[str, np.ndarray, str, str]],
        sample_rate: int,
    ) -> "WavePack":
        """Writes a pack and opens it.

        Args:
            path: folder to write, whole or not at all; an older pack is replaced.
            clips: (utterance, samples, text, speaker), one after the other; samples int16, shape
                (num_samples,). Only one clip's samples are in memory at a time.
            sample_rate: of all clips, in Hz.
        Raises:
            InputError: a folder with other files stands there, no clips, an utterance given
                twice, or samples that are not int16, not a vector, or none; the message names the
                utterance.
        """
        path = Path(path)
        if sample_rate < 1:
            raise InputError(f"{path}: sample_rate is {sample_rate}, must be positive (Hz)")
        with atomic_dir(path, ours=[WAVES, INDEX]) as folder:
            with open(folder / WAVES, "wb", buffering=_WRITE_BUFFER) as waves:
                batches, digest = _write_clips(clips, waves, sample_rate)
            if not batches:
                raise InputError(f"{path}: no utterances to pack")
            metadata = {"sample_rate": str(sample_rate), "fingerprint": digest}
            schema = _SCHEMA.with_metadata(metadata)
            with pa.ipc.new_file(os.fspath(folder / INDEX), schema) as index:
                for batch in batches:
                    index.write_batch(batch.replace_schema_metadata(metadata))
        return cls(path)

    def __len__(self) -> int:
        return len(self.utts)

    def __getitem__(self, utterance: int | str) -> np.ndarray:
        """The samples of a clip by number or name: read-only int16 view, (num_samples,)."""
        i = self._indices([utterance])[0]
        return self._samples[self._offsets[i] : self._offsets[i] + self.num_samples[i]]

    def __reduce__(self):
        return WavePack, (self.path,)

    def index(self, utterance: str) -> int:
        """The number of an utterance.

        Raises:
            InputError: it is not in the pack.
        """
        if utterance not in self._index:
            raise InputError(f"{self.path}: no utterance {utterance!r}")
        return self._index[utterance]

    def crop_starts(
        self,
        utterances: Utterances,
        law: CropLaw | int,
        *,
        crop_ids: int | Sequence[int] | np.ndarray = 0,
        num_threads: int = 1,
        **options,
    ) -> np.ndarray:
        """Where `crops` with the same arguments cuts: int64, shape (crops,), in samples.

        A start is negative where a crop begins before its clip.
        """
        law = _as_law(law, options)
        return self.plan(utterances, law, crop_ids=crop_ids, num_threads=num_threads).starts

    def crops(
        self,
        utterances: Utterances,
        law: CropLaw | int,
        *,
        crop_ids: int | Sequence[int] | np.ndarray = 0,
        start: Sequence[int] | np.ndarray | None = None,
        noise: "WavePack | None" = None,
        dtype: type = np.float32,
        out: np.ndarray | None = None,
        num_threads: int = 1,
        **options,
    ) -> np.ndarray:
        """Cuts one crop per utterance; in mode "sliding" all windows of each.

        Crop i is fixed by the law, the utterance's name and crop_ids[i]; neither the other crops,
        their order nor the number of threads matter.

        Args:
            utterances: numbers or names, in any order, also repeated.
            law: a `CropLaw`, or its `length` with its other fields as keywords.
            crop_ids: int, or int64 (utterances,): tells crops of one clip apart.
            start: explicit starts in samples of the clip, (utterances,), in place of the law's;
                any integer, what lies outside the clip is zero. Not moved by the law's shift. Gain
                and noise are those of the crop id and lie fixed along the clip, so a crop inside
                another one of the same crop id equals that part of it.
            noise: pack to mix in as the law says; None for none.
            dtype: np.float32 (int16 range, not clipped) or np.int16 (rounded, saturated).
            out: array to fill, C-contiguous, of the returned shape and type; for reuse.
            num_threads: threads to share the crops; Python's lock is released.
        Returns:
            (crops, law.length). In mode "sliding" the windows of all utterances one after the
            other; `plan(...).offsets` tells them apart.
        Raises:
            InputError: an utterance that is not in the pack, a noise pack of another sampling
                rate, or a bad argument.
        """
        law = _as_law(law, options)
        if start is None and law.mode != "sliding":
            indices, ids = self._request(utterances, crop_ids, num_threads)
            starts = None  # found by the core when it cuts, so that a clip is read once
        else:
            indices, ids, starts, _ = self.plan(
                utterances, law, crop_ids=crop_ids, start=start, num_threads=num_threads
            )
        noise_clips = self.noise_clips(noise)
        shape = (len(indices), law.length)
        dtype = np.dtype(dtype if out is None else out.dtype)
        if dtype not in (np.float32, np.int16):
            raise InputError(f"crops are float32 or int16, not {dtype}")
        if out is None:
            out = np.empty(shape, dtype)
        if out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
            raise InputError(f"crops: out must be a writable C-contiguous array of shape {shape}")
        _core.cut_crops(
            law._core(), self.clips, indices, ids, starts, noise_clips, out, num_threads
        )  # fmt: skip
        return out

    def plan(
        self,
        utterances: Utterances,
        law: CropLaw,
        *,
        crop_ids: int | Sequence[int] | np.ndarray = 0,
        start: Sequence[int] | np.ndarray | None = None,
        num_threads: int = 1,
    ) -> CropPlan:
        """The crops that `crops` cuts for these arguments (described there), without cutting."""
        indices, ids = self._request(utterances, crop_ids, num_threads)
        one_each = np.arange(len(indices) + 1)
        if start is not None:
            return CropPlan(indices, ids, _integers("start", start, len(indices)), one_each)
        starts = _core.crop_starts(law._core(), self.clips, indices, ids, num_threads)
        if law.mode != "sliding":
            return CropPlan(indices, ids, starts, one_each)
        windows = np.maximum(self.num_samples[indices] - law.length, 0) // law.hop + 1
        offsets = np.concatenate([[0], np.cumsum(windows)])
        window = np.arange(offsets[-1]) - np.repeat(offsets[:-1], windows)
        indices, ids, starts = (np.repeat(x, windows) for x in (indices, ids, starts))
        return CropPlan(indices, ids, starts + window * law.hop, offsets)

    def noise_clips(self, noise: "WavePack | None") -> "_core.Clips | None":
        """The core's view of a noise pack, after a check that its sampling rate is this pack's."""
        if noise is None:
            return None
        if noise.sample_rate != self.sample_rate:
            raise InputError(
                f"{noise.path}: noise at {noise.sample_rate} Hz cannot be mixed into "
                f"{self.path} at {self.sample_rate} Hz (resample it)"
            )
        return noise.clips

    def _request(self, utterances: Utterances, crop_ids, num_threads: int) -> tuple:
        """The clips' numbers and the crop ids of a call, checked: int64, (utterances,) each."""
        if num_threads < 1:
            raise InputError(f"num_threads is {num_threads}, must be at least 1")
        indices = self._indices(utterances)
        return indices, _integers("crop_ids", crop_ids, len(indices))

    def _indices(self, utterances: Utterances) -> np.ndarray:
        if isinstance(utterances, str):
            raise InputError(f"utterances: a list is expected, not the name {utterances!r} alone")
        if len(utterances) and isinstance(utterances[0], str):
            return np.array([self.index(utt) for utt in utterances], np.int64)
        indices = _integers("utterances", utterances, len(utterances))
        bad = indices[(indices < 0) | (indices >= len(self))]
        if len(bad):
            raise InputError(f"{self.path}: no utterance number {bad[0]}; it has {len(self)}")
        return indices


def _as_law(law: CropLaw | int, options: dict) -> CropLaw:
    if isinstance(law, CropLaw):
        if options:
            raise InputError(f"crops: {', '.join(options)} given beside a law; put it into the law")
        return law
    known = CropLaw.__dataclass_fields__.keys() - {"length"}
    if unknown := options.keys() - known:
        raise InputError(f"crops: unknown {', '.join(sorted(unknown))}")
    return CropLaw(law, **options)


def _integers(name: str, values, size: int) -> np.ndarray:
    array = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name}: integers expected, not {array.dtype}")
    if array.shape not in ((), (size,)):
        raise InputError(f"{name}: {size} values expected, one per utterance, not {array.shape}")
    return np.ascontiguousarray(np.broadcast_to(array.astype(np.int64), (size,)))


def _write_clips(
    clips: Iterable[tuple[str, np.ndarray, str, str]], waves: BinaryIO, sample_rate: int
) -> tuple[list[pa.RecordBatch], str]:
    """Streams the samples to `waves`; the index' rows, and the hash of the content.

    What stays in memory is the index: names and texts, not samples.
    """
    digest = hashlib.blake2b(f"kdspeech wave pack 1\0{sample_rate}\0".encode(), digest_size=16)
    batches, seen, offset = [], set(), 0
    clips = iter(clips)
    while rows := list(_take(clips, waves, digest, seen, offset)):
        offset = rows[-1]["offset"] + rows[-1]["num_samples"]
        batches.append(pa.RecordBatch.from_pylist(rows, _SCHEMA))
    return batches, digest.hexdigest()


def _take(clips, waves: BinaryIO, digest, seen: set[str], offset: int) -> Iterable[dict]:
    for utt, samples, text, speaker in itertools.islice(clips, _ROWS_PER_BATCH):
        for value in (utt, text, speaker):
            if not isinstance(value, str):
                raise InputError(
                    f"utterance {utt!r}: name, text or speaker is {value!r}, must be a str"
                )
        if utt in seen:
            raise InputError(f"utterance {utt} is given twice")
        seen.add(utt)
        samples = _check_samples(utt, samples)
        data = samples.tobytes()
        waves.write(data)
        digest.update(f"{utt}\0{text}\0{speaker}\0{len(samples)}\0".encode())
        digest.update(data)
        yield {
            "utt": utt,
            "offset": offset,
            "num_samples": len(samples),
            "text": text,
            "speaker": speaker,
        }
        offset += len(samples)


def _check_samples(utt: str, samples) -> np.ndarray:
    samples = np.asarray(samples)
    if np.issubdtype(samples.dtype, np.floating) and not np.isfinite(samples).all():
        raise InputError(f"utterance {utt}: samples with NaN or infinity")
    if samples.dtype != np.int16:
        raise InputError(f"utterance {utt}: samples are {samples.dtype}, must be int16")
    if samples.ndim != 1:
        raise InputError(f"utterance {utt}: samples have shape {samples.shape}, must be a vector")
    if not len(samples):
        raise InputError(f"utterance {utt}: no samples")
    return samples.astype("<i2", copy=False)


def _read_index(path: Path) -> pa.Table:
    hint = "(build the pack again)"
    if not (path / INDEX).is_file():
        raise InputError(f"{path}: not a waveform pack: no {INDEX} {hint}")
    try:
        with pa.OSFile(os.fspath(path / INDEX)) as file, pa.ipc.open_file(file) as index:
            table = index.read_all()
            if not table.schema.equals(_SCHEMA):
                raise InputError(f"{path / INDEX}: has not the columns of a waveform pack {hint}")
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path / INDEX}: damaged index {hint}: {error}") from error
    if not {b"sample_rate", b"fingerprint"} <= (table.schema.metadata or {}).keys():
        raise InputError(f"{path / INDEX}: without sampling rate and fingerprint {hint}")
    return table


def _map_samples(path: Path, offsets: np.ndarray, num_samples: np.ndarray) -> np.ndarray:
    ends = np.cumsum(num_samples)
    if not len(ends) or (num_samples < 1).any() or (offsets != ends - num_samples).any():
        raise InputError(f"{path / INDEX}: damaged index: clips overlap or are empty")
    if not (path / WAVES).is_file():
        raise InputError(f"{path}: not a waveform pack: no {WAVES} (build the pack again)")
    size, expected = (path / WAVES).stat().st_size, 2 * int(ends[-1])
    if size != expected:
        raise InputError(
            f"{path / WAVES}: {'truncated' if size < expected else 'too long'}: {size} bytes, "
            f"{expected} expected by the index (build the pack again)"
        )
    return np.memmap(path / WAVES, np.dtype("<i2"), mode="r")
