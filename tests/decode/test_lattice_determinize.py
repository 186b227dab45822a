"""Determinization against Kaldi's, and against all paths of small random lattices."""

import golden_lattices as kaldi
import numpy as np
import pytest
from random_lattices import random_lattice, transitions

from kdspeech.decode import Graph, Lattice, LatticeDecoder
from kdspeech.hmm import AcousticModel
from kdspeech.io.errors import InputError

CASES = [
    ("det.mono", "mono", True),
    ("det_wordonly.mono", "mono", False),
    ("det_minimized.mono", "mono", True),
    ("det.tri3b", "tri3b", True),
]


@pytest.mark.golden
@pytest.mark.parametrize(("name", "system", "phone_determinize"), CASES)
def test_determinization_is_kaldis(golden, name, system, phone_determinize):
    transitions = AcousticModel.read(golden / "gmm" / "models" / f"{system}.mdl").transitions
    expected = kaldi.lattices(golden, name)
    for utterance, raw in kaldi.lattices(golden, f"raw.{system}").items():
        lattice = raw.determinize(
            transitions, beam=6, acoustic_scale=0.1, phone_determinize=phone_determinize
        )
        # The raw lattice's text has six digits: 0.0005 on each of a few hundred arcs.
        kaldi.assert_same_paths(lattice, expected[utterance], atol=0.03)
        if "minimized" not in name:
            assert lattice.num_arcs == expected[utterance].num_arcs


def best_of_words(lattice: Lattice) -> dict[tuple, tuple]:
    best = {}
    for path in lattice.nbest(200_000, acoustic_scale=0.5):
        best.setdefault(tuple(path.words), path)
    return best


BEAMS = {"exact": (1000, 6, 0.1), "wide": (20, 10, 0.0833333)}


@pytest.mark.golden
@pytest.mark.parametrize("name", BEAMS)
@pytest.mark.parametrize("system", ["mono", "tri3b"])
def test_decoded_lattices_are_kaldis(golden, name, system):
    beam, lattice_beam, scale = BEAMS[name]
    transitions = AcousticModel.read(golden / "gmm" / "models" / f"{system}.mdl").transitions
    graph = Graph.read(golden / "lattice" / f"HCLG.{system}.fst")
    decoder = LatticeDecoder(
        graph, transitions.tid_to_pdf, beam, lattice_beam, acoustic_scale=scale
    )
    for utterance, expected in kaldi.lattices(golden, f"{name}.{system}").items():
        if f"loglikes/{system}/{utterance}" not in kaldi.arrays(golden).files:
            continue
        raw = decoder.decode(kaldi.arrays(golden)[f"loglikes/{system}/{utterance}"]).lattice
        lattice = raw.determinize(transitions, lattice_beam, scale)
        kaldi.assert_same_paths(lattice, expected, atol=0.03)
        assert (lattice.num_states, lattice.num_arcs) == (expected.num_states, expected.num_arcs)


@pytest.mark.parametrize("phone_determinize", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_each_word_sequence_keeps_its_best_path(seed, phone_determinize):
    lattice = random_lattice(seed)
    expected = best_of_words(lattice)
    for beam in (1.5, 1000.0):
        found = lattice.determinize(
            transitions(6), beam, acoustic_scale=0.5, phone_determinize=phone_determinize
        )
        paths = best_of_words(found)
        assert len(paths) == len(found.nbest(200_000))
        limit = beam + next(iter(expected.values())).graph_cost
        limit += 0.5 * next(iter(expected.values())).acoustic_cost
        for words, path in expected.items():
            cost = path.graph_cost + 0.5 * path.acoustic_cost
            if cost < limit - 1e-3:
                ours = paths[words]
                assert ours.graph_cost + 0.5 * ours.acoustic_cost == pytest.approx(cost, abs=1e-3)
                assert len(ours.tids) == 5
        if beam == 1000.0:
            assert paths.keys() == expected.keys()


def test_little_memory_means_a_smaller_beam_but_the_best_path():
    lattice = random_lattice(3, frames=14)
    best = lattice.best_path(acoustic_scale=0.5)
    whole = lattice.determinize(transitions(6), beam=6, acoustic_scale=0.5)
    assert whole.num_arcs > 1000
    for max_mem in (20_000, 100_000, 1_000_000):
        lattice_ = lattice.determinize(transitions(6), 6, acoustic_scale=0.5, max_mem=max_mem)
        assert 0 < lattice_.num_arcs <= whole.num_arcs
        path = lattice_.best_path(acoustic_scale=0.5)
        assert list(path.words) == list(best.words)
        assert path.graph_cost == pytest.approx(best.graph_cost, abs=1e-4)


def test_what_cannot_be_determinized():
    empty = Lattice.from_arrays([0], [], [])
    assert empty.determinize(transitions(6)).num_states == 0
    dead_end = Lattice.from_arrays([0, 1, 1], [(1, 1, 1, 0.0, 0.0)], [(np.inf, np.inf)] * 2)
    assert dead_end.determinize(transitions(6)).num_states == 0
    with pytest.raises(InputError, match="the model lacks"):
        random_lattice(0).determinize(transitions(4))
    with pytest.raises(ValueError, match="beam"):
        random_lattice(0).determinize(transitions(6), beam=0.0)
