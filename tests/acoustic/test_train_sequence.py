"""Sequence training: criteria improve, resuming, two processes, input that does not fit."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_sequence
import torch
from test_train_dnn import TORCHRUN, weights
from tiny_sequence import make_lattices, train, train_as_program
from typer.testing import CliRunner

from kdspeech.acoustic import Network, SequenceConfig
from kdspeech.acoustic.examples import UtteranceBatches, read_held_out
from kdspeech.acoustic.sequence import SequenceTraining
from kdspeech.acoustic.sequence_loss import SequenceLoss
from kdspeech.cli.main import app
from kdspeech.data.frames import FramePack
from kdspeech.decode import (
    Lattice,
    TidTables,
    lattice_posteriors,
    nbest_lattice,
    write_lattices,
)
from kdspeech.io.alignments import read_alignments, write_alignments
from kdspeech.io.errors import InputError
from kdspeech.train import read_metrics

EMPTY = Lattice.from_arrays([0], [], [])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What tiny_sequence.make makes; not to be changed."""
    return tiny_sequence.make(tmp_path_factory.mktemp("world"))


def run(*words, program=(sys.executable,)) -> int:
    command = [*program, str(Path(tiny_sequence.__file__)), *map(str, words)]
    return subprocess.run(command, check=False, timeout=300, capture_output=True).returncode


def rows(result: dict, key: str) -> list[float]:
    return [row[key] for row in result["history"]]


@pytest.mark.parametrize("criterion", ["mmi", "bmmi", "smbr", "mpfe", "kd", "online smbr"])
def test_criteria_improve(world, tmp_path, criterion):
    teachers = [str(world / "teacher")] if criterion == "kd" else []
    online, _, criterion = criterion.rpartition(" ")
    graph = world / "graph" if online else None
    options = {"criterion": criterion, "teachers": teachers, "graph": graph}
    settings = {"epochs": 2, "lr": 0.05 if criterion == "kd" else 0.01}
    result = train(world, tmp_path / "exp", train=settings, **options)
    found = rows(result, "train_criterion")
    assert found[-1] > found[0] + 5e-4
    assert rows(result, "dev_criterion")[-1] > result["initial"]["criterion"]
    network, init = Network.read(tmp_path / "exp"), Network.read(world / "init")
    np.testing.assert_array_equal(network.priors, init.priors)
    assert not np.array_equal(
        network.model.output.weight.detach(), init.model.output.weight.detach()
    )


def test_a_step_is_the_rate_times_the_sum_of_kaldis_gradient(world, tmp_path):
    options = {"epochs": 1, "batch_size": 10000, "lr": 1e-3}
    train(world, tmp_path / "exp", criterion="mmi", drop_frames=False, train=options)
    init, pack = Network.read(world / "init"), FramePack(world / "frames")
    tids, tables = read_alignments(world / "ali"), TidTables(init.transitions)
    expected, moved = np.zeros(init.num_pdfs), weights(tmp_path / "exp")["output.bias"].numpy()
    moved = moved - init.model.output.bias.detach().numpy()
    found = tiny_sequence.lattices(world)
    trained = {utt for utt in pack.utts if utt not in cv_utterances(pack)}
    for utt in trained:
        scores = init.log_likelihoods(pack[utt])
        (post,) = lattice_posteriors([found[utt]], tables, loglikes=[scores])
        expected -= np.bincount(tables.tid_to_pdf[post.tids], post.weights, init.num_pdfs)
        expected += np.bincount(tables.tid_to_pdf[tids[utt]], minlength=init.num_pdfs)
    np.testing.assert_allclose(moved, 1e-3 * expected, rtol=1e-3, atol=1e-5)


def cv_utterances(pack) -> set[str]:
    from kdspeech.acoustic.examples import split_cv

    return {pack.utts[i] for i in split_cv(pack, np.arange(len(pack)), 0.25)[1]}


@pytest.fixture
def seen(monkeypatch):
    """The numbers of the utterances that trainings learn from, and of those they evaluate."""
    found, inner = {True: set(), False: set()}, SequenceLoss.__call__

    def call(self, model, numbers):
        found[model.training].update(self.pack.utts[i] for i in numbers)
        return inner(self, model, numbers)

    monkeypatch.setattr(SequenceLoss, "__call__", call)
    return found


