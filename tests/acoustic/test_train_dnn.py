"""Training: resuming, two processes, input that does not fit."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from kdspeech.acoustic import DnnConfig, FrameBatches, Network, make_frames
from kdspeech.acoustic.examples import split_as_before, split_cv
from kdspeech.acoustic.losses import ce_loss
from kdspeech.acoustic.train import train_dnn
from kdspeech.data import frames
from kdspeech.data.frames import FramePack
from kdspeech.features.front_end import FrontEnd
from kdspeech.io.alignments import write_alignments
from kdspeech.io.errors import InputError
from kdspeech.train import DivergedError, read_metrics

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@pytest.fixture
def folder(tmp_path):
    tiny.make(tmp_path)
    return tmp_path


def run(*words, program=(sys.executable,)) -> int:
    command = [*program, str(Path(tiny.__file__)), *map(str, words)]
    return subprocess.run(command, check=False, timeout=300, capture_output=True).returncode


def weights(exp) -> dict:
    return torch.load(exp / "final.pt", weights_only=True)["model"]


def test_a_killed_training_ends_the_same(folder):
    result = tiny.train(folder, folder / "whole")
    losses = [row["dev_loss"] for row in result["history"]]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 0.1
    assert run(folder, folder / "killed", 17) == 9
    assert not (folder / "killed" / "final.pt").exists()
    tiny.train(folder, folder / "killed")
    assert all(torch.equal(w, weights(folder / "killed")[k])
               for k, w in weights(folder / "whole").items())  # fmt: skip
    assert (folder / "killed/priors").read_bytes() == (folder / "whole/priors").read_bytes()
    assert not list((folder / "killed").glob(".pdfs*"))
    pack = FramePack(folder / "frames")
    held_out = [pack.utts[i] for i in split_cv(pack, np.arange(len(pack)), 0.25)[1]]
    assert (folder / "killed/cv_utterances").read_text().split() == held_out
    with pytest.raises(InputError, match="network.model was HDNN-H8-L3, is DNN-H8-L3"):
        tiny.train(folder, folder / "killed", network={"model": "DNN-H8-L3", "context": 1})


def test_a_pack_that_was_made_again_with_other_features_is_refused(folder):
    tiny.train(folder, folder / "exp", train={"epochs": 1})
    pack = FramePack(folder / "frames")
    other = {utt: pack[utt] + 0.5 for utt in pack.utts}  # as after another CMVN
    shutil.rmtree(folder / "frames")
    tiny.write_pack(folder / "frames", other)
    with pytest.raises(InputError, match="last.pt is of .*: identity.frames_id was .*, is "):
        tiny.train(folder, folder / "exp", train={"epochs": 1})
    # Runs of before wrote down names and lengths alone; from then on they have both.
    path = folder / "exp" / "last.pt"
    content = torch.load(path, weights_only=True)
    del content["settings"]["identity"]["frames_id"]
    content["state"]["epoch"], content["state"]["history"] = 0, []
    torch.save(content, path)
    tiny.train(folder, folder / "exp", train={"epochs": 1})
    assert "frames_id" in torch.load(path, weights_only=True)["settings"]["identity"]
    content["settings"]["identity"]["frames"] += 1
    torch.save(content, path)
    with pytest.raises(InputError, match="last.pt is of .*: identity.frames was [^;]*$"):
        tiny.train(folder, folder / "exp", train={"epochs": 1})


# 12 losses of training and one of cv make an epoch. A checkpoint waits for the loss after it.
@pytest.mark.parametrize(
    "steps, losses, left",
    [
        (1, 20, 6),  # within the second epoch
        (5, 20, 3),
        (None, 20, 0),
        (1, 25, 11),  # in its cross-validation, between epochs
        (None, 25, 0),
    ],
)
def test_a_killed_training_with_dropout_ends_the_same(steps, losses, left, folder):
    changes = {
        "network": {"model": "HDNN-H8-L3", "context": 1, "dropout": 0.1},
        "train": {"checkpoint_steps": steps},
    }
    tiny.train(folder, folder / "whole", **changes)
    assert run(folder, folder / "killed", losses, json.dumps(changes)) == 9
    state = torch.load(folder / "killed/last.pt", weights_only=True)["state"]
    assert (state["epoch"], state["epoch_step"]) == (1, left)
    tiny.train(folder, folder / "killed", **changes)
    for name in ("last.pt", "best.pt"):
        whole, killed = (
            torch.load(folder / exp / name, weights_only=True)["model"]
            for exp in ("whole", "killed")
        )
        assert all(torch.equal(value, killed[key]) for key, value in whole.items())
    assert (folder / "killed/priors").read_bytes() == (folder / "whole/priors").read_bytes()
    # Dropout does count here.
    plain = tiny.train(folder, folder / "plain", train={"epochs": 1})["history"]
    dropped = read_metrics(folder / "killed/metrics.jsonl")
    assert plain[0]["train_loss"] != dropped[0]["train_loss"]


@pytest.mark.parametrize("q", [None, 0.5])
def test_two_processes_train_as_one(folder, q):
    changes = {}
    if q is not None:
        tiny.train(folder, folder / "teacher", train={"epochs": 1})
        changes = {"distill": {"teachers": [str(folder / "teacher")], "q": q, "temperature": 2}}
    one = tiny.train(folder, folder / "one", **changes)["history"]
    assert run(folder, folder / "two", 0, json.dumps(changes), program=TORCHRUN) == 0
    two = read_metrics(folder / "two" / "metrics.jsonl")
    for key in ("train_loss", "dev_loss", "dev_accuracy", "lr", "step"):
        assert [r[key] for r in one] == pytest.approx([r[key] for r in two], abs=1e-4), key
    for key, value in weights(folder / "one").items():
        assert torch.allclose(value, weights(folder / "two")[key], atol=1e-4), key


def test_batches_are_full_and_no_frame_comes_twice(folder, monkeypatch):
    monkeypatch.setattr(frames, "BLOCK_FRAMES", 100)
    pack = FramePack(folder / "frames")
    batches = FrameBatches(pack, np.arange(8), context=1, batch_size=32, seed=3)
    epochs = [list(batches(epoch)) for epoch in (0, 1, 0)]
    for found in epochs:
        assert len(found) == batches.steps_per_epoch == pack.num_frames(np.arange(8)) // 32
        assert all(b.inputs.shape == (32, 9) and b.positions.shape == (32,) for b in found)
        positions = np.concatenate([b.positions for b in found])
        assert len(set(positions)) == len(positions) and positions.max() < pack.offsets[8]
        inputs = np.concatenate([b.inputs for b in found])
        np.testing.assert_array_equal(inputs[:, 3:6], pack.feats[positions])
    assert torch.equal(epochs[0][3].positions, epochs[2][3].positions)
    assert not torch.equal(epochs[0][3].positions, epochs[1][3].positions)
    with pytest.raises(InputError, match="40 frames to train on, a batch takes 64"):
        FrameBatches(pack, np.array([0]), context=1, batch_size=64)


def test_no_speaker_is_in_both_parts(folder):
    pack = FramePack(folder / "frames")
    everybody = np.arange(len(pack))
    train, cv = split_cv(pack, everybody, 0.25)
    assert sorted([*train, *cv]) == everybody.tolist()
    assert len({pack.speakers[i] for i in cv}) == 1
    assert not {pack.speakers[i] for i in cv} & {pack.speakers[i] for i in train}
    _, cv = split_cv(pack, everybody, 0.25, by="utterance")
    assert 0.15 < pack.num_frames(cv) / pack.num_frames(everybody) < 0.35
    with pytest.raises(InputError, match="one speaker alone"):
        split_cv(pack, np.array([0]))


def test_a_speaker_at_another_speed_is_the_same_speaker(folder):
    pack = FramePack(folder / "frames")
    speaker, other = sorted(set(pack.speakers))[:2]
    pack.speakers = [f"sp0.9-{speaker}" if name == other else name for name in pack.speakers]
    train, cv = (
        {pack.speakers[i] for i in part} for part in split_cv(pack, np.arange(len(pack)), 0.4)
    )
    assert (speaker in cv) == (f"sp0.9-{speaker}" in cv)
    assert (speaker in train) == (f"sp0.9-{speaker}" in train)


def test_what_was_held_out_before_is_held_out_again(folder):
    pack = FramePack(folder / "frames")
    pack.speakers = [name.replace("s3", "sp1.1-s2") for name in pack.speakers]
    pack.utts[pack.index["s0-u0"]] = "sp0.9-s1-u1"
    pack.index = {utt: i for i, utt in enumerate(pack.utts)}
    usable = np.array([i for utt, i in pack.index.items() if utt not in ("s2-u2", "s1-u9")])
    train, cv = (
        {pack.utts[i] for i in part}
        for part in split_as_before(pack, usable, ["s2-u2", "s2-u6", "gone"])
    )
    assert cv == {"s2-u6"}
    assert train == {"s0-u4", "s0-u8", "sp0.9-s1-u1", "s1-u1", "s1-u5"}
    for listed in ("s1-u1", "sp0.9-s1-u1", "sp1.1-s1-u1"):  # the last one is not in the pack
        train, cv = split_as_before(pack, usable, [listed], "utterance")
        assert [pack.utts[i] for i in cv] == [listed] * (listed in pack.index)
        assert len(train) == len(usable) - 2


def test_utterances_missing_on_either_side_are_counted_and_named(folder):
    tids = tiny.make(folder / "more")
    del tids["s1-u5"]
    tids["s9-none"] = np.ones(20, np.int32)
    write_alignments(folder / "ali/ali.1.gz", tids)
    result = tiny.train(folder, folder / "exp", train={"epochs": 1})
    assert sorted(result["left_out"]) == ["s1-u5", "s9-none"]
    assert (folder / "exp/left_out").read_text().splitlines() == [
        f"s1-u5 has no alignment in {folder / 'ali'}",
        f"s9-none has an alignment, but no features in {folder / 'frames'}",
    ]
    write_alignments(folder / "ali/ali.1.gz", {"s9-none": tids["s9-none"]})
    with pytest.raises(InputError, match="no utterance has an alignment in"):
        tiny.train(folder, folder / "exp2")


def test_alignments_of_other_lengths(folder):
    tids = tiny.make(folder / "more")
    tids["s1-u5"] = tids["s1-u5"][:-1]
    write_alignments(folder / "ali/ali.1.gz", tids)
    with pytest.raises(InputError, match="1 of 12 alignments have another length.*s1-u5: has 45"):
        tiny.train(folder, folder / "exp")


def test_an_utterance_with_two_alignments(folder):
    tids = tiny.make(folder / "more")
    write_alignments(folder / "ali/ali.2.gz", {"s1-u5": tids["s1-u5"]})
    with pytest.raises(InputError, match="ali: s1-u5 comes twice"):
        tiny.train(folder, folder / "exp")


def test_ids_of_another_model(folder):
    tids = tiny.make(folder / "more")
    tids["s1-u5"][3] = tiny.transitions().num_tids + 1
    write_alignments(folder / "ali/ali.1.gz", tids)
    with pytest.raises(InputError, match="s1-u5.*transition"):
        tiny.train(folder, folder / "exp")


def test_a_network_of_another_tree(folder):
    tiny.train(folder, folder / "exp", train={"epochs": 1})
    path = folder / "exp/network.yaml"
    pdfs = tiny.transitions().num_pdfs
    path.write_text(path.read_text().replace(f"num_pdfs: {pdfs}", f"num_pdfs: {pdfs + 1}"))
    with pytest.raises(InputError, match=f"has {pdfs} pdfs, the network beside it {pdfs + 1}"):
        Network.read(folder / "exp")


def test_a_rate_that_is_far_too_high_leaves_room_for_another(folder):
    network = {"model": "DNN-H8-L2", "activation": "relu", "context": 1}
    with pytest.raises(DivergedError, match="loss is (nan|inf) in epoch .*, step "):
        tiny.train(folder, folder / "exp", train={"lr": 1e30, "epochs": 3}, network=network)
    assert not (folder / "exp" / "final.pt").exists()
    # The weights of the first step were of no use already: there is nothing to go on from.
    assert not (folder / "exp" / "last.pt").exists()
    result = tiny.train(folder, folder / "exp", train={"lr": 0.1, "epochs": 3}, network=network)
    assert result["epochs"] == 3 and not (folder / "exp" / "diverged.json").exists()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(folder, monkeypatch):
    def diverging(model, batch):
        calls.append(None)
        loss, metrics = ce_loss(model, batch)
        return (loss * float("nan") if len(calls) == 7 else loss), metrics

    calls = []
    with monkeypatch.context() as patch, pytest.raises(DivergedError, match="epoch 1, step 7 "):
        patch.setattr("kdspeech.acoustic.train.ce_loss", diverging)
        tiny.train(folder, folder / "exp")
    assert not (folder / "exp" / "final.pt").exists()
    last = torch.load(folder / "exp" / "last.pt", weights_only=True)
    assert last["state"]["step"] == 5  # from the sixth on the loss is nan
    assert all(value.isfinite().all() for value in last["model"].values())
    (folder / "exp" / "diverged.json").unlink()
    tiny.train(folder, folder / "exp", train={"checkpoint_steps": None})
    tiny.train(folder, folder / "whole")
    assert all(torch.equal(w, weights(folder / "exp")[k])
               for k, w in weights(folder / "whole").items())  # fmt: skip


def test_features_the_network_does_not_take(folder):
    tiny.train(folder, folder / "exp", train={"epochs": 1})
    network = Network.read(folder / "exp")
    with pytest.raises(InputError, match=r"u1: features are \(5, 4\), the network takes"):
        network.log_posteriors(np.zeros((5, 4), np.float32), "u1")
    with pytest.raises(InputError):
        network.log_posteriors(np.zeros((0, 3), np.float32), "u1")


def test_a_pack_that_make_frames_did_not_make(folder):
    (folder / "frames/source.yaml").unlink()
    with pytest.raises(InputError, match="source.yaml"):
        train_dnn(folder / "frames", folder / "ali", folder / "exp", DnnConfig())


def test_no_front_end_or_transforms(sat, tmp_path):
    with pytest.raises(InputError, match="no front end there or in the directory above"):
        make_frames(sat.data, tmp_path / "x" / "y", tmp_path / "out")
    with pytest.raises(InputError, match="has no transforms"):
        make_frames(sat.data, sat.graph, tmp_path / "out", FrontEnd.read(sat.exp))


def test_the_alignments_are_not_overwritten(folder):
    with pytest.raises(InputError, match="ali: cannot be made from itself"):
        tiny.train(folder, folder / "ali")
