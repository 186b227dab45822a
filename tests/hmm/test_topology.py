"""Topologies and trees: made, written, and refused when they make no sense."""

import numpy as np
import pytest

from kdspeech.hmm import DecisionTree, HmmTopology, TransitionModel, default_topology
from kdspeech.hmm.tree import Split, Table, monophone_tree, stub_tree
from kdspeech.io.errors import InputError

ONE_STATE = """<Topology>
<TopologyEntry>
<ForPhones>
1 2
</ForPhones>
<State> 0 <PdfClass> 0 <Transition> 0 0.5 <Transition> 1 0.5 </State>
<State> 1 </State>
</TopologyEntry>
</Topology>
"""
CHAIN = ONE_STATE.replace("<PdfClass> 0", "<ForwardPdfClass> 0 <SelfLoopPdfClass> 1")


def test_default_topology_is_kaldis():
    topology = default_topology(silence=[1, 2], nonsilence=[3])
    speech, silence = topology.entry(3), topology.entry(2)
    assert [s.transitions for s in speech] == [
        ((0, 0.75), (1, 0.25)), ((1, 0.75), (2, 0.25)), ((2, 0.75), (3, 0.25)), ()
    ]  # fmt: skip
    assert [len(s.transitions) for s in silence] == [4, 4, 4, 4, 2, 0]
    assert [t for t, _ in silence[0].transitions] == [0, 1, 2, 3]
    assert [t for t, _ in silence[2].transitions] == [1, 2, 3, 4]
    assert topology.num_pdf_classes(1) == 5 and topology.phones == [1, 2, 3]
    assert default_topology([1], [2], 1, 1).entry(1) == default_topology([1], [2], 1, 1).entry(2)


@pytest.mark.golden
def test_default_topology_of_kaldis_files(golden):
    wanted = HmmTopology.read(golden / "gmm" / "models" / "topo")
    assert default_topology(range(1, 11), range(11, 91)) == wanted


@pytest.mark.parametrize("text", [ONE_STATE, CHAIN])
def test_both_forms(tmp_path, text):
    topology = HmmTopology.parse(text)
    assert topology.is_hmm() == (text is ONE_STATE)
    for binary in (True, False):
        topology.write(tmp_path / "topo", binary)
        assert HmmTopology.read(tmp_path / "topo") == topology


def test_self_loops_with_their_own_pdfs():
    """As in Kaldi's chain models: readable, with the self-loop's pdf in the tables."""
    model = TransitionModel(HmmTopology.parse(CHAIN), [[1, 0, 0, 1], [2, 0, 2, 3]])
    assert model.tid_to_pdf.tolist() == [-1, 1, 0, 3, 2]
    assert model.num_pdfs == 4 and model.transition_state(2, 0, 2, 3) == 2
    with pytest.raises(InputError, match="own classes"):
        TransitionModel.from_tree(DecisionTree(1, 0, 0), HmmTopology.parse(CHAIN))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.5 </State>", "0.2 </State>", "state 0 sum to 0.7"),
        ("<Transition> 1", "<Transition> 4", "a transition that is not possible"),
        ("<Transition> 1 0.5", "<Transition> 0 0.5", "state 1 is never reached"),
        ("<PdfClass> 0", "<PdfClass> 1", "without gaps"),
        ("<PdfClass> 0", "", "emits nothing and has a self-loop"),
        ("<State> 1 </State>", "", "the last state of a topology is final"),
        ("<State> 1", "<State> 2", "line 7: states are numbered"),
        ("1 2\n", "1 1\n", "line 4: phone 1 has two topologies"),
        ("1 2\n", "\n", "needs phones"),
        ("1 2\n", "0 2\n", "ids from 1"),
        ("1 2\n", "1 b\n", "line 4: expected a whole number, found 'b'"),
        ("<Topology>\n", "<Topo>\n", "line 1: expected <Topology>, found '<Topo>'"),
        ("</TopologyEntry>\n</Topology>", "", "ends too early"),
        ("<Transition> 1 0.5", "<Final> 0.5", "expected </State>, found '<Final>'"),
    ],
)
def test_senseless_topologies(tmp_path, old, new, message):
    (tmp_path / "topo").write_text(ONE_STATE.replace(old, new, 1))
    with pytest.raises(InputError, match=f"topo: .*{message}"):
        HmmTopology.read(tmp_path / "topo")


def test_tree_answers():
    root = Split(1, frozenset([7]), Table(-1, (0, 1, None)), Split(0, frozenset([0, 7]), 2, 3))
    tree = DecisionTree(3, 1, root)
    assert tree.num_pdfs == 4
    assert tree.compute([5, 7, 0], 1) == 1
    assert tree.compute([5, 7, 0], 2) is tree.compute([5, 7, 0], 3) is None
    assert tree.compute([7, 6, 0], 0) == 2 and tree.compute([6, 6, 0], 0) == 3
    assert tree.pdfs_of(6, 0) == [2, 3] and tree.pdfs_of(7, 0) == [0]
    assert tree.map_event({1: 7}) is None
    events = np.array([[1, 5, 7, 0], [0, 7, 6, 0], [0, 6, 6, 0]])
    assert tree.map_events(events).tolist() == [1, 2, 3]


def test_phones_alone_in_their_sets_make_a_table():
    topology = default_topology([1], [2, 4])
    tree = monophone_tree([[1], [2], [4]], topology)
    assert isinstance(tree.root, Table) and tree.root.key == 0
    assert [tree.compute([p], c) for p, c in ((1, 4), (2, 0), (4, 2))] == [4, 5, 10]
    assert tree.compute([3], 0) is None
    with pytest.raises(InputError, match="phones 1 2 cannot share pdfs"):
        monophone_tree([[1, 2], [4]], topology)
    assert stub_tree(1, [[1], [2, 4]], topology, [True, True]) == (
        Split(1, frozenset([1]), 0, 1), 2
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ContextDependency 1 0 ToPdf NULL EndContextDependency", "without leaves"),
        ("ContextDependency 1 1 ToPdf CE 0 EndContextDependency", "central position 1 of 1"),
        ("ContextDependency 1 0 ToPdf CE -4 EndContextDependency", "pdf -4"),
        ("ContextDependency 1 0 ToPdf XX 0 EndContextDependency", "expected CE or SE or TE"),
        ("ContextDependency 1 0 ToPdf SE 0 [ 1 ]\n{ CE 0 NULL } EndContext", "both answers"),
        ("ContextDependency 1 0 ToPdf TE 0 9999 ( CE 0 ) EndContext", "expected CE or SE"),
        ("ContextDependency 1 0 ToPdf " + "SE 0 [ 1 ]\n{ " * 500, "more than 400 levels"),
        ("ContextDependency 1 0 ToPdf CE 0 EndContextDependency CE", "more contents"),
        ("<TransitionModel>", "expected ContextDependency"),
        ("TE 0", "expected ContextDependency, found 'TE'"),
    ],
)
def test_damaged_trees(tmp_path, text, message):
    (tmp_path / "tree").write_text(text)
    with pytest.raises(InputError, match=f"tree: line .*{message}"):
        DecisionTree.read(tmp_path / "tree")


def test_transition_model_of_a_tree_that_lacks_a_phone():
    tree = monophone_tree([[1], [2]], default_topology([1], [2]))
    with pytest.raises(InputError, match="no pdf for phone 3"):
        TransitionModel.from_tree(tree, default_topology([1], [2, 3]))
