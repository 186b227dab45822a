"""Pages in a headless Chromium: no error, nothing fetched, no sideways scrolling, sounds play."""

import sys
from pathlib import Path

import pytest

from kdspeech.report.page import save_page

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from check_page import WIDTHS, Chromium, check_page

pytestmark = pytest.mark.chromium


@pytest.fixture(scope="module")
def browser(chromium):
    with Chromium(str(chromium)) as browser:
        yield browser


@pytest.fixture(scope="module")
def report_page(experiment, results, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    save_page(experiment, results, path, "T", ["c"])
    return path


@pytest.mark.parametrize("width", WIDTHS)
def test_analysis(browser, analysis_page, tmp_path, width):
    found = check_page(browser, analysis_page, width, tmp_path / "page.png")
    assert found["problems"] == []
    assert found["images"] >= 20 and found["sounds"] >= 2 * 5
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("width", WIDTHS)
def test_report(browser, report_page, width):
    assert check_page(browser, report_page, width)["problems"] == []


@pytest.mark.parametrize(
    "body,problem",
    [
        ("<script>missing()</script>", "exception: Uncaught"),
        ("<script>console.error('so')</script>", "console: "),
        ("<p style='width: 2000px'>wide</p>", "the body is 20"),
        ("<img src='data:image/png;base64,AAAA'>", "picture not decoded"),
        ("<audio src='data:audio/flac;base64,AAAA'></audio>", "sound not decoded"),
        ("<img src='http://127.0.0.1:9/a.png'>", "asks for http://127.0.0.1:9/a.png"),
    ],
)
def test_the_check_can_fail(browser, tmp_path, body, problem):
    page = tmp_path / "bad.html"
    page.write_text(f"<!DOCTYPE html><title>bad</title><body>{body}</body>")
    assert any(problem in text for text in check_page(browser, page, 390)["problems"])
