"""`kds score`, as a user calls it."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "decode"))
from lattices_by_hand import parallel

from kdspeech.cli.main import app
from kdspeech.decode import write_lattices
from kdspeech.report.wer import load_rows


def kds(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def good(result):
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture
def exp(tmp_path):
    for name, text in (("dev", "u1 a b\nu2 c\n"), ("test", "v1 a\nv2 c c\nv3 uh b\n")):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "text").write_text(text)
    (tmp_path / "words.txt").write_text("<eps> 0\na 1\nb 2\nc 3\nuh 4\n")
    two = parallel(([1], 1.0, 20.0), ([1, 2], 2.05, 10.0))
    for system, other in (("tri1", [1]), ("tri2", [3])):
        folder = tmp_path / "exp" / system
        (folder / "decode_dev").mkdir(parents=True)
        (folder / "decode_test").mkdir()
        one = parallel((other, 1.0, 1.0))
        write_lattices(folder / "decode_dev/lat.1.gz", [("u1", two), ("u2", one)])
        write_lattices(folder / "decode_test/lat.1.gz", [("v1", two), ("v2", one), ("w", one)])
    return tmp_path


def test_dev_then_test_then_another_system(exp):
    def score(system, split, *options):
        decode = exp / "exp" / system / f"decode_{split}"
        data = exp / "data" / split.removesuffix(".si")
        return good(kds("score", data, exp, decode, *options))

    assert "%WER 0.00 [ 0 / 3, 0 ins, 0 del, 0 sub ]" in score("tri2", "dev")
    dev = exp / "exp/tri2/decode_dev"
    output = score("tri2", "test", "--tuned-on", dev)
    assert "%WER 80.00 [ 4 / 5, 1 ins, 3 del, 0 sub ]" in output
    assert f"at LM scale 7, penalty 0.0 (from {dev}, best here 60.00)" in output
    assert "1 utterances without a hypothesis, counted as deleted: v3" in output
    assert "1 utterances without a reference, left out: w" in output
    output = score("tri2", "test", "--setting", "9,0.25")
    assert "at LM scale 9, penalty 0.25 (from the options, best here 60.00)" in output
    output = score("tri1", "test", "--against", exp / "exp/tri2/decode_test", "--max-lmwt", 8)
    assert f"P(better than {exp / 'exp/tri2/decode_test'}) = 0." in output
    (exp / "exp/tri1/decode_dev").rename(exp / "exp/tri1/decode_dev.si")
    score("tri1", "dev.si")
    rows = load_rows(exp / "exp/results.json")
    assert [(row.system, row.split) for row in rows] == [
        ("tri2", "dev"),
        ("tri2", "test"),
        ("tri1", "test"),
        ("tri1.si", "dev"),
    ]


def test_words_that_do_not_count_and_names_of_ones_own(exp):
    (exp / "fillers").write_text("uh\n<UNK>\n")
    decode = exp / "exp/tri2/decode_test"
    options = (
        "--drop",
        exp / "fillers",
        "--system",
        "x",
        "--split",
        "eval",
        "--results",
        exp / "r",
    )
    output = good(kds("score", exp / "data/test", exp, decode, *options))
    assert "/ 4, " in output
    assert [(row.system, row.split, row.words) for row in load_rows(exp / "r")] == [
        ("x", "eval", 4)
    ]


def test_errors_are_one_line(exp):
    decode = exp / "exp/tri2/decode_test"
    for arguments, message in [
        ((exp / "data/dev", exp, exp), "no lattices"),
        ((exp / "data/test", exp, decode, "--word-ins-penalty", "a"), "comma-separated"),
        ((exp / "data/test", exp, decode, "--word-ins-penalty", "nan"), "finite numbers"),
        ((exp / "data/test", exp, decode, "--min-lmwt", 9, "--max-lmwt", 8), "LM scales from 9 to"),
        ((exp / "data/dev", exp, decode), "no utterance in common"),
    ]:
        result = kds("score", *arguments)
        assert result.exit_code == 1 and message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_comparison_that_fails_leaves_no_row(exp):
    dev, test = (exp / f"exp/tri2/decode_{split}" for split in ("dev", "test"))
    good(kds("score", exp / "data/dev", exp, dev))
    for against, message in ((dev, "on different references"), (exp / "none", "none first")):
        result = kds("score", exp / "data/test", exp, test, "--against", against)
        assert result.exit_code == 1 and message in " ".join(result.stderr.split())
    assert [row.split for row in load_rows(exp / "exp/results.json")] == ["dev"]
