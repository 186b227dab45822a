"""Posteriors and sequence gradients: Kaldi's, finite differences, sums over all paths."""

import golden_lattices as kaldi
import numpy as np
import pytest
from random_lattices import random_lattice, transitions

from kdspeech.decode import Lattice, TidTables, add_lattice_gradients, lattice_posteriors
from kdspeech.hmm import AcousticModel
from kdspeech.io.errors import InputError

SCALE = 0.1


def model(golden, system):
    return AcousticModel.read(golden / "gmm" / "models" / f"{system}.mdl").transitions


def dense(frames, tids, weights, shape) -> np.ndarray:
    matrix = np.zeros(shape)
    np.add.at(matrix, (frames, tids), weights)
    return matrix


def assert_posteriors(golden, key, ours, num_tids, rtol=0.0):
    theirs = [kaldi.arrays(golden)[f"{key}/{name}"] for name in ("frame", "tid", "weight")]
    shape = (ours.num_frames, num_tids + 1)
    expected = dense(*theirs, shape)
    np.testing.assert_allclose(dense(*ours[:3], shape), expected, rtol=rtol, atol=5e-5)


@pytest.mark.golden
@pytest.mark.parametrize("system", ["mono", "tri3b"])
@pytest.mark.parametrize("name", ["det", "raw", "wide"])
def test_posteriors_are_kaldis(golden, system, name):
    case = kaldi.cases(golden)[f"{system}_post_{name}"]
    num_tids = model(golden, system).num_tids
    compared = {array.split("/")[3] for array in case["arrays"]}
    for utterance, lattice in kaldi.lattices(golden, f"{name}.{system}").items():
        ours = lattice.posteriors(acoustic_scale=SCALE)
        expected = case["total_loglike"][utterance]
        assert ours.log_likelihood == pytest.approx(expected, abs=1e-3)
        sums = np.bincount(ours.frames, weights=ours.weights)
        np.testing.assert_allclose(sums, 1.0, atol=1e-5)
        if utterance in compared:
            assert_posteriors(golden, f"post/{system}/{name}/{utterance}", ours, num_tids)


