import re
from html.parser import HTMLParser

import matplotlib
import pytest
import synthetic

from kdspeech.report import drawing, plots
from kdspeech.report.experiment import read_experiment
from kdspeech.report.page import save_page
from kdspeech.report.results import compute_results

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that elements nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.captions = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[k] for k in ("href", "src", "xlink:href", "srcset") if k in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "caption":
            self.captions.append(data)


@pytest.fixture(scope="module")
def text(experiment, results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    save_page(experiment, results, path, "A <title>", ["egs/x/run.sh --seed 0"], "My notes")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def check_self_contained(text, page):
    """Nothing is fetched, nothing runs, and every reference has its target."""
    assert "http" not in text and "@import" not in text
    assert "<script" not in text and not re.search(r"<[^>]+\son\w+=", text)
    assert page.links and all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.findall(r"url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    inner = [link[1:] for link in page.links if link.startswith("#")]
    inner += re.findall(r"url\(#([^)]+)\)", text)
    assert set(inner) <= set(page.ids)


def test_the_page_stands_alone(text, page):
    check_self_contained(text, page)


def test_sections_tables_and_figures_are_there(page):
    sections = {"run", "tables", "length", "gains", "curves", "words", "cost", "crops", "systems",
                "notes"}  # fmt: skip
    assert sections <= set(page.ids)
    for name in ("best-energy crop", "centre crop", "sliding average"):
        assert f"Table 1. Direct distillation and baselines, {name}" in page.captions
        assert f"Table 2. Chains of distillation steps, {name}" in page.captions
    assert {"All systems", "Cost by input length", "1000-500, best-energy crop"} <= set(
        page.captions
    )
    # length per protocol, two of gains, curves, two confusions, cost, crops
    assert page.tags.count("svg") == page.tags.count("figure") == 3 + 2 + 1 + 2 + 1 + 1


def test_spectrograms_are_inline(page):
    images = [link for link in page.links if link.startswith("data:image/png;base64,")]
    assert len(images) == 3


def test_headline_run_and_escapes(text):
    assert "<title>A &lt;title&gt;</title>" in text
    for fact in ("egs/x/run.sh --seed 0", "0123456789ab", "seed2/1000-900-700",
                 "My notes", "system chosen on dev"):  # fmt: skip
        assert fact in text


def test_phone_and_both_schemes(text):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "@media (prefers-color-scheme: dark)" in text
    for colour in (drawing.INK, drawing.GRID, *drawing.SERIES):
        assert colour not in text.partition("<body>")[2]


def test_page_of_a_teacher_alone(tmp_path):
    synthetic.write_node(tmp_path, "1000", 0, {"full": 90}, n=40)
    experiment = read_experiment(tmp_path)
    results = compute_results(experiment, replicates=50)
    save_page(experiment, results, tmp_path / "report.html", "T", ["c"])
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert {"run", "words", "systems"} <= set(page.ids)
    assert not {"gains", "crops", "notes"} & set(page.ids)


def test_matplotlib_settings_stay(results):
    before = dict(matplotlib.rcParams)
    drawing.to_svg(plots.accuracy_by_length(results, "center"), "x", "d")
    assert dict(matplotlib.rcParams) == before


def test_figures_are_the_same_again(results):
    first, again = (
        drawing.to_svg(plots.accuracy_by_length(results, "center"), "x", "d") for _ in range(2)
    )
    assert first == again


def test_figures_without_data_are_none(results):
    assert plots.gains([]) is None


def test_runs_of_unequal_length_share_their_epochs(tmp_path):
    for seed, epochs in ((0, 5), (1, 8)):
        synthetic.write_node(tmp_path, "1000", seed, {"full": 90}, n=40, epochs=epochs)
    figure = plots.learning_curves(read_experiment(tmp_path), ["1000"])
    (line,) = figure.axes[0].get_lines()
    assert line.get_xdata().tolist() == [0, 1, 2, 3, 4]
