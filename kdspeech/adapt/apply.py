"""An adapted network as decoding and alignment take it: each speaker with the own weights."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from kdspeech.acoustic import Network
from kdspeech.acoustic.identity import network_id
from kdspeech.adapt.difference import (
    difference_path,
    flat,
    read_about,
    read_difference,
    set_flat,
    updated_parameters,
)
from kdspeech.io.errors import InputError


class AdaptedNetwork:
    """A network that takes on the weights of speakers; a ScoringModel, and a SpeakerModel.

    Args:
        exp: the network's directory.
        folder: as `kds adapt` leaves it.
    Attributes:
        network: Network, with the weights of the speaker in force.
    Raises:
        InputError: as Network.read; no such folder, or differences to another network.
    """

    def __init__(self, exp: str | os.PathLike, folder: str | os.PathLike):
        self.folder = Path(folder)
        about, self._report = read_about(folder)
        if network_id(exp) != about.network:
            raise InputError(
                f"{folder}: holds differences to another network than that of {exp}: to "
                f"{about.base} as it was then (run `kds adapt` again)"
            )
        self.network = network = Network.read(exp)
        self._parameters = updated_parameters(network.model, about.settings.update)
        self._base = flat(self._parameters)
        self.transitions, self.num_pdfs = network.transitions, network.num_pdfs
        self.adapted = network.adapted

    def use_speaker(self, speaker: str) -> str:
        """Takes on a speaker's weights, or the network's own where the speaker has none.

        Returns:
            Why there are none; empty if there are.
        Raises:
            InputError: a file that is missing or damaged.
        """
        difference = read_difference(self.folder, speaker, len(self._base))
        if difference is None:
            set_flat(self._parameters, self._base)
            return self._why_not(speaker)
        set_flat(self._parameters, self._base + torch.from_numpy(difference).float())
        return ""

    def _why_not(self, speaker: str) -> str:
        if speaker not in self._report:
            return f"unknown to {self.folder}"
        reason = self._report[speaker]["skipped"]
        if not reason:
            path = difference_path(self.folder, speaker)
            raise InputError(f"{path}: is missing (run `kds adapt` again)")
        return reason

    def log_likelihoods(
        self,
        feats: np.ndarray,
        pdfs: Sequence[int] | None = None,
        name: str = "features",
        num_threads: int = 1,
    ) -> np.ndarray:
        """As Network, with the weights of the speaker in force."""
        return self.network.log_likelihoods(feats, pdfs, name, num_threads)
