"""Training graphs: Kaldi's alignments through them, and their costs by hand."""

import json
import shutil

import numpy as np
import pytest

from kdspeech.decode import align
from kdspeech.graph import Lang, TrainingGraphs, prepare_lang
from kdspeech.hmm import AcousticModel, DecisionTree
from kdspeech.hmm.topology import HmmTopology
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import monophone_tree
from kdspeech.io.errors import InputError

ROUNDING = 4 / 1024
"""Of a path's cost: minimization, Kaldi's too, rounds that of every arc to 1/1024."""


@pytest.fixture(scope="module")
def lang(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lang") / "dict"
    folder.mkdir()
    (folder / "lexicon.txt").write_text("<UNK> SPN\nno N OW\nnow N AW\nknow N OW\n")
    (folder / "silence_phones.txt").write_text("SIL\nSPN\n")
    (folder / "optional_silence.txt").write_text("SIL\n")
    (folder / "nonsilence_phones.txt").write_text("AW\nN\nOW\n")
    return Lang.read(prepare_lang(folder, folder.parent / "lang", sil_prob=0.2))


@pytest.fixture(scope="module")
def model(lang):
    tree = monophone_tree(lang.int_rows("sets"), lang.topo)
    return tree, TransitionModel.from_tree(tree, lang.topo)


def shortest(graph) -> float:
    """The least cost of a path, by relaxing every arc as long as that helps."""
    best = np.full(graph.num_states, np.inf)
    best[graph.start] = 0
    for _ in range(graph.num_states):
        np.minimum.at(best, graph.arcs["next"], best[graph.sources] + graph.arcs["cost"])
    return float((best + graph.finals).min())


def test_costs_by_hand(lang, model):
    graph = TrainingGraphs(lang, *model)(lang.word_ids(["no"]))
    # A path without silence: the lexicon's cost, and six times leaving a state of 0.75 self-loop.
    expected = -2 * np.log(0.8) - 6 * 0.1 * np.log(0.25)
    assert shortest(graph) == pytest.approx(expected, abs=ROUNDING)
    loops = graph.arcs[graph.arcs["next"] == graph.sources]
    assert model[1].is_self_loop[loops["ilabel"]].all()
    stay = -0.1 * model[1].log_probs[loops["ilabel"]]
    np.testing.assert_allclose(loops["cost"], stay, rtol=1e-5)


def test_scales(lang, model):
    graphs = TrainingGraphs(lang, *model, transition_scale=0.0, self_loop_scale=0.0)
    graph = graphs(lang.word_ids(["no", "now"]))
    assert shortest(graph) == pytest.approx(-3 * np.log(0.8), abs=ROUNDING)


def test_every_state_is_entered_through_one_transition_state(lang, model):
    graph = TrainingGraphs(lang, *model)(lang.word_ids(["no", "now", "oh"]))
    through = model[1].tid_to_state[graph.arcs["ilabel"]]
    emitting = through > 0
    pairs = set(zip(graph.arcs["next"][emitting].tolist(), through[emitting].tolist(), strict=True))
    assert len({state for state, _ in pairs}) == len(pairs)


def test_words_come_out_in_order(lang, model):
    ids = lang.word_ids(["now", "no", "what?"])
    assert ids[-1] == lang.oov_id
    graph = TrainingGraphs(lang, *model)(ids)
    scores = np.random.default_rng(1).normal(size=(60, model[0].num_pdfs))
    found = align(graph, scores, model[1].tid_to_pdf, beam=1000)
    np.testing.assert_array_equal(found.words, ids)
    phones = [phone for phone, _ in model[1].split_to_phones(found.tids)]
    spoken = [phone for phone in phones if phone != lang.optional_silence]
    assert spoken == [lang.phones[p] for p in ("N", "AW", "N", "OW", "SPN")]


def test_empty_transcript_is_silence(lang, model):
    graph = TrainingGraphs(lang, *model)([])
    scores = np.zeros((20, model[0].num_pdfs))
    found = align(graph, scores, model[1].tid_to_pdf)
    assert set(model[1].phones_of(found.tids)) == {lang.optional_silence}
    assert len(found.words) == 0


def test_empty_transcript_without_silence(lang, model, tmp_path):
    folder = shutil.copytree(lang.folder.parent / "dict", tmp_path / "dict")
    silent = Lang.read(prepare_lang(folder, tmp_path / "lang", sil_prob=0))
    with pytest.raises(InputError, match="a transcript without words, and .*L.fst without silence"):
        TrainingGraphs(silent, *model)([])


def test_unknown_word_id(lang, model):
    with pytest.raises(InputError, match="L.fst: has no pronunciation of the word 99"):
        TrainingGraphs(lang, *model)([1, 99])


def test_model_of_another_lang(lang, model):
    text = "<Topology>\n<TopologyEntry>\n<ForPhones> 1 2 </ForPhones>\n"
    text += "<State> 0 <PdfClass> 0 <Transition> 0 0.5 <Transition> 1 0.5 </State> <State> 1 "
    text += "</State>\n</TopologyEntry>\n</Topology>\n"
    topology = HmmTopology.parse(text)
    tree = monophone_tree([[1], [2]], topology)
    with pytest.raises(InputError, match="phone 3 is in only one"):
        TrainingGraphs(lang, tree, TransitionModel.from_tree(tree, topology))
    with pytest.raises(InputError, match="not of one system"):
        TrainingGraphs(lang, tree, model[1])


@pytest.mark.golden
def test_kaldis_alignments(golden, golden_lang):
    cases = json.loads((golden / "cases.json").read_text())["lattice"]
    arrays = np.load(golden / "lattice/lattice.npz")
    for system in ("mono", "tri3b"):
        model = AcousticModel.read(golden / f"gmm/models/{system}.mdl")
        tree = DecisionTree.read(golden / f"gmm/models/{system}.tree")
        graphs = TrainingGraphs(golden_lang, tree, model.transitions)
        for name in (key for key in arrays.files if key.startswith(f"loglikes/{system}/")):
            utterance = name.split("/")[-1]
            ids = golden_lang.word_ids(cases["utterances"][utterance]["reference"])
            found = align(graphs(ids), arrays[name], model.transitions.tid_to_pdf, beam=60)
            expected = arrays[f"num_ali/{system}/{utterance}"]
            np.testing.assert_array_equal(found.tids, expected)
