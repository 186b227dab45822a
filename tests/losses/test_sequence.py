"""Sequence losses: Kaldi's gradients, sums by hand, finite differences, limits."""

import golden_lattices as kaldi
import numpy as np
import pytest
import torch
from random_lattices import random_lattice, transitions

from kdspeech.decode import Lattice, Path, TidTables, add_paths, contains, nbest_lattice
from kdspeech.hmm import AcousticModel
from kdspeech.io.errors import InputError
from kdspeech.losses import SequenceReport, mmi_loss, sequence_kd_loss, smbr_loss

TABLES = TidTables(transitions(6), silence_phones=[1])
SCALE = {"acoustic_scale": 0.5}


def gradient(loss_function, scores, *args, **options):
    scores = torch.as_tensor(scores).clone().requires_grad_()
    loss = loss_function(scores, *args, **options)
    loss.backward()
    return loss.item(), scores.grad.numpy()


def random_case(seed, frames=5):
    random = np.random.default_rng(seed)
    scores = torch.tensor(random.normal(size=(frames, 6)))
    return scores, random_lattice(seed, frames), random.integers(1, 7, frames).astype(np.int32)


def batch_of(seeds):
    scores, lattices, alignments = zip(*map(random_case, seeds), strict=True)
    return torch.cat(scores), list(lattices), list(alignments)


def two_paths():
    """Transition ids 1 1 (graph cost 0.5) and 3 5 (graph cost 1), over two frames."""
    paths = [Path(np.array([1, 1]), [1], 0.5), Path(np.array([3, 5]), [2], 1.0)]
    return add_paths(Lattice.from_arrays([0], [], []), paths)


def dense(golden, key, tid_to_pdf, shape):
    frames, tids, weights = (
        kaldi.arrays(golden)[f"{key}/{name}"] for name in ("frame", "tid", "weight")
    )
    matrix = np.zeros(shape)
    np.add.at(matrix, (frames, tid_to_pdf[tids]), weights)
    return matrix


# Scores that give each arc back its own acoustic cost exist for no lattice but one whose tids have
# the same cost everywhere, so Kaldi's lattices are scored anew, and its costs go to the graph.
def with_graph_costs_alone(lattice, scale):
    arcs, finals = lattice.arcs.copy(), lattice.finals.copy()
    for costs in (arcs, finals):
        final = np.isfinite(costs["graph_cost"])
        costs["graph_cost"][final] += scale * costs["acoustic_cost"][final]
    return lattice._with(arcs, finals)


def golden_case(golden, system, utterance, name, options):
    model = AcousticModel.read(golden / "gmm" / "models" / f"{system}.mdl").transitions
    silence = [int(p) for p in options.get("silence-phones", "1").split(":")]
    lattice = kaldi.lattices(golden, f"{name}.{system}")[utterance]
    lattice = with_graph_costs_alone(lattice, options.get("acoustic-scale", 0.1))
    scores = torch.zeros(lattice.num_frames, model.num_pdfs)
    return model, TidTables(model, silence), lattice, scores


