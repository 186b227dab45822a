"""Cross-entropy training of a network on the frames of an alignment."""

import logging
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.acoustic.config import DnnConfig
from kdspeech.acoustic.examples import Batch, FrameBatches, Targets, read_targets, split_cv
from kdspeech.acoustic.frames import FrameSource
from kdspeech.acoustic.network import Network
from kdspeech.data.frames import FramePack
from kdspeech.features.front_end import FrontEnd
from kdspeech.hmm import TransitionModel
from kdspeech.io.atomic import atomic_path
from kdspeech.train import fit, shard

log = logging.getLogger(__name__)

_ROWS = 4096  # frames at a time where nothing is learnt


def train_dnn(
    frames: str | os.PathLike,
    ali_dir: str | os.PathLike,
    exp: str | os.PathLike,
    config: DnnConfig | None = None,
    progress: bool = False,
) -> dict:
    """Trains a network with cross-entropy to tell an alignment's pdfs.

    Args:
        frames: the pack of the features (see make_frames).
        ali_dir: with ali.*.gz, final.mdl and tree.
        exp: the network's directory to make; a training that was stopped there goes on.
        config: DnnConfig.
        progress: show a bar on the terminal.
    Returns:
        What `fit` returns, with `left_out`: utterance -> why it was not used.
    Raises:
        InputError: features and alignments that do not fit each other, a directory of another
            training, a loss that is not finite.
    """
    config, exp, ali_dir = config or DnnConfig(), Path(exp), Path(ali_dir)
    pack, source = FramePack(frames), FrameSource.read(frames)
    transitions = TransitionModel.read(ali_dir / "final.mdl")
    torch.manual_seed(config.train.seed)
    network = Network(
        config.network, pack.dim, transitions, FrontEnd.read(frames), bool(source.transform_dir)
    )
    targets = _targets(pack, ali_dir, transitions, exp)
    result = fit_ce(network, pack, targets, config, exp, progress)
    _save(network, targets, exp, ali_dir)
    return {**result, "left_out": targets.problems}


def fit_ce(
    network: Network,
    pack: FramePack,
    targets: Targets,
    config: DnnConfig,
    exp: str | os.PathLike,
    progress: bool = False,
) -> dict:
    """Trains a network in place and sets its priors.

    Args:
        network: new, or one to train further.
        pack, targets: the frames and their pdfs.
        config: its `network` is not looked at.
        exp: of `fit`.
        progress: show a bar on the terminal.
    Returns:
        What `fit` returns.
    Raises:
        InputError: as train_dnn.
    """
    train, cv = split_cv(pack, targets.usable, config.cv_fraction, config.cv_by, config.train.seed)
    context = network.config.context
    batches = FrameBatches(pack, train, context, config.train.batch_size, config.train.seed)
    log.info("%d frames for training, %d for cv", *map(pack.num_frames, (train, cv)))
    _estimate_norm(network, pack, train)
    result = fit(
        network.model,
        lambda epoch: (
            (inputs, _labels(targets, positions)) for inputs, positions in batches(epoch)
        ),
        ce_loss,
        lambda model: evaluate_ce(model, pack, shard(cv), context, targets, pack.num_frames(cv)),
        config.train,
        exp,
        identity={
            "network": network.config.model_dump(mode="json"),
            "frames": zlib.crc32(pack.offsets.tobytes(), zlib.crc32(repr(pack.utts).encode())),
            "targets": zlib.crc32(targets.pdfs),
            "cv": [config.cv_fraction, config.cv_by],
        },
        steps_per_epoch=batches.steps_per_epoch,
        progress=progress,
    )
    network.model.to("cpu")
    network.priors = _PRIORS[config.priors](network, pack, train, targets)
    return result


def ce_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict]:
    """Mean cross-entropy (natural log) of (inputs, pdfs); the % of the frames that are right."""
    inputs, pdfs = batch
    logits = model(inputs)
    return F.cross_entropy(logits, pdfs), {"accuracy": _accuracy(logits, pdfs)}


