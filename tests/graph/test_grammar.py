import kaldifst
import pytest

from kdspeech.graph import NgramLM, arpa_to_fst
from kdspeech.graph.grammar import read_words
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
def test_words_that_the_graph_lacks_are_skipped_and_named(golden):
    folder = golden / "arpa"
    with pytest.warns(UserWarning, match="1 words .* 4 n-grams are left out: tango$"):
        fst = arpa_to_fst(folder / "bi_oov.arpa", folder / "words.txt")
    same(fst.to_str(), (folder / "bi_oov_disambig.fst.txt").read_text())
