"""`kds lattice`: what the commands write, on lattices made by hand."""

import math

import pytest
from lattices_by_hand import parallel
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.decode import read_decode_lattices, read_lattices, write_lattices

WORDS = "<eps> 0\na 1\nb 2\nc 3\n#0 4\n"
LATTICES = {
    "u1": parallel(([1, 2], 2.0, 10.0), ([3], 1.0, 25.0), ([1, 3], 9.0, 60.0)),
    "u2": parallel(([2], 1.0, 1.0)).to_compact(),
}
ARPA = """\\data\\
ngram 1=5

\\1-grams:
-99 <s>
-0.5 </s>
-1 a
-1 b
{} c

\\end\\
"""


@pytest.fixture
def folder(tmp_path):
    """A decoding directory of two archives beside words.txt and two language models."""
    (tmp_path / "words.txt").write_text(WORDS)
    (tmp_path / "old.arpa").write_text(ARPA.format(-1))
    (tmp_path / "new.arpa").write_text(ARPA.format(-3))
    (tmp_path / "decode").mkdir()
    for number, (utterance, lattice) in enumerate(LATTICES.items(), 1):
        write_lattices(tmp_path / f"decode/lat.{number}.gz", [(utterance, lattice)])
    return tmp_path


def kds(*arguments):
    result = CliRunner().invoke(app, ["lattice", *map(str, arguments)])
    return result.exit_code, result.output


def test_best_paths(folder):
    words = folder / "words.txt"
    assert kds("best-path", folder / "decode", words) == (0, "u1 a b\nu2 b\n")
    scale = ("--acoustic-scale", 0.01)  # graph costs decide: 2.1 against 1.25
    assert kds("best-path", folder / "decode", words, *scale) == (0, "u1 c\nu2 b\n")
    out = folder / "text"
    options = ("--word-ins-penalty", 3, "--out", out)  # 9 against 6.5
    assert kds("best-path", folder / "decode", words, *options) == (0, "")
    assert out.read_text() == "u1 c\nu2 b\n"


def test_nbest(folder):
    code, output = kds("nbest", folder / "decode", folder / "words.txt", "--n", 2)
    assert code == 0
    assert output.splitlines() == [
        "u1-1 2.0000 10.0000 a b",
        "u1-2 1.0000 25.0000 c",
        "u2-1 1.0000 1.0000 b",
    ]


def test_pruning_keeps_the_directorys_shape(folder):
    pruned = folder / "pruned"
    assert kds("prune", folder / "decode", pruned, "--beam", 1)[0] == 0
    assert sorted(path.name for path in pruned.iterdir()) == ["lat.1.gz", "lat.2.gz", "num_jobs"]
    left = dict(read_decode_lattices(pruned))
    assert [path.words.tolist() for path in left["u1"].nbest(9)] == [[1, 2], [3]]
    one = folder / "one.lat"
    assert kds("prune", folder / "decode/lat.1.gz", one, "--beam", 0.3)[0] == 0
    assert dict(read_lattices(one))["u1"].num_arcs == 2


def test_rescoring_exchanges_the_models(folder):
    models = ("--old", folder / "old.arpa", "--new", folder / "new.arpa")
    arguments = ("rescore", folder / "decode", folder / "new", "--words", folder / "words.txt")
    assert kds(*arguments, *models)[0] == 0
    paths = dict(read_decode_lattices(folder / "new"))["u1"].nbest(9, 1.0)
    costs = {tuple(path.words.tolist()): path.graph_cost for path in paths}
    assert costs[1, 2] == pytest.approx(2)
    assert costs[3,] == pytest.approx(1 + 2 * math.log(10), abs=1e-4)
    assert kds(*arguments)[0] == 1


def test_text(folder):
    code, output = kds("to-text", folder / "decode", "--words", folder / "words.txt")
    assert code == 0
    lines = output.splitlines()
    assert lines[0] == "u1 " and lines[1].split("\t") == ["0", "1", "1", "a", "2,10"]
    assert "0\t1\tb\t1,1,1" in lines
    out = folder / "text"
    kds("to-text", folder / "decode", "--out", out)
    assert [lat.num_arcs for _, lat in read_lattices(out)] == [5, 1]


def test_what_is_wrong_is_one_line(folder):
    words = folder / "words.txt"
    short = folder / "short.txt"
    short.write_text("<eps> 0\na 1\n")
    (folder / "empty").mkdir()
    data = (folder / "decode/lat.1.gz").read_bytes()
    (folder / "decode/lat.1.gz").write_bytes(data[: len(data) // 2])
    for arguments, message in [
        (("best-path", folder / "empty", words), "no lattices lat.1.gz"),
        (("best-path", folder / "decode/lat.2.gz", short), "u2: its lattice has the word 2"),
        (("prune", folder / "decode", folder / "decode"), "from itself"),
        (("prune", folder / "decode", folder / "x"), "lat.1.gz: cannot be read"),
        (
            ("rescore", folder / "decode", folder / "x", "--words", short, "--new", "a.arpa"),
            "words.txt has no #0",
        ),
    ]:
        code, output = kds(*arguments)
        assert code == 1 and message in output
        assert len(output.strip().splitlines()) == 1
    assert not (folder / "x/num_jobs").exists()
