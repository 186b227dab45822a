"""A trained network with what it takes to decode with it: an experiment directory."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdspeech.acoustic.config import NetworkConfig
from kdspeech.config import Config, load_config, save_config
from kdspeech.features.front_end import FrontEnd
from kdspeech.features.post import splice
from kdspeech.hmm import ScoringModel, TransitionModel, read_gmm
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter
from kdspeech.models.highway import build_acoustic_model
from kdspeech.train import load_weights
from kdspeech.train.checkpoint import save

WEIGHTS, CONFIG, PRIORS = "final.pt", "network.yaml", "priors"
_NEVER = 1e4  # takes the place of -log prior, with its sign turned, for pdfs that never came
_MIN_PRIOR = 1e-10  # Kaldi's prior-cutoff


class _Description(Config):
    """network.yaml."""

    network: NetworkConfig
    dim: int
    num_pdfs: int
    adapted: bool


class Network:
    """A network that scores the pdfs of a tree; a ScoringModel.

    Attributes:
        config: NetworkConfig.
        model: the module: spliced frames (frames, (2 * context + 1) * dim) -> logits.
        transitions: TransitionModel.
        priors: float32 (pdfs,), probabilities; all equal until they are set.
        front_end: makes its features from those of a data directory.
        adapted: whether the speakers' transforms belong to its features.
        dim: values of a frame before splicing. num_pdfs: its outputs.
    """

    def __init__(
        self,
        config: NetworkConfig,
        dim: int,
        transitions: TransitionModel,
        front_end: FrontEnd,
        adapted: bool,
    ):
        self.config, self.dim, self.adapted = config, dim, adapted
        self.transitions, self.front_end = transitions, front_end
        self.num_pdfs = transitions.num_pdfs
        self.priors = np.full(self.num_pdfs, 1 / self.num_pdfs, np.float32)
        self.model: nn.Module = build_acoustic_model(
            num_classes=self.num_pdfs,
            dim=(2 * config.context + 1) * dim,
            **config.model_dump(exclude={"context"}),
        )

    @classmethod
    def read(cls, exp: str | os.PathLike) -> "Network":
        """Reads a network's directory.

        Raises:
            InputError: a file that is missing or damaged, or that belongs to another network.
        """
        exp = Path(exp)
        about = load_config(_Description, exp / CONFIG)
        transitions = TransitionModel.read(exp / "final.mdl")
        if transitions.num_pdfs != about.num_pdfs:
            raise InputError(
                f"{exp / 'final.mdl'}: has {transitions.num_pdfs} pdfs, the network beside it "
                f"{about.num_pdfs} outputs"
            )
        network = cls(about.network, about.dim, transitions, FrontEnd.read(exp), about.adapted)
        load_weights(network.model, exp / WEIGHTS)
        network.model.eval()
        network.priors = _read_priors(exp / PRIORS, about.num_pdfs)
        return network

    def write(self, exp: str | os.PathLike, tree: str | os.PathLike | None = None) -> None:
        """Writes the directory that `read` reads; final.pt comes last.

        Args:
            exp: the directory.
            tree: the tree of the pdfs, copied.
        """
        exp = Path(exp)
        exp.mkdir(parents=True, exist_ok=True)
        if tree is not None:
            shutil.copy(tree, exp / "tree")
        self.front_end.write(exp)
        writer = KaldiWriter()
        self.transitions.write_to(writer)
        writer.write(exp / "final.mdl")
        writer = KaldiWriter(binary=False)
        writer.vector(self.priors)
        writer.write(exp / PRIORS)
        about = _Description(
            network=self.config, dim=self.dim, num_pdfs=self.num_pdfs, adapted=self.adapted
        )
        with atomic_path(exp / CONFIG) as temporary:
            temporary.write_text(save_config(about), encoding="utf-8")
        save(exp / WEIGHTS, {"model": self.model.state_dict()})

    def spliced(self, feats: np.ndarray, name: str = "features") -> np.ndarray:
        """The model's input from the features of an utterance, (frames, dim).

        Raises:
            InputError: no frames, another dimension, or values that are not finite.
        """
        if feats.ndim != 2 or feats.shape[1] != self.dim:
            raise InputError(
                f"{name}: features are {feats.shape}, the network takes (frames, {self.dim})"
            )
        return splice(feats, self.config.context, self.config.context)

    @torch.no_grad()
    def log_posteriors(
        self, feats: np.ndarray, name: str = "features", num_threads: int = 1
    ) -> np.ndarray:
        """Natural logs of the pdfs' posteriors, float32 (frames, pdfs).

        Args:
            feats: (frames, dim).
            name: the utterance, for messages.
            num_threads: threads to use, on a CPU.
        Raises:
            InputError: as `spliced`; posteriors that are not finite.
        """
        inputs = torch.from_numpy(self.spliced(feats, name))
        self.model.eval()
        with _threads(num_threads):
            logits = self.model(inputs.to(next(self.model.parameters()).device))
            found = torch.log_softmax(logits.float(), dim=1).cpu().numpy()
        if not np.isfinite(found).all():
            raise InputError(f"{name}: the network gives posteriors that are not finite")
        return found

    def log_likelihoods(
        self,
        feats: np.ndarray,
        pdfs: Sequence[int] | None = None,
        name: str = "features",
        num_threads: int = 1,
    ) -> np.ndarray:
        """log(posterior / prior), float32 (frames, pdfs): the likelihoods but for a factor that a
        frame's pdfs have in common.

        Args:
            feats, name, num_threads: as log_posteriors.
            pdfs: pdf ids of the columns; all if not given.
        """
        found = self.log_posteriors(feats, name, num_threads) - self.log_priors
        return found if pdfs is None else np.ascontiguousarray(found[:, pdfs])

    @property
    def log_priors(self) -> np.ndarray:
        """What `log_likelihoods` takes off; pdfs that never came are made to lose."""
        known = self.priors > _MIN_PRIOR
        logs = np.log(np.where(known, self.priors, 1.0))
        return np.where(known, logs, _NEVER).astype(np.float32)


def read_model(exp: str | os.PathLike) -> ScoringModel:
    """The model of a directory: a Network where it holds final.pt, else the Gaussian one.

    Raises:
        InputError: a file that is missing or damaged.
    """
    exp = Path(exp)
    return Network.read(exp) if (exp / WEIGHTS).exists() else read_gmm(exp)


def _read_priors(path: Path, num_pdfs: int) -> np.ndarray:
    reader = KaldiReader.open(path)
    priors = reader.vector().astype(np.float32)
    reader.finish()
    if len(priors) != num_pdfs:
        raise InputError(f"{path}: {len(priors)} priors, the network has {num_pdfs} pdfs")
    if not (np.isfinite(priors).all() and (priors >= 0).all() and priors.any()):
        raise InputError(f"{path}: priors that are no probabilities")
    return priors


@contextmanager
def _threads(num_threads: int) -> Iterator[None]:
    """torch with so many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
