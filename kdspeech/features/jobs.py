"""Jobs over a data directory: features, CMVN statistics and voice activity to ark and scp.

A job reads one utterance after the other, so its memory does not grow with the corpus. Audio that
cannot be used is left out, counted, and listed in the data directory; too much of it fails the
job. The outputs are renamed into place at the end, the scp file last.
"""

import hashlib
import heapq
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.data.jobs import run_splits
from kdspeech.features import (
    CmvnStats,
    Fbank,
    Mfcc,
    Pitch,
    Plp,
    energy_vad,
    process_pitch,
)
from kdspeech.features.options import read_conf
from kdspeech.features.pitch import PitchOptions, ProcessPitchOptions
from kdspeech.io.ark import ArkWriter, Scp
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

KINDS = ("mfcc", "fbank", "plp", "pitch")
# One call of the C++ core takes about this much, enough to drown the cost of the call.
_BATCH_UTTERANCES = 64
_BATCH_SAMPLES = 1 << 21


@dataclass(frozen=True)
class JobResult:
    """What a job did: utterances written, left out, and the file that lists those left out."""

    written: int
    bad: int
    scp: Path
    bad_list: Path


@dataclass(frozen=True)
class AudioRules:
    """How audio is taken: see kdspeech.io.audio.read_audio."""

    resample: bool = False
    channel: int | None = None


def make_feats(
    kind: str,
    data_dir: str | os.PathLike,
    ark_dir: str | os.PathLike | None = None,
    config: str | os.PathLike | None = None,
    nj: int = 1,
    num_threads: int = 1,
    scheduler: str | None = None,
    allow_pipes: bool = False,
    audio: AudioRules = AudioRules(),
    max_bad: float = 0.01,
    compress: str | None = None,
    seed: int = 0,
) -> JobResult:
    """Computes features of a data directory, as Kaldi's steps/make_mfcc.sh and its relatives.

    Writes `raw_<kind>_<name>.<job>.ark` to `ark_dir`, and feats.scp, utt2num_frames and, where
    audio was left out, feats.bad to the data directory.

    Args:
        kind: one of KINDS; "pitch" is the processed pitch (process-kaldi-pitch-feats).
        data_dir: a Kaldi data directory with wav.scp.
        ark_dir: where the archives go; `<data_dir>/data` if not given.
        config: Kaldi option file; for pitch it may hold the options of both programs.
        nj, scheduler: see kdspeech.data.jobs.run_splits.
        num_threads: threads of the C++ core in each job.
        allow_pipes: let wav.scp run shell commands.
        audio: how files of another rate or with several channels are taken.
        max_bad: the largest part of the utterances that may be left out.
        compress: None, or one of kdspeech.io.ark.COMPRESSION_METHODS.
        seed: of the dither; each utterance has its own random numbers whatever `nj`.
    Raises:
        InputError: bad options or tables, or too much unusable audio. Nothing is written then
            but the list of what is unusable.
    """
    data = DataDir(data_dir, allow_pipes=allow_pipes)
    _computer(kind, config)  # bad options end the job here
    ark_dir = Path(ark_dir or data.path / "data").absolute()
    stem = f"raw_{kind}_{data.path.absolute().name}"
    with _work_folder(ark_dir, stem) as work:
        results = run_splits(
            _extract_split,
            data,
            nj,
            work,
            scheduler,
            description=f"{kind} {data.path}",
            kind=kind,
            config=config,
            location=f"{ark_dir}/{stem}",
            num_threads=num_threads,
            audio=audio,
            compress=compress,
            seed=seed,
        )
        result = _judge(data, "feats", work, results, max_bad)
        _publish(data, "feats.scp", work, ark_dir, stem)
    return result


def _computer(kind: str, config):
    """An object with `options` and `batch(waves, rate, seeds, ...)` for a kind of features."""
    if kind not in KINDS:
        raise InputError(f"no features {kind}; there are {', '.join(KINDS)}")
    if kind == "pitch":
        return ProcessedPitch(read_conf(config, PitchJobOptions) if config else {})
    cls = {"mfcc": Mfcc, "fbank": Fbank, "plp": Plp}[kind]
    return cls.from_conf(config) if config else cls()


