import math

import kaldilm
import pytest

from kdspeech.graph import NgramLM, arpa_to_fst
from kdspeech.graph.grammar import one_word_grammar
from kdspeech.io.errors import InputError

WORDS = {"<eps>": 0, "a": 1, "b": 2, "c": 3, "#0": 4, "<s>": 5, "</s>": 6}
TEXT = ["a b a c", "a b", "b a c c", "c a b a b", "a a b c b"]


def canonical(text):
    """Arcs and finals of a machine, states numbered as a breadth-first walk meets them."""
    rows = [line.split() for line in text.strip().splitlines()]
    leaving, finals = {}, {}
    for row in rows:
        weight = float(row[-1]) if len(row) in (2, 5) else 0.0
        if len(row) < 3:
            finals[row[0]] = weight
        else:
            leaving.setdefault(row[0], []).append((*map(int, row[2:4]), weight, row[1]))
    seen, found = {rows[0][0]: 0}, []
    for state in (queue := [rows[0][0]]):
        for ilabel, olabel, weight, to in sorted(leaving.get(state, [])):
            if to not in seen:
                seen[to] = len(seen)
                queue.append(to)
            found.append((seen[state], seen[to], ilabel, olabel, weight))
        if state in finals:
            found.append((seen[state], "final", 0, 0, finals[state]))
    return found


def same(one, other):
    one, other = canonical(one), canonical(other)
    assert [row[:4] for row in one] == [row[:4] for row in other]
    assert [row[4] for row in one] == pytest.approx([row[4] for row in other], abs=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("arpa,disambig,text", [
    ("tri", "#0", "tri_disambig"),
    ("tri", "", "tri_nodisambig"),
])  # fmt: skip
def test_kaldis_machine(golden, arpa, disambig, text):
    folder = golden / "arpa"
    fst = arpa_to_fst(folder / f"{arpa}.arpa", folder / "words.txt", disambig)
    same(fst.to_str(), (folder / f"{text}.fst.txt").read_text())
    assert fst.is_ilabel_sorted


@pytest.mark.golden
def test_the_grammar_of_kaldis_graphs(golden):
    folder = golden / "lattice"
    fst = arpa_to_fst(folder / "G.arpa", folder / "words.txt")
    same(fst.to_str(), (folder / "G.fst.txt").read_text())


@pytest.mark.golden
def test_words_that_the_graph_lacks_are_skipped_and_named(golden):
    folder = golden / "arpa"
    with pytest.warns(UserWarning, match="1 words .* 4 n-grams are left out: tango$"):
        fst = arpa_to_fst(folder / "bi_oov.arpa", folder / "words.txt")
    same(fst.to_str(), (folder / "bi_oov_disambig.fst.txt").read_text())


class Walker:
    """Reads sentences on a machine: a word's own arc, or the backoff's and on from there."""

    def __init__(self, text, backoff):
        rows = [line.split() for line in text.strip().splitlines()]
        self.start, self.backoff = rows[0][0], backoff
        self.arcs, self.finals = {}, {}
        for row in rows:
            weight = float(row[-1]) if len(row) in (2, 5) else 0.0
            if len(row) < 3:
                self.finals[row[0]] = weight
            else:
                assert (row[0], int(row[2])) not in self.arcs, "not deterministic"
                self.arcs[row[0], int(row[2])] = (row[1], weight)

    def cost(self, labels):
        state, total = self.start, 0.0
        for label in labels:
            while (state, label) not in self.arcs:
                state, weight = self.arcs[state, self.backoff]
                total += weight
            state, weight = self.arcs[state, label]
            total += weight
        while state not in self.finals:
            state, weight = self.arcs[state, self.backoff]
            total += weight
        return total + self.finals[state]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("threshold", [0, 0.05])
def test_costs_are_the_models_and_kaldilms(tmp_path, order, threshold):
    lm = NgramLM.estimate(TEXT, order).prune(threshold)
    words = tmp_path / "words.txt"
    words.write_text("".join(f"{word} {i}\n" for word, i in WORDS.items()))
    lm.write_arpa(tmp_path / "lm.arpa")
    theirs = kaldilm.arpa2fst(
        str(tmp_path / "lm.arpa"), read_symbol_table=str(words), disambig_symbol="#0"
    )
    ours, peer = Walker(arpa_to_fst(lm, WORDS).to_str(), 4), Walker(theirs, 4)
    plain = Walker(arpa_to_fst(lm, WORDS, "").to_str(), 0)
    for sentence in [*TEXT, "c c c a", "", "b b a c a a a b"]:
        labels = [WORDS[word] for word in sentence.split()]
        cost = ours.cost(labels)
        assert cost == pytest.approx(-lm.log_prob(sentence), abs=1e-4)
        assert cost == pytest.approx(peer.cost(labels), abs=1e-4)
        assert cost == pytest.approx(plain.cost([5, *labels, 6]), abs=1e-4)


def test_a_history_that_only_backs_off_is_no_state(tmp_path):
    lm = NgramLM.estimate(TEXT, 3)
    sizes = [len(table) for table in lm.prune(0.05).tables]
    states = arpa_to_fst(lm.prune(0.05), WORDS).num_states
    assert states < 1 + sum(sizes[:-1]) and states < arpa_to_fst(lm, WORDS).num_states


@pytest.mark.parametrize("missing,disambig", [("#0", "#0"), ("</s>", "")])
def test_a_symbol_the_grammar_needs(missing, disambig):
    symbols = {word: i for word, i in WORDS.items() if word != missing}
    with pytest.raises(InputError, match=f"no {missing}, which the grammar needs"):
        arpa_to_fst(NgramLM.estimate(TEXT), symbols, disambig)


@pytest.mark.parametrize("word", ["#0", "<eps>"])
def test_a_word_that_is_a_symbol(word):
    with pytest.raises(InputError, match=f"has the word {word}"):
        arpa_to_fst(NgramLM.estimate([f"a {word}"]), WORDS)


def test_no_word_in_common():
    with pytest.raises(InputError, match="no word in common"), pytest.warns(UserWarning):
        arpa_to_fst(NgramLM.estimate(["x y"]), WORDS)


def test_one_word_of_a_list():
    grammar = one_word_grammar(["b", "a"], {**WORDS, "<eps>": 0}).to_kaldifst()
    lines = sorted(line.split() for line in str(grammar).splitlines())
    cost = pytest.approx(math.log(2), abs=1e-6)
    found = [[*line[:4], *map(float, line[4:])] for line in lines]
    assert found == [["0", "1", "1", "1", cost], ["0", "1", "2", "2", cost], ["1"]]


@pytest.mark.parametrize(("choice", "message"), [(["a", "zebra"], "no zebra"), ([], "no words")])
def test_a_list_that_does_not_fit(choice, message):
    with pytest.raises(InputError, match=message):
        one_word_grammar(choice, WORDS)
