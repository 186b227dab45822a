"""Statistics and the maximum likelihood update, against the formulas written out."""

import numpy as np
import pytest

from kdspeech.hmm import AcousticModel, DiagGmms, TransitionModel, default_topology
from kdspeech.hmm.estimate import GmmStatistics, MleOptions, estimate, update_gmms
from kdspeech.hmm.initial import init_from_tree, init_mono
from kdspeech.hmm.tree import monophone_tree
from kdspeech.hmm.tree_stats import TreeStats
from kdspeech.io.errors import InputError

TOPOLOGY = default_topology(silence=[1], nonsilence=[2, 3])
DIM = 4


def model(sizes_seed=0):
    """Phones 2 and 3 share their pdfs: 8 pdfs with one to four Gaussians."""
    rng = np.random.default_rng(sizes_seed)
    tree = monophone_tree([[1], [2, 3]], TOPOLOGY)
    sizes = rng.integers(1, 5, tree.num_pdfs)
    weights = np.concatenate([rng.dirichlet(np.full(size, 5.0)) for size in sizes])
    means = rng.normal(size=(sizes.sum(), DIM))
    gmms = DiagGmms.from_moments(
        np.cumsum([0, *sizes]), weights, means, rng.uniform(0.5, 2, means.shape)
    )
    return AcousticModel(TransitionModel.from_tree(tree, TOPOLOGY), gmms)


def data(acoustic, frames=300, seed=1):
    rng = np.random.default_rng(seed)
    tids = rng.integers(1, acoustic.transitions.num_tids + 1, frames).astype(np.int32)
    return rng.normal(size=(frames, DIM)).astype(np.float32), tids


def posteriors_written_out(gmms, frame, pdf):
    rows = range(gmms.offsets[pdf], gmms.offsets[pdf + 1])
    density = [
        gmms.weights[g]
        * np.prod(
            np.exp(-0.5 * (frame - gmms.means[g]) ** 2 / gmms.variances[g])
            / np.sqrt(2 * np.pi * gmms.variances[g])
        )
        for g in rows
    ]
    return rows, np.array(density) / sum(density), np.log(sum(density))


def test_statistics():
    acoustic = model()
    feats, tids = data(acoustic, 60)
    stats = GmmStatistics.zeros(acoustic)
    log_like = stats.add(acoustic, feats, tids)
    wanted = GmmStatistics.zeros(acoustic)
    total = 0.0
    for frame, tid in zip(feats.astype(float), tids, strict=True):
        pdf = acoustic.transitions.tid_to_pdf[tid]
        rows, posteriors, value = posteriors_written_out(acoustic.gmms, frame, pdf)
        total += value
        wanted.transition_counts[tid] += 1
        for g, p in zip(rows, posteriors, strict=True):
            wanted.occupancy[g] += p
            wanted.x[g] += p * frame
            wanted.x2[g] += p * frame**2
    np.testing.assert_allclose(log_like, total, rtol=1e-5)
    for name in ("transition_counts", "occupancy", "x", "x2"):
        np.testing.assert_allclose(getattr(stats, name), getattr(wanted, name), atol=1e-4)
    assert stats.frames == 60


def test_statistics_add_up(tmp_path):
    acoustic = model()
    feats, tids = data(acoustic)
    whole, parts = GmmStatistics.zeros(acoustic), []
    whole.add(acoustic, feats, tids)
    for number, rows in enumerate((slice(0, 100), slice(100, 300))):
        part = GmmStatistics.zeros(acoustic)
        part.add(acoustic, feats[rows], tids[rows])
        part.write(tmp_path / f"{number}.acc")
        parts.append(GmmStatistics.read(tmp_path / f"{number}.acc"))
    total = GmmStatistics.sum(parts)
    np.testing.assert_allclose(total.x2, whole.x2, rtol=1e-5, atol=1e-4)
    assert total.log_like == pytest.approx(whole.log_like, rel=1e-6)
    assert total.frames == whole.frames


def test_statistics_of_other_features():
    acoustic = model()
    feats, tids = data(acoustic)
    other = np.concatenate([feats, 2 * feats], axis=1)
    own, stats = GmmStatistics.zeros(acoustic), GmmStatistics.zeros(acoustic, dim=2 * DIM)
    own.add(acoustic, feats, tids)
    stats.add(acoustic, feats, tids, summed=other)
    np.testing.assert_allclose(stats.occupancy, own.occupancy)
    np.testing.assert_allclose(stats.x, np.concatenate([own.x, 2 * own.x], axis=1), atol=1e-4)
    new, _ = estimate(acoustic, stats)
    assert new.gmms.dim == 2 * DIM


