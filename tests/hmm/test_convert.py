"""Alignments cut into phones and converted to another model."""

import numpy as np
import pytest

from kdspeech.hmm import AcousticModel, DecisionTree, TransitionModel, default_topology
from kdspeech.hmm.convert import AlignmentConverter
from kdspeech.hmm.tree import Split, Table, monophone_tree
from kdspeech.io.errors import InputError

TOPOLOGY = default_topology(silence=[1], nonsilence=[2, 3])
MONO = TransitionModel.from_tree(monophone_tree([[1], [2], [3]], TOPOLOGY), TOPOLOGY)


def tid(phone, hmm_state, arc, model=MONO):
    """Arc 0 is the self-loop of the nonsilence states, 1 goes on."""
    rows = model.tuples[:, :2].tolist()
    return model.tid(rows.index([phone, hmm_state]) + 1, arc)


def phone_tids(phone, loops=(0, 0, 0), reordered=False):
    """The transition ids of one nonsilence phone."""
    tids = []
    for state, count in enumerate(loops):
        stay, go = [tid(phone, state, 0)] * count, [tid(phone, state, 1)]
        tids += go + stay if reordered else stay + go
    return tids


@pytest.mark.parametrize("reordered", [False, True])
def test_split_at_repeated_phones(reordered):
    pieces = [
        phone_tids(2, (1, 0, 2), reordered),
        phone_tids(2, (0, 0, 1), reordered),
        phone_tids(3, (0, 3, 0), reordered),
        phone_tids(3, (1, 0, 0), reordered),
    ]
    found = MONO.split_to_phones(np.concatenate(pieces))
    assert [phone for phone, _ in found] == [2, 2, 3, 3]
    assert [tids.tolist() for _, tids in found] == pieces


def test_split_of_silence_that_goes_back():
    # 0 -> 1 -> 3 -> 2 -> 4 -> out; a state's arcs are in the order of the topology.
    tids = [tid(1, 0, 1), tid(1, 1, 2), tid(1, 3, 1), tid(1, 2, 3), tid(1, 4, 0), tid(1, 4, 1)]
    found = MONO.split_to_phones(np.array([*tids, *phone_tids(2)]))
    assert [(phone, len(part)) for phone, part in found] == [(1, 6), (2, 3)]


def test_cut_off_and_foreign_alignments():
    whole = np.array(phone_tids(2) + phone_tids(3))
    assert [p for p, _ in MONO.split_to_phones(whole[1:-1])] == [2, 3]
    assert MONO.split_to_phones(whole[:0]) == []
    convert = AlignmentConverter(MONO, MONO, monophone_tree([[1], [2], [3]], TOPOLOGY))
    np.testing.assert_array_equal(convert(whole), whole)
    for bad, message in ((whole[:-1], "cut off"), (whole[1:], "cut off"), (whole + 900, "930")):
        with pytest.raises(InputError, match=f"utt1: .*{message}"):
            convert(bad, "utt1")


def triphone_tree():
    """Phones 2 and 3 have other pdfs after phone 1 (silence) or at the start."""

    def classes(first):
        return Table(-1, tuple(range(first, first + 3)))

    speech = Split(0, frozenset([0, 1]), classes(5), classes(8))
    return DecisionTree(3, 1, Split(1, frozenset([1]), Table(-1, tuple(range(5))), speech))


@pytest.mark.parametrize("reordered", [False, True])
def test_conversion_to_triphones(reordered):
    tree = triphone_tree()
    new = TransitionModel.from_tree(tree, TOPOLOGY)
    assert new.num_pdfs == 11
    old = np.array(phone_tids(2, (1, 2, 0), reordered) + phone_tids(3, (0, 0, 1), reordered))
    found = AlignmentConverter(MONO, new, tree)(old)
    np.testing.assert_array_equal(new.tid_to_phone[found], MONO.tid_to_phone[old])
    np.testing.assert_array_equal(new.tid_to_hmm_state[found], MONO.tid_to_hmm_state[old])
    np.testing.assert_array_equal(new.is_self_loop[found], MONO.is_self_loop[old])
    first = np.where(new.tid_to_phone[found] == 2, 5, 8)
    np.testing.assert_array_equal(new.tid_to_pdf[found], first + new.tid_to_hmm_state[found])


def test_models_of_other_topologies_are_refused():
    topology = default_topology([1], [2, 3], num_nonsilence_states=2)
    tree = monophone_tree([[1], [2], [3]], topology)
    with pytest.raises(InputError, match="different topologies"):
        AlignmentConverter(MONO, TransitionModel.from_tree(tree, topology), tree)


@pytest.mark.golden
def test_conversion_between_kaldis_models(golden):
    """tri3b's alignments as tri2b's and back: phones, states and loops stay."""
    models = golden / "gmm" / "models"
    arrays = np.load(golden / "gmm" / "gmm.npz")
    parts = {}
    for name in ("mono", "tri2b", "tri3b"):
        tree = DecisionTree.read(models / f"{name}.tree")
        parts[name] = AcousticModel.read(models / f"{name}.mdl").transitions, tree
    for other in ("mono", "tri2b"):
        there = AlignmentConverter(parts["tri3b"][0], *parts[other])
        back = AlignmentConverter(parts[other][0], *parts["tri3b"])
        for key in arrays.files:
            if key.startswith("ali_tid/tri3b/"):
                tids = there(arrays[key])
                assert len(np.unique(parts[other][0].tid_to_pdf[tids])) > 3
                np.testing.assert_array_equal(back(tids), arrays[key])
