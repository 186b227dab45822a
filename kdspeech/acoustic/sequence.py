"""Sequence training of a network: MMI, boosted MMI, sMBR, MPFE and sequence-level distillation."""

import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdspeech.acoustic.examples import (
    Targets,
    UtteranceBatches,
    group_utterances,
    read_held_out,
    read_references,
    split_as_before,
    split_cv,
)
from kdspeech.acoustic.identity import check_same_tree, network_id, pack_id
from kdspeech.acoustic.lattices import OnlineLattices, StoredLattices
from kdspeech.acoustic.network import Network
from kdspeech.acoustic.sequence_config import SequenceConfig
from kdspeech.acoustic.sequence_loss import SequenceLoss, ratios
from kdspeech.acoustic.teachers import check_features, open_teachers
from kdspeech.acoustic.train import save_experiment
from kdspeech.data.frames import FramePack
from kdspeech.decode import LatticePack, write_pack
from kdspeech.io.atomic import atomic_path, check_apart
from kdspeech.io.errors import InputError
from kdspeech.train import fit, shard

log = logging.getLogger(__name__)

INITIAL = "initial.json"  # cv metrics before the first step
SKIPPED = "skipped.{}.json"  # of process 1, 2, ...: utterances that its steps skipped, and why


def train_sequence(
    frames: str | os.PathLike,
    ali_dir: str | os.PathLike,
    lat_dir: str | os.PathLike | None,
    init_exp: str | os.PathLike,
    exp: str | os.PathLike,
    config: SequenceConfig | None = None,
    graph_dir: str | os.PathLike | None = None,
    silence: Sequence[int] = (),
    progress: bool = False,
    max_bad: float = 0.01,
) -> dict:
    """Trains a network further with a criterion over lattices.

    Args:
        frames: the pack of the features (see make_frames).
        ali_dir: the references, ali.*.gz and final.mdl.
        lat_dir: lattices of the same data, as `kds decode` leaves them; None: made of the network's
            scores at each step.
        init_exp: the network to begin with. Its priors stay.
        exp: the network's directory to make; a training that was stopped there goes on.
        config: SequenceConfig.
        graph_dir: with HCLG.fst, for lattices that are made here.
        silence: ids of the silence phones.
        progress: show a bar on the terminal.
        max_bad: the largest part of the alignments, and of the lattices, that may have another
            length than the features.
    Returns:
        What `fit` returns, with `initial`, the cv metrics at the beginning, and `left_out`:
        utterance -> why it was not used.
    Raises:
        InputError: features, alignments, lattices, networks or graph that do not fit each other, a
            directory of another training, scores that are not finite.
    """
    config, exp, init_exp = config or SequenceConfig(), Path(exp), Path(init_exp)
    check_apart(exp, [frames, ali_dir, init_exp])
    exp.mkdir(parents=True, exist_ok=True)
    check_same_tree(init_exp, ali_dir)
    pack, network = FramePack(frames), Network.read(init_exp)
    check_features(init_exp, network, pack)
    references = _references(pack, ali_dir, network, exp)
    online = _online(graph_dir, network, config, needed=lat_dir is None or config.regenerate)
    stored = StoredLattices.read(lat_dir, exp) if lat_dir is not None else None
    if stored is not None:
        references = _with_lattices(references, pack, stored, lat_dir, max_bad)
    lattices = online if stored is None else stored
    bf16 = config.train.bf16
    teachers = open_teachers(config.distill(), pack, init_exp, bf16) if config.teachers else None
    loss = SequenceLoss(network, pack, references.pdfs, lattices, silence, config, teachers)
    held_out = read_held_out(init_exp)
    known = not set(held_out).isdisjoint(pack.utts[i] for i in references.usable)
    split = _split(pack, references.usable, held_out if known else [], config, init_exp)
    run = SequenceTraining(loss, split, online, config, exp)
    _set_dropout(network.model, config.dropout)
    identity = {
        "init": network_id(init_exp),
        "frames": pack_id(pack),
        "references": zlib.crc32(references.pdfs),
        "lattices": os.fspath(lat_dir or ""),
        "graph": os.fspath(graph_dir or ""),
        "silence": list(silence),
        "teachers": teachers.made_from if teachers else None,
        "sequence": config.model_dump(mode="json", exclude={"train"}),
    }
    if known:
        identity["split"] = zlib.crc32(repr([part.tolist() for part in split]).encode())
    result = fit(
        network.model, run.batches, run.loss, run.evaluate, config.train, exp,
        identity=identity, progress=progress,
    )  # fmt: skip
    network.model.to("cpu")
    aside = np.setdiff1d(references.usable, np.concatenate(split)).tolist()
    why = f"is of a held-out {config.cv_by} of {init_exp}, but was not held out there"
    left_out = references.problems | {pack.utts[i]: why for i in aside} | run.skipped()
    save_experiment(network, left_out, exp, init_exp, held_out)
    return {**result, "initial": run.initial(), "left_out": left_out}