@torch.no_grad()
def evaluate_ce(
    model: nn.Module,
    pack: FramePack,
    utterances: np.ndarray,
    context: int,
    targets: Targets,
    num_frames: int,
) -> dict:
    """Loss and accuracy over `num_frames`, which under torchrun are those of all processes: the
    mean over the processes is then right whatever their shares are."""
    device = next(model.parameters()).device
    sums = {"loss": 0.0, "accuracy": 0.0}
    for inputs, positions in _in_order(pack, utterances, context):
        pdfs = _labels(targets, positions).to(device)
        logits = model(inputs.to(device))
        sums["loss"] += F.cross_entropy(logits, pdfs, reduction="sum").item()
        sums["accuracy"] += _accuracy(logits, pdfs).item() * len(pdfs)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    return {key: processes * value / num_frames for key, value in sums.items()}


def _accuracy(logits: Tensor, pdfs: Tensor) -> Tensor:
    """% of the frames whose pdf has the highest score (argmax would take ten times as long)."""
    logits = logits.detach()
    right = logits.gather(1, pdfs[:, None]) == logits.amax(1, keepdim=True)
    return 100 * right.float().mean()


def _labels(targets: Targets, positions: Tensor) -> Tensor:
    return torch.from_numpy(targets.pdfs[positions.numpy()].astype(np.int64))


def _in_order(pack: FramePack, utterances: np.ndarray, context: int):
    """All frames of some utterances, some thousand at a time."""
    for block in pack.blocks(utterances, context):
        for start in range(0, len(block), _ROWS):
            rows = slice(start, start + _ROWS)
            yield Batch(
                torch.from_numpy(block.spliced(rows)), torch.from_numpy(block.positions[rows])
            )


def _sample(network: Network, pack: FramePack, utterances: np.ndarray):
    """Spliced frames of a random part of the corpus, of a block's size."""
    block = next(pack.blocks(utterances, network.config.context, seed=0))
    for start in range(0, len(block), _ROWS):
        yield torch.from_numpy(block.spliced(slice(start, start + _ROWS)))


def _estimate_norm(network: Network, pack: FramePack, utterances: np.ndarray) -> None:
    network.model.norm.estimate(_sample(network, pack, utterances))


def _priors_of_counts(network, pack, utterances, targets: Targets) -> np.ndarray:
    counts = np.zeros(network.num_pdfs)
    for i in utterances.tolist():
        pdfs = targets.pdfs[pack.offsets[i] : pack.offsets[i + 1]]
        counts += np.bincount(pdfs, minlength=network.num_pdfs)
    return (counts / counts.sum()).astype(np.float32)


@torch.no_grad()
def _priors_of_posteriors(network, pack, utterances, targets) -> np.ndarray:
    total = torch.zeros(network.num_pdfs, dtype=torch.float64)
    for inputs in _sample(network, pack, utterances):
        total += network.model(inputs).softmax(1).sum(0)
    return (total / total.sum()).float().numpy()


_PRIORS = {"counts": _priors_of_counts, "posteriors": _priors_of_posteriors}


def _targets(pack: FramePack, ali_dir: Path, transitions: TransitionModel, exp: Path) -> Targets:
    """The targets in a file without a name, gone with the process that mapped it."""
    path = exp / f".pdfs.{os.getpid()}"
    try:
        return read_targets(pack, ali_dir, transitions, path)
    finally:
        path.unlink(missing_ok=True)


def _save(network: Network, targets: Targets, exp: Path, ali_dir: Path) -> None:
    """Writes what belongs to the network; under torchrun one process does it."""
    if int(os.environ.get("RANK", 0)):
        return
    rows = "".join(f"{utt} {why}\n" for utt, why in sorted(targets.problems.items()))
    with atomic_path(exp / "left_out") as temporary:
        temporary.write_text(rows, encoding="utf-8")
    if (ali_dir / "phones.txt").exists():
        shutil.copy(ali_dir / "phones.txt", exp)
    network.write(exp, ali_dir / "tree")
