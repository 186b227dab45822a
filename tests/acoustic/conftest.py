"""A speaker-adapted Gaussian system of a small spoken corpus, and its graph."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "gmm"))
from spoken import make_data, make_lang

from kdspeech.data.datadir import DataDir
from kdspeech.gmm import MonoOptions, SatOptions, align_fmllr, train_mono, train_sat
from kdspeech.graph import Lang, NgramLM, make_graph
from kdspeech.graph.grammar import make_grammar


@pytest.fixture(scope="session")
def sat(tmp_path_factory):
    """Folders: data (train), test, lang, exp, ali and graph."""
    root = tmp_path_factory.mktemp("sat")
    lang = make_lang(root)
    data, test = make_data(root / "data", 6, 8), make_data(root / "test", 2, 4, seed=1)
    options = MonoOptions(tot_gauss=30, num_iters=6, max_iter_inc=4, realign_iters=(1, 2, 3))
    train_mono(data, lang, root / "mono", options)
    options = {"num_iters": 4, "max_iter_inc": 3, "realign_iters": (2,), "fmllr_iters": (2,)}
    train_sat(data, lang, root / "mono", root / "sat", SatOptions(20, 40, **options))
    align_fmllr(data, lang, root / "sat", root / "sat_ali")
    sentences = [line.split() for line in DataDir(data).text.values()]
    lm = NgramLM.estimate(sentences, order=1)
    make_grammar(lm, Lang.read(lang).words, "#0").write(lang / "G.fst")
    make_graph(lang, root / "sat", root / "graph")
    folders = {"exp": root / "sat", "ali": root / "sat_ali", "graph": root / "graph"}
    return SimpleNamespace(data=data, test=test, lang=lang, **folders)
