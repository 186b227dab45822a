import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspeech.graph import NgramLM
from kdspeech.io.errors import InputError

UNIGRAMS = ["-0.5 </s>", "-99 <s> -0.2", "-0.6 a -0.1", "-0.4 b -0.3"]
PIECES = [b"", b"\n", b" ", b"nan", b"-inf", b"\\end\\", b"\xff", b"1e999", b"<s>"]
BIGRAMS = ["-0.1 <s> a -0.05", "-0.2 a b"]


def write(tmp_path, unigrams=UNIGRAMS, bigrams=BIGRAMS, trigrams=(), end="\\end\\", counts=None):
    sections = [list(s) for s in (unigrams, bigrams, trigrams) if s]
    counts = counts or [len(s) for s in sections]
    lines = ["\\data\\", *(f"ngram {n}={count}" for n, count in enumerate(counts, 1))]
    for n, section in enumerate(sections, 1):
        lines += ["", f"\\{n}-grams:", *section]
    path = tmp_path / "lm.arpa"
    path.write_text("\n".join([*lines, "", end, ""]), encoding="utf-8")
    return path


def score(lm, *words):
    return lm.score(np.array([[lm.ids[word] for word in words]]))[0]


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_there_and_back(tmp_path, name):
    lm = NgramLM.estimate(["a b a c", "b a", "é a"], 3)
    lm.write_arpa(tmp_path / name)
    back = NgramLM.read_arpa(tmp_path / name)
    assert back.words == lm.words
    for ours, table in zip(lm.tables, back.tables, strict=True):
        assert (ours.keys == table.keys).all()
        np.testing.assert_allclose(ours.log_probs, table.log_probs, atol=1e-7)
        np.testing.assert_allclose(ours.backoffs, table.backoffs, atol=1e-7)


def test_backing_off_by_hand(tmp_path):
    lm = NgramLM.read_arpa(write(tmp_path))
    assert score(lm, "a", "b") == -0.2
    assert score(lm, "b", "a") == pytest.approx(-0.3 - 0.6)
    assert score(lm, "<s>", "b") == pytest.approx(-0.2 - 0.4)
    assert score(lm, "a", "</s>") == pytest.approx(-0.1 - 0.5)
    assert lm.log_prob("a b") == pytest.approx(np.log(10) * (-0.1 - 0.2 - 0.3 - 0.5))


def test_an_ending_may_be_missing(tmp_path):
    """Of (b, a, b) the bigram (b, a) is there, (a, b) is not: one more backoff."""
    lm = NgramLM.read_arpa(write(tmp_path, bigrams=["-0.1 b a -0.05"], trigrams=["-0.01 b a b"]))
    assert score(lm, "b", "a", "b") == -0.01
    assert score(lm, "b", "a", "a") == pytest.approx(-0.05 - 0.1 - 0.6)
    assert score(lm, "a", "a", "b") == pytest.approx(-0.1 - 0.4)


def test_a_missing_context_is_added_as_it_backs_off(tmp_path):
    lm = NgramLM.read_arpa(write(tmp_path, trigrams=["-0.01 b a b", "-0.02 b b a", "-0.3 b b b"]))
    assert [len(table) for table in lm.tables] == [4, 4, 3]
    assert score(lm, "b", "a") == pytest.approx(-0.3 - 0.6)
    assert score(lm, "b", "b") == pytest.approx(-0.3 - 0.4)
    assert score(lm, "b", "a", "</s>") == pytest.approx(-0.1 - 0.5)
    assert score(lm, "b", "a", "b") == -0.01


def test_ngrams_that_nothing_matches_are_dropped(tmp_path):
    lm = NgramLM.read_arpa(write(tmp_path, bigrams=[*BIGRAMS, "-1 a <s>", "-1 </s> a"]))
    assert len(lm.tables[1]) == 2


def test_minus_infinity_and_missing_backoffs(tmp_path):
    path = write(tmp_path, ["-inf <s>", "-0.5 </s> -inf", "-0.5 a", "-1.5 b -0.5"])
    lm = NgramLM.read_arpa(path)
    assert lm.tables[0].log_probs.tolist() == [-99, -0.5, -0.5, -1.5]
    assert lm.tables[0].backoffs.tolist() == [0, -99, 0, -0.5]


def test_text_before_the_data_and_loose_blanks(tmp_path):
    path = write(tmp_path)
    text = path.read_text().replace(" ", "\t").replace("ngram\t", "ngram ").replace("=", " = ")
    path.write_text("made by hand\n\n" + text.replace("\n\n", "\n\n\n"))
    assert NgramLM.read_arpa(path).words == ["</s>", "<s>", "a", "b"]


