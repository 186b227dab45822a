"""Lattices and networks for the frames of tiny.py, and sequence trainings of them.

As a program: python tiny_sequence.py FOLDER EXP [steps after which it is killed, 0: is not
[JSON of other settings]]
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import tiny

from kdspeech.acoustic import Network, SequenceConfig, train_sequence
from kdspeech.acoustic.lattices import OnlineLattices
from kdspeech.acoustic.sequence_config import LatticeConfig
from kdspeech.data.frames import FramePack
from kdspeech.decode import Graph, write_pack

SILENCE = [1]
CONFIG = {
    "lattices": {"beam": 20, "lattice_beam": 8},
    "ce_weight": 0.0,
    "train": {
        "epochs": 4,
        "batch_size": 100,
        "lr": 1e-2,
        "tensorboard": False,
        "num_threads": 1,
        "checkpoint_steps": 1,
    },
    "cv_fraction": 0.25,
}


def make(folder: Path) -> Path:
    """Makes frames, ali, graph, the networks init and teacher, and the init's lattices in lats."""
    tiny.make(folder)
    tiny.train(folder, folder / "init", train={"epochs": 5})
    network = {"model": "DNN-H16-L2", "context": 2}
    tiny.train(folder, folder / "teacher", train={"epochs": 12}, network=network)
    make_graph(folder / "graph")
    make_lattices(folder, folder / "lats")
    return folder


def make_graph(folder: Path) -> None:
    """A state for each phone; from everywhere, each transition id leads to its phone's."""
    model, rng = tiny.transitions(), np.random.default_rng(4)
    tids = np.tile(np.arange(1, model.num_tids + 1), 3)
    sources = np.repeat(np.arange(3), model.num_tids)
    nexts, costs = model.tid_to_phone[tids] - 1, 3 * rng.random(len(tids))
    (folder / "phones").mkdir(parents=True)
    (folder / "phones" / "silence.csl").write_text("1\n")
    graph = Graph.from_arrays(sources, nexts, tids, nexts + 1, costs, np.zeros(3))
    graph.write(folder / "HCLG.fst")


def lattices(folder: Path) -> dict:
    """Of all utterances, by the network init."""
    network, pack = Network.read(folder / "init"), FramePack(folder / "frames")
    options = LatticeConfig(**CONFIG["lattices"])
    online = OnlineLattices(folder / "graph", network.transitions, 0.1, options)
    scores = [network.log_likelihoods(pack[utt]) for utt in pack.utts]
    return dict(zip(pack.utts, online(pack.utts, scores), strict=True))


def make_lattices(folder: Path, out: Path, **changed) -> Path:
    """Writes a decoding's directory; `changed`: other lattices of some utterances, or None."""
    out.mkdir()
    found = {utt.replace("-", "_"): (utt, lattice) for utt, lattice in lattices(folder).items()}
    found |= {key: (key.replace("_", "-"), lattice) for key, lattice in changed.items()}
    write_pack(out / "raw.1.pack", [pair for pair in found.values() if pair[1] is not None])
    return out


def train(folder: Path, exp: Path, lats: Path | None = None, graph=None, **changes) -> dict:
    """Trains on folder/lats or `lats`; with a graph and no `lats`, on line."""
    max_bad = changes.pop("max_bad", 0.01)
    values = {**CONFIG, **changes, "train": CONFIG["train"] | changes.get("train", {})}
    lats = lats or (None if graph and not changes.get("regenerate") else folder / "lats")
    return train_sequence(
        folder / "frames", folder / "ali", lats, folder / "init", exp,
        SequenceConfig.model_validate(values), graph, SILENCE, max_bad=max_bad,
    )  # fmt: skip


def train_as_program(folder: Path, exp: Path, **changes) -> dict:
    """With all that has a state of its own: new lattices, references that are added."""
    options = {"graph": folder / "graph", "regenerate": 2, "criterion": "bmmi", "missing": "add"}
    return train(folder, exp, **options | changes)


def kill_after(steps: int) -> None:
    """Ends the process at a step, without a chance to clean up."""
    from kdspeech.acoustic.sequence import SequenceTraining

    inner, calls = SequenceTraining.loss, []

    def loss(self, model, numbers):
        calls.append(1)
        if len(calls) > steps:
            os._exit(9)
        return inner(self, model, numbers)

    SequenceTraining.loss = loss


if __name__ == "__main__":
    folder, exp, *rest = sys.argv[1:]
    if rest and int(rest[0]):
        kill_after(int(rest[0]))
    changes = json.loads(rest[1]) if len(rest) > 1 else {}
    train_as_program(Path(folder), Path(exp), **changes)
