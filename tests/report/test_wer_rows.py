import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from kdspeech.decode.sweep import Setting, Sweep
from kdspeech.decode.wer import score_wer
from kdspeech.io.errors import InputError
from kdspeech.report.wer import add_row, load_rows, make_row

REFS = {"u1": "a b", "u2": "c"}


def sweep(tuned_on=None):
    scores = {
        Setting(7, 0.0): score_wer(REFS, {"u1": "a x"}),
        Setting(8, 0.0): score_wer(REFS, {"u1": "a b"}),
    }
    return Sweep(scores, Setting(7, 0.0), {"u1": "s", "u2": "s"}, tuned_on)


def test_a_row_has_what_every_row_of_the_house_has():
    row = make_row(sweep("exp/decode_dev"), "tri3b", "test", "kds score x", seconds=3.5)
    assert (row.system, row.split, row.metric, row.value) == ("tri3b", "test", "wer", 66.6667)
    assert row.low < row.value < row.high and (row.n, row.words, row.seeds) == (2, 3, 1)
    assert (row.sub, row.ins, row.deleted, row.missing) == (1, 0, 1, 1)
    assert (row.lm_scale, row.penalty, row.tuned_on, row.best) == (7, 0, "exp/decode_dev", 33.3333)
    assert (row.parameters, row.seconds, row.command) == (None, 3.5, "kds score x")


def test_rows_are_added_and_replaced(tmp_path):
    path = tmp_path / "exp/results.json"
    for system, split, command in [("a", "dev", "1"), ("a", "test", "2"), ("a", "dev", "3")]:
        add_row(make_row(sweep(), system, split, command), path)
    assert [(row.split, row.command) for row in load_rows(path)] == [("dev", "3"), ("test", "2")]
    assert len(path.read_text().splitlines()) == 6 and "rows" in json.loads(path.read_text())


@pytest.mark.parametrize("content", ["", "[]", '{"rows": [{"system": "a"}]}', '{"a": 1}'])
def test_a_file_of_another_kind_is_left_alone(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(InputError, match="no table of word error rates"):
        add_row(make_row(sweep(), "a", "dev", ""), path)
    assert path.read_text() == content


def test_no_results_yet(tmp_path):
    with pytest.raises(InputError, match="no such file; run `kds score` first"):
        load_rows(tmp_path / "results.json")


def test_rows_that_come_at_once_are_all_kept(tmp_path):
    rows = [make_row(sweep(), f"system{i}", "dev", "") for i in range(16)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_row, rows, [tmp_path / "results.json"] * len(rows)))
    assert {row.system for row in load_rows(tmp_path / "results.json")} == {
        row.system for row in rows
    }