@pytest.mark.golden
@pytest.mark.parametrize("system", ["mono", "tri3b"])
@pytest.mark.parametrize("criterion", ["mpfe", "smbr"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_risk_gradients_are_kaldis(golden, system, criterion, number):
    case = kaldi.cases(golden)[f"{system}_{criterion}_{number}"]
    for utterance, accuracy in case["average_frame_accuracy"].items():
        model, tables, lattice, scores = golden_case(
            golden, system, utterance, "det", case["options"]
        )
        loss, ours = gradient(
            smbr_loss,
            scores,
            lattice,
            tables,
            kaldi.arrays(golden)[f"num_ali/{system}/{utterance}"],
            criterion=criterion,
            one_silence_class=case["options"]["one-silence-class"] == "true",
            acoustic_scale=1.0,
            reduction="sum",
        )
        assert -loss / len(scores) == pytest.approx(accuracy, abs=1e-5)
        key = f"{criterion}/{system}/{number}/{utterance}"
        expected = dense(golden, key, model.tid_to_pdf, ours.shape)
        np.testing.assert_allclose(-ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize("system", ["mono", "tri3b"])
def test_mmi_gradients_are_kaldis_posteriors(golden, system):
    case = kaldi.cases(golden)[f"{system}_post_det"]
    for utterance in {array.split("/")[3] for array in case["arrays"]}:
        model, tables, lattice, scores = golden_case(golden, system, utterance, "det", {})
        alignment = kaldi.arrays(golden)[f"num_ali/{system}/{utterance}"]
        _, ours = gradient(
            mmi_loss,
            scores,
            lattice,
            tables,
            alignment,
            acoustic_scale=1.0,
            reduction="sum",
            drop_frames=False,
        )
        expected = dense(golden, f"post/{system}/det/{utterance}", model.tid_to_pdf, ours.shape)
        expected[np.arange(len(alignment)), model.tid_to_pdf[alignment]] -= 1
        np.testing.assert_allclose(ours, expected, atol=1e-4)


def by_hand(scores):
    """Log probabilities of the two paths, unnormalised, at scale 0.5."""
    return np.array(
        [-0.5 + 0.5 * (scores[0, 0] + scores[1, 0]), -1 + 0.5 * (scores[0, 2] + scores[1, 4])]
    )


def test_mmi_of_two_paths():
    scores, reference = random_case(3, 2)[0].float(), np.array([1, 1])
    options = {"reduction": "sum", **SCALE}
    a, b = by_hand(scores.numpy())
    loss, ours = gradient(mmi_loss, scores, two_paths(), TABLES, reference, **options)
    posterior = np.exp(a - np.logaddexp(a, b))
    assert loss == pytest.approx(np.logaddexp(a, b) - (a + 0.5), abs=1e-6)
    assert ours[0, 0] == pytest.approx(0.5 * (posterior - 1), abs=1e-6)
    assert ours[1, 4] == pytest.approx(0.5 * (1 - posterior), abs=1e-6)
    boosted, _ = gradient(mmi_loss, scores, two_paths(), TABLES, reference, boost=0.3, **options)
    assert boosted == pytest.approx(np.logaddexp(a, b + 2 * 0.3) - (a + 0.5), abs=1e-6)


@pytest.mark.parametrize(
    ("criterion", "one_silence_class", "right"),
    [("smbr", True, (2, 0)), ("mpfe", True, (2, 0)), ("mpfe", False, (0, 0))],
)
def test_risk_of_two_paths(criterion, one_silence_class, right):
    scores = random_case(3, 2)[0].float()
    a, b = by_hand(scores.numpy())
    loss, ours = gradient(
        smbr_loss,
        scores,
        two_paths(),
        TABLES,
        np.array([1, 1]),
        criterion=criterion,
        one_silence_class=one_silence_class,
        **SCALE,
    )
    posterior = np.exp(a - np.logaddexp(a, b))
    average = posterior * right[0] + (1 - posterior) * right[1]
    assert loss == pytest.approx(-average / 2, abs=1e-6)
    assert ours[0, 0] == pytest.approx(-0.25 * posterior * (right[0] - average), abs=1e-6)


def test_distillation_of_two_paths():
    scores, teacher = random_case(3, 2)[0], random_case(4, 2)[0]
    student, target = by_hand(scores.numpy()), by_hand(teacher.numpy())
    target = np.exp(target - np.logaddexp(*target))
    loss, ours = gradient(
        sequence_kd_loss, scores, two_paths(), teacher, TABLES, reduction="sum", **SCALE
    )
    student -= np.logaddexp(*student)
    assert loss == pytest.approx(-target @ student, abs=1e-5)
    difference = 0.5 * (np.exp(student) - target)
    np.testing.assert_allclose(
        ours[[0, 0, 1, 1], [0, 2, 0, 4]], np.repeat([difference], 2, 0).ravel(), atol=1e-6
    )
    assert np.count_nonzero(ours) == 4


CALLS = {
    "mmi": lambda x, l, a: mmi_loss(x, l, TABLES, a, drop_frames=False, **SCALE),
    "bmmi": lambda x, l, a: mmi_loss(x, l, TABLES, a, drop_frames=False, boost=0.4, **SCALE),
    "added": lambda x, l, a: mmi_loss(x, l, TABLES, a, missing="add", **SCALE),
    "smbr": lambda x, l, a: smbr_loss(x, l, TABLES, a, reduction="sum", **SCALE),
    "mpfe": lambda x, l, a: smbr_loss(x, l, TABLES, a, criterion="mpfe", **SCALE),
    "smoothed": lambda x, l, a: smbr_loss(x, l, TABLES, a, ce_weight=0.2, logits=2 * x, **SCALE),
    "kd": lambda x, l, a: sequence_kd_loss(x, l, TEACHERS[0], TABLES, **SCALE),
    "kd_ensemble": lambda x, l, a: sequence_kd_loss(
        x, l, TEACHERS, TABLES, teacher_weights=[0.3, 0.7], lm_scale=0.5, teacher_scale=0.2, **SCALE
    ),
}
TEACHERS = [torch.tensor(np.random.default_rng(seed).normal(size=(10, 6))) for seed in (7, 8)]


@pytest.mark.parametrize("name", CALLS)
def test_gradients_are_finite_differences(name):
    scores, lattices, alignments = batch_of([0, 1])
    assert torch.autograd.gradcheck(
        lambda x: CALLS[name](x, lattices, alignments),
        scores.requires_grad_(),
        eps=2e-2,
        atol=3e-5,
        rtol=1e-3,
    )


def test_the_teacher_itself_has_nothing_to_learn():
    scores, lattices, _ = batch_of([0, 1, 2])
    loss, ours = gradient(sequence_kd_loss, scores, lattices, scores, TABLES, **SCALE)
    np.testing.assert_allclose(ours, 0, atol=1e-8)
    other, _ = gradient(
        sequence_kd_loss, scores + 0.1 * scores**2, lattices, scores, TABLES, **SCALE
    )
    assert other > loss > 0  # the entropy is the least


def test_ensembles_are_weighted_sums():
    scores, lattices, _ = batch_of([0, 1])
    one, two = (
        gradient(sequence_kd_loss, scores, lattices, teacher, TABLES) for teacher in TEACHERS
    )
    for weights in ([0.25, 0.75], [1.0, 0.0]):
        loss, ours = gradient(
            sequence_kd_loss, scores, lattices, TEACHERS, TABLES, teacher_weights=weights
        )
        assert loss == pytest.approx(weights[0] * one[0] + weights[1] * two[0], abs=1e-6)
        np.testing.assert_allclose(ours, weights[0] * one[1] + weights[1] * two[1], atol=1e-7)


def test_the_n_best_form_sums_over_the_n_best():
    scores, lattice, _ = random_case(5)
    teacher = TEACHERS[0][:5]
    rescored = lattice.rescore_acoustic(teacher.float().numpy(), transitions(6))
    paths = rescored.nbest(4, 0.5)
    few = nbest_lattice(rescored, 4, 0.5)
    assert [list(p.tids) for p in few.nbest(9, 0.5)] == [list(p.tids) for p in paths]
    total = [
        np.array([-p.graph_cost + 0.5 * x[np.arange(5), p.tids - 1].sum().item() for p in paths])
        for x in (teacher, scores)
    ]
    target, student = (x - np.logaddexp.reduce(x) for x in total)
    loss, _ = gradient(sequence_kd_loss, scores, few, teacher, TABLES, reduction="sum", **SCALE)
    assert loss == pytest.approx(-np.exp(target) @ student, abs=1e-5)
    everything = nbest_lattice(rescored, 100_000, 0.5)
    whole, expected = (
        gradient(sequence_kd_loss, scores, x, teacher, TABLES, **SCALE)
        for x in (everything, lattice)
    )
    assert whole[0] == pytest.approx(expected[0], abs=1e-5)
    np.testing.assert_allclose(whole[1], expected[1], atol=1e-6)


def test_frames_are_dropped_where_no_path_is_right():
    scores, report = random_case(3, 2)[0], SequenceReport()
    alignment = np.array([3, 2])  # pdf 1 is not in the second frame
    _, ours = gradient(mmi_loss, scores, two_paths(), TABLES, alignment, report=report)
    assert np.all(ours[1] == 0) and np.any(ours[0] != 0)
    assert report.dropped_frames == 1
    _, kept = gradient(mmi_loss, scores, two_paths(), TABLES, alignment, drop_frames=False)
    assert kept[1, 1] < 0
    np.testing.assert_array_equal(kept[0], ours[0])


def test_a_reference_outside_the_lattice():
    scores, lattice, alignment = random_case(3, 2)[0], two_paths(), np.array([1, 5])
    assert not contains(lattice, alignment, TABLES.tid_to_pdf)
    assert contains(lattice.to_compact(), np.array([3, 5]), TABLES.tid_to_pdf)
    report = SequenceReport()
    added, _ = gradient(mmi_loss, scores, lattice, TABLES, alignment, missing="add", report=report)
    more = add_paths(lattice, [Path(alignment, graph_cost=0.5)])
    assert contains(more, alignment, TABLES.tid_to_pdf) and report.added == 1
    expected, _ = gradient(mmi_loss, scores, more, TABLES, alignment)
    assert added == pytest.approx(expected)
    with pytest.raises(InputError, match="utterance 0 of the batch: the reference is not"):
        mmi_loss(scores, lattice, TABLES, alignment, missing="skip")
    report = SequenceReport()
    loss, ours = gradient(
        smbr_loss, scores, lattice, TABLES, alignment, missing="skip", report=report
    )
    assert loss == 0 and not ours.any()
    assert report.skipped == [(0, "the reference is not in the lattice")]


def test_what_cannot_be_used_is_an_error_or_skipped():
    scores, lattices, alignments = batch_of([0, 1, 2])
    lattices[0] = Lattice.from_arrays([0], [], [])
    lattices[1] = random_case(1, 4)[1]
    with pytest.raises(InputError, match="utterance 0 of the batch: the lattice is empty"):
        smbr_loss(scores, lattices, TABLES, alignments)
    report = SequenceReport()
    loss, ours = gradient(smbr_loss, scores, lattices, TABLES, alignments, report=report)
    alone, expected = gradient(smbr_loss, scores[10:], lattices[2], TABLES, alignments[2])
    assert loss == pytest.approx(alone) and report.value == pytest.approx(-5 * alone)
    np.testing.assert_array_equal(ours, np.concatenate([np.zeros((10, 6)), expected]))
    assert (report.utterances, report.frames) == (1, 5)
    assert [number for number, _ in report.skipped] == [0, 1]
    assert "of 4 frames, but scores of 5" in report.skipped[1][1]
    offsets = [0, 5, 10, 15]
    kd, _ = gradient(
        sequence_kd_loss, scores, lattices, scores, TABLES, offsets=offsets, report=report
    )
    assert kd > 0 and len(report.skipped) == 4


def test_bad_input_is_refused_even_with_a_report():
    scores, lattice, alignment = random_case(0)
    report = SequenceReport()
    for bad, problem in [
        (scores * np.nan, "utterances 0: .*no numbers"),
        (scores[:, :3], "not among the 3"),
    ]:
        with pytest.raises(InputError, match=problem):
            mmi_loss(bad, lattice, TABLES, alignment, report=report)
    with pytest.raises(InputError, match="not in the model"):
        mmi_loss(scores, lattice, TABLES, alignment + 6, report=report)
    with pytest.raises(InputError, match="5 frames of scores do not divide into 2"):
        sequence_kd_loss(scores, [lattice] * 2, scores, TABLES)
    for call, problem in [
        (lambda: mmi_loss(scores[0], lattice, TABLES, alignment), "must be .frames, pdfs."),
        (lambda: mmi_loss(scores, lattice, TABLES, [alignment] * 2), "1 lattices, but 2"),
        (lambda: mmi_loss(scores, lattice, TABLES, alignment, missing="no"), "keep, add, skip"),
        (lambda: mmi_loss(scores, lattice, TABLES, alignment, reduction="no"), "reduction"),
        (lambda: smbr_loss(scores, lattice, TABLES, alignment, criterion="mwe"), "smbr or mpfe"),
        (lambda: smbr_loss(scores, lattice, TABLES, alignment, ce_weight=1), "needs logits"),
        (lambda: sequence_kd_loss(scores, lattice, scores[:4], TABLES), "one shape"),
        (lambda: sequence_kd_loss(scores, lattice, [], TABLES), "0 teachers"),
        (
            lambda: sequence_kd_loss(scores, lattice, scores, TABLES, teacher_weights=[0.5]),
            "sum to one",
        ),
    ]:
        with pytest.raises(ValueError, match=problem):
            call()


def test_paths_may_be_impossible_but_not_undefined():
    scores, lattice = random_case(3, 2)[0].float(), two_paths()
    scores[1, 4] = -np.inf
    reference = np.array([1, 1])
    for loss_function in (mmi_loss, smbr_loss):
        _, ours = gradient(loss_function, scores, lattice, TABLES, reference, **SCALE)
        np.testing.assert_allclose(ours, 0, atol=1e-7)  # one path is left, the reference
    loss, ours = gradient(sequence_kd_loss, scores, lattice, scores, TABLES, **SCALE)
    assert loss == pytest.approx(0, abs=1e-6) and not ours.any()
    scores[1, 4] = np.nan
    with pytest.raises(InputError, match="no numbers"):
        mmi_loss(scores, lattice, TABLES, reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_threads_do_not_matter_and_gradients_have_the_scores_type(dtype):
    scores, lattices, alignments = batch_of(range(5))
    scores = scores.to(dtype).requires_grad_()
    results = []
    for num_threads in (1, 3):
        loss = 3 * smbr_loss(scores, lattices, TABLES, alignments, num_threads=num_threads)
        (grad,) = torch.autograd.grad(loss, scores)
        results.append((loss.item(), grad))
    assert results[0][0] == results[1][0] and torch.equal(results[0][1], results[1][1])
    assert results[0][1].dtype == dtype