class SequenceTraining:
    """Batches, loss and cross-validation as `fit` wants them.

    Args:
        loss: SequenceLoss.
        split: numbers of the utterances for training and for cross-validation.
        online: makes new lattices, where there are to be any.
        config: SequenceConfig.
        exp: the directory of the training.
    """

    def __init__(
        self,
        loss: SequenceLoss,
        split: tuple[np.ndarray, np.ndarray],
        online: OnlineLattices | None,
        config: SequenceConfig,
        exp: Path,
    ):
        self._loss, self._online, self._config, self._exp = loss, online, config, exp
        self._pack, self._usable = loss.pack, np.union1d(*split)
        train, self._cv = split
        self._order = UtteranceBatches(
            self._pack, train, config.train.batch_size, config.train.seed, _processes()
        )
        log.info(
            "%d frames for training, %d for cv", *map(self._pack.num_frames, (train, self._cv))
        )
        self._skipped = exp / SKIPPED.format(_rank() + 1)
        self._noted: dict[str, str] = {}  # what the file says
        self._read_skipped()

    def batches(self, epoch: int) -> list[list[int]]:
        """The batches of an epoch, of all processes together."""
        if not (self._goes_on() and (self._exp / INITIAL).exists()):
            self._write_initial()
        if self._config.regenerate:
            self._use_lattices_of(epoch // self._config.regenerate * self._config.regenerate)
        return self._order(epoch)

    def loss(self, model: nn.Module, numbers: list[int]) -> tuple[torch.Tensor, dict]:
        """Of this process's part of a batch; as gradients are averaged over the processes, theirs
        is then the sum over the batch."""
        loss, sums = self._loss(model, shard(numbers))
        metrics = ratios(_over_processes(sums, loss.device))
        self._note_skipped()
        return loss * _processes(), metrics

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict:
        """Metrics of the cross-validation part. One that is too small to share each process
        evaluates whole: they are ratios."""
        mine = shard(self._cv) if len(self._cv) >= _processes() else self._cv
        total: dict[str, float] = {}
        for numbers in self._groups(mine):
            loss, sums = self._loss(model, numbers)
            total = {key: total.get(key, 0) + value for key, value in sums.items()}
        total = _over_processes(total, loss.device)
        self._note_skipped()
        return ratios(total)

    def initial(self) -> dict:
        """The cv metrics before the first step."""
        return json.loads((self._exp / INITIAL).read_text())

    def skipped(self) -> dict[str, str]:
        """Utterances that steps skipped, and why, of all processes."""
        parts = [self._loss.problems]
        if torch.distributed.is_initialized():
            parts = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, self._loss.problems)
        return {utt: why for part in parts for utt, why in part.items()}

    def _goes_on(self) -> bool:
        """Whether there is something to go on from; else what lies there is of another start, maybe
        with other settings."""
        return (self._exp / "last.pt").exists()

    def _read_skipped(self) -> None:
        """What this training skipped before it was stopped; a checkpoint does not tell."""
        if not self._goes_on():
            self._skipped.unlink(missing_ok=True)
        elif self._skipped.exists():
            self._noted = json.loads(self._skipped.read_text(encoding="utf-8"))
            self._loss.problems.update(self._noted)

    def _note_skipped(self) -> None:
        """Before the checkpoint that leaves these steps behind. Comes after a word with the other
        processes: the first one clears the directory of half-written files as it starts."""
        problems = self._loss.problems
        if problems != self._noted:
            with atomic_path(self._skipped) as temporary:
                temporary.write_text(json.dumps(problems) + "\n", encoding="utf-8")
            self._noted = dict(problems)

    def _write_initial(self) -> None:
        metrics = self.evaluate(self._loss.network.model.eval())
        if _rank() == 0:
            with atomic_path(self._exp / INITIAL) as temporary:
                temporary.write_text(json.dumps(metrics) + "\n")
        _wait()

    def _groups(self, utterances: np.ndarray) -> list[list[int]]:
        """Some utterances, a batch at a time."""
        return group_utterances(self._pack, utterances, self._config.train.batch_size)

    def _use_lattices_of(self, epoch: int) -> None:
        """Takes the lattices made at the beginning of an epoch, which is when they are made."""
        if epoch == 0:
            return
        folder = self._exp / "lattices" / str(epoch)
        path = folder / f"raw.{_rank() + 1}.pack"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_pack(path, self._new_lattices())
        _wait()
        packs = sorted(folder.glob("raw.*.pack"))
        self._loss.lattices = StoredLattices(map(LatticePack, packs))
        _wait()
        for old in folder.parent.iterdir():
            if old != folder and old.name.isdecimal():
                shutil.rmtree(old, ignore_errors=True)

    def _new_lattices(self) -> Iterator[tuple]:
        network = self._loss.network
        for numbers in self._groups(shard(self._usable)):
            utts = [self._pack.utts[i] for i in numbers]
            threads = torch.get_num_threads()
            scores = [
                network.log_likelihoods(self._pack[i], name=utt, num_threads=threads)
                for i, utt in zip(numbers, utts, strict=True)
            ]
            yield from zip(utts, self._online(utts, scores), strict=True)


