"""Adaptation on made-up speakers: what is learnt, what is stored, what is refused."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1] / "acoustic"))
import tiny

from kdspeech.acoustic import Network
from kdspeech.adapt import (
    AdaptConfig,
    AdaptedNetwork,
    FrameTargets,
    adapt,
    adapt_speaker,
    jobs,
    read_frame_targets,
)
from kdspeech.adapt.difference import updated_parameters
from kdspeech.adapt.speaker import AdaptLoss
from kdspeech.adapt.targets import confidences
from kdspeech.config import load_config
from kdspeech.data.frames import FramePack
from kdspeech.decode import Lattice, write_lattices
from kdspeech.decode.lattice_paths import Path as LatticePath
from kdspeech.decode.lattice_paths import add_paths
from kdspeech.hmm import SpeakerModel
from kdspeech.io.alignments import read_alignments, write_alignments
from kdspeech.io.errors import InputError
from kdspeech.models.highway import build_acoustic_model

SPEAKERS = ["s0", "s1", "s2", "s3"]
NORMAL = {"min_frames": 50, "held_out": 0.3}
TAUGHT = "loss: kl, distill: {teachers: [a]}"  # needs no targets
TRAIN = {"lr": 0.5, "epochs": 4, "batch_size": 32}


def settings(**changes) -> AdaptConfig:
    train = TRAIN | changes.pop("train", {})
    return AdaptConfig.model_validate({**NORMAL, **changes, "train": train})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained network in exp; in `shifted` the frames of speakers who are each a step away."""
    folder = tmp_path_factory.mktemp("adapt")
    tiny.make(folder)
    options = {"epochs": 12, "lr": 0.3, "momentum": 0.9, "checkpoint_steps": None}
    tiny.train(folder, folder / "exp", train=options)
    pack, rng = FramePack(folder / "frames"), np.random.default_rng(5)
    steps = {speaker: 1.5 * rng.standard_normal(tiny.DIM) for speaker in SPEAKERS}
    shifted = {u: (pack[u] + steps[u[:2]]).astype(np.float32) for u in pack.utts}
    tiny.write_pack(folder / "shifted", shifted)
    return folder


@pytest.fixture
def parts(folder):
    """Network, pack and targets."""
    network, pack = Network.read(folder / "exp"), FramePack(folder / "shifted")
    targets = read_frame_targets(pack, folder / "ali", network.transitions, AdaptConfig())
    return network, pack, targets


def run(folder, out, frames="shifted", targets="ali", nj=1, exp="exp", **changes):
    config = settings(**changes)
    return adapt(folder / frames, folder / targets, folder / exp, out, config, nj)


def of(pack, speaker) -> np.ndarray:
    return np.flatnonzero(np.array(pack.speakers) == speaker)


@pytest.mark.parametrize("update", [["gates"], ["gates", "hidden", "softmax"], ["lhuc"]])
def test_the_loss_falls_and_decoding_gets_the_scores_that_were_reported(
    folder, parts, tmp_path, update
):
    rows = run(folder, tmp_path / "out", update=update)
    assert list(rows) == SPEAKERS == list(json.loads((tmp_path / "out/speakers.json").read_text()))
    model, (_, pack, targets) = AdaptedNetwork(folder / "exp", tmp_path / "out"), parts
    assert isinstance(model, SpeakerModel)
    assert model.use_speaker("s9") == f"unknown to {tmp_path / 'out'}"
    before, after = {}, {}
    for speaker, row in rows.items():
        assert row["loss_after"] < row["loss_before"] - 0.02 and not row["skipped"]
        assert row["frames"] == pack.num_frames(of(pack, speaker)) and row["utterances"] == 3
        before[speaker] = cross_entropy(model, pack, targets, speaker)
    for speaker in SPEAKERS:
        assert model.use_speaker(speaker) == ""
        after[speaker] = cross_entropy(model, pack, targets, speaker)
    assert before == pytest.approx({s: row["loss_before"] for s, row in rows.items()}, abs=1e-5)
    assert after == pytest.approx({s: row["loss_after"] for s, row in rows.items()}, abs=1e-5)


def cross_entropy(model, pack, targets, speaker) -> float:
    """From the scores that decoding takes."""
    network, losses = model.network, []
    for i in of(pack, speaker):
        scores = model.log_likelihoods(pack[i]) + network.log_priors
        pdfs = targets.at(np.arange(*pack.offsets[i : i + 2]))[1]
        losses.append(-scores[np.arange(len(pdfs)), pdfs])
    return float(np.concatenate(losses).mean())


