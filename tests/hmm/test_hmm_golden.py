"""Kaldi's models, trees, alignments and likelihoods."""

import bz2
import json

import numpy as np
import pytest

from kdspeech.hmm import AcousticModel, DecisionTree, HmmTopology, TransitionModel
from kdspeech.hmm.tree import monophone_tree
from kdspeech.io.kaldi import read_kaldi_matrix, write_kaldi_matrix

pytestmark = pytest.mark.golden

SYSTEMS = ["mono", "tri2b", "tri3b"]
FEATURES = {"mono": "delta", "tri2b": "tri2b_lda", "tri3b": "tri3b_adapted"}


@pytest.fixture(scope="module")
def models(golden):
    return golden / "gmm" / "models"


@pytest.fixture(scope="module")
def arrays(golden):
    return np.load(golden / "gmm" / "gmm.npz")


@pytest.fixture(scope="module")
def gmm_cases(golden):
    return json.loads((golden / "cases.json").read_text())["gmm"]


@pytest.fixture(scope="module")
def systems(models):
    return {name: AcousticModel.read(models / f"{name}.mdl") for name in SYSTEMS}


@pytest.mark.parametrize("name", SYSTEMS)
def test_model_is_written_as_it_was_read(models, systems, tmp_path, name):
    systems[name].write(tmp_path / "final.mdl")
    assert (tmp_path / "final.mdl").read_bytes() == (models / f"{name}.mdl").read_bytes()


@pytest.mark.parametrize("name", SYSTEMS)
def test_model_in_text(models, systems, tmp_path, name):
    systems[name].write(tmp_path / "final.mdl", binary=False)
    wanted = bz2.decompress((models / f"{name}.mdl.txt.bz2").read_bytes())
    assert (tmp_path / "final.mdl").read_bytes() == wanted
    again = AcousticModel.read(tmp_path / "final.mdl")
    assert again.transitions.topology == systems[name].transitions.topology
    np.testing.assert_allclose(again.gmms.inv_vars, systems[name].gmms.inv_vars, rtol=1e-6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_tree_is_written_as_it_was_read(models, tmp_path, name):
    for suffix, binary in ((".tree", True), (".tree.txt", False)):
        tree = DecisionTree.read(models / f"{name}{suffix}")
        tree.write(tmp_path / "tree", binary)
        assert (tmp_path / "tree").read_bytes() == (models / f"{name}{suffix}").read_bytes()


def test_other_files_are_written_as_they_were_read(golden, tmp_path):
    gmm = golden / "gmm"
    files = [*gmm.glob("tree/*.tree"), *gmm.glob("models/*.final.mat"), gmm / "models/mllt_in.mdl"]
    assert len(files) == 7
    for path in files:
        copy = tmp_path / path.name
        if path.suffix == ".mat":
            write_kaldi_matrix(copy, read_kaldi_matrix(path))
        else:
            kind = DecisionTree if path.suffix == ".tree" else AcousticModel
            kind.read(path).write(copy)
        assert copy.read_bytes() == path.read_bytes(), path


def test_topology_of_the_file_is_that_of_the_model(models, systems, tmp_path):
    topology = HmmTopology.read(models / "topo")
    assert topology == systems["tri3b"].transitions.topology
    for binary in (False, True):
        topology.write(tmp_path / "topo", binary)
        assert HmmTopology.read(tmp_path / "topo") == topology


@pytest.mark.parametrize("name", SYSTEMS)
def test_counts_and_transitions(systems, arrays, gmm_cases, name):
    model, info = systems[name], gmm_cases["models"][name]
    transitions = model.transitions
    assert transitions.num_pdfs == model.gmms.num_pdfs == info["number of pdfs"]
    assert transitions.num_tids == info["number of transition-ids"]
    assert transitions.num_states == info["number of transition-states"]
    assert model.gmms.num_gaussians == info["number of gaussians"]
    tables = {
        "transition_state": transitions.tid_to_state,
        "phone": transitions.tid_to_phone,
        "hmm_state": transitions.tid_to_hmm_state,
        "pdf": transitions.tid_to_pdf,
        "self_loop": transitions.is_self_loop,
    }
    for column, table in tables.items():
        np.testing.assert_array_equal(table[1:], arrays[f"transitions/{name}/{column}"])
    probs = np.exp(transitions.log_probs[1:])
    np.testing.assert_allclose(probs, arrays[f"transitions/{name}/prob"], rtol=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_model_of_the_tree_has_kaldis_transition_states(models, systems, name):
    made = TransitionModel.from_tree(
        DecisionTree.read(models / f"{name}.tree"), HmmTopology.read(models / "topo")
    )
    np.testing.assert_array_equal(made.tuples, systems[name].transitions.tuples)


def test_monophone_tree_is_kaldis(models, tmp_path):
    sets = [[int(w) for w in line.split()] for line in (models / "sets.int").open()]
    monophone_tree(sets, HmmTopology.read(models / "topo")).write(tmp_path / "tree")
    assert (tmp_path / "tree").read_bytes() == (models / "mono.tree").read_bytes()


@pytest.mark.parametrize("name", SYSTEMS)
def test_alignments(systems, arrays, gmm_cases, name):
    transitions = systems[name].transitions
    keys = [key for key in arrays.files if key.startswith(f"ali_tid/{name}/")]
    assert keys
    for key in keys:
        utterance, tids = key.split("/")[-1], arrays[key]
        np.testing.assert_array_equal(
            transitions.pdfs_of(tids), arrays[f"ali_pdf/{name}/{utterance}"]
        )
        np.testing.assert_array_equal(
            transitions.phones_of(tids), arrays[f"ali_phone/{name}/{utterance}"]
        )
    for utterance, wanted in gmm_cases["phone_lengths"][name].items():
        phones = transitions.split_to_phones(arrays[f"ali_tid/{name}/{utterance}"])
        assert [[phone, len(tids)] for phone, tids in phones] == wanted


@pytest.mark.parametrize("name", SYSTEMS)
def test_log_likelihoods(systems, arrays, gmm_cases, name):
    gmms = systems[name].gmms
    for utterance in gmm_cases["three"]:
        feats, wanted = (
            arrays[f"{FEATURES[name]}/{utterance}"],
            arrays[f"loglikes/{name}/{utterance}"],
        )
        found = gmms.log_likelihoods(feats)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        some = [5, 0, 69]
        np.testing.assert_allclose(gmms.log_likelihoods(feats, some), found[:, some], rtol=1e-5)


@pytest.mark.parametrize("name", SYSTEMS)
def test_gconsts_are_computed_as_kaldi_does(systems, name):
    gmms = systems[name].gmms
    np.testing.assert_allclose(gmms._compute_gconsts(), gmms.gconsts, rtol=1e-5)
