import json
from dataclasses import replace

import numpy as np
import pytest
import synthetic

from kdspeech.io.errors import InputError
from kdspeech.report.experiment import read_experiment
from kdspeech.report.results import (
    choose_headline,
    compare,
    compute_results,
    confusion,
    load_results,
    save_results,
)
from kdspeech.report.tables import headline_sentences


def find(results, question, system, protocol="best_energy"):
    (found,) = [
        c
        for c in results.comparisons
        if (c.question, c.system, c.protocol) == (question, system, protocol)
    ]
    return found


def test_one_row_per_system_split_and_protocol(results, experiment):
    keys = [(row.system, row.split, row.protocol) for row in results.rows]
    assert len(keys) == len(set(keys)) == 2 * (1 + 3 * (len(experiment.runs) - 1))


def test_row_holds_known_accuracy_and_costs(results):
    row = results.row("1000-500", "best_energy")
    per_seed = [100 * round(240 * (89.0 + 0.3 * k) / 100) / 240 for k in range(3)]
    assert row.per_seed == pytest.approx(per_seed, abs=1e-3)
    assert row.value == pytest.approx(np.mean(per_seed), abs=1e-3)
    assert row.spread == pytest.approx(np.std(per_seed, ddof=1), abs=1e-3)
    assert row.low < row.value < row.high
    assert (row.metric, row.n, row.seeds, row.seconds) == ("accuracy", 240, 3, 61.0)
    assert (row.parameters, row.macs, row.latency_ms) == (110307, 15_500_000, 2.0)


def test_teacher_answers_to_any_protocol(results):
    assert results.row("1000", "sliding").protocol == "full"
    assert results.row("none", "sliding") is None


def test_every_question_is_asked(results):
    assert find(results, "distillation", "1000-500").against == "500"
    assert find(results, "distillation", "1000-500.hard").against == "500"
    assert find(results, "progressive", "1000-800-500").against == "1000-500"
    assert find(results, "soft", "1000-700").against == "1000-700.hard"
    cut = find(results, "cut", "1000-500")
    assert cut.against == "1000.native-500" and cut.low > 30 and cut.p_better == 1
    assert len(cut.mcnemar) == cut.seeds == cut.seeds_better == 3
    chains = find(results, "progressive", "mean of 5 chains")
    assert chains.length_ms == 500 and chains.mcnemar == []


def test_gain_is_the_difference_of_rows(results):
    c = find(results, "distillation", "1000-600")
    a, b = results.row(c.system, c.protocol), results.row(c.against, c.protocol)
    assert c.gain == pytest.approx(a.value - b.value, abs=1e-3)


def test_headline_is_chosen_on_dev(results):
    assert results.headline == "1000-500" and results.protocol == "best_energy"
    rows = [
        replace(row, value=99.0 if row.split == "dev" else 1.0)
        if row.system == "1000-700-500"
        else row
        for row in results.rows
    ]
    assert choose_headline(rows, "best_energy") == "1000-700-500"


def test_a_headline_that_was_chosen_on_test_says_so(results):
    assert headline_sentences(results, "best_energy")[0].endswith("; system chosen on dev).")
    rows = [row for row in results.rows if row.split == "test"]
    (sentence,) = headline_sentences(replace(results, rows=rows), "best_energy")
    assert sentence.endswith("; system chosen on test itself, for want of dev).")


def test_words_of_headline_and_teacher(results, experiment):
    assert [w.system for w in results.words] == ["1000-500", "1000"]
    matrix = np.array(results.words[0].confusion)
    assert matrix.sum() == 3 * 240
    share = 100 * np.trace(matrix) / matrix.sum()
    assert share == pytest.approx(results.row("1000-500", "best_energy").value)
    assert np.array_equal(matrix, confusion(experiment, "1000-500", "best_energy"))


def test_same_results_again(experiment, results):
    assert compute_results(experiment, replicates=1000) == results


def test_saved_and_loaded(results, tmp_path):
    path = tmp_path / "results.json"
    save_results(results, path)
    loaded = load_results(path)
    save_results(loaded, tmp_path / "again.json")
    assert path.read_bytes() == (tmp_path / "again.json").read_bytes()
    wanted = {"system", "split", "metric", "value", "low", "high", "n", "seeds", "parameters",
              "macs", "seconds", "command", "protocol", "spread", "latency_ms"}  # fmt: skip
    assert all(wanted <= row.keys() for row in json.loads(path.read_text())["rows"])


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{}]}', '{"other": 1}'])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match="not a results file"):
        load_results(tmp_path / "results.json")


def test_missing_results(tmp_path):
    with pytest.raises(InputError, match="run `kds distill score` first"):
        load_results(tmp_path / "results.json")


def test_compare_any_two(experiment):
    found = compare(experiment, "1000-500", "1000-600", replicates=200)
    assert [c.protocol for c in found] == ["center", "best_energy", "sliding"]
    with pytest.raises(InputError, match="no finished system 99; there are 1000, "):
        compare(experiment, "99", "1000")


def test_unknown_protocol(experiment):
    with pytest.raises(InputError, match="nothing was scored under the protocol loud"):
        compute_results(experiment, "loud", replicates=10)


def test_one_seed_and_only_a_teacher(tmp_path):
    synthetic.write_node(tmp_path, "1000", 0, {"full": 90}, n=50)
    results = compute_results(read_experiment(tmp_path), replicates=50)
    assert (results.headline, results.protocols, results.lengths) == ("1000", ["full"], [])
    assert results.row("1000", "full").spread is None and results.comparisons == []


def test_seeds_in_common_are_compared(tmp_path):
    for seed in (0, 1, 2):
        synthetic.write_node(tmp_path, "500", seed, synthetic.protocols(80), n=50)
    for seed in (1, 2):
        synthetic.write_node(tmp_path, "1000-500", seed, synthetic.protocols(86), n=50)
    results = compute_results(read_experiment(tmp_path), replicates=50)
    assert find(results, "distillation", "1000-500").seeds == 2
    assert results.row("500", "center").seeds == 3


def test_no_seed_in_common(tmp_path):
    synthetic.write_node(tmp_path, "500", 0, synthetic.protocols(80), n=50)
    synthetic.write_node(tmp_path, "1000-500", 1, synthetic.protocols(86), n=50)
    with pytest.raises(InputError, match="no seed in common"):
        compute_results(read_experiment(tmp_path), replicates=50)


def test_seeds_scored_differently(tmp_path):
    synthetic.write_node(tmp_path, "1000-500", 0, synthetic.protocols(80), n=50)
    synthetic.write_node(tmp_path, "1000-500", 1, {"center": 80}, n=50)
    with pytest.raises(InputError, match="score all seeds under the same protocols"):
        compute_results(read_experiment(tmp_path), replicates=50)


def test_variant_is_compared_with_the_plain_system(tmp_path):
    synthetic.write_node(tmp_path, "1000-500", 0, synthetic.protocols(80), n=50)
    synthetic.write_node(tmp_path, "1000-500.context", 0, synthetic.protocols(84), n=50)
    results = compute_results(read_experiment(tmp_path), replicates=50)
    assert find(results, "variant", "1000-500.context").against == "1000-500"