def test_gates_alone_leave_all_other_bits(folder, parts, tmp_path):
    rows = run(folder, tmp_path / "out")
    stored = np.load(tmp_path / "out/speakers/s1.npy")
    assert stored.dtype == np.float16 and stored.shape == (2 * 8 * 8,)
    assert rows["s1"]["bytes"] == 2 * 2 * 8 * 8 + 128
    model, base = AdaptedNetwork(folder / "exp", tmp_path / "out"), parts[0].model.state_dict()
    model.use_speaker("s1")
    found = model.network.model.state_dict()
    assert {k for k, v in base.items() if not torch.equal(v, found[k])} == {"gate.weight"}
    change = (found["gate.weight"] - base["gate.weight"]).flatten().numpy()
    np.testing.assert_allclose(change, stored, atol=1e-6)
    model.use_speaker("nobody")
    assert all(torch.equal(v, found[k]) for k, v in base.items())


def test_adapting_leaves_the_network_and_the_random_order_alone(parts):
    network, pack, targets = parts
    bits = {k: v.clone() for k, v in network.model.state_dict().items()}
    first, again = (
        adapt_speaker(network, pack, of(pack, "s2"), targets, settings(update=["lhuc", "gates"]))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.difference, again.difference)
    assert len(first.difference) == 2 * 8 * 8 + 3 * 8
    assert network.model.state_dict().keys() == bits.keys()
    assert all(torch.equal(v, bits[k]) for k, v in network.model.state_dict().items())


def test_amplitudes_of_hidden_units(parts):
    model = parts[0].model
    inputs = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    plain = model(inputs)
    model.add_lhuc()
    assert torch.equal(model(inputs), plain)  # 2 sigmoid(0) = 1
    with torch.no_grad():
        model.amplitudes[0] = torch.tensor([np.log(3.0)] + 7 * [0.0])  # 2 * 3 / 4
        h = torch.sigmoid(model.hidden[0](model.norm(inputs)))
        h[:, 0] *= 1.5
        transform, carry = torch.sigmoid(model.gate(h)).chunk(2, dim=1)
        model.amplitudes[1] = -100.0  # nothing new
        second = model.layer(1, h)
    torch.testing.assert_close(model.layer(0, model.norm(inputs)), h)
    torch.testing.assert_close(second, h * carry)
    assert transform.shape == carry.shape


@pytest.mark.parametrize("model", ["HDNN-H8-L3", "DNN-H8-L3"])
def test_all_groups_are_those_that_the_network_has(model):
    def names(*groups: str) -> list[str]:
        network = build_acoustic_model(model, num_classes=4, dim=9)
        return list(updated_parameters(network, groups))

    network = build_acoustic_model(model, num_classes=4, dim=9)
    everything = [name for name, _ in network.named_parameters()]
    assert names("all") == names(*network.groups()) == everything
    assert sorted(names("all", "lhuc")) == sorted([*everything, "amplitudes"])
    assert names("lhuc") == ["amplitudes"]


def test_the_loss_by_hand(parts):
    base, rng = parts[0].model, np.random.default_rng(0)
    model = torch.nn.Linear(9, parts[0].num_pdfs)
    inputs = torch.from_numpy(rng.standard_normal((6, 9)).astype(np.float32))
    rows, pdfs = torch.tensor([0, 1, 1, 3, 4, 5]), torch.tensor([0, 1, 2, 0, 1, 2])
    weights = torch.tensor([1.0, 0.5, 0.5, 1, 1, 0.25])  # frame 1 has two targets, frame 2 none
    logs = F.log_softmax(model(inputs), 1)
    ce = -(weights * logs[rows, pdfs]).sum().item() / 6

    def soft(temperature: float) -> float:
        targets = torch.softmax(base(inputs) / temperature, 1)
        return -(targets * logs).sum(1).mean().item()

    def loss(**options) -> float:
        example = inputs, (rows, pdfs, weights), []
        return AdaptLoss(base, AdaptConfig(**options))(model, example)[0].item()

    assert loss() == pytest.approx(ce, abs=1e-5)
    assert loss(rho=0.3) == pytest.approx(0.7 * ce + 0.3 * soft(1), abs=1e-5)
    kl = {"q": 0.2, "temperature": 3.0, "soften_student": False}
    assert loss(loss="kl", distill=kl) == pytest.approx(soft(3) + 0.2 * ce, abs=1e-5)
    kl["soften_student"] = True
    logs = F.log_softmax(model(inputs) / 3, 1)
    assert loss(loss="kl", distill=kl) == pytest.approx(9 * soft(3) + 0.2 * ce, abs=1e-5)


