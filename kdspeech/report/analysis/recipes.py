"""A recipe's configuration and packs, to show the samples and to run the networks once more."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from kdspeech.data.images import ImagePack
from kdspeech.distill.config import KeywordConfig, ModelConfig
from kdspeech.distill.costs import network
from kdspeech.distill.image_config import ImageConfig
from kdspeech.distill.images import ImageRun
from kdspeech.distill.keyword import KeywordData, KeywordRun
from kdspeech.distill.labels import CHUNK
from kdspeech.io.errors import InputError
from kdspeech.losses.terms import REGRESSORS
from kdspeech.models import last_hidden
from kdspeech.report.analysis.exhibits import audio_exhibit, picture_exhibit
from kdspeech.train import load_weights

if TYPE_CHECKING:
    from kdspeech.report.analysis.scored import Scored

SAME_SCORES = 0.1  # of a posterior: other machines round otherwise, other data are further off

Config = KeywordConfig | ImageConfig


class Recipe:
    """What both kinds of recipes share: the penultimate layer of a system.

    `ClipRecipe` and `ImageRecipe` say how a system sees samples: `number(name)` of a sample, and
    `outputs(model, scored, numbers)`, hidden layers (n, dim) and posteriors (n, classes).
    """

    config: Config

    def embedding(self, scored: "Scored") -> np.ndarray | None:
        """The penultimate layer of a system on its samples, (n, dim), as its protocol shows them;
        of several crops the mean. None of a system without weights (`1000.native-500`).

        Raises:
          InputError: its posteriors are not those that were scored.
        """
        if not (scored.folder / "best.pt").is_file():
            return None
        utts, _, log_probs = scored.answers(scored.split)
        numbers = np.array([self.number(str(utt)) for utt in utts])
        model, found = self._model(scored), []
        for part in np.array_split(numbers, max(1, len(numbers) // CHUNK)):
            found.append(self.outputs(model, scored, part))
        hidden, probs = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if np.abs(probs - np.exp(log_probs)).max() > SAME_SCORES:
            raise InputError(
                f"{scored.folder}: with this configuration and data its posteriors are not those "
                "in posteriors.npz; give those it was scored with"
            )
        return hidden

    def _model(self, scored: "Scored") -> torch.nn.Module:
        """The trained network, built as its config.yaml says."""
        if "model" not in scored.identity:
            raise InputError(f"{scored.folder}/config.yaml: does not say which model was trained")
        form = ModelConfig.model_validate(scored.identity["model"])
        members = int(scored.identity.get("members", 1))
        model = network(self.config, form, scored.system.length_ms, members)
        load_weights(model, scored.folder / "best.pt", without=REGRESSORS)
        return model.eval()


class ClipRecipe(Recipe):
    """A keyword recipe on its packs."""

    def __init__(self, config: KeywordConfig, data: str | Path, split: str):
        self.config = config
        self.run = KeywordRun(config, KeywordData.open(data), "")
        self.pack = self.run.data.splits()[split]

    def number(self, name: str) -> int:
        return self.pack.index(name)

    def exhibit(self, scored: Sequence["Scored"], utts: np.ndarray) -> Callable[[int], str]:
        """Plays a clip, and the crop that the shortest network hears, if it is one."""
        shortest = min(scored, key=lambda s: s.system.length_ms)
        clips = np.array([self.number(str(utt)) for utt in utts])
        length, starts = self.run.samples(shortest.system.length_ms), None
        if shortest.protocol in ("center", "best_energy"):
            law = self.run.test_law(shortest.system.length_ms, shortest.protocol)
            starts = self.pack.crop_starts(clips, law)

        def show(i: int) -> str:
            crop = None if starts is None else (int(starts[i]), length)
            return audio_exhibit(self.pack[int(clips[i])], self.pack.sample_rate, crop)

        return show

    def outputs(self, model, scored: "Scored", numbers: np.ndarray):
        """Means over the crops of each clip."""
        mode = "center" if scored.protocol == "full" else scored.protocol
        law = self.run.test_law(scored.system.length_ms, mode)
        counts = np.diff(self.pack.plan(numbers, law).offsets)
        with last_hidden(model) as inputs:
            log_probs = self.run.log_probs(model, self.pack.crops(numbers, law)).numpy()
        firsts = np.cumsum(counts) - counts
        hidden = torch.cat(inputs, dim=1).numpy()
        return tuple(
            np.add.reduceat(x, firsts) / counts[:, None] for x in (hidden, np.exp(log_probs))
        )


class ImageRecipe(Recipe):
    """An image recipe on its packs."""

    def __init__(self, config: ImageConfig, data: str | Path, split: str):
        self.config = config
        train, test = (ImagePack(Path(data) / name) for name in ("train", "test"))
        self.run = ImageRun(config, train, test, Path())
        if split not in self.run.splits:
            raise InputError(f"{data}: the recipe sets no images apart for {split} (images.dev)")
        self.pack = self.run.splits[split][0]

    def number(self, name: str) -> int:
        """Of `test-00017`."""
        split, _, number = name.rpartition("-")
        if split != self.pack.path.name or not number.isdigit() or int(number) >= len(self.pack):
            raise InputError(f"{self.pack.path}: no image {name!r}")
        return int(number)

    def exhibit(self, _scored: Sequence["Scored"], utts: np.ndarray) -> Callable[[int], str]:
        """Shows an image."""
        return lambda i: picture_exhibit(self.pack.images[self.number(str(utts[i]))])

    def outputs(self, model, _scored: "Scored", numbers: np.ndarray):
        with last_hidden(model) as inputs:
            log_probs = self.run.log_probs(model, self.pack.images[numbers]).numpy()
        return torch.cat(inputs, dim=1).numpy(), np.exp(log_probs)


def open_recipe(
    config: Config, data: str | Path, scored: Sequence["Scored"]
) -> ClipRecipe | ImageRecipe:
    """The recipe that systems were scored with.

    Raises:
      InputError: its classes are others; no such packs.
    """
    images = isinstance(config, ImageConfig)
    classes = config.images.classes if images else config.task.classes
    if tuple(classes) != scored[0].system.classes:
        raise InputError(
            f"{scored[0].folder}: its classes are not those of the configuration; give the one it "
            "was trained with"
        )
    return (ImageRecipe if images else ClipRecipe)(config, data, scored[0].split)
