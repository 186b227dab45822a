"""What a speaker's network is to say of each frame: an alignment, or the best path of a lattice."""

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
    """The targets of a pack's frames.

    Attributes:
        pdfs: int32 (frames,).
        weights: float32 (frames,), how much each frame counts; 0 in utterances without targets.
        problems: utterance -> why it has no targets.
    """

    pdfs: np.ndarray
    weights: np.ndarray
    problems: dict[str, str]


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
        folder: with lat.*.gz, whose best paths at `lm_scale` are the targets, or with ali.*.gz;
            "-" where the loss needs no targets.
        transitions: of the network.
        config: AdaptConfig.
        max_bad: the largest part of the targets that may have another length than the features.
    Raises:
        InputError: nothing to read there, transition ids the model lacks, too many targets of
            another length, or none for any utterance.
    """
    if os.fspath(folder) == NO_TARGETS:
        return _no_targets(pack, config)
    problems = dict.fromkeys(pack.utts, f"has no targets in {folder}")
    pdfs = np.zeros(int(pack.offsets[-1]), np.int32)
    weights = np.zeros(len(pdfs), np.float32)
    lengths = 0
    for utt, tids, weight in _paths(Path(folder), transitions, config):
        if utt not in pack.index:
            continue  # of a speaker who is not adapted here
        i = pack.index[utt]
        frames = slice(*pack.offsets[i : i + 2])
        if len(tids) != len(pack[i]):
            problems[utt] = f"has {len(pack[i])} frames, its target in {folder} {len(tids)}"
            lengths += 1
            continue
        pdfs[frames], weights[frames] = transitions.pdfs_of(tids), weight
        del problems[utt]
    _judge(pack, folder, problems, lengths, max_bad)
    return FrameTargets(pdfs, weights, problems)


def _no_targets(pack: FramePack, config: AdaptConfig) -> FrameTargets:
    if config.needs_targets:
        raise InputError(
            "this loss needs targets: name a directory with lattices or alignments "
            "(only loss kl with distill.q = 0 goes without)"
        )
    frames = int(pack.offsets[-1])
    return FrameTargets(np.zeros(frames, np.int32), np.ones(frames, np.float32), {})


def _paths(folder: Path, transitions: TransitionModel, config: AdaptConfig) -> Iterator[tuple]:
    """Of each utterance its transition ids and its frames' weights."""
    archives = _lattice_archives(folder)
    if not archives:
        for utt, tids in iter_alignments(folder):
            yield utt, transitions.checked(tids, f"{folder}: {utt}"), 1.0
    for archive in archives:
        for utt, lattice in read_lattices(archive):
            if lattice.num_states:  # else it stays without targets
                yield utt, *_best_path(lattice, transitions, config, f"{archive}: {utt}")


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
) -> tuple[np.ndarray, np.ndarray]:
    scale = 1 / config.lm_scale
    tids = transitions.checked(lattice.best_path(scale).tids, name)
    if not (config.confidence or config.min_confidence):
        return tids, np.ones(len(tids), np.float32)
    posterior = confidences(lattice, transitions.pdfs_of(tids), transitions, scale)
    kept = posterior >= config.min_confidence
    return tids, np.where(kept, posterior if config.confidence else 1.0, 0.0)


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