def test_another_network_as_teacher(folder, parts, tmp_path):
    """Soft labels of a network that saw the shifted speakers need no targets."""
    (tmp_path / "all").mkdir()
    tiny.train(folder, tmp_path / "teacher", network={"model": "DNN-H16-L2", "context": 2})
    network = Network.read(tmp_path / "teacher")
    distill = {"teachers": [str(tmp_path / "teacher")]}
    options = {"loss": "kl", "distill": distill, "update": ["softmax"]}
    rows = adapt(folder / "shifted", "-", folder / "exp", tmp_path / "out", settings(**options))
    assert network.config.context == 2
    assert all(row["loss_after"] < row["loss_before"] for row in rows.values())


def test_a_speaker_with_little_data_moves_little_or_not_at_all(parts):
    network, pack, targets = parts
    mine = of(pack, "s1")
    free = adapt_speaker(network, pack, mine, targets, settings())
    bound = adapt_speaker(network, pack, mine, targets, settings(relevance=3 * free.frames))
    np.testing.assert_allclose(bound.difference, free.difference / 4, atol=2e-3)
    kept = adapt_speaker(network, pack, mine, targets, settings(min_frames=10_000))
    assert kept.difference is None and "min_frames is 10000" in kept.skipped
    near = adapt_speaker(network, pack, mine, targets, settings(rho=0.9))
    assert abs(near.difference).sum() < 0.5 * abs(free.difference).sum()
    worse = adapt_speaker(network, pack, mine, targets, settings(train={"lr": 300.0}))
    assert worse.difference is None and "no epoch lowers the held-out loss" in worse.skipped
    one = adapt_speaker(network, pack, mine[:1], targets, settings(min_frames=1))
    assert one.loss_after < one.loss_before  # nothing can be held out


def test_frames_without_a_target_do_not_count(parts):
    """As with min_confidence: of one utterance frames 1 to 4 have targets, of another one none."""
    network, pack, targets = parts
    mine = of(pack, "s1")
    counts = np.diff(targets.offsets)
    first, second = (slice(*pack.offsets[i : i + 2]) for i in mine[:2])
    counts[first.start], counts[first.start + 5 : first.stop], counts[second] = 0, 0, 0
    has = np.repeat(counts > 0, np.diff(targets.offsets))
    some = FrameTargets(
        np.concatenate([[0], np.cumsum(counts)]), targets.pdfs[has], targets.weights[has], {}
    )
    expected = 4 + len(pack[int(mine[2])])
    found = adapt_speaker(network, pack, mine, some, settings(min_frames=expected))
    assert found.frames == expected and not found.skipped
    bound = adapt_speaker(
        network, pack, mine, some, settings(min_frames=expected, relevance=3 * expected)
    )
    np.testing.assert_allclose(bound.difference, found.difference / 4, atol=2e-3)
    few = adapt_speaker(network, pack, mine, some, settings(min_frames=expected + 1))
    assert few.skipped == f"{expected} frames with targets, min_frames is {expected + 1}"


def test_speakers_without_targets_are_named_and_keep_the_network(folder, parts, tmp_path):
    network, pack, targets = parts
    tids = {utt: ids for utt, ids in read_alignments(folder / "ali").items() if utt[:2] != "s3"}
    lattices = tmp_path / "decode"
    lattices.mkdir()
    write_lattices(lattices / "lat.1.gz", ((u, path_lattice(t)) for u, t in tids.items()))
    rows = run(folder, tmp_path / "out", targets=lattices)
    assert rows["s3"]["skipped"].startswith("0 frames with targets")
    assert rows["s3"]["without_targets"] == 3 and rows["s3"]["bytes"] == 0
    assert rows["s0"] == run(folder, tmp_path / "ali_out")["s0"]  # the same targets
    model = AdaptedNetwork(folder / "exp", tmp_path / "out")
    assert model.use_speaker("s3") == rows["s3"]["skipped"]
    np.testing.assert_array_equal(
        model.log_likelihoods(pack["s3-u3"]), network.log_likelihoods(pack["s3-u3"])
    )


def path_lattice(*paths, costs=(0.0,)) -> Lattice:
    """A compact lattice of paths of transition ids, with acoustic costs and words 1, 2, ..."""
    found = [
        LatticePath(np.asarray(tids), [word], 0.0, cost)
        for word, (tids, cost) in enumerate(zip(paths, costs, strict=True), 1)
    ]
    return add_paths(Lattice.from_arrays([0], [], []), found).to_compact()