@dataclass(frozen=True, kw_only=True)
class PitchJobOptions(ProcessPitchOptions, PitchOptions):
    """Options of both pitch programs, which have no name in common."""


@dataclass(frozen=True, kw_only=True)
class VadOptions:
    """Options of compute-vad."""

    vad_energy_threshold: float = 5.0
    vad_energy_mean_scale: float = 0.5
    vad_frames_context: int = 0
    vad_proportion_threshold: float = 0.6
    omit_unvoiced_utts: bool = False  # leaves out utterances without a voiced frame


class ProcessedPitch:
    """Kaldi's pitch features: compute-kaldi-pitch-feats, then process-kaldi-pitch-feats.

    Args:
        options: of PitchJobOptions.
    """

    def __init__(self, options: dict):
        names = {field.name for field in fields(PitchOptions)}
        self._process = {name: value for name, value in options.items() if name not in names}
        self._pitch = Pitch(**{name: value for name, value in options.items() if name in names})
        process_pitch(np.array([[0.5, 100.0]], np.float32), **self._process)  # checks them
        self.options = self._pitch.options

    def batch(self, waves, sample_rate, seeds, num_threads: int = 1) -> list[np.ndarray]:
        """Processed pitch features, (frames, columns), of each wave; (0, 0) if it is too short."""
        raw = self._pitch.batch(waves, sample_rate, num_threads)
        return [
            process_pitch(pitch, seed=number, **self._process) if len(pitch) else pitch
            for pitch, number in zip(raw, seeds, strict=True)
        ]


def utterance_seed(seed: int, utt: str) -> int:
    """The seed of an utterance, 63 bits, from the run's seed: the same whatever the jobs."""
    digest = hashlib.blake2b(f"{seed} {utt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _extract_split(
    split: DataDir,
    folder: Path,
    advance: Callable[[int], None],
    kind: str,
    config,
    location: str,
    num_threads: int,
    audio: AudioRules,
    compress: str | None,
    seed: int,
) -> tuple[int, int]:
    """Features of one split; returns the numbers of utterances written and left out."""
    computer = _computer(kind, config)
    warps = _warp_table(split) if kind != "pitch" else {}
    ark = f"{location}.{folder.name}.ark"
    written = 0
    with (
        _BadList(folder / "bad", advance) as bad,
        open(folder / "utt2num_frames", "w", encoding="utf-8") as num_frames,
        ArkWriter(folder / "ark", folder / "scp", ark, compress) as writer,
    ):
        waves = _usable(split, bad.add, computer, audio)
        for batch, rate in _batches(waves):
            options = {
                "sample_rate": rate,
                "seeds": [utterance_seed(seed, utt) for utt, _ in batch],
            }
            if warps:
                options["vtln_warps"] = [warps.get(utt, 1.0) for utt, _ in batch]
            feats = computer.batch([w for _, w in batch], num_threads=num_threads, **options)
            good = []
            for (utt, wave), matrix in zip(batch, feats, strict=True):
                if len(matrix):
                    good.append((utt, matrix))
                else:
                    bad.add(utt, f"utterance {utt}: {len(wave)} samples are less than one frame")
            writer.write_all(good)
            num_frames.writelines(f"{utt} {len(matrix)}\n" for utt, matrix in good)
            written += len(good)
            advance(len(good))
    return written, bad.count


