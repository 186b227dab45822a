"""The lattice itself: its arrays, their checks, conversions."""

import pickle

import golden_lattices as kaldi
import numpy as np
import pytest

from kdspeech.decode import Lattice
from kdspeech.io.errors import InputError

OPEN, FINAL = (np.inf, np.inf), (0.0, 0.0)


def two_states(arc=(7, 1, 1, 1.0, 10.0), offsets=(0, 1, 1), finals=(OPEN, FINAL), **strings):
    return Lattice.from_arrays(offsets, [arc], list(finals), **strings)


def test_arrays_are_views_and_read_only():
    arcs = np.zeros(1, two_states().arcs.dtype)
    arcs["nextstate"] = 1
    lattice = Lattice.from_arrays([0, 1, 1], arcs, two_states().finals)
    assert np.shares_memory(lattice.arcs, arcs)
    assert lattice.arcs["graph_cost"].base is not None
    with pytest.raises(ValueError, match="read-only"):
        lattice.arcs["graph_cost"][0] = 1.0


def test_pickles():
    lattice = two_states(
        final_strings=[0, 2], string_offsets=[0, 0, 0, 2], tids=[4, 5], arc=(1, 3, 1, 1.0, 2.0)
    )
    again = pickle.loads(pickle.dumps(lattice))
    assert again.is_compact and list(again.best_path().tids) == [4, 5]
    assert list(again.string(2)) == [4, 5]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"arc": (7, 1, 0, 1.0, 1.0)}, "leads to state 0"),
        ({"arc": (7, 1, 2, 1.0, 1.0)}, "leads to state 2"),
        ({"arc": (7, 1, -1, 1.0, 1.0)}, "leads to state -1"),
        ({"arc": (-7, 1, 1, 1.0, 1.0)}, "label out of range"),
        ({"arc": (7, -1, 1, 1.0, 1.0)}, "label out of range"),
        ({"arc": (7, 1, 1, np.nan, 1.0)}, "no number"),
        ({"arc": (7, 1, 1, 1.0, np.inf)}, "no number"),
        ({"finals": (OPEN, (0.0, np.nan))}, "no number"),
        ({"finals": (OPEN, FINAL, FINAL)}, "as many final costs as states"),
        ({"offsets": (0, 2, 2)}, "do not climb"),
        ({"offsets": (0, 1, 0)}, "do not climb"),
        ({"offsets": (0, -1, 1)}, "do not climb"),
        ({"final_strings": [0, 1], "string_offsets": [0, 0, 1], "tids": [4]}, "label out of range"),
        ({"final_strings": [0, 9], "string_offsets": [0, 0], "tids": [], "arc": (0, 1, 1, 1, 1)},
         "final string out of range"),
        ({"final_strings": [0, 0], "string_offsets": [0, 1], "tids": [4], "arc": (0, 1, 1, 1, 1)},
         "string 0 is not empty"),
        ({"final_strings": [0, 0], "string_offsets": [0, 0, 9], "tids": [4],
          "arc": (0, 1, 1, 1, 1)}, "do not climb"),
        ({"final_strings": [0, 0], "string_offsets": [0, 0, 1], "tids": [0],
          "arc": (0, 1, 1, 1, 1)}, "below 1"),
    ],
)  # fmt: skip
def test_arrays_that_make_no_lattice_are_refused(changes, problem):
    with pytest.raises(InputError, match=problem):
        two_states(**changes)


def test_strings_come_together():
    with pytest.raises(ValueError, match="strings need"):
        two_states(tids=[1])
    with pytest.raises(ValueError, match="a final string for every state"):
        two_states(final_strings=[0], string_offsets=[0, 0], tids=[])


def test_paths_of_different_lengths_have_no_times():
    arcs = [(7, 1, 1, 0, 0), (0, 2, 2, 0, 0), (8, 3, 2, 0, 0)]
    lattice = Lattice.from_arrays([0, 1, 3, 3], arcs, [OPEN, OPEN, FINAL])
    with pytest.raises(InputError, match="different lengths lead to state 2"):
        lattice.state_times()


@pytest.mark.golden
@pytest.mark.parametrize("name", ["det.mono", "wide.tri3b", "word_aligned.mono"])
def test_conversion_keeps_the_paths(golden, name):
    for lattice in kaldi.lattices(golden, name).values():
        expanded = lattice.to_state_level()
        assert not expanded.is_compact
        assert expanded.num_arcs > lattice.num_arcs
        kaldi.assert_same_paths(expanded, lattice)
        kaldi.assert_same_paths(expanded.to_compact(), lattice)
        last = [i for i in range(lattice.num_states) if np.isfinite(lattice.finals[i][0])]
        assert expanded.state_times()[-1] == lattice.num_frames >= lattice.state_times()[last[0]]