def test_confidence_is_the_posterior_of_the_pdf(folder, tmp_path):
    transitions = tiny.transitions()
    pack = FramePack(folder / "shifted")
    utt = pack.utts[0]
    best = np.ones(len(pack[0]), np.int32)
    other = best.copy()
    other[:10] = np.flatnonzero(transitions.tid_to_pdf != transitions.tid_to_pdf[1])[1]
    assert transitions.tid_to_pdf[other[0]] != transitions.tid_to_pdf[1]
    lattice = path_lattice(best, other, costs=(0.0, 8 * np.log(3)))
    write_lattices(tmp_path / "lat.1.gz", [(utt, lattice)])
    found = confidences(lattice, transitions.pdfs_of(best), transitions, 1 / 8)
    np.testing.assert_allclose(found[:10], 0.75, atol=1e-5)  # 1 against 1/3
    np.testing.assert_allclose(found[10:], 1.0, atol=1e-5)

    def targets(**options):
        config = AdaptConfig(lm_scale=8.0, **options)
        return read_frame_targets(pack, tmp_path, transitions, config)

    frames, everywhere = len(best), np.arange(len(pack.feats))
    for confidence in (False, True):
        rows, _, weights = targets(confidence=confidence, min_confidence=0.8).at(everywhere)
        np.testing.assert_array_equal(rows, np.arange(10, frames))
        np.testing.assert_allclose(weights, 1.0)
    rows, _, weights = targets(confidence=True).at(everywhere)
    np.testing.assert_array_equal(rows, np.arange(frames))
    np.testing.assert_allclose(weights[:10], 0.75, atol=1e-5)
    rows, pdfs, weights = targets(targets="lattice").at(everywhere[:12])
    both = transitions.pdfs_of(np.array([best[0], other[0]]))
    np.testing.assert_array_equal(rows, [*np.repeat(np.arange(10), 2), 10, 11])
    np.testing.assert_array_equal(pdfs, [*np.tile(np.sort(both), 10), both[0], both[0]])
    np.testing.assert_allclose(weights[pdfs == both[1]], 0.25, atol=1e-5)
    np.testing.assert_allclose(np.bincount(rows, weights), 1.0, atol=1e-5)
    rows, _, weights = targets(targets="lattice", min_confidence=0.3).at(everywhere[[11, 3]])
    np.testing.assert_allclose((*rows, *weights), [0, 1, 1, 0.75], atol=1e-5)


@pytest.mark.parametrize("kind", ["ali", "lat"])
def test_an_utterance_with_two_targets(folder, parts, tmp_path, kind):
    network, pack, _ = parts
    utt, tids = next(iter(read_alignments(folder / "ali").items()))
    for number in (1, 2):
        path = tmp_path / f"{kind}.{number}.gz"
        if kind == "ali":
            write_alignments(path, {utt: tids})
        else:
            write_lattices(path, [(utt, path_lattice(tids))])
    with pytest.raises(InputError, match=f"{tmp_path}: {utt} comes twice"):
        read_frame_targets(pack, tmp_path, network.transitions, AdaptConfig())


