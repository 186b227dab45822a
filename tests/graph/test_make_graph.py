"""HCLG: the language of Kaldi's graphs, and what does not fit together."""

import shutil

import kaldifst
import numpy as np
import pytest
from fst_paths import random_path, total_cost
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.graph import arpa_to_fst, make_graph, prepare_lang
from kdspeech.hmm import TransitionModel
from kdspeech.io.errors import InputError
from kdspeech.io.fst import Fst

pytestmark = pytest.mark.golden

SYSTEMS = ("mono", "tri3b")


def put_model(golden, folder, system="mono"):
    folder.mkdir()
    for name, ending in (("final.mdl", "mdl"), ("tree", "tree")):
        shutil.copyfile(golden / f"gmm/models/{system}.{ending}", folder / name)
    return folder


@pytest.fixture
def lang(golden, golden_lang, tmp_path):
    """A copy of the golden lang with the grammar of the golden ARPA file."""
    folder = tmp_path / "lang"
    shutil.copytree(golden_lang.folder, folder)
    fst = arpa_to_fst(golden / "lattice/G.arpa", folder / "words.txt")
    Fst.from_kaldifst(fst).write(folder / "G.fst")
    return folder


@pytest.fixture
def mono(golden, tmp_path):
    return put_model(golden, tmp_path / "mono")


@pytest.mark.parametrize("system", SYSTEMS)
def test_same_language_as_kaldis_graph(golden, lang, tmp_path, system):
    ours = make_graph(lang, put_model(golden, tmp_path / system, system), tmp_path / "graph")
    kaldis = Fst.read(golden / f"lattice/HCLG.{system}.fst")
    random = np.random.default_rng(2)
    compared = 0
    while compared < 60:
        tids, words = random_path((ours, kaldis)[compared % 2], random)
        if len(tids) < 300:
            a, b = (total_cost(graph, tids, words) for graph in (ours, kaldis))
            # Weights are rounded to 1/1024 where a graph is minimized.
            assert np.isfinite(b) and a == pytest.approx(b, abs=1e-3 * (2 + len(words)))
            compared += 1
    assert len(ours.arcs) <= len(kaldis.arcs)


def test_graph_directory(golden, lang, mono, tmp_path):
    graph = make_graph(lang, mono, tmp_path / "graph")
    kaldi = kaldifst.StdVectorFst(kaldifst.StdConstFst.read(str(tmp_path / "graph/HCLG.fst")))
    assert kaldi.num_states == graph.num_states
    assert (tmp_path / "graph/words.txt").read_text() == (lang / "words.txt").read_text()
    assert (tmp_path / "graph/num_pdfs").read_text() == "70\n"
    assert (tmp_path / "graph/phones/word_boundary.int").exists()
    num_tids = TransitionModel.read(mono / "final.mdl").num_tids
    assert graph.arcs["ilabel"].max() <= num_tids


def test_scales(lang, mono, tmp_path):
    plain = make_graph(lang, mono, tmp_path / "a", transition_scale=0, self_loop_scale=0)
    loops = plain.arcs["next"] == plain.sources
    assert loops.any() and (plain.arcs["cost"][loops] == 0).all()


def test_command(lang, mono, tmp_path):
    arguments = ["make-graph", str(lang), str(mono), str(tmp_path / "graph")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "335 states, 866 arcs" in result.output


def rejects(lang, model, tmp_path, match):
    with pytest.raises(InputError, match=match):
        make_graph(lang, model, tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_no_grammar(lang, mono, tmp_path):
    (lang / "G.fst").unlink()
    rejects(lang, mono, tmp_path, "G.fst: no such file")


@pytest.mark.parametrize("name", ["G.fst", "L_disambig.fst", "topo", "words.txt"])
def test_damaged_lang(lang, mono, tmp_path, name):
    (lang / name).write_bytes((lang / name).read_bytes()[:-7])
    rejects(lang, mono, tmp_path, name)


@pytest.mark.parametrize("name", ["final.mdl", "tree"])
def test_damaged_model(lang, mono, tmp_path, name):
    data = (mono / name).read_bytes()
    (mono / name).write_bytes(data[: len(data) // 3 if name == "tree" else 900])
    rejects(lang, mono, tmp_path, name)


def test_tree_of_another_model(golden, lang, mono, tmp_path):
    shutil.copyfile(golden / "gmm/models/tri3b.tree", mono / "tree")
    rejects(lang, mono, tmp_path, "pdfs, the model 70: they are not of one system")


def write_other_lang(folder, others):
    """A lang directory of one word with these phones, and its grammar."""
    folder.mkdir()
    (folder / "lexicon.txt").write_text(f"<UNK> SPN\none {others.split()[0]}\n")
    (folder / "silence_phones.txt").write_text("SIL\nSPN\n")
    (folder / "optional_silence.txt").write_text("SIL\n")
    (folder / "nonsilence_phones.txt").write_text(others)
    prepare_lang(folder, folder / "lang")
    arc = np.array([(2, 2, 0.5, 1)], Fst.read(folder / "lang/L.fst").arcs.dtype)
    Fst.from_arcs(0, [0], arc, [np.inf, 0]).write(folder / "lang/G.fst")
    return folder / "lang"


def test_model_of_another_lang(golden, mono, tmp_path):
    lang = write_other_lang(tmp_path / "other", "A\nB\n")
    rejects(lang, mono, tmp_path, "is not the lang directory of this model: phone 5")
    shutil.copyfile(golden / "lattice/phones.txt", mono / "phones.txt")
    rejects(lang, mono, tmp_path, "was not trained with .*: phone SPN has the number 6")


def test_grammar_of_another_lang(lang, mono, tmp_path):
    grammar = Fst.read(lang / "G.fst")
    grammar.arcs["ilabel"][0] = 99
    grammar.write(lang / "G.fst")
    rejects(lang, mono, tmp_path, "word 99 is not in words.txt")


def test_grammar_without_a_sentence(lang, mono, tmp_path):
    grammar = Fst.read(lang / "G.fst")
    grammar.arcs["ilabel"] = 13  # <s>
    grammar.write(lang / "G.fst")
    rejects(lang, mono, tmp_path, "no sentence of words")


def test_homophones_without_disambiguation(golden, tmp_path, mono):
    lang = write_other_lang(tmp_path / "other", "A\nB\n")
    arcs = np.array([(3, 1, 0, 0), (3, 2, 0, 0)], Fst.read(lang / "L.fst").arcs.dtype)
    Fst.from_arcs(0, [0, 0], arcs, [0]).write(lang / "L_disambig.fst")
    Fst.from_arcs(0, [0, 0], np.array([(1, 1, 0, 0), (2, 2, 0, 0)], arcs.dtype), [0]).write(
        lang / "G.fst"
    )
    from kdspeech.graph import Lang
    from kdspeech.graph.make_graph import compile_graph

    with pytest.raises(InputError, match="LG cannot be determinized .*functional"):
        compile_graph(Lang.read(lang), None)


def test_only_graphs_are_replaced(lang, mono, tmp_path):
    for _ in range(2):
        make_graph(lang, mono, mono / "graph")
    for place, message in (
        (mono, "mono: cannot be made from itself"),
        (lang / "phones", "lang/phones: holds something else .*, align_lexicon.int"),
        (tmp_path, "holds .*, which is read"),
    ):
        with pytest.raises(InputError, match=message):
            make_graph(lang, mono, place)
    (mono / "graph/thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"graph: holds something else .*, thesis\.txt"):
        make_graph(lang, mono, mono / "graph")
    assert (mono / "final.mdl").exists() and (mono / "graph/thesis.txt").exists()
