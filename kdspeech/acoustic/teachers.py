"""Teachers of single frames: posteriors that a student learns from, computed as they are needed or
read from a soft-label store.

Both kinds have `gather(positions)`, the tensors a batch carries to the student's device, and
`cross_entropy(logits, gathered)`, the loss of a student with them there.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdspeech.acoustic.config import DistillConfig
from kdspeech.acoustic.frames import FrameSource
from kdspeech.acoustic.identity import check_same_tree, network_id, pack_id, tree_id
from kdspeech.acoustic.network import Network
from kdspeech.data.frames import FramePack
from kdspeech.distill.targets import SoftLabelStore
from kdspeech.io.errors import InputError
from kdspeech.losses.kd import soft_cross_entropy, top_k_cross_entropy


class OnlineTeachers:
    """Networks that label frames when a student sees them:

        P = sum_m w_m softmax(z_m / T)

    Args:
        config: DistillConfig; its teachers, frames, weights and temperature.
        pack: of the student.
        bf16: whether the teachers' products are computed in bfloat16.
    Attributes:
        num_pdfs: of their tree.
        made_from: what the targets depend on, by name; a store carries the same.
    Raises:
        InputError: a teacher that is missing, has another tree than the first or does not take
            its features; a pack of its own that lacks an utterance or a frame of the student's.
    """

    top_k = None  # they give all classes

    def __init__(self, config: DistillConfig, pack: FramePack, bf16: bool = False):
        self.temperature, self.bf16 = config.temperature, bf16
        self.weights = config.normalised_weights()
        for exp in config.teachers[1:]:
            check_same_tree(exp, config.teachers[0])
        self.networks = [Network.read(exp) for exp in config.teachers]
        own = [FramePack(path) if path else pack for path in config.frames_of_teachers()]
        for exp, network, features in zip(config.teachers, self.networks, own, strict=True):
            check_features(exp, network, features)
        self.windows = [
            Windows(features, pack, network.config.context)
            for network, features in zip(self.networks, own, strict=True)
        ]
        self.num_pdfs = self.networks[0].num_pdfs
        self.made_from = made_from(config, pack, own)

    def gather(self, positions: Tensor) -> list[Tensor]:
        """Each teacher's input at the student's frames: float32 (frames, its inputs)."""
        return [windows.at(positions.numpy()) for windows in self.windows]

    def targets(self, gathered: Sequence[Tensor]) -> Tensor:
        """P, float32 (frames, pdfs), from what `gather` gave."""
        return self.posteriors(self.logits(gathered))

    def cross_entropy(self, logits: Tensor, gathered: Sequence[Tensor]) -> Tensor:
        """-sum_j P_j log softmax(logits)_j, the mean over the frames of `gather`."""
        return soft_cross_entropy(logits, self.targets(gathered))

    def logits(self, gathered: Sequence[Tensor]) -> list[Tensor]:
        """z_m of each teacher, float32 (frames, pdfs)."""
        pairs = zip(self.networks, gathered, strict=True)
        return [self._logits(network.model, inputs) for network, inputs in pairs]

    def posteriors(self, logits: Sequence[Tensor]) -> Tensor:
        """P from the teachers' logits."""
        # Not in inference mode, so that a student's loss may keep it for its gradient.
        pairs = zip(self.weights, logits, strict=True)
        return sum(weight * (z / self.temperature).softmax(1) for weight, z in pairs)

    def _logits(self, model: torch.nn.Module, inputs: Tensor) -> Tensor:
        device = inputs.device
        model.to(device)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
            return model(inputs).float()


class StoredTeachers:
    """Labels that `make_soft_labels` wrote for the student's pack.

    Args:
        store: SoftLabelStore with one row per utterance of the pack, in the pack's order.
        top_k: how many of a frame's classes to use, the most probable; None: all that are stored.
    Attributes:
        num_pdfs, made_from: as of OnlineTeachers. top_k: classes that are used.
    Raises:
        InputError: top_k is more than the store has.
    """

    def __init__(self, store: SoftLabelStore, top_k: int | None = None):
        self.store, self.made_from, self.num_pdfs = store, store.made_from, store.num_classes
        self.top_k = min(top_k or store.top_k, store.num_classes)
        if self.top_k > store.top_k:
            raise InputError(f"{store.path}: has {store.top_k} of a frame, top_k is {top_k}")

    def gather(self, positions: Tensor) -> list[Tensor]:
        """Classes int64 and probabilities float32, both (frames, top_k), and the rest (frames,)."""
        classes, log_probs, rest = self.store.frames(positions.numpy())
        k = self.top_k
        probs = torch.from_numpy(log_probs.astype(np.float32)).exp_()
        others = torch.from_numpy(rest.astype(np.float32)).exp_() + probs[:, k:].sum(1)
        return [torch.from_numpy(classes[:, :k].astype(np.int64)), probs[:, :k], others]

    def cross_entropy(self, logits: Tensor, gathered: Sequence[Tensor]) -> Tensor:
        """As that of OnlineTeachers, all classes but the top k being one class."""
        return top_k_cross_entropy(logits, *gathered)


