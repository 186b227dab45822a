"""What HCLG says of a sentence is what its training graph says of it, and the grammar's cost."""

import tempfile
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from fst_paths import random_path, total_cost
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspeech.graph import Lang, TrainingGraphs, prepare_lang
from kdspeech.graph.hmms import HmmMaker
from kdspeech.graph.make_graph import compile_graph
from kdspeech.graph.self_loops import add_self_loops
from kdspeech.hmm import DecisionTree, TransitionModel
from kdspeech.hmm.tree import Split, Table
from kdspeech.io.fst import ARC, Fst

WORDS = ("one", "two", "three")
PHONES = ("K", "P", "T")
PRONUNCIATIONS = st.lists(
    st.tuples(
        st.sampled_from(WORDS),
        st.sampled_from([1.0, 0.5]),
        st.lists(st.sampled_from(PHONES), min_size=1, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda row: (row[0], row[2]),
)


BACK_OFF, END = 1.0, 0.5
"""Costs in the grammar."""


def make_lang(folder, rows, position_dependent) -> Lang:
    source = folder / "dict"
    source.mkdir(exist_ok=True)
    lines = [f"{word} {prob} {' '.join(phones)}\n" for word, prob, phones in rows]
    (source / "lexiconp.txt").write_text("<UNK> 1.0 SPN\n" + "".join(lines))
    (source / "silence_phones.txt").write_text("SIL\nSPN\n")
    (source / "optional_silence.txt").write_text("SIL\n")
    (source / "nonsilence_phones.txt").write_text("K\nP\nT\n")
    lang = Lang.read(prepare_lang(source, folder / "lang", "<UNK>", position_dependent, 0.3))
    write_grammar(lang)
    return lang


def word_cost(word: int) -> float:
    return word / 4 + BACK_OFF * (word == 1)


def write_grammar(lang: Lang) -> None:
    """A history that knows every word but the first one, for which it backs off."""
    words = [word for word in lang.words.values() if 1 < word < lang.word_disambig]
    rows = [(word, word, word_cost(word), 0) for word in words]
    rows += [(lang.word_disambig, 0, BACK_OFF, 1), (1, 1, word_cost(1) - BACK_OFF, 0)]
    sources = [0] * (len(rows) - 1) + [1]
    Fst.from_arcs(0, sources, np.array(rows, ARC), [END, np.inf]).write(lang.G)


def make_tree(lang: Lang, width: int) -> DecisionTree:
    """Without context, or with a question about one of the phones beside it."""
    sets, leaves, middle = lang.int_rows("sets"), count(), width // 2

    def leaf(asks: bool):
        if not asks:
            return next(leaves)
        beside = middle + (1 if next(leaves) % 2 else -1)
        return Split(beside, frozenset(sets[-1]), next(leaves), next(leaves))

    def root(phones):
        asks = width > 1 and phones[0] in lang.nonsilence_phones
        return Table(-1, tuple(leaf(asks) for _ in range(lang.topo.num_pdf_classes(phones[0]))))

    tree = root(sets[-1])
    for phones in sets[:-1]:
        tree = Split(middle, frozenset(phones), root(phones), tree)
    return DecisionTree(width, middle, tree)


@settings(max_examples=25, deadline=None)
@given(
    PRONUNCIATIONS,
    st.booleans(),
    st.sampled_from([1, 3]),
    st.lists(st.integers(0, 99), min_size=1, max_size=3),
    st.integers(0, 99),
)
def test_sentences(rows, position_dependent, width, choices, seed):
    with tempfile.TemporaryDirectory() as folder:
        lang = make_lang(Path(folder), rows, position_dependent)
        tree = make_tree(lang, width)
        transitions = TransitionModel.from_tree(tree, lang.topo)
        hclg = compile_graph(lang, HmmMaker(lang, tree, transitions))
        hclg = add_self_loops(hclg, transitions)
        words = [1 + choice % (lang.word_disambig - 1) for choice in choices]
        graph = TrainingGraphs(lang, tree, transitions)(words)
    tids, found = random_path(graph, np.random.default_rng(seed))
    assert found == words
    grammar = sum(map(word_cost, words)) + END
    expected = total_cost(graph, tids, words) + grammar
    assert total_cost(hclg, tids, words) == pytest.approx(expected, abs=4e-3 * (1 + len(words)))
