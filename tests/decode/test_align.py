"""Alignment: Kaldi's best paths, hand-computed ones, and input that cannot be aligned."""

import kaldifst
import numpy as np
import pytest
from golden_decode import SYSTEMS, decoding_cases, system

from kdspeech.decode import Graph, align
from kdspeech.io.errors import InputError

INF = np.inf


def left_to_right(num_phones: int) -> Graph:
    """Phone i: transition ids 2 i + 1 (forward, on arrival) and 2 i + 2 (self-loop)."""
    i = np.arange(num_phones)
    return Graph.from_arrays(
        sources=np.concatenate([i, i + 1]),
        nexts=np.concatenate([i + 1, i + 1]),
        tids=np.concatenate([2 * i + 1, 2 * i + 2]),
        words=np.concatenate([10 + i, 0 * i]),
        costs=np.full(2 * num_phones, 0.5),
        finals=[INF] * num_phones + [0.25],
    )


def phone_pdfs(num_phones: int) -> np.ndarray:
    return np.concatenate([[-1], np.repeat(np.arange(num_phones), 2)])


def test_hand_computed_path():
    loglikes = np.full((5, 2), -10.0)
    loglikes[:2, 0] = loglikes[2:, 1] = -1.0
    found = align(left_to_right(2), loglikes, phone_pdfs(2), acoustic_scale=0.5)
    assert found.tids.tolist() == [1, 2, 3, 4, 4]
    assert found.words.tolist() == [10, 11]
    assert found.graph_cost == pytest.approx(5 * 0.5 + 0.25)
    assert found.acoustic_cost == pytest.approx(5.0)
    assert found.cost == pytest.approx(2.75 + 0.5 * 5.0)
    assert not found.retried


def test_words_and_costs_of_epsilon_arcs_count():
    # 0 -a:5-> 1 -eps:7-> 2 -eps:8-> 3 (final), and a dearer way 1 -eps-> 3.
    graph = Graph.from_arrays(
        [0, 1, 2, 1], [1, 2, 3, 3], [1, 0, 0, 0], [5, 7, 8, 9], [1.0, 0.25, 0.25, 0.75],
        [INF, INF, INF, 0.0],
    )  # fmt: skip
    found = align(graph, [[-2.0]], [-1, 0])
    assert found.words.tolist() == [5, 7, 8]
    assert found.graph_cost == pytest.approx(1.5)


def test_retry_beam_finds_what_the_narrow_beam_lost():
    # Many cheap states at first (so that min_active does not keep the right one), of which only
    # the dearest leads to the end.
    width = 50
    way = np.arange(1, width + 1)
    graph = Graph.from_arrays(
        np.concatenate([0 * way, [width]]),
        np.concatenate([way, [width + 1]]),
        np.ones(width + 1),
        np.zeros(width + 1),
        np.concatenate([np.zeros(width - 1), [15.0], [0.0]]),
        [INF] * (width + 1) + [0.0],
    )
    loglikes = np.zeros((2, 1))
    found = align(graph, loglikes, [-1, 0], beam=10)
    assert found.retried and found.graph_cost == pytest.approx(15.0)
    assert align(graph, loglikes, [-1, 0], beam=10, retry_beam=0) is None
    assert not align(graph, loglikes, [-1, 0], beam=20).retried


def test_too_short_utterance_has_no_alignment():
    assert align(left_to_right(3), np.zeros((2, 3)), phone_pdfs(3)) is None


def test_bad_loglikes_are_named():
    loglikes = np.zeros((4, 3), np.float32)
    loglikes[2, 1] = np.nan
    with pytest.raises(InputError, match="frame 2, pdf 1 is nan"):
        align(left_to_right(3), loglikes, phone_pdfs(3))
    loglikes[2, 1] = np.inf
    with pytest.raises(InputError, match="frame 2, pdf 1 is inf"):
        align(left_to_right(3), loglikes, phone_pdfs(3))
    with pytest.raises(InputError, match="no frames"):
        align(left_to_right(3), np.zeros((0, 3)), phone_pdfs(3))
    with pytest.raises(InputError, match="shape"):
        align(left_to_right(3), np.zeros(3), phone_pdfs(3))


def test_graph_and_model_must_fit():
    loglikes = np.zeros((4, 3))
    with pytest.raises(InputError, match="transition id 6, the model ends at 5"):
        align(left_to_right(3), loglikes, phone_pdfs(3)[:-1])
    with pytest.raises(InputError, match="3 pdfs, the graph needs 4"):
        align(left_to_right(4), loglikes, phone_pdfs(4))
    with pytest.raises(InputError, match="transition id 2 of the graph has no pdf"):
        align(left_to_right(3), loglikes, [-1, 0, -1, 1, 1, 2, 2])


def test_impossible_pdfs_are_allowed():
    loglikes = np.full((3, 3), -1.0)
    loglikes[1, 2] = -INF
    found = align(left_to_right(3), loglikes, phone_pdfs(3))
    assert found.tids.tolist() == [1, 3, 5]
    loglikes[1] = -INF
    assert align(left_to_right(3), loglikes, phone_pdfs(3)) is None


@pytest.mark.golden
@pytest.mark.parametrize("name", SYSTEMS)
def test_best_paths_are_those_of_gmm_decode_faster(golden, name):
    golden_system, count = system(golden, name), 0
    for case, utterance, kaldi in decoding_cases(golden, name, "decode_faster"):
        if "max-active" in case["options"]:
            continue
        found = align(
            golden_system.graph,
            golden_system.loglikes[utterance],
            golden_system.tid_to_pdf,
            beam=case["options"]["beam"],
            acoustic_scale=case["options"]["acoustic-scale"],
        )
        where = case["id"], utterance
        assert found.tids.tolist() == kaldi["alignment"], where
        assert found.words.tolist() == kaldi["words"], where
        assert found.graph_cost == pytest.approx(kaldi["graph_cost"], abs=1e-3)
        assert found.acoustic_cost == pytest.approx(kaldi["acoustic_cost"], rel=1e-6, abs=1e-3)
        count += 1
    assert count >= 3


@pytest.mark.golden
def test_every_way_to_a_graph_gives_the_same_alignment(golden, tmp_path):
    mono = system(golden, "mono")
    loglikes = mono.loglikes["u0_george"]
    fst = kaldifst.StdVectorFst(kaldifst.StdConstFst.read(str(mono.graph_path)))
    mono.graph.write(tmp_path / "graph")
    expected = align(mono.graph, loglikes, mono.tid_to_pdf)
    for graph in (fst, mono.graph_path.read_bytes(), Graph.read(tmp_path / "graph")):
        found = align(graph, loglikes, mono.tid_to_pdf)
        np.testing.assert_array_equal(found.tids, expected.tids)
        assert found.cost == expected.cost
