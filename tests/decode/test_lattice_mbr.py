"""Minimum Bayes risk decoding, confidences and word alignment, against Kaldi's."""

import itertools

import golden_lattices as kaldi
import numpy as np
import pytest
from random_lattices import random_lattice

from kdspeech.decode import Lattice
from kdspeech.hmm import AcousticModel
from kdspeech.io.errors import InputError

CASES = [(system, scale) for system in ("mono", "tri3b") for scale in ("0.1000", "0.0833")]
SCALES = {"0.1000": 0.1, "0.0833": 0.08333333}


def word_boundary(golden) -> dict[int, str]:
    text = (golden / "lattice" / "word_boundary.int").read_text()
    return {int(phone): kind for phone, kind in map(str.split, text.splitlines())}


def symbols(golden) -> dict[int, str]:
    text = (golden / "lattice" / "words.txt").read_text()
    return {int(number): word for word, number in map(str.split, text.splitlines())}


@pytest.mark.golden
@pytest.mark.parametrize(("system", "scale"), CASES)
def test_mbr_is_kaldis(golden, system, scale):
    lattices = kaldi.lattices(golden, f"det.{system}")
    for utterance, expected in kaldi.results(golden)[f"{system}_mbr_a{scale}"].items():
        ours = lattices[utterance].mbr(SCALES[scale])
        assert list(ours.words) == expected["words"]
        assert ours.bayes_risk == pytest.approx(expected["bayes_risk"], abs=3e-5)
        assert len(ours.sausage) == len(expected["sausage"])
        for (bin_, times), theirs in zip(ours.sausage, expected["sausage"], strict=True):
            assert [word for word, _ in bin_] == [word for word, _ in theirs]
            np.testing.assert_allclose([p for _, p in bin_], [p for _, p in theirs], atol=1e-5)
            assert times[0] <= times[1] + 1e-9
        times = [times for _, times in ours.sausage]
        np.testing.assert_allclose(times, expected["sausage_times_frames"], atol=1e-3)


@pytest.mark.golden
@pytest.mark.parametrize(("system", "scale"), CASES)
@pytest.mark.parametrize("aligned", [False, True])
def test_confidences_and_times_are_kaldis(golden, system, scale, aligned):
    case = kaldi.cases(golden)[f"{system}_mbr_a{scale}"]
    rows = case["ctm_word_aligned" if aligned else "ctm"]
    lattices = kaldi.lattices(golden, f"det.{system}")
    transitions = AcousticModel.read(golden / "gmm" / "models" / f"{system}.mdl").transitions
    for utterance, group in itertools.groupby(rows, key=lambda row: row[0]):
        lattice = lattices[utterance]
        if aligned:
            lattice = lattice.word_align(transitions, word_boundary(golden))
        ours = lattice.mbr(SCALES[scale])
        _, begins, lengths, words, confidences = zip(*group, strict=True)
        assert [symbols(golden)[word] for word in ours.words] == list(words)
        np.testing.assert_allclose(ours.begins, begins, atol=1e-3)
        np.testing.assert_allclose(ours.ends - ours.begins, lengths, atol=1e-3)
        np.testing.assert_allclose(ours.confidences, confidences, atol=2e-5)


@pytest.mark.golden
def test_word_alignment_is_kaldis(golden):
    lattices = kaldi.lattices(golden, "det.mono")
    transitions = AcousticModel.read(golden / "gmm" / "models" / "mono.mdl").transitions
    for utterance, expected in kaldi.lattices(golden, "word_aligned.mono").items():
        aligned = lattices[utterance].word_align(transitions, word_boundary(golden))
        kaldi.assert_same_paths(aligned, expected, atol=3e-3)
        assert (aligned.num_states, aligned.num_arcs) == (expected.num_states, expected.num_arcs)
        for ours, theirs in zip(aligned.nbest(99), expected.nbest(99), strict=True):
            assert list(ours.begins) == list(theirs.begins)
            assert list(ours.ends) == list(theirs.ends)


@pytest.mark.golden
def test_word_alignment_of_what_does_not_fit(golden):
    transitions = AcousticModel.read(golden / "gmm" / "models" / "mono.mdl").transitions
    lattice = kaldi.lattices(golden, "det.mono")["u0_george"]
    known = {p: kind for p, kind in word_boundary(golden).items() if p < 50}
    with pytest.raises(InputError, match="not among the word boundaries"):
        lattice.word_align(transitions, known)
    tri3b = kaldi.lattices(golden, "det.tri3b")["u0_george"]
    with pytest.raises(InputError, match="not in the model"):
        tri3b.word_align(transitions, word_boundary(golden))
    cut = lattice.to_state_level()
    offsets, finals = np.minimum(cut.offsets[:80], 78), [(np.inf, np.inf)] * 78 + [(0, 0)]
    cut = Lattice.from_arrays(offsets, cut.arcs[:78], finals)
    aligned = cut.word_align(transitions, word_boundary(golden))
    assert list(aligned.best_path().words) == list(cut.best_path().words)
    assert list(aligned.best_path().tids) == list(cut.best_path().tids)
    assert Lattice.from_arrays([0], [], []).word_align(transitions, known).num_states == 0


def edit_distance(a, b) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


@pytest.mark.parametrize("seed", range(6))
def test_the_risk_is_an_expected_edit_distance(seed):
    """The recursion gives an upper bound of it that is nearly tight (section 3 of the paper)."""
    lattice = random_lattice(seed, frames=4)
    posteriors = {}
    for path in lattice.nbest(100_000):
        score = np.exp(-path.graph_cost - 0.5 * path.acoustic_cost)
        posteriors[tuple(path.words)] = posteriors.get(tuple(path.words), 0.0) + score
    total = sum(posteriors.values())

    def risk(words):
        return sum(p / total * edit_distance(words, other) for other, p in posteriors.items())

    ours = lattice.mbr(acoustic_scale=0.5)
    assert risk(ours.words) - 1e-9 <= ours.bayes_risk <= risk(ours.words) * 1.25 + 1e-3
    fixed = lattice.mbr(acoustic_scale=0.5, decode_mbr=False)
    assert list(fixed.words) == list(lattice.best_path(acoustic_scale=0.5).words)
    assert ours.bayes_risk <= fixed.bayes_risk + 1e-3
    np.testing.assert_array_equal(lattice.confidences(acoustic_scale=0.5), fixed.confidences)


def test_an_empty_lattice_has_no_words():
    result = Lattice.from_arrays([0], [], []).mbr()
    assert len(result.words) == len(result.sausage) == 0
