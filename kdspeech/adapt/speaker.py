"""Adapts a network to one speaker."""

import copy
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.acoustic import FrameBatches, Network
from kdspeech.acoustic.examples import Batch, split_cv
from kdspeech.adapt.config import AdaptConfig
from kdspeech.adapt.difference import flat, set_flat, updated_parameters
from kdspeech.adapt.targets import FrameTargets
from kdspeech.data.frames import FramePack
from kdspeech.io.errors import InputError
from kdspeech.losses.kd import soft_cross_entropy
from kdspeech.train import fit

_ROWS = 4096  # frames at a time where nothing is learnt

Example = tuple[Tensor, Tensor, Tensor]
"""Spliced frames, their pdfs and weights."""


@dataclass
class SpeakerResult:
    """What became of a speaker.

    Attributes:
        difference: float16 (values,) to the updated parameters; None where the speaker keeps the
            network as it is.
        frames: that have targets.
        loss_before, loss_after: mean over all these frames, `after` with the stored difference.
        best_epoch: the one that was kept, from 1.
        skipped: why there is no difference.
    """

    difference: np.ndarray | None = None
    frames: int = 0
    loss_before: float | None = None
    loss_after: float | None = None
    best_epoch: int = 0
    skipped: str = ""


def adapt_speaker(
    network: Network,
    pack: FramePack,
    utterances: np.ndarray,
    targets: FrameTargets,
    config: AdaptConfig | None = None,
    teacher: Network | None = None,
) -> SpeakerResult:
    """Adapts a network to the speaker of some utterances; the network itself stays as it is.

    Args:
        network: speaker-independent.
        pack: with the speaker's features.
        utterances: numbers of the speaker's.
        targets: FrameTargets of the pack.
        config: AdaptConfig; its `teacher` is not looked at.
        teacher: with loss "kl", whose outputs to learn; None: the network's own.
    Raises:
        InputError: a group that the network does not have, a teacher that does not fit, a loss
            that is not finite.
    """
    config = config or AdaptConfig()
    check_teacher(network, teacher, pack)
    usable = [i for i in np.asarray(utterances).tolist() if _weights(targets, pack, i).any()]
    result = SpeakerResult(frames=pack.num_frames(np.array(usable, np.int64)))
    if result.frames < config.min_frames:
        result.skipped = f"{result.frames} frames with targets, min_frames is {config.min_frames}"
        return result
    with _threads(config.train.num_threads):
        return _Adaptation(network, pack, targets, config, teacher).run(np.array(usable), result)


