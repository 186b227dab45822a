"""The tree against Kaldi's from the same statistics, and by hand."""

import json

import numpy as np
import pytest

from kdspeech.hmm import DecisionTree, HmmTopology, default_topology
from kdspeech.hmm.build_tree import build_tree, map_events
from kdspeech.hmm.clustering import cluster_bottom_up, objective
from kdspeech.hmm.questions import cluster_phones, compile_questions, read_phone_sets
from kdspeech.hmm.roots import Root, read_roots
from kdspeech.hmm.tree import Split, Table
from kdspeech.hmm.tree_stats import MISSING, TreeStats, TreeStatsAccumulator
from kdspeech.io.errors import InputError

TREES = ("tree_150", "tree_60_nocluster", "tree_thresh800", "tree_100_refine")
TOPOLOGY = default_topology([1], [2, 3], num_silence_states=3)


@pytest.fixture(scope="module")
def kaldi_stats(golden):
    arrays = np.load(golden / "gmm/tree/tree_stats.npz")
    events = np.where(arrays["events"] == -999, MISSING, arrays["events"])
    stats = np.concatenate([arrays["count"][:, None], arrays["sum"], arrays["sumsq"]], axis=1)
    return TreeStats(events.astype(np.int32), stats)


@pytest.mark.golden
@pytest.mark.parametrize("name", TREES)
def test_equals_kaldis_tree(golden, kaldi_stats, name):
    cases = json.loads((golden / "cases.json").read_text())["gmm"]["cases"]
    case = next(case for case in cases if case["id"] == name)
    options = {key.replace("-", "_"): value for key, value in case["options"].items()}
    options["round_num_leaves"] = options.get("round_num_leaves") != "false"
    tree, report = build_tree(
        kaldi_stats,
        compile_questions(
            read_phone_sets(golden / "gmm/tree/questions.int"),
            num_pdf_classes=5,
            refine_iters=5 if name.endswith("refine") else 0,
        ),
        read_roots(golden / "gmm/models/roots.int"),
        HmmTopology.read(golden / "gmm/models/topo"),
        **options,
    )
    assert tree == DecisionTree.read(golden / f"gmm/tree/{name}.tree")

    leaves, gain, frames = case["log"]["after_split_leaves_impr_frames"]
    assert (report.leaves_split, report.frames) == (leaves, frames)
    assert report.gain == pytest.approx(gain, rel=2e-6)
    if case["log"]["objf_change_clustering"]:
        assert -report.loss == pytest.approx(case["log"]["objf_change_clustering"][0], rel=3e-4)
        assert report.merged == case["log"]["removed_leaves"][0]


@pytest.mark.golden
def test_questions_are_as_good_as_kaldis(golden, kaldi_stats):
    sets = read_phone_sets(golden / "gmm/models/sets.int")
    ours = cluster_phones(kaldi_stats, sets)
    kaldis = [sorted(s) for s in read_phone_sets(golden / "gmm/tree/questions_auto.int")]
    assert all(sorted(s) in ours for s in sets)  # also the phones without frames
    assert len(ours) == len(kaldis)

    def gain(question):
        middle = kaldi_stats.select(kaldi_stats.events[:, 0] == 1)
        yes = np.isin(middle.events[:, 2], question)
        parts = np.stack([middle.stats[yes].sum(0), middle.stats[~yes].sum(0)])
        return objective(parts).sum() - objective(middle.stats.sum(0))

    assert max(map(gain, ours)) >= max(map(gain, kaldis)) * 0.999


def stats_of(rows) -> TreeStats:
    """One-dimensional statistics: (event, count, mean) with variance 1."""
    events = np.array([event for event, _, _ in rows], np.int32)
    stats = np.array([[n, n * m, n * (m * m + 1)] for _, n, m in rows], np.float64)
    return TreeStats(events, stats)