Teachers = OnlineTeachers | StoredTeachers


def open_teachers(
    config: DistillConfig, pack: FramePack, reference: str | os.PathLike, bf16: bool = False
) -> Teachers:
    """The teachers of a configuration: from its store where it names one, else on line.

    Args:
        config: DistillConfig with a teacher at least.
        pack: of the student.
        reference: directory with the student's tree and final.mdl.
        bf16: see OnlineTeachers.
    Raises:
        InputError: as OnlineTeachers; a teacher or a store of another tree; a store of another
            pack, other teachers or another temperature, or with less than top_k classes.
    """
    for exp in config.teachers:
        check_same_tree(exp, reference)
    if config.store is None:
        return OnlineTeachers(config, pack, bf16)
    own = [FramePack(path) if path else pack for path in config.frames_of_teachers()]
    store = SoftLabelStore(config.store, made_from(config, pack, own))
    return StoredTeachers(store, config.top_k)


def made_from(config: DistillConfig, pack: FramePack, own: Sequence[FramePack]) -> dict:
    """What targets depend on; `own`: the pack of each teacher's features."""
    ids = [network_id(exp) for exp in config.teachers]
    for number, features in enumerate(own):
        if features is not pack:
            ids[number] += f" on {pack_id(features)}"
    return {
        "tree": tree_id(config.teachers[0]),
        "pack": pack_id(pack),
        "teacher": ", ".join(ids),
        "weighting": ", ".join(f"{weight:.6g}" for weight in config.normalised_weights()),
        "temperature": config.temperature,
    }


class Windows:
    """Spliced frames of a pack at the positions of another one with the same utterances.

    Args:
        pack: FramePack with the features.
        student: FramePack that positions refer to; each of its utterances must be in `pack`.
        context: neighbours on each side; an utterance's ends are repeated.
    Raises:
        InputError: an utterance that is missing or has another length; names it.
    """

    def __init__(self, pack: FramePack, student: FramePack, context: int):
        self.feats, self.offsets = pack.feats, student.offsets
        self.around = np.arange(-context, context + 1)
        self.first = student.offsets[:-1] if pack is student else _firsts(pack, student)

    def at(self, positions: np.ndarray) -> Tensor:
        """float32 (frames, (2 * context + 1) * dim) at the student's positions (frames,)."""
        utterances = np.searchsorted(self.offsets, positions, side="right") - 1
        first = self.first[utterances]
        last = first + self.offsets[utterances + 1] - self.offsets[utterances] - 1
        wanted = (first + positions - self.offsets[utterances])[:, None] + self.around
        rows = np.clip(wanted, first[:, None], last[:, None])
        return torch.from_numpy(self.feats[rows].reshape(len(rows), -1))


def _firsts(pack: FramePack, student: FramePack) -> np.ndarray:
    """Where the student's utterances begin in another pack."""
    lengths = np.diff(pack.offsets)
    for utt, frames in zip(student.utts, np.diff(student.offsets).tolist(), strict=True):
        if utt not in pack.index:
            raise InputError(f"{pack.path}: has no {utt}, which is in {student.path}")
        if lengths[pack.index[utt]] != frames:
            raise InputError(
                f"{pack.path}: {utt} has {lengths[pack.index[utt]]} frames, {frames} in "
                f"{student.path}"
            )
    return pack.offsets[[pack.index[utt] for utt in student.utts]]


def check_features(exp: str | Path, network: Network, pack: FramePack) -> None:
    """Refuses a pack that a network does not take; InputError names both."""
    adapted = bool(FrameSource.read(pack.path).transform_dir)
    if network.dim == pack.dim and network.adapted == adapted:
        return
    kinds = [
        f"{dim} values{', adapted' if with_transforms else ''}"
        for dim, with_transforms in ((network.dim, network.adapted), (pack.dim, adapted))
    ]
    raise InputError(
        f"{exp}: takes frames of {kinds[0]}, {pack.path} has frames of {kinds[1]} "
        "(a pack may be named for each teacher)"
    )
