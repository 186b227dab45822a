"""What a speaker's network is to say of each frame: an alignment, or a lattice, its best path or
all of it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdspeech.adapt.config import AdaptConfig
from kdspeech.data.frames import FramePack
from kdspeech.decode import Lattice, read_lattices
from kdspeech.hmm import TransitionModel
from kdspeech.io.alignments import iter_alignments
from kdspeech.io.errors import InputError

NO_TARGETS = "-"  # in place of a directory


class FrameTargets(NamedTuple):
    """The targets of a pack's frames: none, one or several pdfs each.

    Attributes:
        offsets: int64 (frames + 1,): frame t has the entries from offsets[t] to offsets[t + 1].
        pdfs: int32 (entries,).
        weights: float32 (entries,), how much an entry counts.
        problems: utterance -> why it has no targets.
    """

    offsets: np.ndarray
    pdfs: np.ndarray
    weights: np.ndarray
    problems: dict[str, str]

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The entries of some frames: number of the frame among `positions`, pdf, weight."""
        firsts = self.offsets[positions]
        counts = self.offsets[positions + 1] - firsts
        rows = np.repeat(np.arange(len(positions)), counts)
        entries = np.arange(counts.sum()) + np.repeat(firsts - (np.cumsum(counts) - counts), counts)
        return rows, self.pdfs[entries].astype(np.int64), self.weights[entries]

    def num_in(self, frames: slice) -> int:
        """How many of some frames that follow each other have an entry at least."""
        return np.count_nonzero(np.diff(self.offsets[frames.start : frames.stop + 1]))


