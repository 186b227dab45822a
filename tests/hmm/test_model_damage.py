"""Damaged models end in an InputError that names the file, whatever the damage."""

import numpy as np
import pytest

from kdspeech.hmm import AcousticModel, DecisionTree, DiagGmms, TransitionModel, default_topology
from kdspeech.hmm.tree import monophone_tree
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiWriter

TOPOLOGY = default_topology([1], [2])
TREE = monophone_tree([[1], [2]], TOPOLOGY)


def model():
    rng = np.random.default_rng(0)
    gmms = DiagGmms.from_moments(
        np.arange(0, 17, 2), np.full(16, 0.5), rng.normal(size=(16, 2)), rng.uniform(1, 2, (16, 2))
    )
    return AcousticModel(TransitionModel.from_tree(TREE, TOPOLOGY), gmms)


def first_pdfs(gmms, count):
    end = gmms.offsets[count]
    return DiagGmms(
        gmms.offsets[: count + 1], gmms.weights[:end], gmms.means_invvars[:end], gmms.inv_vars[:end]
    )


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["mdl", "tree"])
def test_every_cut(tmp_path, kind, binary):
    path, read = tmp_path / kind, AcousticModel.read if kind == "mdl" else DecisionTree.read
    (model() if kind == "mdl" else TREE).write(path, binary)
    whole = path.read_bytes().rstrip()
    read(path)
    step = 1 if kind == "tree" else 17
    for size in range(0, len(whole), step):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=kind):
            read(path)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["mdl", "tree"])
def test_random_bytes_never_crash(tmp_path, kind, binary):
    path, read = tmp_path / kind, AcousticModel.read if kind == "mdl" else DecisionTree.read
    (model() if kind == "mdl" else TREE).write(path, binary)
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        damaged = whole.copy()
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read(path)
        except InputError as error:
            assert kind in str(error)
            refused += 1
    assert refused > 30


def test_other_files_for_models(tmp_path):
    path = tmp_path / "final.mdl"
    for contents, message in (
        (b"", "empty file"),
        (b"hello\n", "line 1: expected <TransitionModel>, found 'hello'"),
        (b"\0B<Nnet3> ", "expected <TransitionModel>, found '<Nnet3>'"),
    ):
        path.write_bytes(contents)
        with pytest.raises(InputError, match=f"final.mdl: .*{message}"):
            AcousticModel.read(path)
    writer = KaldiWriter()
    model().transitions.write_to(writer)
    writer.token("<Nnet3>")
    writer.write(path)
    with pytest.raises(InputError, match="final.mdl: is a neural network model"):
        AcousticModel.read(path)


def test_model_with_too_few_mixtures(tmp_path):
    whole = model()
    AcousticModel(whole.transitions, first_pdfs(whole.gmms, 7)).write(tmp_path / "final.mdl")
    with pytest.raises(InputError, match="name 8 pdfs, it holds mixtures for 7"):
        AcousticModel.read(tmp_path / "final.mdl")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weights", -0.5, "not positive"),
        ("inv_vars", 0.0, "not positive"),
        ("inv_vars", np.nan, "NaN or infinite"),
        ("means_invvars", np.inf, "NaN or infinite"),
    ],
)
def test_senseless_gaussians(tmp_path, field, value, message):
    damaged = model()
    getattr(damaged.gmms, field)[3] = value
    damaged.write(tmp_path / "final.mdl")
    with pytest.raises(InputError, match=f"final.mdl: byte .*{message}"):
        AcousticModel.read(tmp_path / "final.mdl")


def test_wrong_gconsts_are_computed_anew(tmp_path):
    damaged = model()
    damaged.gmms.gconsts[:] = 0
    damaged.write(tmp_path / "final.mdl")
    np.testing.assert_allclose(
        AcousticModel.read(tmp_path / "final.mdl").gmms.gconsts, model().gmms.gconsts, rtol=1e-5
    )


def test_a_weight_of_zero_is_no_likelihood(tmp_path):
    whole = model()
    gmms = DiagGmms([0, 2], [1.0, 0.0], whole.gmms.means_invvars[:2], whole.gmms.inv_vars[:2])
    one = first_pdfs(whole.gmms, 1)
    alone = DiagGmms([0, 1], [1.0], one.means_invvars[:1], one.inv_vars[:1])
    feats = np.ones((3, 2), np.float32)
    np.testing.assert_allclose(gmms.log_likelihoods(feats), alone.log_likelihoods(feats), rtol=1e-6)