def test_the_held_out_part_is_the_initial_networks(world, tmp_path, seen):
    held_out = (world / "init/cv_utterances").read_text().split()
    used = FramePack(world / "frames").utts
    one, two = sorted({utt[:2] for utt in used} - {held_out[0][:2]})[:2]
    without = [utt for utt in used if utt[:2] in (one, two)] + held_out[:1]
    lats = make_lattices(
        world, tmp_path / "lats", **{utt.replace("-", "_"): None for utt in without}
    )
    train(world, tmp_path / "exp", lats, train={"epochs": 1})
    assert seen[False] == set(held_out[1:])  # the initial network was trained on all others
    assert seen[True] == set(used) - set(without) - seen[False]
    assert (tmp_path / "exp/cv_utterances").read_text().split() == held_out


def test_a_network_that_does_not_tell_what_it_held_out(world, tmp_path, seen):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("frames", "ali", "lats"):
        (other / name).symlink_to(world / name)
    shutil.copytree(world / "init", other / "init")
    listed = other / "init/cv_utterances"
    listed.unlink()
    train(other, tmp_path / "exp", cv_by="utterance", train={"epochs": 1})
    assert len({utt[:2] for utt in seen[False]}) > 1 and seen[True].isdisjoint(seen[False])
    assert not (tmp_path / "exp/cv_utterances").exists()
    listed.write_text("s9-u9\n")  # none of this pack: the same split, and the training goes on
    train(other, tmp_path / "exp", cv_by="utterance", train={"epochs": 1})
    listed.write_text("s1-u1\n")
    with pytest.raises(InputError, match="identity.split was not set"):
        train(other, tmp_path / "exp", cv_by="utterance", train={"epochs": 1})
    left_out = train(other, tmp_path / "speaker", train={"epochs": 1})["left_out"]
    assert sorted(left_out) == ["s1-u5", "s1-u9"]
    assert "is of a held-out speaker of" in left_out["s1-u5"]
    listed.write_text("s0-u0\ns1-u1\ns2-u2\ns3-u3\n")
    with pytest.raises(InputError, match="each speaker .* was held out there"):
        train(other, tmp_path / "none")


def test_a_student_that_equals_its_teacher_stays(world, tmp_path):
    teachers = {"criterion": "kd", "teachers": [str(world / "init")]}
    train(world, tmp_path / "same", **teachers)
    assert all(
        torch.allclose(value, weights(world / "init")[key], atol=1e-5)
        for key, value in weights(tmp_path / "same").items()
    )
    few = train(world, tmp_path / "few", nbest=5, **teachers)
    assert few["initial"]["criterion"] > -np.log(5) / 40  # the entropy of five paths at most


@pytest.mark.parametrize("lm_scale", [1.0, 0.5, 0.0])
def test_the_n_best_are_word_sequences(world, lm_scale):
    network, pack = Network.read(world / "init"), FramePack(world / "frames")
    teachers = [str(world / "teacher")]
    config = SequenceConfig(criterion="kd", teachers=teachers, nbest=20, lm_scale=lm_scale)
    loss = SequenceLoss(network, pack, None, None, tiny_sequence.SILENCE, config)
    scores = Network.read(world / "teacher").log_likelihoods(pack["s0-u0"])
    raw = tiny_sequence.lattices(world)["s0-u0"]
    assert not raw.is_compact
    scored = raw.rescore_acoustic(scores, network.transitions)
    best = scored.nbest(500, 0.1, lm_scale)
    assert len({tuple(path.words) for path in best[:20]}) < 15
    found = loss._nbest(raw, scores, 0.1).nbest(30, 0.1, lm_scale)
    by_words = {}  # the best alignment of each comes first
    for path in best:
        by_words.setdefault(tuple(path.words), path)
    assert len({tuple(path.words) for path in found}) == 20
    for path, expected in zip(found, by_words.values(), strict=False):  # these may be less than 20
        assert cost(path, lm_scale) == pytest.approx(cost(expected, lm_scale), abs=1e-3)