def test_a_word_may_hold_a_wide_space(tmp_path):
    lm = NgramLM.read_arpa(write(tmp_path, [*UNIGRAMS, "-1 a\u00a0b"]))
    assert lm.words[-1] == "a\u00a0b"


@pytest.mark.parametrize(
    "changes,line,message",
    [
        ({"unigrams": ["-0.5 <s>", "x </s>"]}, 7, "not a probability, 1 words .*'x </s>'"),
        ({"unigrams": ["-0.5 <s>", "-1 a b c"]}, 7, "not a probability, 1 words"),
        ({"unigrams": ["-0.5 <s>", "-1"]}, 7, "not a probability, 1 words"),
        ({"unigrams": ["-0.5 <s>", "0.3 </s>"]}, 7, "no log10 probability .* 0.3 and 0"),
        ({"unigrams": ["-0.5 <s>", "nan </s>"]}, 7, "no log10 probability"),
        ({"unigrams": ["-0.5 <s>", "-1 </s> inf"]}, 7, "no log10 probability .* -1 and inf"),
        ({"unigrams": [*UNIGRAMS, "-1 a"]}, 10, "this 1-gram came before"),
        ({"bigrams": [*BIGRAMS, "-1 <s> a"]}, 14, "this 2-gram came before"),
        ({"bigrams": ["-1 a tango"]}, 12, "the word 'tango' has no 1-gram"),
        ({"bigrams": ["-1 a"]}, 12, "not a probability, 2 words"),
        ({"counts": [5, 2]}, 10, "ends the 1-grams: there are 4, 5 were promised"),
        ({"counts": [4, 3]}, 14, "ends the 2-grams: there are 2, 3 were promised"),
        ({"counts": [4]}, 10, r"here should stand \\end\\, not .*2-grams"),
        ({"counts": [4, 2, 1]}, 16, r"here should stand \\3-grams:, not '\\\\end"),
        ({"end": ""}, 15, r"here should stand \\end\\, not the end of the file"),
    ],
)
def test_a_file_that_is_wrong_names_the_line(tmp_path, changes, line, message):
    path = write(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        NgramLM.read_arpa(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("missing", ["<s>", "</s>"])
def test_a_model_without_an_end_of_sentences(tmp_path, missing):
    unigrams = [row for row in UNIGRAMS if missing not in row]
    with pytest.raises(InputError, match=f"there is no 1-gram {missing}$"):
        NgramLM.read_arpa(write(tmp_path, unigrams, ["-0.2 a b"]))


@pytest.mark.parametrize(
    "content,message",
    [
        (b"", r"no \\data\\"),
        (b"\\data\\\n\n", ":2: no line like `ngram 1=1000`"),
        (b"\\data\\\nngram 2=1\n", ":2: here should stand the count of 1-grams"),
        (b"\\data\\\nngram 1=1\n\\1-grams:\n-1 \xff\n\\end\\", ":4: not UTF-8"),
        (b"\x00\xfe" * 5000, r"no \\data\\"),
    ],
)
def test_what_is_no_arpa_file(tmp_path, content, message):
    (tmp_path / "lm.arpa").write_bytes(content)
    with pytest.raises(InputError, match=message):
        NgramLM.read_arpa(tmp_path / "lm.arpa")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        NgramLM.read_arpa(tmp_path / "none.arpa")
    NgramLM.estimate(["a b"] * 50).write_arpa(tmp_path / "lm.gz")
    for content in (b"plain", (tmp_path / "lm.gz").read_bytes()[:-30]):
        (tmp_path / "bad.gz").write_bytes(content)
        with pytest.raises(InputError, match="bad.gz: damaged"):
            NgramLM.read_arpa(tmp_path / "bad.gz")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_error_or_a_model(tmp_path_factory, data):
    """Bytes of a good file changed, cut out or doubled: no other exception, no NaN."""
    path = tmp_path_factory.getbasetemp() / "damaged.arpa"
    NgramLM.estimate(["a b a c", "b a", "c a b"], 3).write_arpa(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(content) - 1))
        end = begin + data.draw(st.integers(0, 20))
        piece = data.draw(
            st.sampled_from(
                [b"", b"\n", b" ", b"nan", b"-inf", b"\\end\\", b"\xff", b"1e999", b"<s>"]
            )
            | st.just(bytes(content[begin:end]) * 2)
        )
        content[begin:end] = piece
    path.write_bytes(content)
    try:
        lm = NgramLM.read_arpa(path)
    except InputError as error:
        assert str(error).startswith(str(path))
    else:
        assert not np.isnan(lm.token_log_probs(["a b", "c c a b"])[0]).any()
