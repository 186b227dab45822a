import re

import pytest

from kdspeech.decode.sweep import Setting, Sweep
from kdspeech.decode.wer import score_wer
from kdspeech.report.alignment import save_alignment

REFS = {"s1-1": "a b c d", "s1-2": "", "s2-1": "x <UNK> y", "s2-2": "m n"}
HYPS = {"s1-1": "a b e d f", "s1-2": "o", "s2-1": "x y", "s9": "q"}


@pytest.fixture
def page(tmp_path):
    score = score_wer(REFS, HYPS)
    utt2spk = {utterance: utterance[:2] for utterance in REFS}
    scores = {Setting(7, 0.0): score, Setting(8, 0.0): score_wer(REFS, REFS)}
    save_alignment(
        Sweep(scores, Setting(7, 0.0), utt2spk, "exp/dev"), tmp_path / "a.html", "T & Co"
    )
    return (tmp_path / "a.html").read_text(encoding="utf-8")


def test_alignments_show_what_was_done_to_each_word(page):
    block = re.search(r"s1-1: 2 errors, 4 words</h4>(.*?)</div>\n", page, re.S)[1]
    assert '<span class="C"><b>a b</b></span><span class="S"><b>c</b><i>e</i></span>' in block
    assert '<span class="I"><b>&middot;</b><i>f</i></span>' in block
    assert '<span class="D"><b>&lt;UNK&gt;</b><i>&middot;</i></span>' in page
    assert "s1-2: 1 error, 0 words" in page


def test_what_the_page_says_besides(page):
    assert "T &amp; Co" in page and "taken from exp/dev" in page
    assert "%WER 66.67 [ 6 / 9, 2 ins, 3 del, 1 sub ]" in page
    assert "1 without a hypothesis; their words count as deleted: s2-2" in page
    assert "1 without a reference; left out: s9" in page
    assert "<b>66.67</b>" in page and ">0.00<" in page
    assert page.index("s1: %WER") < page.index("s2: %WER")


def test_the_page_stands_alone(page):
    assert page.startswith("<!DOCTYPE html>") and page.rstrip().endswith("</html>")
    assert not re.search(r"<script|src=|https?://|@import|url\(", page)