def cost(path, lm_scale: float) -> float:
    return lm_scale * path.graph_cost + 0.1 * path.acoustic_cost


def test_ensembles_and_frame_targets(world, tmp_path):
    teachers = [str(world / "init"), str(world / "teacher")]
    options = {"teachers": teachers, "teacher_weights": [3, 7], "kl_weight": 10.0}
    result = train(world, tmp_path / "kl", **options)
    assert rows(result, "train_kl")[-1] < rows(result, "train_kl")[0] - 0.005
    result = train(world, tmp_path / "ce", ce_weight=10.0)
    assert rows(result, "train_ce")[-1] < rows(result, "train_ce")[0] - 0.005


@pytest.fixture(scope="module")
def whole(world):
    """A training that nothing disturbed, and its directory."""
    return train_as_program(world, world / "whole"), world / "whole"


def test_a_killed_training_ends_the_same(world, whole, tmp_path):
    result, folder = whole
    exp = tmp_path / "killed"
    assert result["steps"] == 12 and run(world, exp, 7) == 9  # in the third of four epochs
    assert not (exp / "final.pt").exists()
    assert train_as_program(world, exp)["initial"] == result["initial"]
    expected, found = weights(folder), weights(exp)
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    assert [path.name for path in (exp / "lattices").iterdir()] == ["2"]
    assert not list(exp.glob(".references*"))
    options = {"graph": world / "graph", "regenerate": 2, "missing": "add", "criterion": "mmi"}
    with pytest.raises(InputError, match="criterion was bmmi, is mmi"):
        train(world, exp, **options)


def stop_after(steps: int, monkeypatch) -> None:
    """Makes trainings end with an error at a step."""
    inner, calls = SequenceTraining.loss, []

    def loss(self, model, numbers):
        calls.append(1)
        if len(calls) > steps:
            raise KeyboardInterrupt
        return inner(self, model, numbers)

    monkeypatch.setattr(SequenceTraining, "loss", loss)


