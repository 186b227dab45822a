"""Training graphs: costs of transitions, paths without a model, the careful dead end."""

import numpy as np
import pytest

from kdspeech.decode import align
from kdspeech.gmm.training_graph import ARC, TrainingGraph, transition_costs
from kdspeech.graph import Lang, TrainingGraphs
from kdspeech.hmm import TransitionModel
from kdspeech.hmm.initial import init_mono

INF = np.inf


def graph() -> TrainingGraph:
    """0 -1-> 1 -(nothing)-> 2 -2-> 3, a short cut 0 -5-> 3, loops 3 at 1 and 4 at 3; 3 is final."""
    rows = [(0, 1, 7, 1, 0.5), (0, 5, 0, 3, 0.1), (1, 3, 0, 1, 0.0), (1, 0, 0, 2, 0.25)]
    rows += [(2, 2, 0, 3, 0.0), (3, 4, 0, 3, 0.0)]
    return TrainingGraph(0, np.array(rows, ARC), np.array([INF, INF, INF, 0.125], np.float32))


def test_frames_are_dealt_out_evenly():
    found = {tuple(graph().equal_path(7, str(seed)).tolist()) for seed in range(20)}
    assert found == {(1, 3, 3, 3, 2, 4, 4), (5, 4, 4, 4, 4, 4, 4)}


def test_the_same_seed_gives_the_same_path():
    assert len({tuple(graph().equal_path(9, "3 utt").tolist()) for _ in range(5)}) == 1


def test_utterances_that_are_too_short():
    assert graph().min_frames() == 1
    assert graph().equal_path(1, "").tolist() == [5]  # no random path needs to have been so short
    assert graph().equal_path(0, "") is None
    without_loops = TrainingGraph(0, graph().arcs[[1]], graph().finals)
    assert without_loops.equal_path(2, "") is None


def test_costs_go_by_transition_id():
    costs = np.arange(6, dtype=np.float32)
    searched = graph().with_costs(costs)
    wanted = {(a["tid"].item(), round(a["cost"].item() + costs[a["tid"]].item(), 4))
              for a in graph().arcs}  # fmt: skip
    assert {(a["tid"].item(), round(a["cost"].item(), 4)) for a in searched.arcs} == wanted


def test_careful_leads_astray_only_those_who_end_early():
    careful = graph().with_costs(np.zeros(6, np.float32), careful=True)
    assert careful.num_states == 8 and careful.num_arcs == 13
    assert np.isinf(careful.finals[4:]).all()
    scores = np.zeros((4, 6), np.float32)
    plain = align(graph().with_costs(np.zeros(6, np.float32)), scores, np.arange(6))
    found = align(careful, scores, np.arange(6))
    assert found.tids.tolist() == plain.tids.tolist() and found.cost == pytest.approx(plain.cost)


@pytest.mark.golden
def test_self_loops_are_scaled_apart(golden):
    transitions = TransitionModel.read(golden / "gmm/models/tri3b.mdl")
    plain = transition_costs(transitions, 1.0, 1.0)
    assert np.allclose(plain[1:], -transitions.log_probs[1:], atol=1e-6)
    scaled = transition_costs(transitions)
    loops = transitions.is_self_loop
    assert np.allclose(scaled[loops], 0.1 * plain[loops], atol=1e-6)
    # A state of one way on: leaving it costs the scaled probability of leaving alone.
    state = transitions.tid_to_state
    single = [t for t in np.flatnonzero(~loops)[1:] if (state == state[t]).sum() == 2]
    assert np.allclose(scaled[single], 0.1 * plain[single], atol=1e-5)


def test_graphs_without_scales_and_costs_put_in_later_are_graphs_with_scales(tmp_path):
    from spoken import make_lang

    lang = Lang.read(make_lang(tmp_path))
    feats = np.random.default_rng(0).standard_normal((50, 2))
    model, tree = init_mono(lang.topo, [feats], lang.int_rows("sets"))
    words = lang.word_ids(["ba", "add"])
    with_scales = TrainingGraphs(lang, tree, model.transitions)(words)
    without = TrainingGraphs(lang, tree, model.transitions, 0.0, 0.0)(words)
    later = TrainingGraph.of(without).with_costs(transition_costs(model.transitions))
    scores = np.random.default_rng(1).standard_normal((40, tree.num_pdfs)).astype(np.float32)
    one, two = (
        align(g, scores, model.transitions.tid_to_pdf, beam=1000)
        for g in (with_scales.to_kaldifst(), later)
    )
    assert one.tids.tolist() == two.tids.tolist()
    assert one.graph_cost == pytest.approx(two.graph_cost, abs=1e-3)
