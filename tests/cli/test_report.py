import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
import synthetic

from kdspeech.cli.main import app


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return synthetic.paper_sweep(tmp_path_factory.mktemp("exp"), seeds=(0, 1), n=60)


def kds(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_score_prints_the_tables_and_writes_results(directory):
    result = kds("distill", "score", directory, "--against", "500")
    assert result.exit_code == 0, result.output
    assert (directory / "results.json").is_file()
    for text in ("Table 1.", "Table 2.", "C900", "centre crop", "Confusion: 1000-500", "recall",
                 "1000-500 against 500", "P(better)"):  # fmt: skip
        assert text in result.output


def test_score_of_a_named_system(directory):
    result = kds("distill", "score", directory, "--system", "1000-600", "--protocol", "center")
    assert "Words: 1000-600, centre crop" in result.output


def test_report_writes_page_and_results_md(directory, tmp_path):
    notes = tmp_path / "NOTES.md"
    notes.write_text("What we read in it.")
    markdown = tmp_path / "RESULTS.md"
    result = kds("report", directory, "--results-md", markdown, "--command", "egs/x/run.sh",
                 "--notes", notes, "--title", "A title")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output.strip().splitlines()[-1] == str(directory / "report.html")
    assert "A title" in (directory / "report.html").read_text(encoding="utf-8")
    text = markdown.read_text(encoding="utf-8")
    assert text.startswith("# A title") and "egs/x/run.sh" in text
    assert text.endswith("## Reading\n\nWhat we read in it.\n")


def test_report_says_where_it_is_from_anywhere(directory, monkeypatch):
    monkeypatch.chdir(directory.parent)
    result = kds("report", directory.name)
    assert result.output.strip().splitlines()[-1] == str(directory / "report.html")


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("distill", "score", "nowhere"), "not an experiment"),
        (("report", "nowhere"), "not an experiment"),
        (("report", "nowhere", "--notes", "none.md"), "none.md: No such file"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = kds(*arguments)
    assert result.exit_code == 1 and message in result.stderr
    assert result.stderr.count("\n") == 1


def test_unknown_system(directory):
    result = kds("distill", "score", directory, "--system", "7")
    assert result.exit_code == 1 and "no finished system 7" in result.stderr
    assert not list(directory.glob(".*tmp*"))
