"""Training the steps of a keyword-spotting plan.

A step leaves one folder behind: what `fit` writes (config, checkpoints, metrics, events) and its
label store if it has one. A step that was killed goes on from its last checkpoint.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.data.crops import CropLaw
from kdspeech.data.pack import WavePack
from kdspeech.distill.config import KeywordConfig
from kdspeech.distill.plans import Step
from kdspeech.distill.targets import SoftLabelStore, write_soft_labels
from kdspeech.distill.views import paired_crops
from kdspeech.io.errors import InputError
from kdspeech.io.hashing import fingerprint
from kdspeech.losses.kd import kd_loss
from kdspeech.models import Ensemble, build_model
from kdspeech.train import fit, load_weights, shard, spec_augment

CHUNK = 256  # clips that are scored or labelled at a time
NORM_CLIPS = 512  # training clips from which the input normalisation is estimated

LabelSource = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Tensor | None]]


class Batch(NamedTuple):
    """Features (n, frames, dim), classes (n,), the teacher's log-probabilities (n, classes)."""

    features: Tensor
    labels: Tensor
    targets: Tensor | None


@dataclass
class KeywordData:
    """The packs of a prepared corpus; `noise` is None where the corpus has none."""

    train: WavePack
    dev: WavePack
    test: WavePack
    noise: WavePack | None

    @classmethod
    def open(cls, folder: str | Path) -> "KeywordData":
        folder = Path(folder)
        noise = WavePack(folder / "noise") if (folder / "noise").exists() else None
        return cls(*(WavePack(folder / split) for split in ("train", "dev", "test")), noise)

    def splits(self) -> dict[str, WavePack]:
        """The splits that are scored."""
        return {"dev": self.dev, "test": self.test}


