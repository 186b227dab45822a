"""Training the steps of a keyword-spotting plan.

A step leaves one folder behind: what `fit` writes (config, checkpoints, metrics, events) and its
label store if it has one. A step that was killed goes on from its last checkpoint.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.data.crops import CropLaw
from kdspeech.data.pack import WavePack
from kdspeech.distill.clips import ClipPool
from kdspeech.distill.config import KeywordConfig
from kdspeech.distill.costs import network
from kdspeech.distill.labels import CHUNK, LabelSource, label_identity, label_source
from kdspeech.distill.plans import Step
from kdspeech.distill.student import Batch, add_hint_regressors, student_loss
from kdspeech.io.errors import InputError
from kdspeech.losses.terms import REGRESSORS
from kdspeech.train import fit, load_weights, shard, spec_augment

if TYPE_CHECKING:
    from kdspeech.distill.family import Node

SIBLING_SEED = 100_000  # between the seeds of siblings
NORM_CLIPS = 512  # training clips from which the input normalisation is estimated


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
        self.pool = ClipPool(config, data.train, seed)
        self.computer = config.features.computer()
        self._check_rates()

    def train(self, step: "Step | Node", progress: bool = False) -> None:
        """Trains a step's network; its teachers must be trained already."""
        source, model = label_source(self, step), self.new_model(step)
        own = {"seed": self.seed_of(step), "epochs": self.config.epochs_of(step)}

        def batches(epoch: int):
            return self._batches(step, source, epoch)

        if step.teachers and self.config.distill.student_modules:
            add_hint_regressors(self.config.distill, model, next(iter(batches(0))))
        fit(
            model,
            batches,
            student_loss(
                self.config.distill, model, bool(step.teachers), hard=step.labels == "hard"
            ),
            lambda model: {"accuracy": self._dev_accuracy(model, step)},
            self.config.train.model_copy(update=own),
            self.folder / step.name,
            identity=self._identity(step),
            steps_per_epoch=self._steps_per_epoch(step),
            progress=progress,
        )

    def seed_of(self, step: "Step | Node") -> int:
        """Of a step's initial weights; siblings have others on the same crops."""
        return self.seed + SIBLING_SEED * step.sibling

    def new_model(self, step: "Step | Node") -> nn.Module:
        """A fresh network for a step, its input normalisation set from training crops."""
        torch.manual_seed(self.seed_of(step))
        model = self._build(step)
        clips, _ = self.pool.labelled(step, 0)
        some = np.random.default_rng(self.seed).permutation(clips)[:NORM_CLIPS]
        waves = self.data.train.crops(some, self.law(step.length), noise=self.data.noise)
        # One mean for all bands keeps the tilt of log-mel spectra; cepstra differ by orders.
        per_dim = self.config.features.kind == "mfcc"
        model.norm.estimate([self.features(waves)], per_dim=per_dim)
        return model

    def trained_model(self, step: "Step | Node") -> nn.Module:
        """The best checkpoint of a finished step, in evaluation mode."""
        model = self._build(step)
        load_weights(model, self.folder / step.name / "best.pt", without=REGRESSORS)
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
        return self.log_posteriors(model, self.features(waves), fast)

    def log_posteriors(self, model: nn.Module, features: Tensor, fast: bool = False) -> Tensor:
        """As `log_probs`, of features (n, frames, dim)."""
        device = next(model.parameters()).device
        low = fast and self.config.train.bf16
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = model(features.to(device))
        return F.log_softmax(logits.float(), dim=1).cpu()

    def test_law(self, ms: int, mode: str) -> CropLaw:
        """How clips are cut for scoring, undisturbed: "center", "best_energy" or "sliding"."""
        hop = self.samples(self.config.sliding_hop_ms) if mode == "sliding" else None
        return CropLaw(length=self.samples(ms), mode=mode, pad=self.config.crops.pad, hop=hop)

    def _check_rates(self) -> None:
        """Refuses packs or features of another sampling rate than the recipe's."""
        packs = (*self.pool.packs, *self.data.splits().values())
        rates = [(pack.path, pack.sample_rate) for pack in packs]
        rates.append((self.config.features.conf, self.computer.options["sample_frequency"]))
        for path, rate in rates:
            if rate != self.config.sample_rate:
                raise InputError(
                    f"{path}: is at {rate:g} Hz, but the recipe's sample_rate is "
                    f"{self.config.sample_rate} (packs, features and recipe must have the same; "
                    "kds make-pack --sample-rate --resample makes a pack of another rate)"
                )

    # What follows makes the training batches.

    def _build(self, step: "Step | Node") -> nn.Module:
        config = self.config
        return network(config, config.model_of(step), step.length, config.members_of(step))

    def device(self) -> str:
        """Where teachers compute."""
        use = self.config.train.accelerator != "cpu" and torch.cuda.is_available()
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if use else "cpu"  # torchrun's

    def _crop_id(self, step: "Step | Node", epoch: int) -> int:
        """Which crop of each clip an epoch shows: a new one, or one of those in the store."""
        distill = self.config.distill
        stored = distill.store and step.teachers
        return epoch % distill.crops_per_clip if stored else epoch

    def _steps_per_epoch(self, step: "Step | Node") -> int:
        clips, _ = self.pool.clips(step, 0)
        return max(1, round(len(clips) / self.config.train.batch_size))

    def _batches(self, step: "Step | Node", source: LabelSource, epoch: int):
        """An epoch's batches, of nearly equal sizes (a batch of one would break BatchNorm)."""
        crop_id = self._crop_id(step, epoch)
        clips, labels = self.pool.clips(step, crop_id)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(clips))
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        masks = self.config.spec_augment.model_dump()
        steps = self._steps_per_epoch(step)
        for i, whole in enumerate(np.array_split(order, steps)):
            part = shard(whole)  # this process's share of it under torchrun
            waves, targets, hidden = source(clips[part], np.full(len(part), crop_id))
            features = spec_augment(self.features(waves), **masks, generator=generator)
            own = torch.from_numpy(labels[part])
            yield Batch(features, own, targets, hidden, epoch + i / steps)

    def _identity(self, step: "Step | Node") -> dict:
        """What a resumed training must have in common with the run that it goes on."""
        config = self.config.model_dump(mode="json", exclude={"train"})
        keys = ("task", "features", "crops", "spec_augment")
        identity = {key: config[key] for key in keys}
        identity["model"] = self.config.model_of(step).model_dump(mode="json")
        identity["members"] = self.config.members_of(step)
        identity["corpus"] = self.pool.corpus(step)
        identity["noise"] = self.data.noise.fingerprint if self.data.noise else "none"
        if not step.teachers:
            return identity
        if not config["distill"]["losses"]:  # as before there were any
            del config["distill"]["losses"]
        del config["distill"]["unlabelled"]  # the corpus names them
        return identity | {"distill": config["distill"]} | label_identity(self, step)

    def _dev_accuracy(self, model: nn.Module, step: "Step | Node") -> float:
        """Dev accuracy in % on best-energy crops (whole clips for the first teacher)."""
        pack = self.data.dev
        clips, labels = self.config.task.select(pack)
        right = 0
        for part in np.array_split(np.arange(len(clips)), max(1, len(clips) // CHUNK)):
            waves = pack.crops(clips[part], self.test_law(step.length, "best_energy"))
            right += int((self.log_probs(model, waves).argmax(1).numpy() == labels[part]).sum())
        return 100 * right / len(clips)