def die_once(home, task):
    """The first call on any worker ends its process."""
    try:
        (home / "witness").touch(exist_ok=False)
    except FileExistsError:
        return jobs._adapt_one(*task)
    (task[3] / "speakers").mkdir(exist_ok=True)
    (task[3] / "speakers" / "half.npy.tmp").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def test_two_processes_of_which_one_is_killed_do_as_one(folder, tmp_path, monkeypatch):
    one = run(folder, tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "_on_worker", die_once)
    two = run(folder, tmp_path / "two", nj=2)
    assert (tmp_path / "witness").exists() and one == two
    for speaker in SPEAKERS:
        name = f"speakers/{speaker}.npy"
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_error_leaves_the_older_output(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/speakers.json").touch()
    with pytest.raises(InputError, match="speaker s0: .*loss is (nan|inf)"):
        run(folder, tmp_path / "out", train={"lr": 1e38, "momentum": 0.9}, update=["softmax"])
    assert os.listdir(tmp_path) == ["out"] and os.listdir(tmp_path / "out") == ["speakers.json"]


def test_another_network(folder, tmp_path):
    run(folder, tmp_path / "out", train={"epochs": 1})
    tiny.train(folder, tmp_path / "exp2", train={"epochs": 1})
    with pytest.raises(InputError, match="holds differences to another network than that of"):
        AdaptedNetwork(tmp_path / "exp2", tmp_path / "out")
    with pytest.raises(InputError, match=r"adapt\.yaml"):
        AdaptedNetwork(folder / "exp", tmp_path / "nothing")
    path = tmp_path / "out/speakers/s0.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"s0\.npy: not a speaker's difference"):
        AdaptedNetwork(folder / "exp", tmp_path / "out").use_speaker("s0")
    np.save(path, np.zeros(3, np.float16))
    with pytest.raises(InputError, match=r"s0\.npy: damaged: float16 \(3,\), 128 float16"):
        AdaptedNetwork(folder / "exp", tmp_path / "out").use_speaker("s0")
    path.unlink()
    with pytest.raises(InputError, match=r"s0\.npy: is missing"):
        AdaptedNetwork(folder / "exp", tmp_path / "out").use_speaker("s0")


def test_input_that_does_not_fit(folder, parts, tmp_path):
    network, pack, targets = parts
    with pytest.raises(InputError, match="no group 'gate': hidden, softmax, gates, lhuc, all"):
        run(folder, tmp_path / "out", update=["gate"])
    with pytest.raises(InputError, match="neither lat.*gz nor ali"):
        run(folder, tmp_path / "out", targets="shifted")
    with pytest.raises(InputError, match="this loss needs targets"):
        adapt(folder / "shifted", "-", folder / "exp", tmp_path / "out", settings())
    tiny.write_pack(tmp_path / "wide", {"s0-u0": np.zeros((40, 4), np.float32)})
    with pytest.raises(InputError, match="exp: takes frames of 3 values, .*wide has frames of 4"):
        run(folder, tmp_path / "out", frames=tmp_path / "wide")
    fmllr = {"s0-u0": np.zeros((40, 3), np.float32)}
    tiny.write_pack(tmp_path / "fmllr", fmllr, transform_dir="decode")
    with pytest.raises(InputError, match="takes frames of 3 values, .*fmllr has .*, adapted"):
        run(folder, tmp_path / "out", frames=tmp_path / "fmllr")
    with pytest.raises(InputError, match="the network: takes frames of 3 values, .*, adapted"):
        adapt_speaker(network, FramePack(tmp_path / "fmllr"), np.array([0]), targets, settings())
    FramePack.build(tmp_path / "bare", [("s0-u0", "s0", fmllr["s0-u0"])])
    with pytest.raises(InputError, match=r"bare/source\.yaml"):
        run(folder, tmp_path / "out", frames=tmp_path / "bare")
    tiny.write_pack(tmp_path / "short", {"s0-u0": np.zeros((39, 3), np.float32)})
    with pytest.raises(InputError, match="s0-u0: has 39 frames, its target in .* 40"):
        run(folder, tmp_path / "out", frames=tmp_path / "short")
    tiny.write_pack(tmp_path / "others", {"s7-u7": np.zeros((39, 3), np.float32)})
    with pytest.raises(InputError, match="no utterance has targets in"):
        run(folder, tmp_path / "out", frames=tmp_path / "others")
    assert not (tmp_path / "out").exists()
    none = FrameTargets(np.zeros_like(targets.offsets), targets.pdfs, targets.weights, {})
    found = adapt_speaker(network, pack, of(pack, "s0"), none, settings())
    assert found.skipped.startswith("0 frames")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("loss: kl", "is at its minimum from the start"),
        ("{loss: kl, distill: {temperature: 2}}", "is at its minimum from the start"),
        ("distill: {q: 0.5}", "distill goes with loss kl"),
        ("{targets: lattice, confidence: true}", "confidence weighs a best path"),
        (f"{{{TAUGHT}, confidence: true}}", "confidence: of targets, at which loss kl does not"),
        (f"{{{TAUGHT}, min_confidence: 0.7, lm_scale: 9}}", "lm_scale, min_confidence: of targets"),
        (f"{{{TAUGHT}, targets: lattice}}", "targets: of targets"),
        ("update: []", "update"),
        ("rho: 1.5", "rho"),
        ("gates: 3", "gates: unknown key"),
    ],
)
def test_settings_that_make_no_sense(tmp_path, text, error):
    (tmp_path / "adapt.yaml").write_text(text)
    with pytest.raises(InputError, match=error):
        load_config(AdaptConfig, tmp_path / "adapt.yaml")


def test_settings_of_targets_go_with_a_little_of_them(tmp_path):
    (tmp_path / "adapt.yaml").write_text(f"{{{TAUGHT}, confidence: true, min_confidence: 0.7}}")
    config = load_config(AdaptConfig, tmp_path / "adapt.yaml", ["distill.q=0.1"])
    assert config.confidence and config.needs_targets
