"""The network stages on what Kaldi trained: its features, statistics, tree, alignments, transforms
and graph."""

import json
import shutil

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.data.frames import FramePack
from kdspeech.io.alignments import write_alignments
from kdspeech.io.ark import write_ark

pytestmark = pytest.mark.golden
DNN = {
    "network": {"model": "HDNN-H32-L3", "context": 3},
    "train": {"epochs": 6, "batch_size": 64, "lr": 0.3, "tensorboard": False, "num_threads": 1},
    "cv_by": "utterance",
}
SEQUENCE = {
    "criterion": "smbr",
    "train": {"epochs": 1, "tensorboard": False, "num_threads": 1},
    "cv_by": "utterance",
}


@pytest.fixture(scope="module")
def kaldi(golden, tmp_path_factory):
    """data, exp/tri3b_ali and graph in Kaldi's layout, and the arrays of them."""
    root = tmp_path_factory.mktemp("kaldi")
    models, arrays = golden / "gmm" / "models", np.load(golden / "gmm" / "gmm.npz")
    data, ali, graph = (root / name for name in ("data", "tri3b_ali", "graph"))
    for folder in (data, ali, graph / "phones"):
        folder.mkdir(parents=True)
    utts = sorted(key.split("/")[1] for key in arrays.files if key.startswith("mfcc/"))
    speakers = ("george", "jackson", "theo")
    write_ark(data / "feats.ark", [(u, arrays[f"mfcc/{u}"]) for u in utts], data / "feats.scp")
    stats = [(s, arrays[f"cmvn_stats/{s}"]) for s in speakers]
    write_ark(data / "cmvn.ark", stats, data / "cmvn.scp")
    (data / "utt2spk").write_text("".join(f"{utt} {utt.split('_')[0]}\n" for utt in utts))
    for source, name in (
        ("tri3b.mdl", "final.mdl"), ("tri3b.tree", "tree"), ("tri3b.final.mat", "final.mat"),
        ("phones.txt", "phones.txt"),
    ):  # fmt: skip
        shutil.copy(models / source, ali / name)
    (ali / "num_jobs").write_text("1\n")
    (ali / "splice_opts").write_text("--left-context=3 --right-context=3\n")
    write_alignments(ali / "ali.1.gz", {u: arrays[f"ali_tid/tri3b/{u}"] for u in utts})
    write_ark(ali / "trans.1", [(s, arrays[f"fmllr_full/{s}"]) for s in speakers])
    shutil.copy(golden / "lattice" / "HCLG.tri3b.fst", graph / "HCLG.fst")
    shutil.copy(golden / "lattice" / "words.txt", graph)
    (graph / "phones" / "silence.csl").write_text("1:2:3:4:5:6:7:8:9:10\n")
    return root, arrays


def kds(*arguments) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


def test_networks_are_trained_on_a_directory_of_kaldis(kaldi):
    root, arrays = kaldi
    data, ali, graph, frames = (root / name for name in ("data", "ali", "graph", "frames"))
    for name, config in (("dnn", DNN), ("sequence", SEQUENCE)):
        (root / f"{name}.yaml").write_text(yaml.safe_dump(config))
    kds("import-kaldi", root / "tri3b_ali", ali, "--data", data)
    kds("make-frames", data, ali, frames)
    pack = FramePack(frames)
    adapted = [key.split("/")[1] for key in arrays.files if key.startswith("tri3b_adapted/")]
    assert len(pack) == 60 and len(adapted) == 3
    for utt in adapted:
        found, wanted = pack[pack.index[utt]], arrays[f"tri3b_adapted/{utt}"]
        np.testing.assert_allclose(found, wanted, atol=1e-4)  # cepstral means taken in float32

    kds("train-dnn", frames, ali, root / "dnn", "--config", root / "dnn.yaml")
    rows = [json.loads(line) for line in (root / "dnn/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_accuracy"] > 50 and (root / "dnn/left_out").read_text() == ""

    lattices = root / "dnn/decode_train"
    kds("decode", graph, data, lattices, "--transform-dir", ali, "--raw", "--acwt", "0.1")
    kds("train-sequence", frames, ali, lattices, root / "dnn", root / "dnn_smbr",
        "--config", root / "sequence.yaml", "--lang", graph)  # fmt: skip
    (row,) = map(json.loads, (root / "dnn_smbr/metrics.jsonl").read_text().splitlines())
    assert row["train_skipped"] == 0 and 0 < row["train_criterion"] <= 1
