"""Tables, figures and page of a search."""

import json

import pytest
import synthetic

from kdspeech.io.errors import InputError
from kdspeech.report.family import family_markdown, family_tree, pareto_figure, pareto_table
from kdspeech.report.family_page import family_results, read_family, save_family_page


def node(name, generation, teachers, weights, parameters, dev, status="alive"):
    return {
        "name": name,
        "generation": generation,
        "teachers": teachers,
        "weights": weights,
        "length_ms": 1000,
        "parameters": parameters,
        "macs": 10 * parameters,
        "latency_ms": 1.0,
        "size_kb": 4.0,
        "dev": dev,
        "test": dev - 1,
        "per_seed": [dev - 2, dev],
        "drop": {"value": 95.0 - dev, "low": 94.0 - dev, "high": 96.0 - dev, "above": 0.5},
        "status": status,
    }


def family(**changes):
    nodes = [
        node("1000", 0, [], [], 90_000, 95.0, "root"),
        node("1000.w70", 1, ["1000"], [1.0], 40_000, 94.5),
        node("1000.w70.d70+all", 2, ["1000", "1000.w70"], [0.25, 0.75], 5_000, 80.0, "broken"),
    ]
    gap = {"value": 1.5, "low": 0.5, "high": 2.5, "above": 0.99}
    scratch = {"what": "from scratch", "name": "s", "dev": 93.0, "test": 92.0}
    scratch["per_seed"] = [91.5, 92.5]
    content = {
        "command": "kds distill iterate",
        "seeds": [0, 1],
        "max_drop": 1.0,
        "confidence": 0.95,
        "ended": "generation 2 is broken",
        "finished": True,
        "best": "1000.w70",
        "outcome": "1000.w70: 44.4 % of the root's parameters",
        "nodes": nodes,
        "pareto": {
            "parameters": ["1000.w70.d70+all", "1000.w70", "1000"],
            "macs": ["1000.w70", "1000"],
            "latency_ms": ["1000"],
        },
        "baselines": [scratch | {"chain_minus_it": gap}],
    }
    return content | changes


def test_the_tables_say_who_taught_and_what_became_of_it():
    text = family_markdown(family())
    assert "| 1000.w70.d70+all | 0.25 1000, 0.75 1000.w70 | 1000 | 5,000 | 50,000 |" in text
    assert "| **1000.w70** | 1000 |" in text and "| 1000 | clips' labels |" in text
    assert "-0.50 (-1.50, +0.50)" in text  # to the root, the interval turned about
    assert "+0.00 (-1.00, +1.00)" in text  # never -0.00
    assert (
        "| from scratch | s | 93.00 | 92.00 | 91.50, 92.50 | +1.50 (+0.50, +2.50) | 0.990 |" in text
    )


def test_fronts_are_marked_and_sorted_by_size():
    rows = [[cell.text for cell in row] for row in pareto_table(family()).rows]
    assert [row[0] for row in rows] == ["1000.w70.d70+all", "1000.w70", "1000"]
    assert [row[-3:] for row in rows] == [["x", "", ""], ["x", "x", ""], ["x", "x", "x"]]


def test_figures_show_every_network():
    tree = family_tree(family())
    texts = [text.get_text() for text in tree.axes[0].texts if text.get_text()]
    assert [text.split("\n")[0] for text in texts] == ["1000", "w70", "d70+all"]
    lines = [text for text in tree.axes[0].texts if not text.get_text()]
    assert len(lines) == 3  # one for each teacher
    axes = pareto_figure(family()).axes
    assert [ax.get_xscale() for ax in axes] == ["log", "log", "linear"]


def test_a_search_without_an_outcome_has_its_tables_too():
    content = family(best=None, baselines=[], max_drop=None)
    assert "The same architecture" not in family_markdown(content)
    assert pareto_figure(content).axes and family_tree(content).axes


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """An experiment with the posteriors of a search's root, and its family.json."""
    exp = tmp_path_factory.mktemp("search")
    for seed in (0, 1):
        synthetic.write_node(exp, "1000", seed, {"full": 95.0}, n=60)
    (exp / "family.json").write_text(json.dumps(family()))
    return exp


def test_results_begin_with_the_command_and_end_with_the_notes(search):
    text = family_results(read_family(search), search, "A title", ["run.sh --stage 7"], "So it is.")
    assert text.startswith("# A title\n\nMade by\n\n```\nrun.sh --stage 7\n```\n\n- date: 20")
    assert "- dev and test clips: 60 and 60\n" in text and "- seeds: 0, 1\n" in text
    assert text.index("44.4 %") < text.index("### The family") < text.index("### The same arch")
    assert text.endswith("\n\n## Reading\n\nSo it is.\n")
    assert "still running" not in text


def test_the_page_holds_tree_tables_and_fronts(search):
    page = search / "report.html"
    save_family_page(family(finished=False, baselines=[]), search, page, "A <title>", ["run.sh"])
    html = page.read_text()
    assert "A &lt;title&gt;" in html and "the search is still running" in html
    assert html.count("<svg") == 2 and "http://" not in html.replace("http://www.w3.org", "")
    assert "The same architecture" not in html  # there is no baseline
    assert "var(--card)" in html  # boxes of the tree are dark on a dark page


def test_a_damaged_family_is_named(tmp_path):
    assert read_family(tmp_path) is None
    (tmp_path / "family.json").write_text("{}")
    with pytest.raises(InputError, match="family.json: not the family of a search"):
        read_family(tmp_path)