def test_bad_frames_are_refused():
    acoustic = model()
    feats, tids = data(acoustic)
    stats = GmmStatistics.zeros(acoustic)
    with pytest.raises(InputError, match="utt1: 299 frames of features, 300 of the alignment"):
        stats.add(acoustic, feats[1:], tids, name="utt1")
    with pytest.raises(InputError, match="utt1: transition id 9999"):
        stats.add(acoustic, feats, np.where(tids == tids[5], 9999, tids), name="utt1")
    feats[7, 1] = np.nan
    with pytest.raises(InputError, match="utt1: nan in frame 7, column 1"):
        stats.add(acoustic, feats, tids, name="utt1")
    with pytest.raises(InputError, match="utt1: nan in frame 7"):
        acoustic.gmms.log_likelihoods(feats, name="utt1")
    with pytest.raises(InputError, match="utt1: 3 columns, must be 4"):
        acoustic.gmms.log_likelihoods(feats[:, 1:], name="utt1")
    assert stats.frames == 0 and stats.log_like == 0


@pytest.mark.parametrize("contents", [b"", b"nonsense", b"PK\x03\x04"])
def test_damaged_statistics(tmp_path, contents):
    (tmp_path / "1.acc").write_bytes(contents)
    with pytest.raises(InputError, match="1.acc"):
        GmmStatistics.read(tmp_path / "1.acc")


def test_update_is_the_weighted_moments():
    acoustic = model()
    feats, tids = data(acoustic, 3000)
    stats = GmmStatistics.zeros(acoustic)
    stats.add(acoustic, feats, tids)
    new, report = estimate(acoustic, stats, MleOptions(min_gaussian_occupancy=0.0))
    occ = stats.occupancy[:, None]
    np.testing.assert_allclose(new.gmms.means, stats.x / occ, atol=1e-5)
    np.testing.assert_allclose(new.gmms.variances, stats.x2 / occ - (stats.x / occ) ** 2, rtol=1e-4)
    np.testing.assert_allclose(
        np.add.reduceat(new.gmms.weights, new.gmms.offsets[:-1]), 1, rtol=1e-6
    )
    assert report.removed == report.floored == 0
    again = GmmStatistics.zeros(new)
    again.add(new, feats, tids)
    # EM: the likelihood rises by at least the auxiliary function's improvement.
    assert again.log_like - stats.log_like >= report.improvement * report.frames > 0


def hand_made():
    """Pdf 0 keeps its first Gaussian; all of pdf 1 are too rare, so its last one stays as it is."""
    gmms = DiagGmms.from_moments(
        [0, 3, 5], [0.5, 0.3, 0.2, 0.6, 0.4], np.arange(5.0)[:, None], np.full((5, 1), 2.0)
    )
    x = np.array([[200.0], [9.0], [30.0], [3.0], [4.0]])
    stats = GmmStatistics(
        np.zeros(1),
        np.array([100.0, 9.0, 15.0, 3.0, 5.0]),
        x,
        np.array([[400.01], [9], [75], [3], [4]]),
    )
    return gmms, stats


def test_rare_gaussians_are_removed_and_variances_floored():
    gmms, stats = hand_made()
    new, _, floored, removed = update_gmms(gmms, stats, MleOptions())
    assert (floored, removed) == (1, 2)
    assert new.sizes.tolist() == [2, 1]
    np.testing.assert_allclose(new.means[:, 0], [2, 2, 4], rtol=1e-6)
    np.testing.assert_allclose(new.variances[:, 0], [0.001, 1, 2], rtol=1e-5)
    kept = np.array([100, 15]) / 124
    np.testing.assert_allclose(new.weights, [*(kept / kept.sum()), 1], rtol=1e-6)


def test_rare_gaussians_may_stay():
    gmms, stats = hand_made()
    new, _, _, removed = update_gmms(gmms, stats, MleOptions(remove_low_count_gaussians=False))
    assert removed == 0
    np.testing.assert_allclose(new.means[:, 0], [2, 1, 2, 3, 4], rtol=1e-6)
    np.testing.assert_allclose(new.weights, [100 / 124, 9 / 124, 15 / 124, 3 / 8, 5 / 8], rtol=1e-6)