class _Adaptation:
    """One speaker's adaptation."""

    def __init__(self, network, pack, targets, config: AdaptConfig, teacher):
        self.pack, self.targets, self.config = pack, targets, config
        self.base = network.model.eval().requires_grad_(False)
        self.model = copy.deepcopy(self.base)
        self.parameters = updated_parameters(self.model, config.update)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.context = max(n.config.context for n in (network, teacher or network))
        self.loss = AdaptLoss(network, teacher or network, self.context, config)

    def run(self, utterances: np.ndarray, result: SpeakerResult) -> SpeakerResult:
        train, held_out = self._split(utterances)
        start = flat(self.parameters)
        result.loss_before = self.mean_loss(self.model, utterances)
        held_before = self.mean_loss(self.model, held_out)
        fitted = self._fit(train, held_out)
        if not fitted["best"] < held_before:
            result.skipped = f"no epoch lowers the held-out loss of {held_before:.4f}"
            return result
        kept = result.frames / (result.frames + self.config.relevance)
        difference = (kept * (flat(self.parameters) - start)).half()
        set_flat(self.parameters, start + difference.float())
        result.difference = difference.numpy()
        result.loss_after = self.mean_loss(self.model, utterances)
        result.best_epoch = fitted["best_epoch"]
        return result

    def _split(self, utterances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those to learn from and those to choose the epoch by; the same ones if none can wait."""
        if self.config.held_out == 0 or len(utterances) < 2:
            return utterances, utterances
        seed = self.config.train.seed
        return split_cv(self.pack, utterances, self.config.held_out, "utterance", seed)

    def _fit(self, train: np.ndarray, held_out: np.ndarray) -> dict:
        settings = self.config.train
        size = min(settings.batch_size, self.pack.num_frames(train))
        batches = FrameBatches(self.pack, train, self.context, size, settings.seed)
        with tempfile.TemporaryDirectory(prefix="kdspeech-adapt-") as folder:
            fitted = fit(
                self.model,
                lambda epoch: self._labelled(batches(epoch)),
                lambda model, batch: (self.loss(model, batch), {}),
                lambda model: {"loss": self.mean_loss(model, held_out)},
                settings,
                Path(folder) / "fit",
                steps_per_epoch=batches.steps_per_epoch,
            )
        self.model.to("cpu")
        return fitted

    @torch.no_grad()
    def mean_loss(self, model: nn.Module, utterances: np.ndarray) -> float:
        """The loss over all frames of some utterances."""
        model.eval()
        device, total = next(model.parameters()).device, 0.0
        for batch in self._labelled(_in_order(self.pack, utterances, self.context)):
            total += len(batch[0]) * self.loss(model, [x.to(device) for x in batch]).item()
        return total / self.pack.num_frames(utterances)

    def _labelled(self, frames: Iterable[Batch]) -> Iterator[Example]:
        for inputs, positions in frames:
            rows = positions.numpy()
            pdfs = torch.from_numpy(self.targets.pdfs[rows].astype(np.int64))
            yield inputs, pdfs, torch.from_numpy(self.targets.weights[rows])


class AdaptLoss:
    """The loss of AdaptConfig; called with the model that learns and an Example.

    Args:
        network: before adaptation.
        teacher: of loss "kl".
        context: neighbours of the frames in the examples, as many as either takes.
        config: AdaptConfig.
    """

    def __init__(self, network: Network, teacher: Network, context: int, config: AdaptConfig):
        self._config = config
        self._own = _centred(network, context)
        self._base = copy.deepcopy(network.model).eval()
        self._teacher, self._taught = teacher.model.eval(), _centred(teacher, context)

    def __call__(self, model: nn.Module, example: Example) -> Tensor:
        wide, pdfs, weights = example
        config, inputs = self._config, wide[:, self._own]
        logits = model(inputs)
        loss = logits.new_zeros(())
        if config.needs_targets:
            loss = (weights * F.cross_entropy(logits, pdfs, reduction="none")).mean()
        if config.loss == "kl":
            loss = config.q * loss + soft_cross_entropy(
                logits, _outputs(self._teacher, wide[:, self._taught], config.temperature)
            )
        if config.rho:
            regular = soft_cross_entropy(logits, _outputs(self._base, inputs))
            loss = (1 - config.rho) * loss + config.rho * regular
        return loss


@torch.no_grad()
def _outputs(model: nn.Module, inputs: Tensor, temperature: float = 1.0) -> Tensor:
    return (model.to(inputs.device)(inputs) / temperature).softmax(1)


def _centred(network: Network, context: int) -> slice:
    """The columns of a network's own context in frames spliced with a wider one."""
    outer = (context - network.config.context) * network.dim
    return slice(outer, outer + (2 * network.config.context + 1) * network.dim)


def check_teacher(network: Network, teacher: Network | None, pack: FramePack) -> None:
    """InputError where the frames or a teacher do not fit the network."""
    if pack.dim != network.dim:
        raise InputError(
            f"{pack.path}: frames of {pack.dim} values, the network takes {network.dim}"
        )
    if teacher is None:
        return
    same = np.array_equal(teacher.transitions.tid_to_pdf, network.transitions.tid_to_pdf)
    if not same or teacher.dim != network.dim:
        raise InputError(
            f"the teacher has {teacher.num_pdfs} pdfs on {teacher.dim} values a frame, or another "
            f"tree; the network {network.num_pdfs} on {network.dim}"
        )


def _weights(targets: FrameTargets, pack: FramePack, utterance: int) -> np.ndarray:
    return targets.weights[pack.offsets[utterance] : pack.offsets[utterance + 1]]


def _in_order(pack: FramePack, utterances: np.ndarray, context: int) -> Iterator[Batch]:
    for block in pack.blocks(utterances, context):
        for start in range(0, len(block), _ROWS):
            rows = slice(start, start + _ROWS)
            yield Batch(
                torch.from_numpy(block.spliced(rows)), torch.from_numpy(block.positions[rows])
            )


@contextmanager
def _threads(num_threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
