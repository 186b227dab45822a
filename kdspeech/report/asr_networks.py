"""The networks among the systems of a speech recognition experiment: their names, sizes, seeds.

A system `<name>[_seed<k>][.<adaptation>]` is a network where EXP/<name> holds a network.yaml. What
<name> says after its first `_` is how the network was trained, but for settings, words with a digit
and those of distillation, kall (all posteriors) and ensemble; no word is CE: hdnn_h128_l10,
hdnn_h128_l10_kd_q02_t1, hdnn_h128_l10_kd_smbr.
Adaptations are `<groups>_<loss>`: hdnn_h128_l10_kd_smbr.gates_ce.
"""

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from kdspeech.acoustic import Network
from kdspeech.models import num_parameters

_SPELLING = {"ce": "CE", "smbr": "sMBR", "mmi": "MMI", "bmmi": "bMMI", "mpfe": "MPFE", "kd": "KD",
             "kl": "KL", "skd": "sequence KD", "lhuc": "LHUC"}  # fmt: skip


def _is_setting(word: str) -> bool:
    return word in ("kall", "ensemble") or not word.isalpha()


@dataclass(frozen=True)
class SystemName:
    """A system's name taken apart; `seed` is 0 where it has none."""

    base: str
    seed: int = 0
    adaptation: str = ""

    @classmethod
    def parse(cls, name: str) -> "SystemName":
        network, _, adaptation = name.partition(".")
        found = re.fullmatch(r"(.+)_seed(\d+)", network)
        base, seed = (found[1], int(found[2])) if found else (network, 0)
        return cls(base, seed, adaptation)

    @property
    def system(self) -> str:
        """The name that all seeds have in common."""
        return f"{self.base}.{self.adaptation}" if self.adaptation else self.base

    @property
    def training(self) -> str:
        """How the network was trained, without the settings: KD + sMBR."""
        words = [word for word in self.base.split("_")[1:] if not _is_setting(word)]
        return " + ".join(_SPELLING.get(word, word) for word in words) or "CE"

    @property
    def untrained(self) -> str:
        """The name up to the words of the training: the same network by CE."""
        first, *words = self.base.split("_")
        settings = list(takewhile(_is_setting, words))
        return "_".join([first, *settings])

    @property
    def update(self) -> tuple[str, str]:
        """Of an adaptation: the groups that were updated, and the loss."""
        *groups, last = self.adaptation.split("_")
        if not groups:
            return _SPELLING.get(last, last), ""
        return ", ".join(_SPELLING.get(g, g) for g in groups), _SPELLING.get(last, last)


@dataclass(frozen=True)
class NetworkFacts:
    """What a network is: its name in the papers (HDNN-H128-L10) and its number of parameters.

    `folder` is its directory, the first seed's.
    """

    model: str
    parameters: int
    folder: Path

    @property
    def kind(self) -> str:
        """DNN or HDNN."""
        return self.model.partition("-")[0]

    @property
    def megabytes(self) -> float:
        """Of the weights in float32; 1 MB is 10^6 bytes."""
        return 4 * self.parameters / 1e6


def read_networks(directory: Path, systems: list[str]) -> dict[str, NetworkFacts]:
    """The networks behind some systems, by name without seed; of seeds the first is looked at."""
    found: dict[str, NetworkFacts] = {}
    for system in systems:
        folder = directory / system.partition(".")[0]
        base = SystemName.parse(system).base
        if base not in found and (folder / "network.yaml").is_file():
            network = Network.read(folder)
            found[base] = NetworkFacts(network.config.model, num_parameters(network.model), folder)
    return found
