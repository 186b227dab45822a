"""Rescoring with other language models: sums over the words of each path as the oracle."""

import golden_lattices as kaldi
import numpy as np
import pytest
from random_lattices import random_lattice

from kdspeech.decode import Grammar, Lattice
from kdspeech.graph import NgramLM
from kdspeech.io.errors import InputError
from kdspeech.io.fst import ARC, Fst

WORDS = {"<eps>": 0, "a": 1, "b": 2, "c": 3, "#0": 4, "<s>": 5, "</s>": 6}
NAMES = dict(zip(WORDS.values(), WORDS, strict=True))
OLD = ["a b a c", "a b", "b a c c", "c a b a b", "a a b c b"]
NEW = ["c c a", "b", "b b a c a", "c", "a"]


def model(lines, order):
    return NgramLM.estimate(lines, order=order)


def costs(lattice: Lattice) -> dict[tuple, tuple[float, float]]:
    return {key: pair for key, pair in kaldi.weighted_paths(lattice).items()}


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize(("seed", "order"), [(0, 1), (1, 2), (2, 3), (3, 4)])
def test_each_path_gets_the_models_costs(seed, order, compact):
    lattice = random_lattice(seed, frames=4)
    lattice = lattice.to_compact() if compact else lattice
    old, new = model(OLD, 2), model(NEW, order)
    grammars = Grammar.from_lm(old, WORDS), Grammar.from_lm(new, WORDS)
    rescored = lattice.rescore_lm(*grammars, lm_scale=0.8)
    paths, expected = all_paths(rescored), all_paths(lattice)
    assert len(paths) == len(expected)
    for (key, ours), (key_before, before) in zip(paths, expected, strict=True):
        assert key == key_before
        words = [NAMES[word] for word in key[0]]
        change = 0.8 * (old.log_prob(words) - new.log_prob(words))
        assert ours[0] - before[0] == pytest.approx(change, abs=1e-4)
        assert ours[1] == before[1]


def all_paths(lattice: Lattice) -> list:
    """(words, tids), (graph cost, acoustic cost) of all paths, in an order of their own."""
    paths = lattice.nbest(100_000)
    return sorted(((tuple(p.words), tuple(p.tids)), (p.graph_cost, p.acoustic_cost)) for p in paths)


def test_there_and_back_again():
    lattice = random_lattice(5)
    old, new = Grammar.from_lm(model(OLD, 3), WORDS), Grammar.from_lm(model(NEW, 3), WORDS)
    same = lattice.rescore_lm(old, new).rescore_lm(new, old)
    mine, expected = all_paths(same), all_paths(lattice)
    assert [key for key, _ in mine] == [key for key, _ in expected]
    np.testing.assert_allclose(
        [pair for _, pair in mine], [pair for _, pair in expected], atol=1e-4
    )


@pytest.mark.golden
def test_the_grammar_of_kaldis_lattices(golden):
    """Without its G the graph costs hold transitions, pronunciations and silences alone."""
    folder = golden / "lattice"
    symbols = dict(line.split() for line in (folder / "words.txt").read_text().splitlines())
    words = {word: int(i) for word, i in symbols.items()}
    names = {i: word for word, i in words.items()}
    lm = NgramLM.read_arpa(folder / "G.arpa")
    grammar = Grammar.from_lm(lm, words)
    for lattice in kaldi.lattices(golden, "wide.tri3b").values():
        without = lattice.rescore_lm(grammar, None)
        paths = kaldi.weighted_paths(without)
        for key, (graph, acoustic) in kaldi.weighted_paths(lattice).items():
            log_prob = lm.log_prob([names[word] for word in key[0]])
            assert paths[key] == pytest.approx((graph + log_prob, acoustic), abs=1e-4)
        assert without.best_path(lm_scale=0.0).acoustic_cost == pytest.approx(
            lattice.best_path(lm_scale=0.0).acoustic_cost
        )


def test_words_without_probability():
    lattice = random_lattice(6)
    only_a = Grammar.from_lm(model(["a a", "a"], 2), {"<eps>": 0, "a": 1, "#0": 4})
    left = lattice.rescore_lm(None, only_a)
    kept = {words for (words, _), _ in all_paths(lattice) if set(words) <= {1}}
    assert {words for (words, _), _ in all_paths(left)} == kept
    only_other = Grammar.from_lm(model(["z"], 2), {"<eps>": 0, "z": 9, "#0": 4})
    all_words = Lattice.from_arrays([0, 1, 1], [(1, 3, 1, 0.0, 0.0)], [(np.inf, np.inf), (0, 0)])
    with pytest.raises(InputError, match="no probability for word 3"):
        all_words.rescore_lm(None, only_other)
    assert Lattice.from_arrays([0], [], []).rescore_lm(None, only_a).num_states == 0


def grammar(arcs, start=0) -> Grammar:
    """Of arcs (from, to, word); all states are final."""
    sources = [arc[0] for arc in arcs]
    table = np.array([(word, word, 0.5, to) for _, to, word in arcs], ARC)
    return Grammar(Fst.from_arcs(start, sources, table, np.zeros(3)), backoff=4)


@pytest.mark.parametrize(
    ("arcs", "start", "problem"),
    [
        ([(0, 1, 4), (1, 0, 4)], 0, "in a circle"),
        ([(0, 0, 4)], 0, "in a circle"),
        ([(0, 1, 4), (0, 2, 0)], 0, "two back-off arcs"),
        ([(0, 7, 1)], 0, "leads nowhere"),
        ([(0, 1, 1)], -1, "empty"),
    ],
)
def test_what_is_no_grammar_is_refused(arcs, start, problem):
    with pytest.raises(InputError, match=problem):
        grammar(arcs, start)
