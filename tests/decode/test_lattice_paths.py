"""Best paths, N-best lists and pruning, against Kaldi's lattice-1best, -to-nbest and -prune."""

import golden_lattices as kaldi
import numpy as np
import pytest

from kdspeech.decode import Lattice
from kdspeech.io.errors import InputError

ONE_BEST = {
    "1best_a0.1000": ("det", {}),
    "1best_a0.0833": ("det", {"acoustic_scale": 0.08333333}),
    "1best_wip": ("det", {"lm_scale": 2, "word_ins_penalty": 1.5}),
    "1best_wide": ("wide", {}),
}


@pytest.mark.golden
@pytest.mark.parametrize("system", ["mono", "tri3b"])
@pytest.mark.parametrize("case", ONE_BEST)
def test_best_path_is_kaldis(golden, system, case):
    name, options = ONE_BEST[case]
    lattices = kaldi.lattices(golden, f"{name}.{system}")
    for utterance, expected in kaldi.results(golden)[f"{system}_{case}"].items():
        path = lattices[utterance].best_path(**{"acoustic_scale": 0.1, **options})
        assert list(path.words) == expected["words"]
        assert list(path.tids) == expected["alignment"]
        assert path.graph_cost == pytest.approx(expected["graph_cost"], rel=1e-6, abs=1e-4)
        assert path.acoustic_cost == pytest.approx(expected["acoustic_cost"], rel=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("system", ["mono", "tri3b"])
def test_nbest_is_kaldis(golden, system):
    lattices = kaldi.lattices(golden, f"det.{system}")
    expected = kaldi.results(golden)[f"{system}_nbest"]
    for utterance, lattice in lattices.items():
        paths = lattice.nbest(5, acoustic_scale=0.1)
        assert {f"{utterance}-{i + 1}" for i in range(len(paths))} == {
            key for key in expected if key.startswith(utterance)
        }
        for rank, path in enumerate(paths, 1):
            result = expected[f"{utterance}-{rank}"]
            assert list(path.words) == result["words"]
            assert path.graph_cost == pytest.approx(result["graph_cost"], rel=1e-6, abs=1e-4)
            assert path.acoustic_cost == pytest.approx(result["acoustic_cost"], rel=1e-6)


@pytest.mark.golden
def test_pruning_is_kaldis(golden):
    lattices = kaldi.lattices(golden, "det.mono")
    for utterance, expected in kaldi.lattices(golden, "pruned.mono").items():
        pruned = lattices[utterance].prune(3, acoustic_scale=0.1)
        kaldi.assert_same_paths(pruned, expected)
        assert (pruned.num_states, pruned.num_arcs) == (expected.num_states, expected.num_arcs)


def small() -> Lattice:
    """Two words after one another, the second one of two: word 2 costs 4, word 3 costs 3 + 0.5."""
    arcs = [(7, 1, 1, 1.0, 10.0), (8, 2, 2, 2.0, 20.0), (9, 3, 2, 3.0, 5.0)]
    infinite = (np.inf, np.inf)
    return Lattice.from_arrays([0, 1, 3, 3], arcs, [infinite, infinite, (0.5, 1.0)])


def test_scales_choose_the_path():
    by_graph = small().best_path(acoustic_scale=0.0)
    assert (list(by_graph.words), list(by_graph.tids)) == ([1, 2], [7, 8])
    assert (by_graph.graph_cost, by_graph.acoustic_cost) == (3.5, 31.0)
    assert (list(by_graph.begins), list(by_graph.ends)) == ([0, 1], [1, 2])
    by_acoustics = small().best_path(acoustic_scale=1.0, lm_scale=0.0)
    assert list(by_acoustics.words) == [1, 3]
    assert [list(path.words) for path in small().nbest(9, acoustic_scale=1.0)] == [[1, 3], [1, 2]]


def test_pruning_keeps_the_best_path():
    assert small().prune(0.0, acoustic_scale=1.0).num_arcs == 2
    assert small().prune(13.9, acoustic_scale=1.0).num_arcs == 2
    assert small().prune(14.1, acoustic_scale=1.0).num_arcs == 3


def test_an_empty_lattice_has_no_path():
    empty = Lattice.from_arrays([0], [], [])
    assert empty.nbest(3) == []
    assert empty.prune(1.0).num_states == 0
    with pytest.raises(InputError, match="empty"):
        empty.best_path()
