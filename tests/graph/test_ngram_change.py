from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdspeech.graph import NgramLM
from kdspeech.graph.ngram_change import _history_probs, perplexity_rise, renormalise
from kdspeech.io.errors import InputError

TEXT = ["a b a c", "a b", "b a c c", "", "c a b a b", "a a b c b"]
texts = st.lists(st.text("abc ", max_size=12), min_size=1, max_size=8)


def copy(lm):
    return NgramLM(lm.words, [replace(table) for table in lm.tables])


def distribution(lm, context):
    """P(. | context) over all words but <s>."""
    ids = [i for i in range(len(lm.words)) if i != lm.bos]
    return 10 ** lm.score(np.array([[*context, i] for i in ids])[:, -lm.order :])


def assert_sums_to_one(lm):
    for n in range(1, lm.order):
        for context in lm.expand(n):
            if context[-1] != lm.eos:
                assert distribution(lm, context).sum() == pytest.approx(1, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(texts, st.integers(2, 4))
@example(["aa", "aa", "aa", "a a", "a a", "b a b"], 4)  # a discount of 0: a backoff of log 0
def test_an_estimate_is_normalised_already(lines, order):
    lm = NgramLM.estimate(lines, order)
    for table, new in zip(lm.tables, renormalise(copy(lm)).tables, strict=True):
        np.testing.assert_allclose(table.backoffs, new.backoffs, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_the_rise_is_the_relative_entropy(order):
    """Each longest n-gram dropped on its own: Kullback-Leibler divergence, word by word."""
    lm = NgramLM.estimate(TEXT, order)
    histories = _history_probs(lm)[order - 1]
    rises = perplexity_rise(lm, order, histories)
    for row, ngram in enumerate(lm.expand(order)):
        without = copy(lm)
        without.tables[-1] = lm.tables[-1].take(np.arange(len(rises)) != row)
        old, new = distribution(lm, ngram[:-1]), distribution(renormalise(without), ngram[:-1])
        history = histories[lm.find(ngram[None, :-1])[0]]
        steps = [lm.score(ngram[None, : i + 1])[0] for i in range(order - 1)]
        assert history == pytest.approx(10 ** sum(steps[int(ngram[0] == lm.bos) :]))
        divergence = history * (old * np.log(old / new)).sum()
        assert rises[row] == pytest.approx(np.expm1(divergence), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(texts, st.integers(1, 4), st.floats(0, 0.3))
def test_a_pruned_model_is_a_model(lines, order, threshold):
    lm = NgramLM.estimate(lines, order)
    before = copy(lm)
    pruned = lm.prune(threshold)
    assert_sums_to_one(pruned)
    assert len(pruned.tables[0]) == len(lm.tables[0])
    for n in range(2, order + 1):
        ngrams = pruned.expand(n)
        rows = lm.find(ngrams)
        assert (rows >= 0).all() and (pruned.find(ngrams) == np.arange(len(ngrams))).all()
        np.testing.assert_array_equal(
            pruned.tables[n - 1].log_probs, lm.tables[n - 1].log_probs[rows]
        )
    for table, old in zip(lm.tables, before.tables, strict=True):
        assert (table.backoffs == old.backoffs).all()


def test_the_context_of_what_stays_stays():
    pruned = NgramLM.estimate([*TEXT, *["c c c"] * 9], 3).prune(0.03)
    assert len(pruned.tables[2]) > 0
    contexts = pruned.tables[2].keys // len(pruned.words)
    assert contexts.max() < len(pruned.tables[1])
    assert len(NgramLM.estimate(TEXT, 3).prune(10).tables[2]) == 0


def test_no_threshold_prunes_nothing():
    lm = NgramLM.estimate(TEXT, 3)
    assert [len(t) for t in lm.prune(0).tables] == [len(t) for t in lm.tables]
    with pytest.raises(InputError, match="0 or more, not -1"):
        lm.prune(-1)


@settings(max_examples=25, deadline=None)
@given(texts, texts, st.integers(1, 3), st.integers(1, 3), st.floats(0.05, 0.95))
def test_a_mixture_is_the_weighted_sum(lines, others, order, second_order, weight):
    first, second = NgramLM.estimate(lines, order), NgramLM.estimate(others, second_order)
    mixed = first.interpolate(second, weight)
    assert_sums_to_one(mixed)
    assert mixed.order == max(order, second_order)
    for n in range(1, mixed.order + 1):
        for row, ngram in enumerate(mixed.expand(n)):
            if ngram[-1] != mixed.bos:
                words = [mixed.words[i] for i in ngram]
                want = weight * prob(first, words) + (1 - weight) * prob(second, words)
                assert 10 ** mixed.tables[n - 1].log_probs[row] == pytest.approx(want)


def prob(lm, words):
    if words[-1] not in lm.ids:
        return 0.0
    return 10 ** lm.score(np.array([[lm.ids.get(w, -1) for w in words[-lm.order :]]]))[0]


def test_models_of_other_words_mix():
    mixed = NgramLM.estimate(["a b"]).interpolate(NgramLM.estimate(["x y"]), 0.25)
    assert set(mixed.words) == {"<unk>", "<s>", "</s>", "a", "b", "x", "y"}
    one = NgramLM.estimate(["a b"])
    assert prob(mixed, ["<s>", "a"]) == pytest.approx(0.25 * prob(one, ["<s>", "a"]))
    assert mixed.perplexity(["a y"]).oovs == 0


def test_the_best_weight_is_no_worse_than_its_neighbours():
    first, second = NgramLM.estimate(TEXT, 2), NgramLM.estimate(["b b a", "c b b", "x a b"], 2)
    dev = ["b b a c", "x b b a", "nothing known here", "c a b"]
    weight = first.best_weight(second, dev)
    assert 0.01 < weight < 0.99
    best, *others = (
        first.interpolate(second, w).perplexity(dev).perplexity
        for w in (weight, weight - 0.05, weight + 0.05)
    )
    assert best < min(others)
    assert first.best_weight(second, ["a b a c"] * 3) > weight


@pytest.mark.parametrize("weight", [0, 1, -0.5, float("nan")])
def test_a_weight_that_is_none(weight):
    lm = NgramLM.estimate(TEXT)
    with pytest.raises(InputError, match="between 0 and 1"):
        lm.interpolate(lm, weight)


def test_no_text_to_find_the_weight_with():
    lm = NgramLM.estimate(TEXT)
    with pytest.raises(InputError, match="no text"):
        lm.best_weight(lm, [])
