"""Training examples: frames with their pdfs, by batches over a whole corpus in random order."""

import logging
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdspeech.data.frames import FrameBlock, FramePack
from kdspeech.data.perturb import original
from kdspeech.hmm import TransitionModel
from kdspeech.io.alignments import iter_alignments
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.train import shard

log = logging.getLogger(__name__)

NO_PDF = -1
CV_UTTERANCES = "cv_utterances"  # of a network's directory: what its training held out
_NAMED = 5  # utterances named in a log line


class Batch(NamedTuple):
    """Frames of a training step.

    Attributes:
        inputs: float32 (frames, (2 * context + 1) * dim).
        positions: int64 (frames,), where they stand in the pack.
    """

    inputs: Tensor
    positions: Tensor


class FrameBatches:
    """The batches of each epoch; called with the epoch's number.

    Frames are shuffled within blocks of whole utterances (see FramePack.blocks). All batches have
    `batch_size` frames; what is left over at an epoch's end, other frames each time, is not used.
    Under torchrun a process gets its part of each batch.

    Args:
        pack: FramePack.
        utterances: numbers of those to use.
        context: neighbours on each side of a frame.
        batch_size: frames of a step, of all processes together.
        seed: of the order.
    Raises:
        InputError: fewer frames than a batch has.
    """

    def __init__(
        self, pack: FramePack, utterances: np.ndarray, context: int, batch_size: int, seed: int = 0
    ):
        self.pack, self.utterances, self.context = pack, utterances, context
        self.batch_size, self.seed = batch_size, seed
        self.steps_per_epoch = pack.num_frames(utterances) // batch_size
        if not self.steps_per_epoch:
            raise InputError(
                f"{pack.path}: {pack.num_frames(utterances)} frames to train on, a batch takes "
                f"{batch_size}"
            )

    def __call__(self, epoch: int) -> Iterator[Batch]:
        seeds = np.random.SeedSequence((self.seed, epoch)).generate_state(2)
        rng = np.random.default_rng(seeds[0])
        held: list[Batch] = []  # the end of a block waits for the next one to fill its batch
        for block in self.pack.blocks(self.utterances, self.context, int(seeds[1])):
            order = rng.permutation(len(block))
            missing = self.batch_size - sum(len(part.positions) for part in held)
            for rows in np.split(order, range(missing, len(order), self.batch_size)):
                held.append(_batch(block, rows))
                if sum(len(part.positions) for part in held) == self.batch_size:
                    yield Batch(*(shard(torch.cat(parts)) for parts in zip(*held, strict=True)))
                    held = []


def _batch(block: FrameBlock, rows: np.ndarray) -> Batch:
    return Batch(torch.from_numpy(block.spliced(rows)), torch.from_numpy(block.positions[rows]))