def _usable(
    split: DataDir, add_bad: Callable[[str, str], None], computer, audio: AudioRules
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Utterances, their samples and rate, as the features can take; the others go to `add_bad`.

    The options allow_downsample and allow_upsample leave resampling to the features, as Kaldi.
    """
    options = computer.options
    rate, channel = round(options["sample_frequency"]), audio.channel
    if channel is None and options.get("channel", -1) >= 0:
        channel = options["channel"]
    down, up = options.get("allow_downsample", False), options.get("allow_upsample", False)
    wanted = None if (down or up) and not audio.resample else rate
    how = {"sample_rate": wanted, "resample": audio.resample, "channel": channel}
    for utt, samples, found in split.iter_audio(add_bad, **how):
        if len(samples) < options.get("min_duration", 0.0) * found:
            add_bad(utt, f"utterance {utt}: {len(samples)} samples are less than min_duration")
        elif (found > rate and not down) or (found < rate and not up):
            add_bad(utt, f"utterance {utt}: {found} Hz, not {rate} Hz as the options say")
        else:
            yield utt, samples, found


def _warp_table(split: DataDir) -> dict[str, float]:
    """VTLN warp factor of each utterance, from utt2warp or spk2warp; {} without either."""
    if "utt2warp" in split:
        warps = split.table("utt2warp")
    elif "spk2warp" in split:
        by_speaker = split.table("spk2warp")
        warps = {u: by_speaker[spk] for u, spk in split.utt2spk.items() if spk in by_speaker}
    else:
        return {}
    try:
        return {utt: float(warp) for utt, warp in warps.items()}
    except ValueError as error:
        raise InputError(f"{split.path}: utt2warp or spk2warp: {error}") from error


def _batches(waves: Iterable[tuple[str, np.ndarray, int]]) -> Iterator[tuple[list, int]]:
    """Lists of (utterance, samples) of one rate, and that rate."""
    batch, size, rate = [], 0, 0
    for utt, samples, found in waves:
        if batch and (found != rate or len(batch) == _BATCH_UTTERANCES or size >= _BATCH_SAMPLES):
            yield batch, rate
            batch, size = [], 0
        batch.append((utt, samples))
        size, rate = size + len(samples), found
    if batch:
        yield batch, rate


class _BadList:
    """The utterances left out: lines of "utterance reason" in a file."""

    def __init__(self, path: Path, advance: Callable[[int], None]):
        self._path, self._advance, self.count = path, advance, 0

    def __enter__(self):
        self._file = open(self._path, "w", encoding="utf-8")
        return self

    def __exit__(self, *error):
        self._file.close()

    def add(self, utt: str, reason: str) -> None:
        self._file.write(f"{utt} {' '.join(reason.split())}\n")
        self.count += 1
        self._advance(1)


@contextmanager
def _work_folder(ark_dir: Path, stem: str) -> Iterator[Path]:
    """A folder beside the archives for the outputs until they are whole; goes in any case."""
    work = ark_dir / f"{stem}.work"
    made = not ark_dir.exists()
    shutil.rmtree(work, ignore_errors=True)  # left by a job that was killed, as are those below
    for left in ark_dir.glob("*.tmp.work"):
        if re.fullmatch(rf"\.{re.escape(stem)}\.\d+-\w+\.tmp\.work", left.name):
            shutil.rmtree(left)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if made and ark_dir.exists() and not os.listdir(ark_dir):
            ark_dir.rmdir()


def _judge(data: DataDir, name: str, work: Path, results, max_bad: float) -> JobResult:
    """Lists what was left out; fails if it is too much."""
    written, bad = (sum(column) for column in zip(*results, strict=True))
    bad_list = data.path / f"{name}.bad"
    if bad:
        texts = [(part / "bad").read_text(encoding="utf-8") for part in _parts(work)]
        lines = sorted("".join(texts).splitlines(keepends=True))
        with atomic_path(bad_list) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    else:
        bad_list.unlink(missing_ok=True)
    if bad > max_bad * (written + bad):
        with open(bad_list, encoding="utf-8") as file:
            first = file.readline().split(None, 1)[1].strip()
        raise InputError(
            f"{data.path}: {bad} of {written + bad} utterances cannot be used, more than "
            f"{100 * max_bad:g} %; {bad_list} lists them; the first: {first}"
        )
    if not written:
        raise InputError(f"{data.path}: has no utterances")
    return JobResult(written, bad, data.path / f"{name}.scp", bad_list)


def _parts(work: Path) -> list[Path]:
    return [work / str(i) for i in range(1, len(os.listdir(work)) + 1)]


def _merge(parts: list[Path], path: Path) -> None:
    """Merges tables that are sorted each into one, line by line."""
    with ExitStack() as stack:
        files = [stack.enter_context(open(part, encoding="utf-8")) for part in parts]
        temporary = stack.enter_context(atomic_path(path))
        with open(temporary, "w", encoding="utf-8") as out:
            out.writelines(heapq.merge(*files, key=lambda line: line.split(None, 1)[0]))


def _publish(data: DataDir, scp: str, work: Path, ark_dir: Path, stem: str) -> None:
    """Moves the archives into place, then writes the tables that point to them.

    The old scp goes first: killed in between, the data directory has none, not a wrong one.
    """
    (data.path / scp).unlink(missing_ok=True)
    for old in ark_dir.glob("*.ark"):
        if re.fullmatch(rf"{re.escape(stem)}\.\d+\.ark", old.name):
            old.unlink()
    parts = _parts(work)
    for part in parts:
        os.replace(part / "ark", ark_dir / f"{stem}.{part.name}.ark")
    if scp == "feats.scp":
        _merge([part / "utt2num_frames" for part in parts], data.path / "utt2num_frames")
    _merge([part / "scp" for part in parts], data.path / scp)


def compute_cmvn(
    data_dir: str | os.PathLike, ark_dir: str | os.PathLike | None = None, per_utt: bool = False
) -> JobResult:
    """CMVN statistics per speaker (or utterance), as Kaldi's steps/compute_cmvn_stats.sh.

    Writes cmvn_<name>.ark to `ark_dir` and cmvn.scp to the data directory.

    Args:
        data_dir: a data directory with feats.scp and utt2spk.
        ark_dir: where the archive goes; `<data_dir>/data` if not given.
        per_utt: statistics of each utterance, not each speaker.
    Raises:
        InputError: no features, or a speaker without any; nothing is written then.
    """
    data = DataDir(data_dir)
    feats = Scp(data.path / "feats.scp")
    groups = {utt: [utt] for utt in feats} if per_utt else data.spk2utt
    if not groups:
        raise InputError(f"{data.path}: has no utt2spk")

    def statistics() -> Iterator[tuple[str, np.ndarray]]:
        for name, utts in groups.items():
            present = [utt for utt in utts if utt in feats]
            if not present:
                raise InputError(f"{data.path}/feats.scp: no features of speaker {name}")
            stats = CmvnStats(feats[present[0]].shape[1])
            for utt in present:
                stats.accumulate(feats[utt])
            yield name, stats.matrix

    return _write_single(data, "cmvn", ark_dir, statistics())


def compute_vad(
    data_dir: str | os.PathLike,
    ark_dir: str | os.PathLike | None = None,
    config: str | os.PathLike | None = None,
) -> JobResult:
    """Energy-based voice activity, as Kaldi's steps/compute_vad_decision.sh.

    Writes vad_<name>.ark to `ark_dir` and vad.scp to the data directory: for each utterance a
    vector (frames,), 1 voiced, 0 not.

    Args:
        data_dir: a data directory with feats.scp whose column 0 is the log energy.
        ark_dir: where the archive goes; `<data_dir>/data` if not given.
        config: Kaldi option file such as conf/vad.conf.
    Raises:
        InputError: no features or bad options; nothing is written then.
    """
    data = DataDir(data_dir)
    options = read_conf(config, VadOptions) if config else {}
    voiced_only = options.pop("omit_unvoiced_utts", False)
    feats = Scp(data.path / "feats.scp")
    decisions = ((utt, energy_vad(feats[utt], **options)) for utt in feats)
    kept = (pair for pair in decisions if not voiced_only or pair[1].any())
    return _write_single(data, "vad", ark_dir, kept)


def _write_single(
    data: DataDir, name: str, ark_dir, pairs: Iterable[tuple[str, np.ndarray]]
) -> JobResult:
    """One archive and its scp in the data directory."""
    ark_dir = Path(ark_dir or data.path / "data").absolute()
    written = 0
    stem = f"{name}_{data.path.absolute().name}"
    with _work_folder(ark_dir, stem) as work:
        part = work / "1"
        part.mkdir(parents=True)
        with ArkWriter(part / "ark", part / "scp", f"{ark_dir}/{stem}.1.ark") as writer:
            for key, array in pairs:
                writer.write(key, array)
                written += 1
        _publish(data, f"{name}.scp", work, ark_dir, stem)
    return JobResult(written, 0, data.path / f"{name}.scp", data.path / f"{name}.bad")
