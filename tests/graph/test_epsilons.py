"""Local epsilon removal and weight pushing keep what every pair of label sequences costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdspeech import _core
from kdspeech.graph.epsilons import push_weights, remove_epsilons, remove_symbols
from kdspeech.io.errors import InputError
from kdspeech.io.fst import ARC, Fst

NUM_STATES = 6
ARCS = st.lists(
    st.tuples(
        st.integers(0, NUM_STATES - 2),
        st.integers(1, 3),
        st.integers(0, 2),
        st.integers(0, 2),
        st.floats(0, 4, width=16),
    ),
    min_size=1,
    max_size=12,
)
FINALS = st.lists(st.sampled_from([np.inf, 0.0, 1.5]), min_size=NUM_STATES, max_size=NUM_STATES)


def make(rows, finals) -> Fst:
    """An acyclic transducer; a row is state, step to the next one, labels, cost."""
    table = [(i, o, cost, min(s + step, NUM_STATES - 1)) for s, step, i, o, cost in rows]
    return Fst.from_arcs(0, [row[0] for row in rows], np.array(table, ARC), finals)


def language(fst: Fst) -> dict[tuple, float]:
    """The least cost of every pair of label sequences."""
    found: dict[tuple, float] = {}
    stack = [(fst.start, (), (), 0.0)]
    while stack:
        state, ins, outs, cost = stack.pop()
        if np.isfinite(fst.finals[state]):
            total = cost + float(fst.finals[state])
            found[ins, outs] = min(found.get((ins, outs), np.inf), total)
        for i, o, more, to in fst.arcs[fst.offsets[state] : fst.offsets[state + 1]].tolist():
            stack.append((to, ins + (i,) * (i > 0), outs + (o,) * (o > 0), cost + more))
    return found


@given(ARCS, FINALS)
def test_removal_keeps_the_language(rows, finals):
    fst = make(rows, finals)
    smaller = remove_epsilons(fst)
    before, after = language(fst), language(smaller)
    assert before.keys() == after.keys()
    assert all(after[key] == pytest.approx(before[key], abs=1e-3) for key in before)
    assert len(smaller.arcs) <= len(fst.arcs)


def test_chain_becomes_one_arc():
    fst = make([(0, 1, 0, 2, 0.5), (1, 1, 0, 0, 1.0), (2, 1, 1, 0, 0.25)], [np.inf] * 3 + [0.5] * 3)
    smaller = remove_epsilons(fst)
    assert smaller.arcs.tolist() == [(1, 2, 1.75, 3)]


def test_arcs_move_ahead_of_an_epsilon():
    rows = [(0, 1, 1, 0, 0.0), (1, 1, 0, 2, 1.0), (1, 1, 2, 0, 2.0)]
    smaller = remove_epsilons(make(rows, [np.inf, np.inf, 0, 0, 0, 0]))
    kept = np.log(np.exp(-1) + np.exp(-2)) + 2  # what the arc that stays takes over
    costs = [cost for *_, cost, _ in smaller.arcs.tolist()]
    assert [arc[:2] for arc in smaller.arcs.tolist()] == [(1, 0), (1, 2), (2, 0)]
    np.testing.assert_allclose(costs, [kept, 1.0, 2 - kept], atol=1e-6)


def test_bad_arrays_are_errors():
    fst = make([(0, 1, 1, 1, 0.0)], [0.0] * NUM_STATES)
    far = fst.arcs.copy()
    far["next"] = 99
    for offsets, arcs in ((fst.offsets[:-1], fst.arcs), (fst.offsets, far)):
        with pytest.raises(InputError, match="do not fit"):
            _core.graph.remove_epsilons(0, fst.finals, offsets, arcs)


def test_epsilon_cycle_is_an_error():
    arcs = np.array([(0, 0, 1.0, 1), (0, 0, 1.0, 0)], ARC)
    with pytest.raises(InputError, match="cycle of epsilon"):
        remove_epsilons(Fst.from_arcs(0, [0, 1], arcs, [np.inf, 0.0]))


def test_symbols_become_epsilon():
    fst = make([(0, 1, 1, 1, 0.0), (0, 1, 2, 1, 0.0)], [0.0] * NUM_STATES)
    assert remove_symbols(fst, 2).arcs["ilabel"].tolist() == [1, 0]
    assert fst.arcs["ilabel"].tolist() == [1, 2]


@given(ARCS, st.lists(st.sampled_from([0.0, 1.5]), min_size=NUM_STATES, max_size=NUM_STATES))
def test_pushing_keeps_the_language(rows, finals):
    fst = make(rows, finals)
    before, after = language(fst), language(push_weights(fst))
    assert before.keys() == after.keys()
    assert all(after[key] == pytest.approx(before[key], abs=1e-3) for key in before)


def test_pushing_evens_out_what_leaves_states():
    fst = make(
        [(0, 1, 1, 1, 0.1), (0, 2, 1, 1, 3.0), (1, 1, 1, 1, 0.7), (2, 3, 1, 1, 2.0)], [9] * 6
    )
    pushed = push_weights(fst, delta=1e-6)
    sums = np.exp(-pushed.finals)
    np.add.at(sums, pushed.sources, np.exp(-pushed.arcs["cost"]))
    np.testing.assert_allclose(sums, sums[0], rtol=1e-4)
