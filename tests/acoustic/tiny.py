"""A pack and alignments of made-up frames that tell their pdf, and trainings of them.

As a program: python tiny.py FOLDER EXP [losses after which it is killed, 0: is not
[JSON of other settings]]
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from kdspeech.acoustic import DnnConfig, train_dnn
from kdspeech.acoustic.frames import FrameSource
from kdspeech.config import save_config
from kdspeech.data.frames import FramePack
from kdspeech.features.front_end import DeltaOptions, FrontEnd
from kdspeech.hmm import TransitionModel
from kdspeech.hmm.initial import init_mono
from kdspeech.hmm.topology import default_topology
from kdspeech.io.alignments import write_alignments
from kdspeech.io.kaldi import KaldiWriter

DIM = 3
CONFIG = {
    "network": {"model": "HDNN-H8-L3", "context": 1},
    "train": {
        "epochs": 4,
        "batch_size": 32,
        "lr": 1.0,
        "momentum": 0.0,
        "tensorboard": False,
        "num_threads": 1,
        "checkpoint_steps": 1,
    },
    "cv_fraction": 0.25,
}


def transitions() -> TransitionModel:
    topology = default_topology([1], [2, 3])
    feats = np.random.default_rng(0).standard_normal((50, DIM))
    return init_mono(topology, [feats], [[1], [2], [3]])[0].transitions


def make(folder: Path) -> dict[str, np.ndarray]:
    """Makes folder/frames and folder/ali; gives the alignments."""
    rng, model = np.random.default_rng(1), transitions()
    means = 2 * rng.standard_normal((model.num_pdfs, DIM))
    tids = {f"s{i % 4}-u{i}": rng.integers(1, model.num_tids + 1, 40 + i) for i in range(12)}
    frames = {
        utt: (means[model.tid_to_pdf[t]] + rng.standard_normal((len(t), DIM))).astype(np.float32)
        for utt, t in tids.items()
    }
    write_pack(folder / "frames", frames)
    (folder / "ali").mkdir()
    write_alignments(folder / "ali/ali.1.gz", tids)
    writer = KaldiWriter()
    model.write_to(writer)
    writer.write(folder / "ali/final.mdl")
    (folder / "ali/tree").write_bytes(b"")
    return tids


def write_pack(path: Path, frames: dict[str, np.ndarray], transform_dir: str = "") -> None:
    def beside(folder: Path) -> None:
        FrontEnd(deltas=DeltaOptions(delta_order=0)).write(folder)
        source = FrameSource(data_dir="data", transform_dir=transform_dir)
        (folder / "source.yaml").write_text(save_config(source))

    FramePack.build(path, ((utt, utt[:2], f) for utt, f in sorted(frames.items())), beside)


def train(folder: Path, exp: Path, init=None, ali=None, **changes) -> dict:
    values = {**CONFIG, **changes, "train": CONFIG["train"] | changes.get("train", {})}
    config = DnnConfig.model_validate(values)
    return train_dnn(folder / "frames", ali or folder / "ali", exp, config, init=init)


def kill_after(steps: int) -> None:
    """Ends the process at a step, without a chance to clean up."""
    from kdspeech.acoustic import train as module

    inner, calls = module.ce_loss, []

    def ce_loss(model, batch):
        calls.append(1)
        if len(calls) > steps:
            os._exit(9)
        return inner(model, batch)

    module.ce_loss = ce_loss


if __name__ == "__main__":
    folder, exp, *rest = sys.argv[1:]
    if rest and int(rest[0]):
        kill_after(int(rest[0]))
    changes = json.loads(rest[1]) if len(rest) > 1 else {}
    train(Path(folder), Path(exp), **changes)
