"""What a step of sequence training minimises: a criterion over lattices, smoothed by frames."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.acoustic.network import Network
from kdspeech.acoustic.sequence_config import SequenceConfig
from kdspeech.acoustic.teachers import OnlineTeachers
from kdspeech.data.frames import FrameBlock, FramePack
from kdspeech.decode import Lattice, TidTables, nbest_lattice
from kdspeech.io.errors import InputError
from kdspeech.losses import SequenceReport, mmi_loss, sequence_kd_loss, smbr_loss

Lattices = Callable[[Sequence[str], Sequence[np.ndarray]], list[Lattice]]

_NBEST_BEAM = 10.0  # what is left out of the N best is less than e^-10 as probable as the best
_LEAST_LM_SCALE = 1e-3  # determinization takes no lm_scale, but one of the acoustics by it


class SequenceLoss:
    """Loss and metrics of some utterances.

    The loss is a sum over frames of (criterion / kappa + ce_weight CE + kl_weight KL). Divided by
    kappa, the criterion's gradient is Kaldi nnet1's: that by the scaled scores, and rates and
    weights have the meaning they have there.

    Args:
        network: whose transitions, context and priors count; its weights come with each call.
        pack: FramePack.
        references: transition ids of the pack's frames.
        lattices: gives lattices of utterances (StoredLattices, OnlineLattices); may be changed.
        silence: ids of the silence phones.
        config: SequenceConfig.
        teachers: those of `config.distill()`, where there are any.
    Attributes:
        problems: utterances that were skipped, and why.
    """

    def __init__(
        self,
        network: Network,
        pack: FramePack,
        references: np.ndarray,
        lattices: Lattices,
        silence: Sequence[int],
        config: SequenceConfig,
        teachers: OnlineTeachers | None = None,
    ):
        self.network, self.pack, self.references = network, pack, references
        self.lattices, self.config, self.teachers = lattices, config, teachers
        self.tables = TidTables(network.transitions, silence)
        self.problems: dict[str, str] = {}

    def __call__(self, model: nn.Module, numbers: Sequence[int]) -> tuple[Tensor, dict]:
        """The loss of utterances, and sums over them that `ratios` takes.

        Raises:
            InputError: scores or a loss that are no numbers; names the utterances.
        """
        device = next(model.parameters()).device
        block = FrameBlock(self.pack, np.asarray(numbers), self.network.config.context)
        logits = model(torch.from_numpy(block.spliced(slice(None))).to(device)).float()
        scores = _log_likelihoods(logits, self.network)
        self._check_finite(scores, numbers)
        taught = self._taught(block.positions, device)
        report = SequenceReport()
        loss = self._criterion(scores, numbers, taught, report) / self.config.acoustic_scale
        used = self._used(numbers, report)
        frame_loss, sums = self._frame_terms(logits, taught, numbers, used.to(device))
        loss = loss + frame_loss
        self._check_finite(loss, numbers)
        return loss, {
            "value": report.value,
            "frames": report.frames,
            "dropped": report.dropped_frames,
            "utterances": len(numbers),
            "added": report.added,
            "skipped": len(report.skipped),
            **sums,
        }

    def _criterion(self, scores: Tensor, numbers, taught, report: SequenceReport) -> Tensor:
        config = self.config
        offsets = np.concatenate(([0], np.cumsum([len(self.pack[i]) for i in numbers])))
        values = np.split(scores.detach().cpu().numpy(), offsets[1:-1])
        lattices = self.lattices([self.pack.utts[i] for i in numbers], values)
        options = {
            "offsets": offsets,
            "acoustic_scale": config.acoustic_scale,
            "lm_scale": config.lm_scale,
            "reduction": "sum",
            "num_threads": torch.get_num_threads(),
            "report": report,
        }
        if config.criterion == "kd":
            return self._distillation(scores, lattices, offsets, taught, options)
        references = [self._reference(i) for i in numbers]
        arguments = (scores, lattices, self.tables, references)
        options["missing"] = config.missing
        if config.criterion in ("mmi", "bmmi"):
            boost = config.boost if config.criterion == "bmmi" else 0.0
            return mmi_loss(*arguments, boost=boost, drop_frames=config.drop_frames, **options)
        options["one_silence_class"] = config.one_silence_class
        return smbr_loss(*arguments, criterion=config.criterion, **options)

    def _distillation(self, scores, lattices, offsets, taught, options) -> Tensor:
        pairs = zip(taught, self.teachers.networks, strict=True)
        teachers = [_log_likelihoods(logits, network) for logits, network in pairs]
        scale = self.config.teacher_scale or self.config.acoustic_scale
        if self.config.nbest:
            parts = zip(teachers, self.teachers.weights, strict=True)
            mean = sum(weight * one for one, weight in parts).cpu().numpy()
            lattices = [
                self._nbest(lattice, mean[start:end], scale)
                for lattice, start, end in zip(lattices, offsets, offsets[1:], strict=False)
            ]
        options = {**options, "teacher_weights": self.teachers.weights, "teacher_scale": scale}
        return sequence_kd_loss(scores, lattices, teachers, self.tables, **options)

    def _nbest(self, lattice: Lattice, scores: np.ndarray, scale: float) -> Lattice:
        """The lattice of the N best word sequences by the scores, each with its best alignment.

        The N best paths of a state-level lattice would mostly be alignments of one sequence.
        """
        if lattice.num_states == 0 or lattice.num_frames != len(scores):
            return lattice  # the loss says what is wrong
        transitions, lm_scale = self.network.transitions, self.config.lm_scale
        scored = lattice.rescore_acoustic(scores, transitions)
        unit = max(lm_scale, _LEAST_LM_SCALE)
        sequences = scored.determinize(transitions, _NBEST_BEAM / unit, scale / unit)
        return nbest_lattice(sequences, self.config.nbest, scale, lm_scale)

    def _frame_terms(self, logits, taught, numbers, used: Tensor) -> tuple[Tensor, dict]:
        """Of the frames in use."""
        pdfs = self.tables.tid_to_pdf[np.concatenate([self._reference(i) for i in numbers])]
        pdfs = torch.from_numpy(pdfs).to(logits.device, torch.int64)[used]
        logits = logits[used]
        ce = F.cross_entropy(logits, pdfs, reduction="sum")
        right = logits.gather(1, pdfs[:, None]) == logits.amax(1, keepdim=True)
        loss, sums = self.config.ce_weight * ce, {"ce": ce.item(), "right": right.sum().item()}
        if self.config.kl_weight:
            targets = self.teachers.posteriors(taught)[used]
            kl = F.cross_entropy(logits, targets, reduction="sum")
            loss, sums["kl"] = loss + self.config.kl_weight * kl, kl.item()
        return loss, sums

    def _taught(self, positions: np.ndarray, device: torch.device) -> list[Tensor]:
        """The teachers' logits."""
        if self.teachers is None:
            return []
        gathered = self.teachers.gather(torch.from_numpy(positions))
        return self.teachers.logits([inputs.to(device) for inputs in gathered])

    def _reference(self, i: int) -> np.ndarray:
        return self.references[self.pack.offsets[i] : self.pack.offsets[i + 1]]

    def _used(self, numbers, report: SequenceReport) -> Tensor:
        """Which rows are of utterances that were not skipped; notes the others."""
        skipped = dict(report.skipped)
        for place, why in skipped.items():
            self.problems[self.pack.utts[numbers[place]]] = why
        frames = [len(self.pack[i]) for i in numbers]
        kept = [place not in skipped for place in range(len(numbers))]
        return torch.from_numpy(np.repeat(kept, frames))

    def _check_finite(self, values: Tensor, numbers) -> None:
        if not torch.isfinite(values).all():
            utts = ", ".join(self.pack.utts[i] for i in numbers)
            what = "the loss is" if values.dim() == 0 else "the network's scores are"
            raise InputError(
                f"{what} not finite in the batch of {utts}; lower lr or set grad_clip. "
                "Checkpoints up to here are kept"
            )


def ratios(sums: dict) -> dict:
    """Metrics from sums: criterion, ce and kl per frame; accuracy and dropped in % of the frames;
    added and skipped in % of the utterances."""
    frames, utterances = max(sums["frames"], 1), sums["utterances"]
    found = {"criterion": sums["value"] / frames}
    found |= {key: sums[key] / frames for key in ("ce", "kl") if key in sums}
    found["accuracy"] = 100 * sums["right"] / frames
    found["dropped"] = 100 * sums["dropped"] / frames
    return found | {key: 100 * sums[key] / utterances for key in ("added", "skipped")}


def _log_likelihoods(logits: Tensor, network: Network) -> Tensor:
    return logits - torch.from_numpy(network.log_priors).to(logits.device)
