"""The stages on a small corpus: frames, training, decoding, realignment, training again."""

import re
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from kdspeech.acoustic import Network, read_model
from kdspeech.adapt import AdaptedNetwork
from kdspeech.cli.main import app
from kdspeech.data.datadir import DataDir
from kdspeech.data.frames import FramePack
from kdspeech.decode import read_lattices
from kdspeech.features import apply_affine
from kdspeech.features.front_end import FrontEnd, read_transforms
from kdspeech.features.post import CmvnStats
from kdspeech.graph.symbols import read_symbols
from kdspeech.hmm import AcousticModel, TransitionModel
from kdspeech.io.alignments import read_alignments
from kdspeech.io.ark import Scp

CONF = """
network: {model: HDNN-H32-L3, context: 2}
train: {epochs: 8, batch_size: 64, tensorboard: false, num_threads: 1}
"""


def kds(*words) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(sat, tmp_path_factory):
    root = tmp_path_factory.mktemp("dnn")
    (root / "dnn.yaml").write_text(CONF)
    output = kds("make-frames", sat.data, sat.ali, root / "frames")
    frames = sum(len(Scp(sat.data / "feats.scp")[utt]) for utt in DataDir(sat.data).utt2spk)
    assert f"48 utterances, {frames} frames of 12 values" in output
    kds("train-dnn", root / "frames", sat.ali, root / "hdnn", "--config", root / "dnn.yaml")
    return root


def test_frames_are_the_features_of_sat(sat, trained):
    pack = FramePack(trained / "frames")
    front_end, data = FrontEnd.read(sat.exp), DataDir(sat.data)
    transforms = read_transforms(sat.ali, data.spk2utt)
    stats = {spk: CmvnStats.from_matrix(Scp(sat.data / "cmvn.scp")[spk]) for spk in data.spk2utt}
    for utt in list(data.utt2spk)[::7]:
        speaker = data.utt2spk[utt]
        base = front_end.normalize(Scp(sat.data / "feats.scp")[utt], stats[speaker])
        expected = apply_affine(front_end.expand(base), transforms[speaker])
        np.testing.assert_array_equal(pack[utt], expected)


def test_the_network_learns_the_alignment(trained, sat):
    network, pack = Network.read(trained / "hdnn"), FramePack(trained / "frames")
    tids = read_alignments(sat.ali)
    right = total = 0
    for utt in pack.utts:
        pdfs = network.transitions.pdfs_of(tids[utt])
        right += (network.log_posteriors(pack[utt]).argmax(1) == pdfs).sum()
        total += len(pdfs)
    assert right / total > 0.9
    counts = np.bincount(np.concatenate([network.transitions.pdfs_of(t) for t in tids.values()]))
    assert abs(network.priors - counts / counts.sum()).max() < 0.03  # of the training part
    assert network.adapted and network.num_pdfs == len(counts)


def test_likelihoods_are_posteriors_by_priors(trained):
    network, pack = Network.read(trained / "hdnn"), FramePack(trained / "frames")
    feats = pack[0]
    posteriors, likelihoods = network.log_posteriors(feats), network.log_likelihoods(feats)
    np.testing.assert_allclose(np.exp(posteriors).sum(1), 1, rtol=1e-5)
    came = network.priors > 0
    assert 0 < np.count_nonzero(~came) < 5  # pdfs of the word no one says
    expected = posteriors[:, came] - np.log(network.priors[came])
    np.testing.assert_allclose(likelihoods[:, came], expected, atol=1e-5)
    assert (likelihoods[:, ~came] < -9e3).all()
    np.testing.assert_array_equal(network.log_likelihoods(feats, [3, 1]), likelihoods[:, [3, 1]])


@pytest.mark.parametrize("nj", [1, 2])
def test_decoding_with_the_network(trained, sat, nj):
    gmm, out = sat.exp / f"decode{nj}", trained / "hdnn" / f"decode{nj}"
    kds("decode", "--fmllr", sat.graph, sat.test, gmm, "--exp", sat.exp)
    kds("decode", sat.graph, sat.test, out, "--transform-dir", gmm, "--nj", nj)
    words = {number: word for word, number in read_symbols(sat.graph / "words.txt").items()}
    text, found = DataDir(sat.test).text, {}
    for i in range(1, nj + 1):
        for utt, lattice in read_lattices(out / f"lat.{i}.gz"):
            found[utt] = [words[w] for w in lattice.best_path(0.1).words.tolist()]
    assert sorted(found) == sorted(text)
    errors = sum(found[utt] != said.split() for utt, said in text.items())
    assert errors <= 1


def test_realignment_and_a_second_training(trained, sat):
    ali = trained / "hdnn_ali"
    command = ["align", sat.data, sat.lang, trained / "hdnn", ali, "--transform-dir", sat.ali]
    assert "48 utterances aligned, 0 not" in kds(*command)
    old, new = read_alignments(sat.ali), read_alignments(ali)
    same = np.mean(np.concatenate([old[utt] == new[utt] for utt in old]))
    assert 0.8 < same < 1
    assert isinstance(TransitionModel.read(ali / "final.mdl"), TransitionModel)
    again = kds("make-frames", sat.data, ali, trained / "frames2")
    assert "48 utterances" in again
    options = ["--config", trained / "dnn.yaml", "--set", "network.model=DNN-H16-L2"]
    options += ["--set", "train.epochs=1", "--set", "priors=posteriors"]
    kds("train-dnn", trained / "frames2", ali, trained / "dnn2", *options)
    network = Network.read(trained / "dnn2")
    assert network.priors.sum() == pytest.approx(1, abs=1e-4) and network.priors.min() > 0