def test_initial_metrics_are_of_the_settings_that_train(world, tmp_path, monkeypatch):
    expected = train(world, tmp_path / "other", criterion="mmi", train={"epochs": 1})["initial"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        stop_after(0, patched)  # there is no last.pt yet
        train(world, tmp_path / "exp", train={"epochs": 1})
    assert (tmp_path / "exp/initial.json").exists()
    result = train(world, tmp_path / "exp", criterion="mmi", train={"epochs": 1})
    assert result["initial"] == expected


def test_two_processes_train_as_one(world, whole, tmp_path):
    assert run(world, tmp_path / "two", program=TORCHRUN) == 0
    check_same_training(whole[1], tmp_path / "two", "dev_accuracy")


def test_two_processes_distil_as_one(world, tmp_path):
    held_out = [u.replace("-", "_") for u in read_held_out(world / "init")]
    lats = make_lattices(world, tmp_path / "lats", **dict.fromkeys(held_out[1:]))  # one: fewer
    teachers = [str(world / "init"), str(world / "teacher")]
    options = {"lats": str(lats), "criterion": "kd", "teachers": teachers, "kl_weight": 0.5}
    train_as_program(world, tmp_path / "one", **options)
    assert run(world, tmp_path / "two", 0, json.dumps(options), program=TORCHRUN) == 0
    check_same_training(tmp_path / "one", tmp_path / "two", "train_kl", "dev_kl")


def check_same_training(one: Path, two: Path, *others: str) -> None:
    rows = read_metrics(one / "metrics.jsonl"), read_metrics(two / "metrics.jsonl")
    for key in ("train_loss", "train_criterion", "dev_criterion", "dev_ce", *others):
        found, expected = ([row[key] for row in part] for part in rows)
        assert found == pytest.approx(expected, rel=1e-3), key
    for key, value in weights(one).items():
        assert torch.allclose(value, weights(two)[key], atol=1e-4), key


def test_an_epoch_has_every_utterance_once(world):
    pack = FramePack(world / "frames")
    batches = UtteranceBatches(pack, np.arange(10), 100, seed=1)
    epochs = [batches(epoch) for epoch in (0, 1, 0)]
    for found in epochs:
        assert sorted(sum(found, [])) == list(range(10))
        sizes = [pack.num_frames(np.array(numbers)) for numbers in found]
        assert all(50 <= size < 200 for size in sizes)
    assert epochs[0] == epochs[2] != epochs[1]


def test_two_processes_have_an_utterance_of_each_batch(world, tmp_path):
    assert run(world, tmp_path / "two", 0, '{"train": {"batch_size": 40}}', program=TORCHRUN) == 0
    assert read_metrics(tmp_path / "two/metrics.jsonl")[0]["step"] == 4  # of nine utterances
    pack = FramePack(world / "frames")
    everybody, size = np.arange(len(pack)), pack.num_frames(np.arange(len(pack)))
    for frames, processes in itertools.product((1, 40, 100, size - 1), (1, 2, 5, 12)):
        batches = UtteranceBatches(pack, everybody, frames, processes=processes)
        for epoch in range(5):
            assert sorted(sum(batches(epoch), [])) == everybody.tolist()
            assert min(map(len, batches(epoch))) >= processes
    with pytest.raises(InputError, match="12 utterances to train on cannot be shared by 13 proc"):
        UtteranceBatches(pack, everybody, 100, processes=13)


def test_compact_lattices_of_archives(world, tmp_path):
    found, lats = tiny_sequence.lattices(world), tmp_path / "lats"
    lats.mkdir()
    names = list(found)
    compact = [(utt, found[utt].to_compact()) for utt in names]
    write_lattices(lats / "lat.1.gz", compact[:5])
    write_lattices(lats / "lat.2.gz", compact[5:])
    options = {"train": {"epochs": 1}}
    one = train(world, tmp_path / "archives", lats, **options)["history"][0]
    other = train(world, tmp_path / "packs", **options)["history"][0]
    assert one["train_criterion"] == pytest.approx(other["train_criterion"], abs=1e-4)
    assert not list((tmp_path / "archives").glob(".lat*"))
    (lats / "num_jobs").write_text("3\n")
    with pytest.raises(InputError, match="num_jobs: says 3, there are 2 files"):
        train(world, tmp_path / "third", lats)


def test_utterances_missing_on_either_side_are_named(world, tmp_path):
    other = tiny_sequence.lattices(world)["s0-u0"]
    lats = make_lattices(world, tmp_path / "lats", s1_u5=None, s9_none=other)
    result = train(world, tmp_path / "exp", lats, train={"epochs": 1})
    assert result["left_out"] == {
        "s1-u5": f"has no lattice in {lats}",
        "s9-none": f"has a lattice, but no features in {world / 'frames'}",
    }
    assert len((tmp_path / "exp/left_out").read_text().splitlines()) == 2


def test_lattices_that_cannot_be_used(world, tmp_path):
    other = tiny_sequence.lattices(world)["s0-u0"]
    lats = make_lattices(world, tmp_path / "lats", s1_u5=EMPTY, s2_u6=other)
    with pytest.raises(InputError, match="2 of 12 lattices cannot be used; the first: s1-u5: has "):
        train(world, tmp_path / "exp", lats)
    left_out = train(world, tmp_path / "exp", lats, max_bad=0.5)["left_out"]
    assert left_out == {
        "s1-u5": f"has an empty lattice in {lats}",
        "s2-u6": f"has 46 frames, its lattice 40 in {lats}",
    }
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"no raw.\*.pack or lat"):
        train(world, tmp_path / "exp2", tmp_path / "none")


