"""What a split keeps on disk."""

import numpy as np
import pytest

from kdspeech.gmm.store import FrameStore, GraphStore
from kdspeech.gmm.training_graph import ARC, TrainingGraph


def test_frames_come_back_by_utterance_and_speaker(tmp_path):
    parts = [np.full((n, 2), n, np.float32) for n in (3, 5, 4)]
    items = zip(("a", "b", "c"), ("x", "y", "x"), parts, strict=True)
    store = FrameStore.create(tmp_path, items)
    assert (len(store), store.num_frames, store.by_speaker) == (3, 12, {"x": [0, 2], "y": [1]})
    assert np.array_equal(store.array("base")[store.frames(1)], parts[1])
    assert [list(block) for block in store.blocks(8)] == [[0, 1], [2]]
    assert [list(block) for block in store.blocks(1)] == [[0], [1], [2]]
    assert store.span(range(1, 3)) == slice(3, 12)


def test_an_alignment_replaces_the_one_before_when_it_is_whole(tmp_path):
    store = FrameStore.create(tmp_path, [("a", "x", np.zeros((2, 1), np.float32))])
    with store.new_alignment() as tids:
        tids[:] = 3
    assert list(store.aligned(store.alignment())) == [0]
    with pytest.raises(ValueError), store.new_alignment() as tids:
        tids[:] = 4
        raise ValueError
    assert store.alignment().tolist() == [3, 3]
    with store.new_alignment():
        pass
    assert list(store.aligned(store.alignment())) == []


def test_graphs_come_back_by_utterance(tmp_path):
    graphs = [
        TrainingGraph(start, np.array([(0, tid, 0, 1, 0.5)] * tid, ARC), np.arange(2.0, dtype="f"))
        for start, tid in ((0, 1), (1, 3), (0, 2))
    ]
    store = GraphStore.create(tmp_path, graphs)
    for i, graph in enumerate(graphs):
        assert store[i].start == graph.start
        assert np.array_equal(store[i].arcs, graph.arcs)
        assert np.array_equal(store[i].finals, graph.finals)