def test_splits_where_the_means_differ():
    # Phones 2 and 3 share a root; what comes before decides, not the HMM position.
    contexts = [(c, left, p, 0) for c in (0, 1) for left in (4, 5) for p in (2, 3)]
    rows = [(context, 50, 10.0 * context[1] + 0.1 * context[0]) for context in contexts]
    questions = compile_questions([[2], [3], [4], [5]], num_pdf_classes=2)
    tree, report = build_tree(
        stats_of(rows), questions, [Root([2, 3])], TOPOLOGY, thresh=20.0, cluster_thresh=0
    )
    assert tree.root == Split(0, frozenset([4]), 0, 1)
    # Within the leaves a variance of 1 + 0.05^2 stays, of the 25 between them nothing.
    assert report.gain == pytest.approx(0.5 * np.log(26.0025 / 1.0025), rel=1e-5)


def test_roots_that_are_not_shared_or_not_split():
    rows = [((c, MISSING, 1, MISSING), 10, 0.0) for c in range(2)]
    rows += [((0, 2, 2, 2), 10, 5.0), ((1, 2, 2, 2), 10, 50.0)]
    tree, report = build_tree(
        stats_of(rows),
        compile_questions([[1], [2]], num_pdf_classes=2),
        [Root([1], shared=False, split=False), Root([2], split=False)],
        TOPOLOGY,
        cluster_thresh=0,
    )
    assert tree.root == Table(1, (None, Table(-1, (0, 1, 2)), 3))
    assert report.leaves == 4 and report.gain == 0
    assert map_events(tree.root, stats_of(rows).events).tolist() == [0, 1, 3, 3]


def test_context_independent_phones_must_not_share_a_root():
    rows = [((0, MISSING, 1, MISSING), 10, 0.0), ((0, 1, 2, 0), 9, 5.0)]
    tree = Split(0, frozenset([1]), 0, 1)
    with pytest.raises(ValueError, match="share a root"):
        map_events(tree, stats_of(rows).events)


@pytest.mark.parametrize(
    ("roots", "options", "message"),
    [
        ([Root([1]), Root([1])], {}, "two roots"),
        ([Root([1], shared=False)], {}, "cannot be split"),
        ([Root([1])], {"thresh": 0.0}, "when to stop"),
    ],
)
def test_contradictions_are_named(roots, options, message):
    stats = stats_of([((0, 1, 1, 1), 5, 0.0)])
    with pytest.raises(ValueError, match=message):
        build_tree(stats, compile_questions([[1]], 3), roots, TOPOLOGY, **options)


def test_bad_roots_file_names_the_line(tmp_path):
    path = tmp_path / "roots.int"
    path.write_text("shared split 1 2\nshared maybe 3\n")
    with pytest.raises(InputError, match=r"roots\.int:2: .*maybe"):
        read_roots(path)


def test_bottom_up_joins_the_nearest_first():
    points = stats_of([((0,), 10, mean) for mean in (0.0, 9.0, 0.1, 9.2)]).stats
    assert cluster_bottom_up(points, max_cost=1.0).tolist() == [0, 1, 0, 1]
    assert cluster_bottom_up(points, max_cost=1e6).tolist() == [0, 0, 0, 0]


def test_statistics_of_an_utterance_by_hand():
    collected = TreeStatsAccumulator(ci_phones=[1])
    feats = np.arange(5, dtype=np.float32)[:, None]
    for _ in range(2):
        collected.add(feats, np.array([1, 2, 3]), np.array([1, 3, 1]), np.array([0, 0, 0, 1, 2]))
    found = collected.result()
    assert found.events.tolist() == [
        [0, MISSING, 1, MISSING],
        [0, 1, 2, 3],
        [1, 1, 2, 3],
        [2, 2, 3, 0],
    ]
    assert found.stats.tolist() == [[2, 0, 0], [4, 6, 10], [2, 6, 18], [2, 8, 32]]


def test_an_alignment_of_another_length_is_refused():
    with pytest.raises(ValueError, match="does not fit 5 frames"):
        TreeStatsAccumulator().add(
            np.zeros((5, 1)), np.array([1]), np.array([4]), np.array([0, 0, 0, 0])
        )
