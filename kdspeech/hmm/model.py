"""The acoustic model of an HMM-GMM system: Kaldi's final.mdl."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from kdspeech.hmm.gmm import DiagGmms
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter


class ScoringModel(Protocol):
    """What decoding and alignment need of an acoustic model, Gaussian or network.

    Attributes:
        transitions: TransitionModel.
        num_pdfs: columns of its scores.
    """

    transitions: TransitionModel
    num_pdfs: int

    def log_likelihoods(
        self,
        feats: np.ndarray,
        pdfs: Sequence[int] | None = None,
        name: str = "features",
        num_threads: int = 1,
    ) -> np.ndarray:
        """As DiagGmms.log_likelihoods; a network's may lack a term that all pdfs have in common."""


@runtime_checkable
class SpeakerModel(Protocol):
    """A ScoringModel that has other weights for each speaker."""

    def use_speaker(self, speaker: str) -> str:
        """Takes on a speaker's weights; why there are none, if so, and then the model's own."""


@dataclass
class AcousticModel:
    """Transition model and Gaussian mixtures.

    Attributes:
        transitions: TransitionModel.
        gmms: DiagGmms.
    """

    transitions: TransitionModel
    gmms: DiagGmms

    @classmethod
    def read(cls, path: str | os.PathLike) -> "AcousticModel":
        """Reads Kaldi's final.mdl, binary or text (also .gz).

        Raises:
            InputError: the file is damaged or no GMM model; names the file and the place.
        """
        reader = KaldiReader.open(path)
        transitions = TransitionModel.read_from(reader)
        if not reader.at_end() and reader.peek().startswith("<Nnet"):
            raise InputError(f"{path}: is a neural network model, a GMM model is needed here")
        if reader.at_end():
            raise InputError(f"{path}: holds transitions alone, a GMM model is needed here")
        gmms = DiagGmms.read_from(reader)
        reader.finish()
        if transitions.num_pdfs > gmms.num_pdfs:
            raise InputError(
                f"{path}: its transitions name {transitions.num_pdfs} pdfs, it holds "
                f"mixtures for {gmms.num_pdfs}"
            )
        return cls(transitions, gmms)

    @property
    def num_pdfs(self) -> int:
        return self.gmms.num_pdfs

    def log_likelihoods(
        self,
        feats: np.ndarray,
        pdfs: Sequence[int] | None = None,
        name: str = "features",
        num_threads: int = 1,
    ) -> np.ndarray:
        """See DiagGmms."""
        return self.gmms.log_likelihoods(feats, pdfs, name, num_threads)

    def write(self, path: str | os.PathLike, binary: bool = True) -> None:
        """Writes Kaldi's final.mdl, whole or not at all."""
        writer = KaldiWriter(binary)
        self.transitions.write_to(writer)
        self.gmms.write_to(writer)
        writer.write(path)


ReadModel = Callable[[Path], ScoringModel]
"""Reads the model of a directory; importable by name where jobs run in processes of their own."""


def read_gmm(exp: Path) -> AcousticModel:
    """The Gaussian model of an experiment directory; InputError as AcousticModel.read."""
    return AcousticModel.read(exp / "final.mdl")


def check_adapted(exp: str | os.PathLike, model: ScoringModel, transformed: bool) -> None:
    """InputError where a model of adapted features is to score others, or the other way round.

    Only a network says what it was trained on, by its attribute `adapted`.
    """
    adapted = getattr(model, "adapted", transformed)
    if adapted and not transformed:
        raise InputError(f"{exp}: was trained on adapted features: give the speakers' transforms")
    if transformed and not adapted:
        raise InputError(f"{exp}: was trained without transforms, but some are given")
