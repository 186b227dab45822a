import kaldialign
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspeech.decode.wer import drop_words, score_wer
from kdspeech.io.errors import InputError

REFS = {"u1": "a b c", "u2": "a a", "u3": "", "u4": "b c"}
HYPS = {"u1": "a x c d", "u2": "a", "u3": "b", "u4": "b c"}


def test_by_hand():
    score = score_wer(REFS, HYPS)
    assert score.counts.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]
    total = score.total
    assert str(total) == "%WER 57.14 [ 4 / 7, 2 ins, 1 del, 1 sub ]"
    assert (total.sentences, total.wrong_sentences, total.ser) == (4, 3, 75.0)
    assert score.alignment(0) == [("a", "a"), ("b", "x"), ("c", "c"), ("", "d")]
    assert score.alignment(2) == [("", "b")]


def test_speakers():
    score = score_wer(REFS, HYPS)
    found = score.per_speaker({"u1": "s2", "u2": "s1", "u3": "s3", "u4": "s2"})
    assert list(found) == ["s1", "s2", "s3"]
    assert found["s2"].wer == pytest.approx(40) and found["s1"].wer == 50
    assert found["s3"].wer == float("inf") and found["s3"].words == 0
    with pytest.raises(InputError, match="u4: is not in utt2spk"):
        score.per_speaker(dict.fromkeys(["u1", "u2", "u3"], "s"))


def test_utterances_on_one_side_are_named():
    score = score_wer(REFS, {"u1": "a b c", "u4": "b c", "u9": "a"})
    assert score.missing == ["u2", "u3"] and score.unexpected == ["u9"]
    assert score.total.deleted == 2 and score.total.words == 7 and score.total.errors == 2
    assert "u2" not in score.hypotheses and score.references["u2"] == ["a", "a"]


def test_words_that_do_not_count():
    score = score_wer(
        {"u": "a <UNK> uh b"}, {"u": ["a", "b", "uh", "<UNK>"]}, drop_words(["<UNK>", "uh"])
    )
    assert score.wer == 0 and score.total.words == 2


@pytest.mark.parametrize(
    "refs,hyps,message",
    [
        ({"a": "x"}, {"b": "x"}, "no utterance in common"),
        ({"a": ""}, {"a": "x"}, "no word in the references"),
    ],
)
def test_what_cannot_be_scored(refs, hyps, message):
    with pytest.raises(InputError, match=message):
        score_wer(refs, hyps)


words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(words, words), min_size=1, max_size=6))
def test_counts_are_an_edit_distance_and_its_alignment(pairs):
    refs = {f"u{i}": ref for i, (ref, _) in enumerate(pairs)}
    hyps = {f"u{i}": hyp for i, (_, hyp) in enumerate(pairs)}
    if not any(refs.values()):
        return
    score = score_wer(refs, hyps)
    peer = kaldialign.batch_error_rate(list(refs.values()), list(hyps.values()))
    total = score.total
    assert (total.errors, total.words) == (peer["total"], peer["ref_len"])
    assert (total.sub, total.ins, total.deleted) == (peer["sub"], peer["ins"], peer["del"])
    for row, (ref, hyp) in enumerate(pairs):
        alignment = score.alignment(row)
        assert [r for r, _ in alignment if r] == ref and [h for _, h in alignment if h] == hyp
        edits = sum(r != h for r, h in alignment)
        assert edits == score.counts[row].sum() == levenshtein(ref, hyp)


def levenshtein(ref, hyp):
    row = list(range(len(hyp) + 1))
    for i, r in enumerate(ref, 1):
        row, above = [i], row
        for j, h in enumerate(hyp, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (r != h)))
    return row[-1]


def random_score(rng, rate, references):
    hyps = {
        utterance: ["x" if rng.random() < rate else word for word in sentence]
        for utterance, sentence in references.items()
    }
    return score_wer(references, hyps)


def test_intervals_hold_the_bootstraps_spread():
    rng = np.random.default_rng(0)
    refs = {f"u{i}": ["a"] * (1 + i % 7) for i in range(80)}
    score = random_score(rng, 0.3, refs)
    low, high = score.interval(2000)
    errors, lengths = score.counts.sum(axis=1), np.array([len(ref) for ref in score.refs])
    draws = rng.integers(0, 80, (4000, 80))
    own = 100 * errors[draws].sum(axis=1) / lengths[draws].sum(axis=1)
    np.testing.assert_allclose([low, high], np.quantile(own, [0.025, 0.975]), atol=1)
    assert low < score.wer < high and score.interval(2000) == (low, high)
    assert score_wer({"u": "a"}, {"u": "a"}).interval(100) == (0, 0)


def test_which_of_two_systems_is_better():
    rng = np.random.default_rng(1)
    refs = {f"u{i}": ["a"] * 5 for i in range(60)}
    good, bad = random_score(rng, 0.2, refs), random_score(rng, 0.5, refs)
    assert good.p_better(bad, 1000) > 0.99 and bad.p_better(good, 1000) < 0.01
    with pytest.raises(InputError, match="u0: the systems were scored on different references"):
        good.p_better(score_wer({**refs, "u0": "b"}, refs))