def test_references_outside_the_lattice(world, tmp_path):
    changed = {}
    for utt, lattice in tiny_sequence.lattices(world).items():
        if utt != "s0-u0":
            changed[utt.replace("-", "_")] = nbest_lattice(lattice, 1)
    lats = make_lattices(world, tmp_path / "lats", **changed)
    options = {"criterion": "mmi", "train": {"epochs": 1}}
    keep, add, skip = (
        train(world, tmp_path / name, lats, missing=name, **options)
        for name in ("keep", "add", "skip")
    )
    assert rows(keep, "train_dropped")[0] > 10 and keep["left_out"] == {}
    assert rows(add, "train_added")[0] > 60 and rows(add, "train_dropped") == [0]
    assert len(skip["left_out"]) == 11 and "s0-u0" not in skip["left_out"]
    assert set(skip["left_out"].values()) == {"the reference is not in the lattice"}
    assert rows(skip, "train_skipped")[0] > 60


def test_what_steps_skipped_is_not_forgotten(world, tmp_path, monkeypatch):
    names = ("s0_u4", "s1_u1", "s1_u9", "s2_u2", "s3_u7")
    found = tiny_sequence.lattices(world)
    changed = {name: nbest_lattice(found[name.replace("_", "-")], 1) for name in names}
    lats = make_lattices(world, tmp_path / "lats", **changed)
    options = {"missing": "skip", "train": {"epochs": 1, "batch_size": 40}}  # 9 steps
    whole = train(world, tmp_path / "whole", lats, **options)["left_out"]
    assert sorted(whole) == [name.replace("_", "-") for name in names]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        stop_after(7, patched)
        train(world, tmp_path / "exp", lats, **options)
    expected = (tmp_path / "whole/left_out").read_bytes()
    for exp in ("exp", "exp", "whole"):  # goes on; is finished; was never stopped
        assert train(world, tmp_path / exp, lats, **options)["left_out"] == whole
        assert (tmp_path / exp / "left_out").read_bytes() == expected
    (tmp_path / "exp/last.pt").unlink()  # another training: nothing is skipped
    again = train(world, tmp_path / "exp", lats, train={"epochs": 1})
    assert again["left_out"] == {} and not list((tmp_path / "exp").glob("skipped.*"))


def test_a_loss_that_is_not_finite_names_the_batch(world, tmp_path):
    with pytest.raises(InputError, match=r"not finite in the batch of s\d-u\d+, s\d"):
        train(world, tmp_path / "exp", train={"lr": 1e36})
    # The first step's weights, finite but with such scores, are no checkpoint to go on from.
    assert not list((tmp_path / "exp").glob("*.pt"))


def test_what_does_not_fit(world, tmp_path):
    for changes, message in (
        ({"criterion": "kd"}, "these need teachers"),
        ({"teachers": [str(world / "init")]}, "teachers go with"),
        ({"nbest": 3}, "nbest goes with criterion kd"),
        ({"kl_weight": 1, "teachers": ["a"], "teacher_weights": [1, 2]}, "2 weights for 1 teach"),
    ):
        with pytest.raises(ValueError, match=message):
            train(world, tmp_path / "exp", **changes)
    with pytest.raises(InputError, match="need a graph"):
        train(world, tmp_path / "exp", regenerate=1)
    tids = tiny.make(tmp_path / "other")
    tids["s1-u5"] = tids["s1-u5"][:-1]
    write_alignments(tmp_path / "other/ali/ali.1.gz", tids)
    for name in ("init", "lats"):
        (tmp_path / "other" / name).symlink_to(world / name)
    with pytest.raises(InputError, match="1 of 12 alignments have another length"):
        train(tmp_path / "other", tmp_path / "exp")
    (tmp_path / "other/ali/tree").write_bytes(b"another")
    with pytest.raises(InputError, match="init: has another tree than"):
        train(tmp_path / "other", tmp_path / "exp")


def test_the_command(world, tmp_path):
    conf = tmp_path / "sequence.yaml"
    conf.write_text("train: {epochs: 1, lr: 1.0e-3, tensorboard: false, num_threads: 1}\n")
    words = ["train-sequence", world / "frames", world / "ali", world / "lats", world / "init",
             tmp_path / "exp", "--config", conf, "--set", "cv_fraction=0.25"]  # fmt: skip
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 1 and "give --lang" in result.output
    result = CliRunner().invoke(app, [*map(str, words), "--lang", str(world / "graph")])
    assert result.exit_code == 0, result.output
    assert "best epoch 1 of 1: cv smbr per frame 0." in result.output