def _references(pack: FramePack, ali_dir, network: Network, exp: Path) -> Targets:
    """The references, in a file without a name, gone with the process that mapped it."""
    path = exp / f".references.{os.getpid()}"
    try:
        return read_references(pack, ali_dir, network.transitions, path)
    finally:
        path.unlink(missing_ok=True)


def _split(
    pack: FramePack, usable: np.ndarray, held_out: list[str], config: SequenceConfig, init_exp
) -> tuple[np.ndarray, np.ndarray]:
    """Training and cross-validation: what the initial network's training held out, where that is
    known, or the metrics would be of speech that it was trained on."""
    by = config.cv_by
    if not held_out:
        log.warning(
            "%s does not tell what it held out, or none of that is usable here: the held-out part "
            "is dealt anew and may be of its training data",
            init_exp,
        )
        return split_cv(pack, usable, config.cv_fraction, by, config.train.seed)
    train, cv = split_as_before(pack, usable, held_out, by)
    if not len(train):
        raise InputError(
            f"{init_exp}: each {by} with a lattice was held out there, in whole or in part "
            "(is cv_by that of its training?)"
        )
    return train, cv


def _online(graph_dir, network: Network, config: SequenceConfig, needed) -> OnlineLattices | None:
    if not needed:
        return None
    if graph_dir is None:
        raise InputError("lattices that are made during the training need a graph (--graph)")
    scale, options = config.acoustic_scale, config.lattices
    return OnlineLattices(graph_dir, network.transitions, scale, options)


def _with_lattices(
    references: Targets, pack: FramePack, lattices: StoredLattices, lat_dir, max_bad: float
) -> Targets:
    """The references of the utterances that have a usable lattice."""
    problems = {
        utt: f"has a lattice, but no features in {pack.path}"
        for utt in lattices.utts
        if utt not in pack.index
    }
    usable, bad = [], {}
    for i in references.usable.tolist():
        utt, frames = pack.utts[i], len(pack[i])
        if utt not in lattices.utts:
            problems[utt] = f"has no lattice in {lat_dir}"
        elif found := _mismatch(lattices[utt], frames):
            bad[utt] = f"{found} in {lat_dir}"
        else:
            usable.append(i)
    _judge(bad, len(usable), problems, lat_dir, max_bad)
    problems = references.problems | problems | bad
    return Targets(references.pdfs, np.array(usable, np.int64), problems)


def _mismatch(lattice, frames: int) -> str:
    if lattice.num_states == 0:
        return "has an empty lattice"
    if lattice.num_frames != frames:
        return f"has {frames} frames, its lattice {lattice.num_frames}"
    return ""


def _judge(bad: dict, usable: int, problems: dict, lat_dir, max_bad: float) -> None:
    if len(bad) > max_bad * (len(bad) + usable):
        utt, why = next(iter(bad.items()))
        raise InputError(
            f"{lat_dir}: {len(bad)} of {len(bad) + usable} lattices cannot be used; the first: "
            f"{utt}: {why} (are they of the same data directory?)"
        )
    if not usable:
        raise InputError(f"{lat_dir}: no utterance with features and an alignment has a lattice")
    log.info("%d utterances with lattices, %d without", usable, len(bad) + len(problems))


def _set_dropout(model: nn.Module, rate: float | None) -> None:
    if rate is not None:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate


def _over_processes(sums: dict, device: torch.device) -> dict:
    """The sums over all processes of torchrun."""
    if not torch.distributed.is_initialized():
        return sums
    values = torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
    torch.distributed.all_reduce(values)
    return dict(zip(sums, values.tolist(), strict=True))


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))  # torchrun's


def _rank() -> int:
    return int(os.environ.get("RANK", 0))


def _wait() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
