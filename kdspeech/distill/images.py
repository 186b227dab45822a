"""Training and scoring networks on images, by the same loop, losses and search as on clips.

A grey image is (rows, columns) and so a clip of `rows` frames: any model of kdspeech.models takes
it. One with colours is (rows, columns, 3), for those of kdspeech.models.image.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdspeech.data.images import ImagePack, jittered
from kdspeech.distill.costs import network
from kdspeech.distill.family import Node
from kdspeech.distill.image_config import ImageConfig, System
from kdspeech.distill.image_scoring import note_divergence, score_images
from kdspeech.distill.labels import mean_log_probs
from kdspeech.distill.plans import Step
from kdspeech.distill.student import Batch, add_hint_regressors, student_loss
from kdspeech.io.errors import InputError
from kdspeech.io.hashing import fingerprint
from kdspeech.losses.terms import REGRESSORS
from kdspeech.models import outputs_of
from kdspeech.train import DivergedError, fit, load_weights, shard

CHUNK = 1000  # images that are scored or labelled at a time
SIBLING_SEED = 100_000  # between the seeds of siblings

Trained = System | Step | Node
Labeller = Callable[[np.ndarray, Tensor], tuple[Tensor | None, dict[str, Tensor]]]


@dataclass(frozen=True)
class ImageJob:
    """What all trainings of a recipe share, as `sweep.Job` for clips: `run_steps` and `run_search`
    take either.

    Args:
      config: the recipe.
      data: folder with the packs train and test.
      exp: results go to `exp/seed<k>/<system>/`.
      command: what the user ran, for the record.
      home: the folder that relative paths start from.
    """

    config: ImageConfig
    data: str
    exp: str
    command: str
    home: str = field(default_factory=os.getcwd)

    def run(self, seed: int) -> "ImageRun":
        packs = (ImagePack(Path(self.data) / split) for split in ("train", "test"))
        return ImageRun(self.config, *packs, Path(self.exp) / f"seed{seed}", seed)

    def metrics(self, seed: int, node: Trained) -> Path:
        return Path(self.exp) / f"seed{seed}" / node.name / "metrics.jsonl"

    def finish(self, seed: int, node: Trained, progress: bool = False) -> None:
        """Trains and scores a network unless that is done.

        A system of a table may diverge, which is then what its row says; no other may.
        """
        run = self.run(seed)
        try:
            run.train(node, progress)
        except DivergedError as error:
            if not isinstance(node, System):
                raise
            note_divergence(run, node, str(error), self.command)
            return
        score_images(run, node, self.command)


class ImageRun:
    """A recipe on its images with one seed.

    Args:
      config: the recipe.
      train, test: the packs; `images.dev` of the training images are set apart.
      folder: holds one folder per network.
      seed: decides initial weights, order and moves, and which part of the data is taken.

    Raises:
      InputError: the packs hold other images or classes than the recipe says.
    """

    def __init__(
        self, config: ImageConfig, train: ImagePack, test: ImagePack, folder: Path, seed: int = 0
    ):
        self.config, self.pack, self.folder, self.seed = config, train, folder, seed
        for pack in (train, test):
            config.check_pack(pack)
        order = np.random.default_rng(0).permutation(len(train))
        count = config.images.dev
        self.dev, self.train_part = np.sort(order[:count]), np.sort(order[count:])
        if len(self.train_part) == 0:
            raise InputError(f"{train.path}: {len(train)} images, images.dev takes {count}")
        self.splits = {"dev": (train, self.dev)} if count else {}
        self.splits["test"] = (test, np.arange(len(test)))

    def train(self, node: Trained, progress: bool = False) -> None:
        """Trains a network; its teachers must be trained already.

        Where images are set apart for it the best epoch on them is kept, else the last one.
        """
        plan, model = self.config.training_of(node), self.new_model(node)
        chosen, labels_of = self.chosen(plan.fraction), self.labeller(node)
        epochs_begun = 0

        def batches(epoch: int):
            nonlocal epochs_begun
            epochs_begun = epoch + 1
            return self._batches(chosen, labels_of, epoch, plan.train.batch_size)

        def dev(model: nn.Module) -> dict[str, float]:
            if len(self.dev) == 0:
                return {"epoch": epochs_begun}
            return {"accuracy": self.accuracy(model, "dev")}

        if node.teachers and plan.loss.student_modules:
            add_hint_regressors(plan.loss, model, next(iter(batches(0))))
        own = {"seed": self.seed + SIBLING_SEED * node.sibling}
        if not len(self.dev):
            own |= {"keep_best": "epoch", "keep_best_mode": "max"}
        fit(
            model,
            batches,
            student_loss(plan.loss, model, bool(node.teachers)),
            dev,
            plan.train.model_copy(update=own),
            self.folder / node.name,
            identity=self._identity(node),
            steps_per_epoch=_steps(chosen, plan.train.batch_size),
            progress=progress,
        )

    def chosen(self, fraction: float) -> np.ndarray:
        """The training images of a system that learns from a part of them, at random."""
        if fraction == 1:
            return self.train_part
        count = max(1, round(fraction * len(self.train_part)))
        order = np.random.default_rng([self.seed, 1]).permutation(self.train_part)
        return np.sort(order[:count])

    def new_model(self, node: Trained) -> nn.Module:
        """A fresh network, its input normalisation set from all training images: one mean and one
        deviation for grey ones, else those of each colour."""
        torch.manual_seed(self.seed + SIBLING_SEED * node.sibling)
        model = self.build(node)
        parts = np.array_split(self.train_part, max(1, len(self.train_part) // CHUNK))
        colours = self.pack.images.ndim == 4
        model.norm.estimate((_floats(self.pack.images[part]) for part in parts), per_dim=colours)
        return model

    def build(self, node: Trained) -> nn.Module:
        """An untrained network."""
        plan = self.config.training_of(node)
        return network(self.config, plan.model, self.config.first_length, plan.members)

    def trained_model(self, node: Trained) -> nn.Module:
        """The kept checkpoint of a finished network, in evaluation mode."""
        model = self.build(node)
        load_weights(model, self.folder / node.name / "best.pt", without=REGRESSORS)
        return model.eval()

    def log_probs(self, model: nn.Module, images: np.ndarray, fast: bool = False) -> Tensor:
        """A network's natural-log posteriors on the CPU: uint8 images to (n, classes).

        `fast` computes in bfloat16 where the recipe trains so: labels bear it, scores should not.
        """
        device = next(model.parameters()).device
        low, parts = fast and self.config.train.bf16, []
        for start in range(0, len(images), CHUNK):
            features = _floats(images[start : start + CHUNK]).to(device)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=low):
                parts.append(F.log_softmax(model(features).float(), dim=1).cpu())
        return torch.cat(parts)

    def accuracy(self, model: nn.Module, split: str) -> float:
        """In %."""
        pack, which = self.splits[split]
        answers = self.log_probs(model, pack.images[which]).argmax(1).numpy()
        return float(100 * (answers == pack.labels[which]).mean())

    # What follows makes the training batches.

    def labeller(self, node: Trained) -> Labeller:
        """Gives the teachers' labels of training images, (n,) numbers and (n, ...) pixels.

        Images that nothing moves are labelled once, before training; others as they come.
        """
        if not node.teachers:
            return lambda _which, _features: (None, {})
        teachers = [self.trained_model(t).to(self._device()) for t in node.teachers]
        names = self.config.training_of(node).loss.teacher_modules
        if self.config.images.moved or names:
            return lambda _which, features: self._labels(node, teachers, features, names)
        images = self.pack.images
        found = [self.log_probs(teacher, images, fast=True) for teacher in teachers]
        known = mean_log_probs(found, node.weights)
        return lambda which, _features: (known[which], {})

    def _labels(self, node, teachers: Sequence[nn.Module], features: Tensor, names: list[str]):
        low = self.config.train.bf16
        device, found = self._device(), []
        features = features.to(device)
        for teacher in teachers:
            wanted = names if teacher is teachers[-1] else []
            with (
                torch.no_grad(),
                torch.autocast(torch.device(device).type, torch.bfloat16, enabled=low),
                outputs_of(teacher, wanted) as hidden,
            ):
                found.append(F.log_softmax(teacher(features).float(), dim=1))
        hidden = {name: output.detach().float() for name, output in hidden.items()}
        return mean_log_probs(found, node.weights), hidden

    def _batches(self, chosen: np.ndarray, labels_of: Labeller, epoch: int, size: int):
        """An epoch's batches, of nearly equal sizes (a batch of one would break BatchNorm)."""
        order = np.random.default_rng([self.seed, epoch]).permutation(chosen)
        steps, images = _steps(chosen, size), self.config.images
        for i, whole in enumerate(np.array_split(order, steps)):
            part = shard(whole)  # this process's share of it under torchrun
            pixels = self.pack.images[part]
            if images.moved:
                generator = np.random.default_rng([self.seed, epoch, i, int(part[0])])
                pixels = jittered(pixels, images.pad, images.flip, generator)
            features = _floats(pixels)
            targets, hidden = labels_of(part, features)
            own = torch.from_numpy(self.pack.labels[part])
            yield Batch(features, own, targets, hidden, epoch + i / steps)

    def _device(self) -> str:
        """Where teachers compute."""
        use = self.config.train.accelerator != "cpu" and torch.cuda.is_available()
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if use else "cpu"

    def _identity(self, node: Trained) -> dict:
        """What a resumed training must have in common with the run that it goes on."""
        plan = self.config.training_of(node)
        marks = [
            fingerprint((self.folder / t.name / "best.pt").read_bytes()) for t in node.teachers
        ]
        identity = {
            "images": self.config.images.model_dump(mode="json"),
            "corpus": self.pack.fingerprint,
            "model": plan.model.model_dump(mode="json"),
            "members": plan.members,
            "fraction": plan.fraction,
        }
        if marks:
            loss = plan.loss.model_dump(mode="json")
            identity |= {"teachers": marks, "weights": list(node.weights), "loss": loss}
        return identity


def _steps(chosen: np.ndarray, size: int) -> int:
    return max(1, round(len(chosen) / size))


def _floats(images: np.ndarray) -> Tensor:
    """uint8 to float32 within 0 and 1."""
    return torch.from_numpy(images.astype(np.float32)).div_(255)