class UtteranceBatches:
    """The batches of each epoch for sequence criteria, lists of utterance numbers; called with the
    epoch's number.

    Args:
        pack: FramePack.
        utterances: numbers of those to use; an epoch has each of them once.
        num_frames: of a batch, of all processes together; the utterance that fills it is in it.
        seed: of the order.
        processes: that share a batch; each has an utterance of it.
    Raises:
        InputError: fewer utterances than processes.
    """

    def __init__(
        self,
        pack: FramePack,
        utterances: np.ndarray,
        num_frames: int,
        seed: int = 0,
        processes: int = 1,
    ):
        self.pack, self.utterances, self.num_frames = pack, utterances, num_frames
        self.seed, self.processes = seed, processes
        if len(utterances) < processes:
            raise InputError(
                f"{pack.path}: {len(utterances)} utterances to train on cannot be shared by "
                f"{processes} processes"
            )

    def __call__(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(self.utterances)
        return group_utterances(self.pack, order, self.num_frames, self.processes)


def group_utterances(
    pack: FramePack, utterances: np.ndarray, num_frames: int, at_least: int = 1
) -> list[list[int]]:
    """Cuts a list of utterances into groups of at least so many frames and `at_least` utterances;
    a last one of less than half the frames, or of fewer utterances, joins the one before."""
    groups, filled = [[]], 0
    for i in utterances.tolist():
        if filled >= num_frames and len(groups[-1]) >= at_least:
            groups.append([])
            filled = 0
        groups[-1].append(i)
        filled += len(pack[i])
    if len(groups) > 1 and (filled < num_frames / 2 or len(groups[-1]) < at_least):
        last = groups.pop()
        groups[-1] += last
    return groups


class Targets(NamedTuple):
    """The pdf of each frame of a pack.

    Attributes:
        pdfs: int32 (frames,), mapped; NO_PDF in utterances without a usable alignment.
        usable: numbers of the utterances that have one.
        problems: utterance -> why it has none, or why its alignment is of no use.
    """

    pdfs: np.ndarray
    usable: np.ndarray
    problems: dict[str, str]


def read_targets(
    pack: FramePack,
    ali_dir: str | os.PathLike,
    transitions: TransitionModel,
    path: str | os.PathLike,
    max_bad: float = 0.01,
) -> Targets:
    """Makes the pdf targets of a pack from alignments.

    Args:
        pack: FramePack.
        ali_dir: with ali.*.gz.
        transitions: of the alignments' model.
        path: file for the targets, which are mapped, so that memory does not grow with them.
        max_bad: the largest part of the alignments that may have another length than the features.
    Raises:
        InputError: transition ids the model lacks, an utterance that comes twice, too many
            alignments of another length, or no utterance with features and an alignment.
    """

    def pdfs(tids: np.ndarray, name: str) -> np.ndarray:
        return transitions.pdfs_of(transitions.checked(tids, name))

    return _read(pack, ali_dir, pdfs, path, max_bad)


def read_references(
    pack: FramePack,
    ali_dir: str | os.PathLike,
    transitions: TransitionModel,
    path: str | os.PathLike,
    max_bad: float = 0.01,
) -> Targets:
    """As read_targets, but `pdfs` holds transition ids: the references of sequence training."""
    return _read(pack, ali_dir, transitions.checked, path, max_bad)


def _read(
    pack: FramePack,
    ali_dir: str | os.PathLike,
    convert: Callable[[np.ndarray, str], np.ndarray],
    path: str | os.PathLike,
    max_bad: float,
) -> Targets:
    problems = dict.fromkeys(pack.utts, f"has no alignment in {ali_dir}")
    lengths: dict[str, str] = {}
    seen: set[str] = set()  # archives of two runs in one folder: which one is meant?
    with atomic_path(path) as temporary:
        ids = np.memmap(temporary, "<i4", "w+", shape=(int(pack.offsets[-1]),))
        ids[:] = NO_PDF
        for utt, tids in iter_alignments(ali_dir):
            if utt in seen:
                raise InputError(f"{ali_dir}: {utt} comes twice")
            seen.add(utt)
            if utt not in pack.index:
                problems[utt] = f"has an alignment, but no features in {pack.path}"
                continue
            i = pack.index[utt]
            part = ids[pack.offsets[i] : pack.offsets[i + 1]]
            if len(tids) != len(part):
                lengths[utt] = f"has {len(part)} frames, its alignment in {ali_dir} {len(tids)}"
                continue
            part[:] = convert(tids, f"{ali_dir}: {utt}")
            del problems[utt]
        ids.flush()
        del ids
        _judge(pack, ali_dir, lengths, problems, max_bad)
    usable = [i for i, utt in enumerate(pack.utts) if utt not in problems]
    mapped = np.memmap(path, "<i4", "r", shape=(int(pack.offsets[-1]),))
    return Targets(mapped, np.array(usable, np.int64), problems | lengths)


def _judge(pack, ali_dir, lengths: dict[str, str], problems: dict[str, str], max_bad: float):
    used = sum(utt not in problems for utt in pack.utts)
    if len(lengths) > max_bad * (used + len(lengths)):
        utt, why = next(iter(lengths.items()))
        raise InputError(
            f"{pack.path}: {len(lengths)} of {used + len(lengths)} alignments have another length "
            f"than the features; the first: {utt}: {why} (are both of the same data directory?)"
        )
    if not used:
        raise InputError(f"{pack.path}: no utterance has an alignment in {ali_dir}")
    for utt, why in list({**problems, **lengths}.items())[:_NAMED]:
        log.warning("left out: %s: %s", utt, why)
    if len(problems) > _NAMED:
        log.warning("left out: and %d more", len(problems) - _NAMED)
    log.info("%d utterances with targets, %d without", used, len(problems))


def split_cv(
    pack: FramePack,
    usable: np.ndarray,
    fraction: float = 0.1,
    by: Literal["speaker", "utterance"] = "speaker",
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Deals utterances out to training and cross-validation.

    Args:
        pack: FramePack.
        usable: numbers of the utterances.
        fraction: of the frames, for cross-validation; whole speakers come near it.
        by: "speaker": no speaker is in both parts, nor played at another speed (sp0.9-...).
        seed: decides which.
    Returns:
        Numbers of the training and of the cross-validation utterances, each in order.
    Raises:
        InputError: one speaker or utterance alone.
    """
    frames = np.diff(pack.offsets)
    groups: dict[str, list[int]] = {}
    for i in usable.tolist():
        name = pack.speakers[i] if by == "speaker" else pack.utts[i]
        groups.setdefault(original(name), []).append(i)
    if len(groups) < 2:
        raise InputError(f"{pack.path}: one {by} alone cannot be split into training and cv")
    names = np.random.default_rng(seed).permutation(sorted(groups)).tolist()
    sizes = np.array([frames[groups[name]].sum() for name in names])
    distance = np.abs(np.cumsum(sizes)[:-1] - fraction * sizes.sum())
    count = int(np.argmin(distance)) + 1
    cv = sorted(i for name in names[:count] for i in groups[name])
    return np.setdiff1d(usable, cv), np.array(cv, np.int64)


def without_targets(
    pack: FramePack,
    usable: np.ndarray,
    cv: np.ndarray,
    by: Literal["speaker", "utterance"] = "speaker",
) -> np.ndarray:
    """Numbers of the utterances without a usable alignment, but for those whose speaker, or
    (`by` utterance) whose original at another speed, is in `cv`."""
    units = _units(pack, by)
    held_out = {units[i] for i in cv.tolist()}
    others = np.setdiff1d(np.arange(len(pack)), usable)
    return np.array([i for i in others.tolist() if units[i] not in held_out], np.int64)


def split_as_before(
    pack: FramePack,
    usable: np.ndarray,
    held_out: Collection[str],
    by: Literal["speaker", "utterance"] = "speaker",
) -> tuple[np.ndarray, np.ndarray]:
    """Deals utterances out as an earlier training did, so that its cv stays unseen.

    Args:
        pack, usable, by: as in split_cv.
        held_out: the utterances of the earlier training's cv; some may not be here.
    Returns:
        Numbers of the training and of the cross-validation utterances, each in order. Utterances
        that were not held out themselves but share a speaker, or (`by` utterance) an original at
        another speed, with one that was, are in neither part.
    """
    units, held_out = _units(pack, by), set(held_out)
    # Those that are not usable count too; of one that the pack lacks, its name has to do.
    unseen = {units[pack.index[u]] if u in pack.index else original(u) for u in held_out}
    cv = [i for i in usable.tolist() if pack.utts[i] in held_out]
    train = [i for i in usable.tolist() if units[i] not in unseen]
    return np.array(train, np.int64), np.array(cv, np.int64)


def read_held_out(exp: str | os.PathLike) -> list[str]:
    """The utterances that the training of a network held out; none where its directory does not
    say."""
    path = Path(exp) / CV_UTTERANCES
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def write_held_out(exp: str | os.PathLike, utts: Sequence[str]) -> None:
    """Writes what read_held_out reads, an utterance a line."""
    with atomic_path(Path(exp) / CV_UTTERANCES) as temporary:
        temporary.write_text("".join(f"{utt}\n" for utt in utts), encoding="utf-8")


def _units(pack: FramePack, by: str) -> list[str]:
    """What is held out whole, for each utterance: the speaker or utterance at its own speed."""
    return [original(name) for name in (pack.speakers if by == "speaker" else pack.utts)]
