import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdspeech.graph import NgramLM
from kdspeech.graph.text import read_sentences, read_vocabulary
from kdspeech.io.errors import InputError

TEXT = ["a b a c", "a b", "b a c c", "", "c a b a b", "a a b c b"]


@pytest.fixture(scope="module")
def speechocean(corpora):
    folder = corpora / "speechocean762_adults" / "resource"
    sentences = (folder / "lm_train_text.txt").read_text().splitlines()
    lexicon = (folder / "lexicon.txt").read_text().splitlines()
    return sentences + sorted({line.split()[0] for line in lexicon})


@pytest.mark.golden
@pytest.mark.corpora
@pytest.mark.parametrize("order", [2, 3])
def test_estimates_are_lmplz(golden, speechocean, order):
    want = NgramLM.read_arpa(golden / "lm" / f"speechocean_words_o{order}.arpa.gz")
    lm = NgramLM.estimate(speechocean, order)
    same = np.array([lm.ids[word] for word in want.words])
    for n, (ours, table) in enumerate(zip(lm.tables, want.tables, strict=True), 1):
        rows = lm.find(same[want.expand(n)])
        assert len(ours) == len(table) and (rows >= 0).all()
        np.testing.assert_allclose(ours.log_probs[rows], table.log_probs, atol=1e-6)
        np.testing.assert_allclose(ours.backoffs[rows], table.backoffs, atol=1e-6)


def discounts(counts):
    n = [list(counts).count(k) for k in range(5)]
    found = []
    if n[1] and n[2] and n[3]:
        y = n[1] / (n[1] + 2 * n[2])
        found = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
    return found if found and all(0 <= d <= k + 1 for k, d in enumerate(found)) else [0.5, 1, 1.5]


class ByDefinition:
    """Interpolated modified Kneser-Ney by dictionaries and recursion."""

    def __init__(self, sentences, order):
        padded = [["<s>", *line.split(), "</s>"] for line in sentences]
        raw = [
            Counter(tuple(p[i : i + n]) for p in padded for i in range(len(p) - n + 1))
            for n in range(1, order + 1)
        ]
        self.counts = {}
        self.discounts = []
        for n in range(order):
            behind = Counter(gram[1:] for gram in raw[n + 1]) if n + 1 < order else raw[n]
            counts = {g: c if g[0] == "<s>" else behind[g] for g, c in raw[n].items()}
            counts.pop(("<s>",), None)
            self.discounts.append(discounts(counts.values()))
            self.counts.update(counts)
        self.vocabulary = sorted({w for p in padded for w in p} - {"<s>"} | {"<unk>"})

    def prob(self, context, word):
        counts = [self.counts.get((*context, w), 0) for w in self.vocabulary]
        lower = self.prob(context[1:], word) if context else 1 / len(self.vocabulary)
        if not any(counts):
            return lower
        taken = [self.discounts[len(context)][min(c, 3) - 1] if c else 0 for c in counts]
        i = self.vocabulary.index(word)
        return (counts[i] - taken[i] + sum(taken) * lower) / sum(counts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abc ", max_size=14), min_size=1, max_size=12), st.integers(1, 4))
@example(["a", "b", "b", "a a", "a a", "a a", "aa a"], 4)  # discounts that leave nothing
def test_estimates_are_the_definition(sentences, order):
    want, lm = ByDefinition(sentences, order), NgramLM.estimate(sentences, order)
    contexts = [(), ("<s>",), ("a",), ("<s>", "b"), ("b", "a"), ("c", "a", "b"), ("<s>", "a", "b")]
    for context in contexts:
        context = context[-(order - 1) :] if order > 1 else ()
        if set(context) <= set(lm.words):
            ids = [[lm.ids[w] for w in (*context, word)] for word in want.vocabulary]
            expected = [want.prob(context, word) for word in want.vocabulary]
            found = 10 ** lm.score(np.array(ids))
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-90)  # -99 is zero
            assert sum(expected) == pytest.approx(1)


