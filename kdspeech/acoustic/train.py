"""Training of a network on the frames of an alignment, and on what teachers say of them."""

import logging
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdspeech.acoustic.config import DnnConfig
from kdspeech.acoustic.examples import (
    NO_PDF,
    Batch,
    FrameBatches,
    Targets,
    read_targets,
    split_cv,
    without_targets,
    write_held_out,
)
from kdspeech.acoustic.frames import FrameSource
from kdspeech.acoustic.identity import check_same_tree, network_id, pack_id
from kdspeech.acoustic.losses import ce_loss, evaluate, kd_frame_loss
from kdspeech.acoustic.network import Network
from kdspeech.acoustic.teachers import Teachers, open_teachers
from kdspeech.data.frames import FramePack
from kdspeech.features.front_end import FrontEnd
from kdspeech.hmm import TransitionModel
from kdspeech.io.atomic import atomic_path, check_apart
from kdspeech.io.errors import InputError
from kdspeech.train import fit, shard

log = logging.getLogger(__name__)

_ROWS = 4096  # frames at a time where nothing is learnt


def train_dnn(
    frames: str | os.PathLike,
    ali_dir: str | os.PathLike,
    exp: str | os.PathLike,
    config: DnnConfig | None = None,
    progress: bool = False,
    init: str | os.PathLike | None = None,
) -> dict:
    """Trains a network to tell an alignment's pdfs, and to agree with teachers if there are any.

    Args:
        frames: the pack of the features (see make_frames).
        ali_dir: with ali.*.gz, final.mdl and tree.
        exp: the network's directory to make; a training that was stopped there goes on.
        config: DnnConfig; with teachers in `distill` the loss is `kd_frame_loss`, else `ce_loss`.
        progress: show a bar on the terminal.
        init: directory of a network of the same kind, whose weights this one starts from.
    Returns:
        What `fit` returns, with `left_out`: utterance -> why it was not used.
    Raises:
        InputError: features and alignments that do not fit each other, a directory of another
            training, a loss that is not finite; a first network of another kind; teachers or a
            store that do not fit (see open_teachers).
    """
    config, exp, ali_dir = config or DnnConfig(), Path(exp), Path(ali_dir)
    check_apart(exp, filter(None, [frames, ali_dir, init]))
    pack, source = FramePack(frames), FrameSource.read(frames)
    transitions = TransitionModel.read(ali_dir / "final.mdl")
    torch.manual_seed(config.train.seed)
    network = Network(
        config.network, pack.dim, transitions, FrontEnd.read(frames), bool(source.transform_dir)
    )
    if init is not None:
        _start_from(network, Path(init), ali_dir)
    distill = config.distill
    teachers = (
        open_teachers(distill, pack, ali_dir, config.train.bf16) if distill.teachers else None
    )
    targets = _targets(pack, ali_dir, transitions, exp)
    split = split_cv(pack, targets.usable, config.cv_fraction, config.cv_by, config.train.seed)
    result = fit_frames(network, pack, targets, split, config, exp, progress, teachers, init)
    left_out = dict(targets.problems)
    if distill.unlabelled:
        left_out = {utt: why for utt, why in left_out.items() if utt not in pack.index}
    save_experiment(network, left_out, exp, ali_dir, [pack.utts[i] for i in split[1]])
    return {**result, "left_out": left_out}