def test_a_pdf_without_frames_keeps_one_gaussian():
    gmms, stats = hand_made()
    stats.occupancy[3:], stats.x[3:], stats.x2[3:] = 0, 0, 0
    new, improvement, *_ = update_gmms(gmms, stats, MleOptions())
    assert new.sizes.tolist() == [2, 1] and np.isfinite(improvement)
    np.testing.assert_allclose(new.means[-1], 4, rtol=1e-6)


def test_transition_update():
    transitions = model().transitions
    counts = np.zeros(transitions.num_tids + 1)
    first = transitions.first_tid[1]
    counts[first : first + 4] = [70, 30, 0, 0]  # silence, state 0: four arcs
    second = transitions.first_tid[2]
    counts[second : second + 4] = [1, 1, 1, 1.9]  # fewer than 5 frames
    new, gain = transitions.update_mle(counts)
    probs = np.exp(new.log_probs)
    floored = np.array([0.7, 0.3, 0.01, 0.01])
    floored[:2] /= 1.02
    for _ in range(2):
        scaled = np.array([*floored[:2], 0.01, 0.01])
        floored = np.maximum(scaled / scaled.sum(), 0.01)
    np.testing.assert_allclose(probs[first : first + 4], floored, atol=2e-4)
    np.testing.assert_allclose(probs[second : second + 4], 0.25, rtol=1e-6)
    assert gain == pytest.approx(
        70 * np.log(floored[0] / 0.25) + 30 * np.log(floored[1] / 0.25), rel=1e-3
    )
    np.testing.assert_array_equal(
        transitions.log_probs[first : first + 4], np.float32(np.log(0.25))
    )


def test_mixing_up_gives_the_number_asked_for():
    acoustic = model()
    feats, tids = data(acoustic, 3000)
    stats = GmmStatistics.zeros(acoustic)
    stats.add(acoustic, feats, tids)
    one, report = estimate(acoustic, stats, MleOptions(mix_up=40), np.random.default_rng(3))
    same, _ = estimate(acoustic, stats, MleOptions(mix_up=40), np.random.default_rng(3))
    assert report.num_gaussians == one.gmms.num_gaussians == 40
    np.testing.assert_array_equal(one.gmms.means_invvars, same.gmms.means_invvars)


def test_flat_start():
    rng = np.random.default_rng(0)
    feats = [rng.normal(3, 2, (50, DIM)) for _ in range(4)]
    acoustic, tree = init_mono(TOPOLOGY, feats, [[1], [2, 3]])
    assert tree.num_pdfs == acoustic.gmms.num_pdfs == acoustic.gmms.num_gaussians == 8
    pooled = np.concatenate(feats)
    for pdf in (0, 7):
        np.testing.assert_allclose(acoustic.gmms.means[pdf], pooled.mean(0), rtol=1e-5)
        np.testing.assert_allclose(acoustic.gmms.variances[pdf], pooled.var(0), rtol=1e-5)
    alone, _ = init_mono(TOPOLOGY, feats)
    assert alone.gmms.num_pdfs == 11
    with pytest.raises(InputError, match="no frames"):
        init_mono(TOPOLOGY, [])
    feats[0][:, 2], feats[1][:, 2], feats[2][:, 2], feats[3][:, 2] = 1, 1, 1, 1
    with pytest.raises(InputError, match="dimension 2"):
        init_mono(TOPOLOGY, feats)


def test_model_of_tree_statistics():
    tree = monophone_tree([[1], [2], [3]], TOPOLOGY)
    events = np.array([[0, 1], [4, 1], [0, 2], [2, 3]], dtype=np.int32)
    stats = np.array([[10.0, 20, 50], [5, 5, 5], [4, 8, 40], [2, 0, 8]])
    acoustic, occupancies = init_from_tree(tree, TOPOLOGY, TreeStats(events, stats))
    pdfs = tree.map_events(events)
    assert pdfs.tolist() == [0, 4, 5, 10]
    np.testing.assert_allclose(occupancies[pdfs], [10, 5, 4, 2])
    assert occupancies.sum() == 21
    np.testing.assert_allclose(acoustic.gmms.means[pdfs, 0], [2, 1, 2, 0], atol=1e-6)
    np.testing.assert_allclose(acoustic.gmms.variances[pdfs, 0], [1, 0.01, 6, 4], rtol=1e-5)
    # Pdfs without frames are like the average of all.
    np.testing.assert_allclose(acoustic.gmms.means[1], 33 / 21, rtol=1e-5)
    with pytest.raises(InputError, match="no pdf for class"):
        init_from_tree(tree, TOPOLOGY, TreeStats(np.array([[0, 9]], np.int32), stats[:1]))