def read_frame_targets(
    pack: FramePack,
    folder: str | os.PathLike,
    transitions: TransitionModel,
    config: AdaptConfig,
    max_bad: float = 0.01,
) -> FrameTargets:
    """Reads the targets of a pack.

    Args:
        pack: FramePack.
        folder: with lat.*.gz, whose best paths or posteriors at `lm_scale` are the targets, or with
            ali.*.gz; "-" where the loss needs no targets.
        transitions: of the network.
        config: AdaptConfig.
        max_bad: the largest part of the targets that may have another length than the features.
    Raises:
        InputError: nothing to read there, transition ids the model lacks, an utterance that comes
            twice, too many targets of another length, or none for any utterance.
    """
    if os.fspath(folder) == NO_TARGETS:
        return _no_targets(pack, config)
    problems = dict.fromkeys(pack.utts, f"has no targets in {folder}")
    nothing = _Entries(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    found, lengths = [nothing] * len(pack), 0
    seen: set[str] = set()  # archives of two runs in one folder: which one is meant?
    for utt, num_frames, entries in _targets(Path(folder), transitions, config):
        if utt in seen:
            raise InputError(f"{folder}: {utt} comes twice")
        seen.add(utt)
        if utt not in pack.index:
            continue  # of a speaker who is not adapted here
        i = pack.index[utt]
        if num_frames != len(pack[i]):
            problems[utt] = f"has {len(pack[i])} frames, its target in {folder} {num_frames}"
            lengths += 1
            continue
        found[i] = entries
        del problems[utt]
    _judge(pack, folder, problems, lengths, max_bad)
    frames = np.concatenate(
        [e.frames + start for e, start in zip(found, pack.offsets, strict=False)]
    )
    counts = np.bincount(frames, minlength=int(pack.offsets[-1]))
    return FrameTargets(
        np.concatenate([[0], np.cumsum(counts)]),
        np.concatenate([e.pdfs for e in found]),
        np.concatenate([e.weights for e in found]),
        problems,
    )


def _no_targets(pack: FramePack, config: AdaptConfig) -> FrameTargets:
    """A pdf for each frame, which nothing looks at."""
    if config.needs_targets:
        raise InputError(
            "this loss needs targets: name a directory with lattices or alignments "
            "(only loss kl with distill.q = 0 goes without)"
        )
    frames = int(pack.offsets[-1])
    offsets = np.arange(frames + 1)
    return FrameTargets(offsets, np.zeros(frames, np.int32), np.ones(frames, np.float32), {})


class _Entries(NamedTuple):
    """Of an utterance: frames, their pdfs and weights, sorted by frame."""

    frames: np.ndarray
    pdfs: np.ndarray
    weights: np.ndarray


def _targets(folder: Path, transitions: TransitionModel, config: AdaptConfig) -> Iterator[tuple]:
    """Of each utterance its length and its entries."""
    archives = _lattice_archives(folder)
    if not archives:
        for utt, tids in iter_alignments(folder):
            pdfs = transitions.pdfs_of(transitions.checked(tids, f"{folder}: {utt}"))
            yield utt, len(pdfs), _one_each(pdfs, np.ones(len(pdfs), np.float32))
    for archive in archives:
        for utt, lattice in read_lattices(archive):
            if lattice.num_states:  # else it stays without targets
                entries_of = _posteriors if config.targets == "lattice" else _best_path
                entries = entries_of(lattice, transitions, config, f"{archive}: {utt}")
                yield utt, lattice.num_frames, entries


def _one_each(pdfs: np.ndarray, weights: np.ndarray) -> _Entries:
    return _Entries(np.arange(len(pdfs)), pdfs.astype(np.int32), weights)


def _lattice_archives(folder: Path) -> list[Path]:
    """lat.*.gz in the order of their numbers; none where there are alignments instead."""
    found = {int(re.search(r"\.(\d+)\.gz$", p.name)[1]): p for p in folder.glob("lat.*.gz")}
    if not found and not list(folder.glob("ali.*")):
        raise InputError(f"{folder}: neither lat.*.gz nor ali.*.gz there (decode or align first)")
    jobs = folder / "num_jobs"
    if found and jobs.exists() and jobs.read_text().strip() != str(len(found)):
        raise InputError(
            f"{jobs}: says {jobs.read_text().strip()}, there are {len(found)} lat.*.gz"
        )
    return [found[number] for number in sorted(found)]


def _best_path(
    lattice: Lattice, transitions: TransitionModel, config: AdaptConfig, name: str
) -> _Entries:
    scale = 1 / config.lm_scale
    pdfs = transitions.pdfs_of(transitions.checked(lattice.best_path(scale).tids, name))
    if not (config.confidence or config.min_confidence):
        return _one_each(pdfs, np.ones(len(pdfs), np.float32))
    posterior = confidences(lattice, pdfs, transitions, scale)
    weights = posterior if config.confidence else np.ones(len(pdfs))
    entries = _one_each(pdfs, weights.astype(np.float32))
    return _Entries(*(values[posterior >= config.min_confidence] for values in entries))


def _posteriors(
    lattice: Lattice, transitions: TransitionModel, config: AdaptConfig, name: str
) -> _Entries:
    """Every pdf that the lattice has in a frame, with its posterior."""
    found = lattice.posteriors(1 / config.lm_scale)
    pdfs = transitions.pdfs_of(transitions.checked(found.tids, name))
    keys, which = np.unique(found.frames.astype(np.int64) << 32 | pdfs, return_inverse=True)
    weights = np.bincount(which, found.weights)
    kept = weights >= config.min_confidence
    keys, weights = keys[kept], weights[kept]
    return _Entries(keys >> 32, (keys & 0xFFFFFFFF).astype(np.int32), weights.astype(np.float32))


def confidences(
    lattice: Lattice, pdfs: np.ndarray, transitions: TransitionModel, acoustic_scale: float
) -> np.ndarray:
    """The posterior of each frame's pdf in a lattice, float64 (frames,)."""
    found = lattice.posteriors(acoustic_scale)
    same = transitions.pdfs_of(found.tids) == pdfs[found.frames]
    sums = np.bincount(found.frames[same], found.weights[same], minlength=len(pdfs))
    return np.clip(sums, 0.0, 1.0)


def _judge(pack: FramePack, folder, problems: dict[str, str], lengths: int, max_bad: float):
    used = len(pack) - len(problems)
    if lengths > max_bad * (used + lengths):
        utt, why = next((u, w) for u, w in problems.items() if " frames, its target" in w)
        raise InputError(
            f"{pack.path}: {lengths} of {used + lengths} targets have another length than the "
            f"features; the first: {utt}: {why} (are both of the same data directory?)"
        )
    if not used:
        raise InputError(f"{pack.path}: no utterance has targets in {folder}")