class KeywordRun:
    """A recipe on its data with one seed.

    Args:
        config: the recipe's configuration.
        data: the packs.
        folder: holds one folder per step, named by `Step.name`.
        seed: decides initial weights, order, crops and noise.
    """

    def __init__(self, config: KeywordConfig, data: KeywordData, folder: str | Path, seed: int = 0):
        self.config, self.data, self.folder, self.seed = config, data, Path(folder), seed
        self.computer = config.features.computer()
        self._check_rates()

    def train(self, step: Step, progress: bool = False) -> None:
        """Trains a step's network; its teacher must be trained already."""
        source = self._label_source(step)
        own = {"seed": self.seed, "epochs": self.config.epochs_of(step)}
        fit(
            self.new_model(step),
            lambda epoch: self._batches(source, epoch, self._crop_id(step, epoch)),
            self._loss(step),
            lambda model: {"accuracy": self._dev_accuracy(model, step)},
            self.config.train.model_copy(update=own),
            self.folder / step.name,
            identity=self._identity(step),
            steps_per_epoch=self._steps_per_epoch(),
            progress=progress,
        )

    def new_model(self, step: Step) -> nn.Module:
        """A fresh network for a step, its input normalisation set from training crops."""
        torch.manual_seed(self.seed)
        model = self._build(step)
        clips, _ = self.config.task.select(self.data.train, self.seed)
        some = np.random.default_rng(self.seed).permutation(clips)[:NORM_CLIPS]
        waves = self.data.train.crops(some, self.law(step.length), noise=self.data.noise)
        # One mean for all bands keeps the tilt of log-mel spectra; cepstra differ by orders.
        per_dim = self.config.features.kind == "mfcc"
        model.norm.estimate([self.features(waves)], per_dim=per_dim)
        return model

    def trained_model(self, step: Step) -> nn.Module:
        """The best checkpoint of a finished step, in evaluation mode."""
        model = self._build(step)
        load_weights(model, self.folder / step.name / "best.pt")
        return model.eval()

    def samples(self, ms: int) -> int:
        return ms * self.config.sample_rate // 1000

    def law(self, ms: int) -> CropLaw:
        """How training crops of a length are cut from the clips and disturbed."""
        crops = self.config.crops
        return CropLaw(
            length=self.samples(ms),
            mode=crops.mode,
            seed=self.seed,
            shift=self.samples(crops.shift_ms),
            noise_prob=crops.noise_prob if self.data.noise is not None else 0.0,
            noise_volume=crops.noise_volume,
            speed=crops.speed,
            gain_db=crops.gain_db,
            pad=crops.pad,
            min_energy=crops.min_energy,
        )

    def features(self, waves: np.ndarray) -> Tensor:
        """Features of equally long waves: (n, samples) -> (n, frames, dim)."""
        count, length = waves.shape
        offsets = np.arange(count + 1) * length
        packed, _ = self.computer.batch((waves.reshape(-1), offsets))
        features = torch.from_numpy(packed).reshape(count, -1, self.computer.dim)
        floor = self.config.features.floor
        return features if floor is None else features.clamp_min_(floor)

    def log_probs(self, model: nn.Module, waves: np.ndarray, fast: bool = False) -> Tensor:
        """A network's natural-log posteriors on the CPU, (n, samples) -> (n, classes).

        `fast` computes in bfloat16 where the recipe trains so: labels bear it, scores should not.
        """
        device = next(model.parameters()).device
        low = fast and self.config.train.precision == "bf16"
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = model(self.features(waves).to(device))
        return F.log_softmax(logits.float(), dim=1).cpu()

    def test_law(self, ms: int, mode: str) -> CropLaw:
        """How clips are cut for scoring, undisturbed: "center", "best_energy" or "sliding"."""
        hop = self.samples(self.config.sliding_hop_ms) if mode == "sliding" else None
        return CropLaw(length=self.samples(ms), mode=mode, pad=self.config.crops.pad, hop=hop)

    def _check_rates(self) -> None:
        """Refuses packs or features of another sampling rate than the recipe's."""
        packs = (self.data.train, *self.data.splits().values())
        rates = [(pack.path, pack.sample_rate) for pack in packs]
        rates.append((self.config.features.conf, self.computer.options["sample_frequency"]))
        for path, rate in rates:
            if rate != self.config.sample_rate:
                raise InputError(
                    f"{path}: is at {rate:g} Hz, but the recipe's sample_rate is "
                    f"{self.config.sample_rate} (packs, features and recipe must have the same)"
                )

    # What follows makes the training batches.

    def _build(self, step: Step) -> nn.Module:
        model = self.config.model_of(step)
        frames = self.computer.num_frames(self.samples(step.length))
        classes = len(self.config.task.classes)
        members = [
            build_model(model.name, classes, self.computer.dim, frames, **model.options)
            for _ in range(self.config.members_of(step))
        ]
        return Ensemble(members) if len(members) > 1 else members[0]

    def _device(self) -> str:
        use = self.config.train.accelerator != "cpu" and torch.cuda.is_available()
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if use else "cpu"  # torchrun's

    def _crop_id(self, step: Step, epoch: int) -> int:
        """Which crop of each clip an epoch shows: a new one, or one of those in the store."""
        distill = self.config.distill
        stored = distill.store and step.teacher is not None
        return epoch % distill.crops_per_clip if stored else epoch

    def _clips(self, crop_id: int) -> tuple[np.ndarray, np.ndarray]:
        return self.config.task.select(self.data.train, self.seed + crop_id)

    def _steps_per_epoch(self) -> int:
        clips, _ = self._clips(0)
        return max(1, round(len(clips) / self.config.train.batch_size))

    def _batches(self, source: LabelSource, epoch: int, crop_id: int):
        """An epoch's batches, of nearly equal sizes (a batch of one would break BatchNorm)."""
        clips, labels = self._clips(crop_id)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(clips))
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        masks = self.config.spec_augment.model_dump()
        for whole in np.array_split(order, self._steps_per_epoch()):
            part = shard(whole)  # this process's share of it under torchrun
            waves, targets = source(clips[part], np.full(len(part), crop_id))
            features = spec_augment(self.features(waves), **masks, generator=generator)
            yield Batch(features, torch.from_numpy(labels[part]), targets)

    def _label_source(self, step: Step) -> LabelSource:
        """Gives the student's waves and the teacher's labels for (clips, crop ids)."""
        pack, noise, law = self.data.train, self.data.noise, self.law(step.length)
        if step.teacher is None:
            return lambda clips, ids: (pack.crops(clips, law, crop_ids=ids, noise=noise), None)
        teacher = self.trained_model(step.teacher).to(self._device())
        self._check_view(step, teacher)
        if self.config.distill.store:
            return self._stored_labels(step, teacher)

        def label(clips: np.ndarray, ids: np.ndarray):
            waves = self._paired(step, clips, ids)
            return waves.student, self.log_probs(teacher, waves.teacher, fast=True)

        return label

    def _check_view(self, step: Step, teacher: nn.Module) -> None:
        if self.config.distill.view == "native" and not teacher.any_length:
            raise InputError(
                f"distill.view native: {self.config.model_of(step.teacher).name} takes clips of "
                f"{step.teacher.length} ms alone; set it to pad or context"
            )

    def _paired(self, step: Step, clips: np.ndarray, ids: np.ndarray):
        return paired_crops(
            self.data.train,
            clips,
            self.law(step.length),
            ids,
            self.samples(step.teacher.length),
            self.config.distill.view,
            self.data.noise,
        )

    def _stored_labels(self, step: Step, teacher: nn.Module) -> LabelSource:
        """Labels from the step's store, which is written if it is not there."""
        path = self.folder / step.name / "labels.arrow"
        made_from = self._label_identity(step)
        if not path.exists():
            self._write_store(path, step, teacher, made_from)
        store, pack = SoftLabelStore(path, made_from), self.data.train

        def label(clips: np.ndarray, ids: np.ndarray):
            names = [pack.utts[clip] for clip in clips]
            waves = self._paired(step, clips, ids).student
            return waves, torch.from_numpy(store.log_probs(names, ids))

        return label

    def _write_store(self, path: Path, step: Step, teacher: nn.Module, made_from: dict) -> None:
        def blocks():
            for crop_id in range(self.config.distill.crops_per_clip):
                clips, _ = self._clips(crop_id)
                for part in np.array_split(clips, max(1, len(clips) // CHUNK)):
                    ids = np.full(len(part), crop_id)
                    waves = self._paired(step, part, ids)
                    labels = self.log_probs(teacher, waves.teacher, fast=True).numpy()
                    names = [self.data.train.utts[clip] for clip in part]
                    yield names, ids.tolist(), list(labels[:, None, :])

        classes = len(self.config.task.classes)
        top_k = min(self.config.distill.top_k, classes)
        write_soft_labels(path, blocks(), classes, top_k, made_from)

    def _label_identity(self, step: Step) -> dict:
        """What a step's labels depend on."""
        weights = (self.folder / step.teacher.name / "best.pt").read_bytes()
        return {
            "teacher": fingerprint(weights),
            "corpus": self.data.train.fingerprint,
            "crop_law": self.law(step.length).fingerprint(self.data.noise),
            "view": self.config.distill.view,
            "features": fingerprint(repr((self.computer.options, self.config.features.floor))),
            "task": fingerprint(self.config.task.model_dump_json()),
        }

    def _identity(self, step: Step) -> dict:
        """What a resumed training must have in common with the run that it goes on."""
        config = self.config.model_dump(mode="json", exclude={"train"})
        keys = ("task", "features", "crops", "spec_augment")
        identity = {key: config[key] for key in keys}
        identity["model"] = self.config.model_of(step).model_dump(mode="json")
        identity["members"] = self.config.members_of(step)
        identity["corpus"] = self.data.train.fingerprint
        identity["noise"] = self.data.noise.fingerprint if self.data.noise else "none"
        if step.teacher is None:
            return identity
        return identity | {"distill": config["distill"]} | self._label_identity(step)

    def _loss(self, step: Step) -> Callable[[nn.Module, Batch], tuple[Tensor, dict]]:
        def clip_loss(model: nn.Module, batch: Batch):
            logits = model(batch.features).float()  # of each member of an ensemble
            return F.cross_entropy(
                logits, batch.labels.repeat(len(logits) // len(batch.labels))
            ), {}

        def teacher_loss(model: nn.Module, batch: Batch):
            distill, hard = self.config.distill, step.labels == "hard"
            temperature = 1.0 if hard else distill.temperature
            logits = model(batch.features)
            loss = kd_loss(
                logits, batch.targets, batch.labels, temperature, distill.alpha, hard=hard
            )
            return loss, {}

        return clip_loss if step.teacher is None else teacher_loss

    def _dev_accuracy(self, model: nn.Module, step: Step) -> float:
        """Dev accuracy in % on best-energy crops (whole clips for the first teacher)."""
        pack = self.data.dev
        clips, labels = self.config.task.select(pack)
        right = 0
        for part in np.array_split(np.arange(len(clips)), max(1, len(clips) // CHUNK)):
            waves = pack.crops(clips[part], self.test_law(step.length, "best_energy"))
            right += int((self.log_probs(model, waves).argmax(1).numpy() == labels[part]).sum())
        return 100 * right / len(clips)
