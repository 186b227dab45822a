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
from kdspeech.acoustic.losses import evaluate
from kdspeech.acoustic.teachers import Teachers, check_features
from kdspeech.acoustic.train import frames_in_order
from kdspeech.adapt.config import AdaptConfig
from kdspeech.adapt.difference import flat, set_flat, updated_parameters
from kdspeech.adapt.targets import FrameTargets
from kdspeech.data.frames import FramePack
from kdspeech.io.errors import InputError
from kdspeech.losses.kd import soft_cross_entropy
from kdspeech.train import fit

Example = tuple[Tensor, tuple[Tensor, Tensor, Tensor], list[Tensor]]
"""Spliced frames, their targets (FrameTargets.at), and what the teachers gather."""


@dataclass
class SpeakerResult:
    """What became of a speaker.

    Attributes:
        difference: float16 (values,) to the updated parameters; None where the speaker keeps the
            network as it is.
        frames: that have targets.
        loss_before, loss_after: mean over all frames of the utterances that have some, `after` with
            the stored difference.
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
    teachers: Teachers | None = None,
) -> SpeakerResult:
    """Adapts a network to the speaker of some utterances; the network itself stays as it is.

    Args:
        network: speaker-independent.
        pack: with the speaker's features, as make_frames made it.
        utterances: numbers of the speaker's.
        targets: FrameTargets of the pack.
        config: AdaptConfig.
        teachers: those of config.distill (see open_teachers); None: the network itself.
    Raises:
        InputError: a group that the network does not have, other features than it takes, a loss
            that is not finite.
    """
    config = config or AdaptConfig()
    check_features("the network", network, pack)
    utterances = np.asarray(utterances, np.int64)
    counts = np.array([targets.num_in(slice(*pack.offsets[i : i + 2])) for i in utterances])
    result = SpeakerResult(frames=int(counts.sum()))
    if result.frames < config.min_frames:
        result.skipped = f"{result.frames} frames with targets, min_frames is {config.min_frames}"
        return result
    with _threads(config.train.num_threads):
        adaptation = _Adaptation(network, pack, targets, config, teachers)
        return adaptation.run(utterances[counts > 0], result)


class _Adaptation:
    """One speaker's adaptation."""

    def __init__(self, network, pack, targets, config: AdaptConfig, teachers):
        self.pack, self.targets, self.config, self.teachers = pack, targets, config, teachers
        self.model = copy.deepcopy(network.model).requires_grad_(False)
        self.parameters = updated_parameters(self.model, config.update)
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self.context = network.config.context
        self.loss = AdaptLoss(network.model, config, teachers)

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
        if not difference.isfinite().all():
            raise InputError("a difference beyond the range of float16: give a lower train.lr")
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
        if self.config.update == ("lhuc",):
            settings = settings.model_copy(update={"lr": self.config.lhuc_lr})
        size = min(settings.batch_size, self.pack.num_frames(train))
        batches = FrameBatches(self.pack, train, self.context, size, settings.seed)
        with tempfile.TemporaryDirectory(prefix="kdspeech-adapt-") as folder:
            fitted = fit(
                self.model,
                lambda epoch: self._labelled(batches(epoch)),
                self.loss,
                lambda model: {"loss": self.mean_loss(model, held_out)},
                settings,
                Path(folder) / "fit",
                steps_per_epoch=batches.steps_per_epoch,
            )
        self.model.to("cpu")
        return fitted

    def mean_loss(self, model: nn.Module, utterances: np.ndarray) -> float:
        """The loss over all frames of some utterances."""
        frames = self._labelled(frames_in_order(self.pack, utterances, self.context))
        return evaluate(model.eval(), frames, self.loss, self.pack.num_frames(utterances))["loss"]

    def _labelled(self, frames: Iterable[Batch]) -> Iterator[Example]:
        for inputs, positions in frames:
            targets = tuple(map(torch.from_numpy, self.targets.at(positions.numpy())))
            gathered = self.teachers.gather(positions) if self.teachers else []
            yield inputs, targets, gathered


class AdaptLoss:
    """The loss of AdaptConfig; called with the model that learns and an Example, as `fit` does.

    Args:
        model: before adaptation; a copy is kept.
        config: AdaptConfig.
        teachers: of loss "kl"; None: the model.
    """

    def __init__(self, model: nn.Module, config: AdaptConfig, teachers: Teachers | None = None):
        self._base = copy.deepcopy(model).eval()
        self._config, self._teachers = config, teachers

    def __call__(self, model: nn.Module, example: Example) -> tuple[Tensor, dict]:
        inputs, (rows, pdfs, weights), gathered = example
        config, logits = self._config, model(inputs).float()
        loss = logits.new_zeros(())
        if config.needs_targets:
            found = F.log_softmax(logits, dim=1)[rows, pdfs]
            loss = -(weights * found).sum() / len(logits)
        if config.loss == "kl":
            loss = self._kd(logits, inputs, gathered) + config.distill.q * loss
        if config.rho:
            regular = soft_cross_entropy(logits, self._outputs(inputs))
            loss = (1 - config.rho) * loss + config.rho * regular
        return loss, {}

    def _kd(self, logits: Tensor, inputs: Tensor, gathered: list[Tensor]) -> Tensor:
        """L_KD of DistillConfig."""
        distill = self._config.distill
        scale = distill.student_temperature
        if self._teachers:
            return scale**2 * self._teachers.cross_entropy(logits / scale, gathered)
        targets = self._outputs(inputs, distill.temperature)
        return scale**2 * soft_cross_entropy(logits / scale, targets)

    @torch.no_grad()
    def _outputs(self, inputs: Tensor, temperature: float = 1.0) -> Tensor:
        return (self._base.to(inputs.device)(inputs) / temperature).softmax(1)


@contextmanager
def _threads(num_threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
