"""What an analysis looks at: networks' outputs on the same labelled samples, of any task."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kdspeech.io.errors import InputError
from kdspeech.report.analysis.soft_targets import check_samples


@dataclass(frozen=True)
class Network:
    """A trained network's outputs on the samples of a study.

    name: as the page calls it.
    logits: (n, classes); natural-log posteriors serve as well.
    about: what it is, shown as columns of a table.
    embedding: (n, dim), its penultimate layer.
    held_out: logits and labels of other samples, to fit a temperature on.
    repeats: logits (n, classes) of the same network trained with other seeds, the same seeds in the
      same order for all networks of a study.
    """

    name: str
    logits: np.ndarray
    about: dict[str, str] = field(default_factory=dict)
    embedding: np.ndarray | None = None
    held_out: tuple[np.ndarray, np.ndarray] | None = None
    repeats: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Study:
    """Networks on the same samples: the first is the reference (the teacher), the second is asked
    what it learnt (the student), others stand beside them.

    classes: names, (classes,).
    labels: the true classes, (n,).
    samples: names, (n,).
    networks: two or more.
    baseline: the number of the network that the student's gains are counted from, such as the same
      one trained without a teacher; by default the first.
    split: of the samples.
    unit: what a sample is: "clip", "image".
    exhibit: HTML that shows a sample by its number, such as a player (see `exhibits`).

    Raises:
      InputError: fewer than two networks, a name given twice, or arrays that do not fit.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    samples: tuple[str, ...]
    networks: tuple[Network, ...]
    baseline: int = 0
    split: str = "test"
    unit: str = "clip"
    exhibit: Callable[[int], str] | None = None

    def __post_init__(self):
        names = [network.name for network in self.networks]
        if len(names) < 2 or len(set(names)) < len(names):
            raise InputError(f"networks {' '.join(names)}: give two or more, each once")
        if self.baseline == 1:
            raise InputError(f"{names[1]}: is the student itself, give another baseline")
        for network in self.networks:
            self._check(network)
        if len(self.samples) != len(self.labels):
            raise InputError(f"{len(self.samples)} names for {len(self.labels)} samples")

    def _check(self, network: Network) -> None:
        shape = (len(self.labels), len(self.classes))
        for logits in (network.logits, *network.repeats):
            if np.shape(logits) != shape:
                raise InputError(f"{network.name}: logits {np.shape(logits)}, expected {shape}")
            check_samples(logits, self.labels)
        if network.embedding is not None and len(network.embedding) != len(self.labels):
            raise InputError(f"{network.name}: {len(network.embedding)} embedded samples")

    @property
    def reference(self) -> Network:
        return self.networks[0]

    @property
    def student(self) -> Network:
        return self.networks[1]

    @property
    def before(self) -> Network:
        """What the student's gains are counted from."""
        return self.networks[self.baseline]
