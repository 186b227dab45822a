"""What a training on frames minimises, and the same over held-out frames."""

import os
from collections.abc import Callable, Iterable

import torch
from lightning_fabric.utilities import move_data_to_device
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.acoustic.config import DistillConfig
from kdspeech.acoustic.examples import NO_PDF
from kdspeech.acoustic.teachers import Teachers


def ce_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict]:
    """Mean cross-entropy (natural log) of (inputs, pdfs); the % of the frames that are right."""
    inputs, pdfs = batch
    logits = model(inputs)
    return F.cross_entropy(logits, pdfs), {"accuracy": _accuracy(logits, pdfs)}


def kd_frame_loss(
    model: nn.Module,
    batch: tuple[Tensor, Tensor, list[Tensor]],
    teachers: Teachers,
    config: DistillConfig,
) -> tuple[Tensor, dict]:
    """L = L_KD + q L_CE of (inputs, pdfs, what teachers.gather gave); see DistillConfig.

    Both terms are sums over the frames by the number of all frames; those without a pdf have no
    part in L_CE. Metrics: the two terms as `kd` and `ce`, and the % of the frames with a pdf that
    are right.
    """
    inputs, pdfs, gathered = batch
    logits = model(inputs).float()
    scale = config.student_temperature
    kd = scale**2 * teachers.cross_entropy(logits / scale, gathered)
    ce = F.cross_entropy(logits, pdfs, ignore_index=NO_PDF, reduction="sum") / len(pdfs)
    metrics = {"accuracy": _accuracy(logits, pdfs), "kd": kd.detach(), "ce": ce.detach()}
    return kd + config.q * ce, metrics


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Iterable[tuple], loss_fn: Callable, num_frames: int
) -> dict:
    """Loss and metrics over `num_frames`, which under torchrun are those of all processes: the
    mean over the processes is then right whatever their shares are."""
    device = next(model.parameters()).device
    sums: dict[str, float] = {}
    for batch in batches:
        loss, metrics = loss_fn(model, move_data_to_device(batch, device))
        for key, value in {"loss": loss, **metrics}.items():
            sums[key] = sums.get(key, 0.0) + float(value) * len(batch[0])
    processes = int(os.environ.get("WORLD_SIZE", 1))
    return {key: processes * value / num_frames for key, value in sums.items()}


def _accuracy(logits: Tensor, pdfs: Tensor) -> Tensor:
    """% of the frames with a pdf whose pdf has the highest score (argmax would take ten times as
    long)."""
    logits, known = logits.detach(), pdfs != NO_PDF
    right = logits.gather(1, pdfs.clamp(min=0)[:, None]) == logits.amax(1, keepdim=True)
    return 100 * (right[:, 0] & known).sum() / known.sum().clamp(min=1)