def fit_frames(
    network: Network,
    pack: FramePack,
    targets: Targets,
    split: tuple[np.ndarray, np.ndarray],
    config: DnnConfig,
    exp: str | os.PathLike,
    progress: bool = False,
    teachers: Teachers | None = None,
    init: str | os.PathLike | None = None,
) -> dict:
    """Trains a network in place and sets its priors.

    Args:
        network: new, or with the weights of `init`.
        pack, targets: the frames and their pdfs.
        split: numbers of the utterances for training and for cross-validation (see split_cv).
        config: its `network` is not looked at.
        exp: of `fit`.
        progress: show a bar on the terminal.
        teachers: what to learn from besides the pdfs.
        init: where the network's weights came from; None: the input's mean and variance are
            estimated.
    Returns:
        What `fit` returns.
    Raises:
        InputError: as train_dnn.
    """
    train, cv = split
    if config.distill.unlabelled:
        train = np.union1d(train, without_targets(pack, targets.usable, cv, config.cv_by))
    context = network.config.context
    batches = FrameBatches(pack, train, context, config.train.batch_size, config.train.seed)
    log.info("%d frames for training, %d for cv", *map(pack.num_frames, (train, cv)))
    if init is None:
        _estimate_norm(network, pack, train)
    loss_fn = ce_loss
    if teachers is not None:
        loss_fn = partial(kd_frame_loss, teachers=teachers, config=config.distill)

    def labelled(frames: Iterable[Batch]) -> Iterator[tuple]:
        return (_example(batch, targets, teachers) for batch in frames)

    result = fit(
        network.model,
        lambda epoch: labelled(batches(epoch)),
        loss_fn,
        lambda model: evaluate(
            model, labelled(frames_in_order(pack, shard(cv), context)), loss_fn, pack.num_frames(cv)
        ),
        config.train,
        exp,
        identity=_identity(network, pack, targets, config, teachers, init),
        steps_per_epoch=batches.steps_per_epoch,
        progress=progress,
    )
    network.model.to("cpu")
    network.priors = _PRIORS[config.priors](network, pack, train, targets)
    return result


def _example(batch: Batch, targets: Targets, teachers: Teachers | None) -> tuple:
    """What a loss takes: inputs, pdfs and the teachers' part."""
    labels = batch.inputs, _labels(targets, batch.positions)
    return labels if teachers is None else (*labels, teachers.gather(batch.positions))


def _identity(network, pack, targets, config: DnnConfig, teachers, init) -> dict:
    """What a resumed training must have in common with the run that it goes on."""
    identity = {
        "network": network.config.model_dump(mode="json"),
        "frames": zlib.crc32(pack.offsets.tobytes(), zlib.crc32(repr(pack.utts).encode())),
        "frames_id": pack_id(pack),  # of what is in them too; runs of before have `frames` alone
        "targets": zlib.crc32(targets.pdfs),
        "cv": [config.cv_fraction, config.cv_by],
    }
    if init is not None:
        identity["init"] = network_id(init)
    if teachers is not None:
        own = config.distill.model_dump(include={"q", "unlabelled"})
        own["soften_student"] = config.distill.student_temperature != 1.0
        identity["distill"] = own | teachers.made_from | {"top_k": teachers.top_k}
        if teachers.top_k is not None:  # before, the others shared their mass equally
            identity["distill"]["rest"] = "one class"
    return identity


def _start_from(network: Network, init: Path, ali_dir: Path) -> None:
    """Gives a new network the weights of another one; dropout may differ."""
    check_same_tree(init, ali_dir)
    first = Network.read(init)
    theirs, ours = (n.config.model_dump() | {"dim": n.dim} for n in (first, network))
    different = [
        f"{key} is {theirs[key]} there, {ours[key]} here"
        for key in ours
        if key != "dropout" and theirs[key] != ours[key]
    ]
    if different:
        raise InputError(f"{init}: cannot start from another network: {'; '.join(different)}")
    network.model.load_state_dict(first.model.state_dict())


def _labels(targets: Targets, positions: Tensor) -> Tensor:
    return torch.from_numpy(targets.pdfs[positions.numpy()].astype(np.int64))


def frames_in_order(pack: FramePack, utterances: np.ndarray, context: int) -> Iterator[Batch]:
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
        counts += np.bincount(pdfs[pdfs != NO_PDF], minlength=network.num_pdfs)
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


def save_experiment(
    network: Network,
    left_out: dict[str, str],
    exp: Path,
    source: Path,
    held_out: Sequence[str] = (),
) -> None:
    """Writes what belongs to the network; under torchrun one process does it.

    Args:
        network: with its weights and priors.
        left_out: utterance -> why it was not used.
        exp: its directory.
        source: with tree and phones.txt.
        held_out: utterances that were not trained on; none: not known.
    """
    if int(os.environ.get("RANK", 0)):
        return
    rows = "".join(f"{utt} {why}\n" for utt, why in sorted(left_out.items()))
    with atomic_path(exp / "left_out") as temporary:
        temporary.write_text(rows, encoding="utf-8")
    if held_out:
        write_held_out(exp, held_out)
    if (source / "phones.txt").exists():
        shutil.copy(source / "phones.txt", exp)
    network.write(exp, source / "tree")