def test_sentences_and_perplexity_add_up():
    lm = NgramLM.estimate(TEXT, 3)
    scores, unknown = lm.token_log_probs(["a b", "b x"])
    assert len(scores) == 6 and unknown.tolist() == [False] * 4 + [True, False]
    assert lm.log_prob("a b") == pytest.approx(scores[:3].sum())
    assert lm.log_prob(["b", "x"]) == pytest.approx(scores[3:].sum())
    found = lm.perplexity(["a b", "b x"])
    assert (found.sentences, found.words, found.oovs, found.tokens) == (2, 4, 1, 5)
    assert found.perplexity == pytest.approx(math.exp(-scores[~unknown].mean()))
    assert found.perplexity_with_oovs == pytest.approx(math.exp(-scores.mean()))


def test_a_model_without_unk_gives_unknown_words_nothing(tmp_path):
    lm = NgramLM.read_arpa(arpa(tmp_path, "-0.5 <s>", "-0.3 </s>", "-0.3 a"))
    assert lm.log_prob("b") == -math.inf
    found = lm.perplexity(["a b"])
    assert found.oovs == 1 and found.perplexity == pytest.approx(10**0.3)
    assert found.perplexity_with_oovs == math.inf


def test_nothing_to_predict_is_no_perplexity():
    assert math.isnan(NgramLM.estimate(TEXT).perplexity([]).perplexity)


@pytest.mark.parametrize(
    "lines,message",
    [
        ([], "no text"),
        (["a", "b </s> a"], "line 2 of the text: <s> or </s>"),
        (["a", "b", "</s> <s>"], "line 3 of the text: <s> or </s>"),
        (["a", "<unk> b"], "line 2 of the text: <unk>"),
    ],
)
def test_text_that_is_no_text(lines, message):
    with pytest.raises(InputError, match=message):
        NgramLM.estimate(lines)


def test_an_order_below_one_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        NgramLM.estimate(TEXT, 0)


def arpa(tmp_path, *unigrams, bigrams=(), trigrams=(), end="\\end\\"):
    sections = [s for s in (unigrams, bigrams, trigrams) if s]
    lines = ["\\data\\", *(f"ngram {n}={len(s)}" for n, s in enumerate(sections, 1))]
    for n, section in enumerate(sections, 1):
        lines += ["", f"\\{n}-grams:", *section]
    path = tmp_path / "lm.arpa"
    path.write_text("\n".join([*lines, "", end, ""]))
    return path


def test_a_given_vocabulary_keeps_its_words_and_no_other():
    lm = NgramLM.estimate(["a b q", "a <unk>"], 2, words=["b", "a", "z"])
    assert set(lm.words) == {"<unk>", "<s>", "</s>", "a", "b", "z"}
    mapped = NgramLM.estimate(["a b q", "a q"], 2, words=["a", "b", "z"])
    assert lm.log_prob("a z") == pytest.approx(mapped.log_prob("a z"))
    assert lm.log_prob("z") > -math.inf and lm.log_prob("q") > lm.log_prob("z")
    everything = [[lm.ids[word]] for word in lm.words if word != "<s>"]
    assert (10 ** lm.score(np.array(everything))).sum() == pytest.approx(1)


def test_unknown_words_take_the_vocabularys_name_for_them():
    lm = NgramLM.estimate(["a b q"], 2, words=["a", "<UNK>", "b"])
    assert lm.words[lm.unk] == "<UNK>" and "<unk>" not in lm.ids


def test_ways_to_read_text(tmp_path):
    (tmp_path / "text").write_text("u1 a b\nu2\nu3 c\n")
    assert [line.split() for line in read_sentences([tmp_path / "text"], keyed=True)] == [
        ["a", "b"],
        [],
        ["c"],
    ]
    (tmp_path / "words.txt").write_text("<eps> 0\n<UNK> 1\na 2\n#0 3\n<s> 4\n</s> 5\n")
    assert read_vocabulary(tmp_path / "words.txt") == ["<UNK>", "a"]
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match="latin: not text in UTF-8"):
        list(read_sentences([tmp_path / "latin"]))
