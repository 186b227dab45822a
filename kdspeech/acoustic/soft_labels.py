"""Soft labels of a whole frame pack, written once for any number of students."""

import os
from collections.abc import Iterator

import numpy as np
import torch

from kdspeech.acoustic.config import DistillConfig
from kdspeech.acoustic.teachers import OnlineTeachers
from kdspeech.data.frames import FramePack
from kdspeech.distill.targets import SoftLabelStore, write_soft_labels

_FRAMES = 400_000  # about so many in a record batch, which is in memory while it is written


def make_soft_labels(
    frames: str | os.PathLike,
    config: DistillConfig,
    path: str | os.PathLike,
    top_k: int = 20,
    device: str = "cpu",
) -> SoftLabelStore:
    """Writes the teachers' posteriors of all frames of a pack.

    A frame takes 4 top_k + 2 bytes, an utterance some 30 more.

    Args:
        frames: the students' pack.
        config: DistillConfig; its teachers, frames, weights and temperature. Labels are at this
            temperature: from the top k at another one, p^(1/T) of the rest would not be known.
        path: the store to write.
        top_k: pdfs kept per frame; all where the tree has fewer.
        device: for the teachers.
    Raises:
        InputError: as OnlineTeachers; no place for the labels' pdfs in 16 bits.
    """
    pack = FramePack(frames)
    teachers = OnlineTeachers(config, pack)
    kept = min(top_k, teachers.num_pdfs)
    write_soft_labels(
        path, _blocks(pack, teachers, device), teachers.num_pdfs, kept, teachers.made_from
    )
    return SoftLabelStore(path)


def _blocks(pack: FramePack, teachers: OnlineTeachers, device: str):
    """The pack's utterances in its order, so that a frame's position is its number in the store."""
    groups = np.flatnonzero(np.diff(pack.offsets[1:] // _FRAMES)) + 1
    for numbers in np.split(np.arange(len(pack)), groups):
        names = [pack.utts[i] for i in numbers]
        yield names, [0] * len(names), _log_probs(pack, numbers, teachers, device)


def _log_probs(
    pack: FramePack, numbers: np.ndarray, teachers: OnlineTeachers, device: str
) -> Iterator[np.ndarray]:
    for i in numbers.tolist():
        positions = torch.arange(int(pack.offsets[i]), int(pack.offsets[i + 1]))
        inputs = [x.to(device) for x in teachers.gather(positions)]
        yield teachers.targets(inputs).log().cpu().numpy()