@pytest.mark.golden
@pytest.mark.parametrize("system", ["mono", "tri3b"])
@pytest.mark.parametrize("criterion", ["mpfe", "smbr"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_accuracies_are_kaldis(golden, system, criterion, number):
    case = kaldi.cases(golden)[f"{system}_{criterion}_{number}"]
    options = case["options"]
    transitions_ = model(golden, system)
    tables = TidTables(transitions_, [int(p) for p in options["silence-phones"].split(":")])
    lattices = kaldi.lattices(golden, f"det.{system}")
    expected = case["average_frame_accuracy"]
    results = lattice_posteriors(
        [lattices[utterance] for utterance in expected],
        tables,
        [kaldi.arrays(golden)[f"num_ali/{system}/{utterance}"] for utterance in expected],
        criterion,
        acoustic_scale=options["acoustic-scale"],
        one_silence_class=options["one-silence-class"] == "true",
    )
    for ours, (utterance, accuracy) in zip(results, expected.items(), strict=True):
        assert ours.accuracy / ours.num_frames == pytest.approx(accuracy, abs=3e-6)
        key = f"{criterion}/{system}/{number}/{utterance}"
        assert_posteriors(golden, key, ours, transitions_.num_tids, rtol=5e-5)


def random_case(seed, frames=5):
    random = np.random.default_rng(seed)
    lattice = random_lattice(seed, frames)
    loglikes = random.normal(size=(frames, 6)).astype(np.float32)
    return lattice, loglikes, random.integers(1, 7, frames).astype(np.int32)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize(
    ("criterion", "options"),
    [
        ("mmi", {}),
        ("mmi", {"boost": 0.7}),
        ("smbr", {}),
        ("mpfe", {"one_silence_class": False}),
    ],
)
def test_gradients_are_finite_differences(criterion, options, compact):
    lattice, loglikes, alignment = random_case(1)
    lattice = lattice.to_compact() if compact else lattice
    tables = TidTables(transitions(6), silence_phones=[1, 3])
    alignments = [alignment] if options.get("boost") or criterion != "mmi" else None

    def value(scores):
        gradient = np.zeros_like(scores)
        values = add_lattice_gradients(
            [gradient], [lattice], tables, alignments, criterion, [scores], 0.5, **options
        )
        return values[0 if criterion == "mmi" else 1][0], gradient

    gradient = value(loglikes)[1]
    for index in np.ndindex(*loglikes.shape):
        up, down = loglikes.copy(), loglikes.copy()
        up[index] += 1e-2
        down[index] -= 1e-2
        difference = (value(up)[0] - value(down)[0]) / (up[index] - down[index])
        assert 0.5 * gradient[index] == pytest.approx(difference, abs=2e-4)


@pytest.mark.parametrize("boost", [0.0, 0.7])
def test_the_sums_are_over_all_paths(boost):
    lattice, _, alignment = random_case(2, frames=4)
    tables = TidTables(transitions(6), silence_phones=[1])
    paths = lattice.nbest(100_000)
    phones = transitions(6).tid_to_phone
    right = np.array([np.sum(phones[p.tids] == phones[alignment]) for p in paths])
    scores = np.array([-p.graph_cost - 0.5 * p.acoustic_cost for p in paths])
    total = np.logaddexp.reduce(scores + boost * (4 - right))
    alignments = [alignment] if boost else None
    (ours,) = lattice_posteriors([lattice], tables, alignments, acoustic_scale=0.5, boost=boost)
    assert ours.log_likelihood == pytest.approx(total, abs=1e-6)
    weights = np.exp(scores + boost * (4 - right) - total)
    expected = np.zeros((4, 7))
    for path, weight in zip(paths, weights, strict=True):
        expected[np.arange(4), path.tids] += weight
    np.testing.assert_allclose(dense(*ours[:3], (4, 7)), expected, atol=1e-6)
    (risk,) = lattice_posteriors([lattice], tables, [alignment], "mpfe", acoustic_scale=0.5)
    if not boost:
        assert risk.accuracy == pytest.approx(np.sum(weights * right), abs=1e-6)


def test_arc_posteriors_flow():
    lattice = random_lattice(4)
    posteriors = lattice.arc_posteriors(acoustic_scale=0.3)
    assert posteriors.shape == (lattice.num_arcs,)
    out = np.add.reduceat(posteriors, lattice.offsets[:-1][np.diff(lattice.offsets) > 0])
    assert out[0] == pytest.approx(1.0)
    into = np.bincount(lattice.arcs["nextstate"], posteriors, lattice.num_states)
    left = np.bincount(
        np.repeat(np.arange(lattice.num_states), np.diff(lattice.offsets)),
        posteriors,
        lattice.num_states,
    )
    inner = ~np.isfinite(lattice.finals["graph_cost"])
    inner[0] = False
    np.testing.assert_allclose(into[inner], left[inner], atol=1e-12)


def test_threads_and_batches_do_not_matter():
    cases = [random_case(seed) for seed in range(7)]
    lattices, loglikes, alignments = zip(*cases, strict=True)
    tables = TidTables(transitions(6))
    one = [lattice_posteriors([x], tables, [a], "smbr", [s])[0] for x, s, a in cases]
    many = lattice_posteriors(lattices, tables, alignments, "smbr", loglikes, num_threads=3)
    for ours, theirs in zip(many, one, strict=True):
        np.testing.assert_array_equal(ours.weights, theirs.weights)
    gradients = [np.zeros_like(scores) for scores in loglikes]
    values = add_lattice_gradients(
        gradients, lattices, tables, alignments, "smbr", loglikes, num_threads=3
    )
    np.testing.assert_array_equal(values[1], [p.accuracy for p in one])
    for gradient, p in zip(gradients, one, strict=True):
        np.testing.assert_allclose(gradient, dense(*p[:3], (5, 7))[:, 1:], atol=1e-6)


def test_other_scores_are_as_good_as_a_rescored_lattice():
    lattice, loglikes, _ = random_case(5)
    rescored = lattice.rescore_acoustic(loglikes, transitions(6))
    assert rescored.arcs["graph_cost"].tolist() == lattice.arcs["graph_cost"].tolist()
    with_scores = lattice_posteriors([lattice], TidTables(transitions(6)), loglikes=[loglikes])[0]
    assert rescored.posteriors().log_likelihood == pytest.approx(with_scores.log_likelihood)
    path = rescored.best_path()
    score = sum(loglikes[t, tid - 1] for t, tid in enumerate(path.tids))
    assert path.acoustic_cost == pytest.approx(-score, abs=1e-5)
    compact = lattice.to_compact().rescore_acoustic(loglikes, transitions(6))
    np.testing.assert_array_equal(compact.arcs["acoustic_cost"], rescored.arcs["acoustic_cost"])


def test_a_long_lattice_neither_overflows_nor_underflows():
    frames = 50_000  # of eight equal paths each: 8^50000 of them
    arcs = [(1, 0, t + 1, 0.0, 1e4) for t in range(frames) for _ in range(8)]
    finals = [(np.inf, np.inf)] * frames + [(0.0, 0.0)]
    lattice = Lattice.from_arrays(np.minimum(np.arange(frames + 2), frames) * 8, arcs, finals)
    ours = lattice.posteriors(acoustic_scale=1.0)
    assert ours.log_likelihood == pytest.approx(frames * (np.log(8) - 1e4), rel=1e-12)
    np.testing.assert_allclose(ours.weights, 1.0, rtol=1e-6)


def test_what_does_not_fit_is_refused():
    lattice, loglikes, alignment = random_case(0)
    tables = TidTables(transitions(6))
    for scores, problem in [
        (loglikes[:4], "5 frames, but scores of 4"),
        (loglikes[:, :3].copy(), "not among the 3"),
        (np.full_like(loglikes, np.nan), "no numbers"),
    ]:
        with pytest.raises(InputError, match=problem):
            lattice_posteriors([lattice], tables, loglikes=[scores])
    with pytest.raises(InputError, match="5 frames, but an alignment of 4"):
        lattice_posteriors([lattice], tables, [alignment[:4]], "smbr")
    with pytest.raises(InputError, match="not in the model"):
        lattice_posteriors([lattice], TidTables(transitions(3)), [alignment], "smbr")
    with pytest.raises(InputError, match="number 1 of the batch: lattice: empty"):
        lattice_posteriors([lattice, Lattice.from_arrays([0], [], [])])
    with pytest.raises(InputError, match="5 frames, but a gradient of 4"):
        add_lattice_gradients([np.zeros((4, 6), np.float32)], [lattice], tables)
    with pytest.raises(ValueError, match="need alignments"):
        lattice_posteriors([lattice], tables, criterion="mpfe")
    with pytest.raises(ValueError, match="as many"):
        lattice_posteriors([lattice], tables, loglikes=[loglikes] * 2)
    with pytest.raises(TypeError):
        add_lattice_gradients([np.zeros((5, 6))], [lattice], tables)
    with pytest.raises(ValueError, match="must be mmi"):
        lattice_posteriors([lattice], criterion="mce")
    dead_end = Lattice.from_arrays([0, 1, 1], [(1, 1, 1, 0.0, 0.0)], [(np.inf, np.inf)] * 2)
    with pytest.raises(InputError, match="no path to the end"):
        dead_end.posteriors()
