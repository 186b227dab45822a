"""The acoustic model of an HMM-GMM system: Kaldi's final.mdl."""

import os
from dataclasses import dataclass

from kdspeech.hmm.gmm import DiagGmms
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter


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
        gmms = DiagGmms.read_from(reader)
        reader.finish()
        if transitions.num_pdfs > gmms.num_pdfs:
            raise InputError(
                f"{path}: its transitions name {transitions.num_pdfs} pdfs, it holds "
                f"mixtures for {gmms.num_pdfs}"
            )
        return cls(transitions, gmms)

    def write(self, path: str | os.PathLike, binary: bool = True) -> None:
        """Writes Kaldi's final.mdl, whole or not at all."""
        writer = KaldiWriter(binary)
        self.transitions.write_to(writer)
        self.gmms.write_to(writer)
        writer.write(path)
