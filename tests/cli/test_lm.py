"""The commands over language models, as a user calls them."""

import kaldifst
import pytest
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.graph import NgramLM


def kds(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def good(result):
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    path.write_text("u1 a b a c\nu2 a b\nu3 b a c c\nu4\nu5 c a b a b\n")
    return path


def test_from_text_to_a_pruned_mixture_and_its_grammar(tmp_path, text):
    plain = tmp_path / "plain"
    plain.write_text("b c a\nc c a d\n")
    one, other, mixed, small = (tmp_path / f"{name}.arpa.gz" for name in "abcd")
    assert "6 1-grams" in good(kds("lm", "estimate", text, one, "--order", 2, "--keyed"))
    good(kds("lm", "estimate", plain, plain, other))
    dev = tmp_path / "dev"
    dev.write_text("b c a\na b\n")
    output = good(kds("lm", "interpolate", one, other, mixed, "--dev", dev))
    assert f"weight of {one}: 0." in output and "7 1-grams" in output
    good(kds("lm", "prune", mixed, small, "--threshold", 0.02))
    assert "5 sentences, 15 words, 0 unknown" in good(
        kds("lm", "perplexity", small, text, "--keyed")
    )
    (tmp_path / "words.txt").write_text("<eps> 0\na 1\nb 2\nc 3\n#0 4\n")
    output = good(kds("arpa-to-fst", small, tmp_path / "words.txt", tmp_path / "G.fst"))
    assert "1 words of the language model" in output and "left out: d" in output
    grammar = kaldifst.StdVectorFst.read(str(tmp_path / "G.fst"))
    assert f"{grammar.num_states} states" in output


def test_a_vocabulary_from_words_txt(tmp_path, text):
    (tmp_path / "words.txt").write_text("<eps> 0\n<UNK> 1\na 2\ne 3\n#0 4\n")
    arpa = tmp_path / "lm.arpa"
    good(kds("lm", "estimate", text, arpa, "--keyed", "--words", tmp_path / "words.txt"))
    assert set(NgramLM.read_arpa(arpa).words) == {"<UNK>", "<s>", "</s>", "a", "e"}


def test_errors_are_one_line(tmp_path, text):
    (tmp_path / "empty").touch()
    good(kds("lm", "estimate", text, tmp_path / "arpa", "--keyed"))
    for result, message in [
        (
            kds("lm", "perplexity", tmp_path / "arpa", tmp_path / "empty"),
            "empty: no sentence",
        ),
        (kds("lm", "estimate", tmp_path / "none", tmp_path / "x"), "none"),
        (kds("lm", "perplexity", text, text), "not an ARPA file"),
        (kds("lm", "interpolate", text, text, text), "give --weight or --dev"),
    ]:
        assert result.exit_code == 1 and message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()