def test_features_without_transforms(trained, sat):
    kds("make-frames", sat.data, "-", trained / "plain")
    pack, data = FramePack(trained / "plain"), DataDir(sat.data)
    utt = pack.utts[3]
    stats = CmvnStats.from_matrix(Scp(sat.data / "cmvn.scp")[data.utt2spk[utt]])
    np.testing.assert_array_equal(pack[utt], stats.apply(Scp(sat.data / "feats.scp")[utt]))
    options = ["--config", trained / "dnn.yaml", "--set", "train.epochs=1"]
    kds("train-dnn", trained / "plain", sat.ali, trained / "plain_dnn", *options)
    kds("decode", sat.graph, sat.test, trained / "plain_dnn" / "decode")
    assert not Network.read(trained / "plain_dnn").adapted


def test_the_model_of_a_directory(trained, sat):
    assert isinstance(read_model(trained / "hdnn"), Network)
    assert isinstance(read_model(sat.exp), AcousticModel)


def test_decoding_with_an_adapted_network(trained, sat):
    gmm, out = sat.exp / "decode_sd", trained / "hdnn" / "decode_si"
    kds("decode", "--fmllr", sat.graph, sat.test, gmm, "--exp", sat.exp)
    kds("decode", sat.graph, sat.test, out, "--transform-dir", gmm)
    kds("make-frames", sat.test, gmm, trained / "frames_test")
    pack = FramePack(trained / "frames_test")
    known, other = sorted(set(pack.speakers))
    part_of(pack, [known], trained / "frames_one")
    (trained / "adapt.yaml").write_text("{min_frames: 50, update: [gates, lhuc], held_out: 0}")
    command = ["adapt", trained / "frames_one", out, trained / "hdnn", trained / "adapted"]
    said = kds(*command, "--config", trained / "adapt.yaml", "--set", "train.lr=0.1")
    assert "1 of 1 speakers adapted (gates, lhuc)" in said
    adapted, command = trained / "adapted", ["decode", sat.graph, sat.test]
    said = kds(*command, f"{out}.sd", "--transform-dir", gmm, "--adapted", adapted, "--nj", 2)
    assert f"speaker {other} is not adapted: unknown to {adapted}" in said and known not in said
    before = best_paths(out, 1)
    after = best_paths(out.with_name("decode_si.sd"), 2)
    assert before.keys() == after.keys()
    for utt, speaker in DataDir(sat.test).utt2spk.items():
        assert (before[utt].acoustic_cost == after[utt].acoustic_cost) == (speaker == other)


def test_aligning_with_an_adapted_network(trained, sat):
    pack, out = FramePack(trained / "frames"), trained / "adapted_train"
    other = pack.speakers[0]
    part_of(pack, set(pack.speakers) - {other}, trained / "frames_rest")
    (trained / "adapt.yaml").write_text("{min_frames: 50, update: [gates, lhuc], held_out: 0}")
    settings = ["--config", trained / "adapt.yaml", "--set", "train.lr=1.0"]
    kds("adapt", trained / "frames_rest", sat.ali, trained / "hdnn", out, *settings)
    command = ["align", sat.data, sat.lang, trained / "hdnn"]
    options = ["--transform-dir", sat.ali, "--adapted", out]
    for nj in (1, 2):
        said = kds(*command, trained / f"sd_ali{nj}", *options, "--nj", nj)
        assert said.count("is not adapted") == 1
        assert f"speaker {other} is not adapted: unknown to {out}" in said
    kds(*command, trained / "si_ali", "--transform-dir", sat.ali)
    folders = [trained / name for name in ("sd_ali1", "sd_ali2", "si_ali")]
    found, again, before = map(read_alignments, folders)
    # The log says how well the paths are liked, each by its speaker's own network.
    model, total = AdaptedNetwork(trained / "hdnn", out), 0.0
    for utt, speaker in zip(pack.utts, pack.speakers, strict=True):
        np.testing.assert_array_equal(found[utt], again[utt])
        assert speaker != other or (found[utt] == before[utt]).all()
        model.use_speaker(speaker)
        pdfs = model.transitions.pdfs_of(found[utt])
        total += model.log_likelihoods(pack[utt])[np.arange(len(pdfs)), pdfs].sum()
    said = [(folder / "log/train.log").read_text() for folder in folders]
    frames = sum(map(len, found.values()))
    means = [float(re.search(r"log-likelihood (\S+) a frame", text)[1]) for text in said]
    assert means[0] == pytest.approx(total / frames, abs=1e-4) and means[0] > means[2] + 0.001
    assert means[0] == pytest.approx(means[1], abs=2e-4)
    assert f"adapted: {out}" in (folders[0] / "config.yaml").read_text()


def part_of(pack, speakers, out):
    """A pack of some speakers of another one, and of its source."""
    pairs = zip(pack.utts, pack.speakers, strict=True)
    mine = [(utt, speaker, pack[utt]) for utt, speaker in pairs if speaker in speakers]
    FramePack.build(out, mine, lambda folder: shutil.copy(pack.path / "source.yaml", folder))


def best_paths(folder, nj):
    lattices = [pair for i in range(1, nj + 1) for pair in read_lattices(folder / f"lat.{i}.gz")]
    return {utt: lattice.best_path(0.1) for utt, lattice in lattices}
