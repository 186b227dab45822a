import numpy as np
import pytest
import synthetic
from rich.console import Console

from kdspeech.report.experiment import read_experiment
from kdspeech.report.markdown import render_markdown
from kdspeech.report.results import compute_results
from kdspeech.report.table import Cell, Table, to_html, to_markdown, to_rich
from kdspeech.report.tables import (
    chain_table,
    comparison_table,
    confusion_table,
    cost_table,
    direct_table,
    millions,
    probability,
    systems_table,
    words_table,
)


def filled(table, row):
    """The columns of a row that hold a number."""
    return [
        name for name, cell in zip(table.header[1:], table.rows[row][1:], strict=True) if cell.text
    ]


def test_chains_are_in_the_shape_of_the_paper(results):
    table = chain_table(results, "best_energy")
    assert table.header == ["distillation", "C900", "C800", "C700", "C600", "C500"]
    labels = [row[0].text for row in table.rows]
    assert labels == [
        "none: clip's own label",
        "none: 1000 ms network, native",
        "1 step",
        "1 step, hard labels",
        *["2 steps"] * 4,
        "3 steps",
    ]
    assert [filled(table, i) for i in range(len(labels))] == [
        ["C500"],
        ["C500"],
        ["C500"],
        ["C500"],
        ["C600", "C500"],
        ["C700", "C500"],
        ["C800", "C500"],
        ["C900", "C500"],
        ["C700", "C600", "C500"],
    ]
    assert table.breaks == {2, 4, 8}


def test_intermediate_lengths_are_the_steps_of_the_chain(results):
    table = chain_table(results, "center")
    last = dict(zip(table.header, table.rows[-1], strict=True))
    for column, system in (("C700", "1000-700"), ("C600", "1000-700-600")):
        assert last[column].text.startswith(f"{results.row(system, 'center').value:.1f} ±")


def test_direct_table_has_the_baselines_beside(results):
    table = direct_table(results, "sliding")
    labels = [row[0].text for row in table.rows]
    assert labels == ["soft labels", "hard labels", "clip's own label", "1000 ms network, native"]
    assert all(len(filled(table, i)) == 5 for i in range(4))
    assert [cell.best for cell in table.rows[0][1:]] == [True] * 5


def test_columns_come_from_the_lengths_present(tmp_path):
    synthetic.paper_sweep(tmp_path, seeds=(0,), n=40, lengths=(500, 400, 300), teacher=600)
    results = compute_results(read_experiment(tmp_path), replicates=50)
    assert chain_table(results, "center").header[1:] == ["C500", "C400", "C300"]
    assert direct_table(results, "center").rows[-1][0].text == "600 ms network, native"
    assert "one seed" in direct_table(results, "center").note


def test_teacher_alone_leaves_the_tables_empty(tmp_path):
    synthetic.write_node(tmp_path, "1000", 0, {"full": 90}, n=40)
    results = compute_results(read_experiment(tmp_path), replicates=50)
    assert chain_table(results, "full").rows == [] == direct_table(results, "full").rows


def test_systems_table_has_a_column_per_protocol(results, experiment):
    table = systems_table(results)
    assert table.header[-4:] == ["best-energy crop", "centre crop", "sliding average", "whole clip"]
    assert len(table.rows) == len(experiment.runs)
    assert [bool(cell.text) for cell in table.rows[0][-4:]] == [False, False, False, True]


def test_costs_fall_with_the_length(results):
    table = cost_table(results)
    assert [row[0].text for row in table.rows][::5] == ["1000 ms", "500 ms"]
    assert [cell.text for cell in table.rows[0][1:]] == ["110,307", "31.00 M", "4.00"]


def test_comparisons(results):
    table = comparison_table(results, "cut", "best_energy")
    row = table.rows[0]
    assert [c.text for c in row[:2]] == ["1000-500", "1000.native-500"]
    assert row[2].text.startswith("+") and row[2].best
    assert row[5].text == "3/3" and "<1e-4" in row[6].text


@pytest.mark.parametrize("p,text", [(1.0, "> 0.999"), (0.0, "< 0.001"), (0.97, "0.970")])
def test_probability(p, text):
    assert probability(p) == text


def test_millions():
    assert (millions(31_000_000), millions(2_000)) == ("31.00 M", "2,000")


def test_words_and_confusion():
    matrix = np.array([[3, 1], [0, 0]])
    words = words_table(matrix, ["yes", "no"], "t")
    assert [cell.text for cell in words.rows[0]] == ["yes", "4", "100.0", "75.0", "85.7", "no"]
    assert [cell.text for cell in words.rows[1][2:]] == ["0.0", "–", "0.0", ""]
    assert [c.text for c in confusion_table(matrix, ["yes", "no"], "t").rows[0]] == [
        "yes",
        "3",
        "1",
    ]


def test_renderings_escape_and_keep_every_cell():
    table = Table("a <b>", ["x", "n"], [[Cell("[red]p|q"), Cell("1", True, "[0, 2]")]], note="n&m")
    assert to_markdown(table) == (
        "### a <b>\n\n| x | n |\n|---|--:|\n| [red]p\\|q | **1** [0, 2] |\n\nn&m\n"
    )
    page = to_html(table)
    assert "<caption>a &lt;b&gt;</caption>" in page and "n&amp;m" in page
    assert "<b>1</b><small>[0, 2]</small>" in page
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(to_rich(table))
    assert "[red]p|q" in console.export_text()


def test_results_md(results):
    text = render_markdown(results, "Title", ["egs/x/run.sh", "kds report exp"], "My *notes*.")
    assert text.startswith("# Title\n\nMade by\n\n```\negs/x/run.sh\nkds report exp\n```\n")
    assert text.endswith("## Reading\n\nMy *notes*.\n")
    for name in ("best-energy crop", "centre crop", "sliding average"):
        assert f"## Test protocol: {name}" in text
        assert f"### Table 2. Chains of distillation steps, {name}" in text
    assert "P(better)" in text and "mean of 3 seeds" in text
    assert "- still running, left out: seed2/1000-900-700" in text
    assert render_markdown(results, "Title", ["c"]).count("## Reading") == 0
