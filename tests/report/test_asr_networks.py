"""Networks of a speech recognition experiment: names, tables, seeds."""

import networks
import numpy as np
import pytest
from networks import TEXT, heard
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.decode.wer import score_wer
from kdspeech.io.errors import InputError
from kdspeech.report.asr import read_asr
from kdspeech.report.asr_network_tables import networks_table
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.asr_tables import cost_table, summarise, wer_table
from kdspeech.report.seeds import over_seeds, p_better


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    return networks.make_experiment(tmp_path_factory.mktemp("networks") / "exp")


@pytest.fixture(scope="module")
def experiment(exp):
    return read_asr(exp, exp.parent / "data")


def column(table, name):
    return [row[table.header.index(name)].text for row in table.rows]


@pytest.mark.parametrize(
    "name, system, seed, training, update",
    [
        ("hdnn128", "hdnn128", 0, "CE", ("", "")),
        ("dnn256_smbr_seed2", "dnn256_smbr", 2, "sMBR", ("", "")),
        ("hdnn128_kd_q02_t1.gates_ce", "hdnn128_kd_q02_t1.gates_ce", 0, "KD", ("gates", "CE")),
        ("h_kd_smbr_seed1.gates_hidden_softmax_kl", "h_kd_smbr.gates_hidden_softmax_kl", 1,
         "KD + sMBR", ("gates, hidden, softmax", "KL")),
        ("hdnn128.lhuc", "hdnn128.lhuc", 0, "CE", ("LHUC", "")),
    ],
)  # fmt: skip
def test_names_say_what_a_system_is(name, system, seed, training, update):
    found = SystemName.parse(name)
    assert (found.system, found.seed, found.training) == (system, seed, training)
    assert found.update == update


def test_networks_stand_in_groups_of_one_training_and_seeds_in_one_row(experiment):
    table = networks_table(experiment)
    assert column(table, "system") == ["dnn4", "dnn8", "hdnn4", "hdnn8", "hdnn8_smbr",
                                       "hdnn4_kd_q02_t1"]  # fmt: skip
    assert table.breaks == {2, 4, 5}
    assert column(table, "training") == ["CE"] * 4 + ["sMBR", "KD"]
    # H4: 9 inputs, 4 units, 9 pdfs, gates of 4 x 8.
    pdfs = networks.transitions().num_pdfs
    hidden, output, gates = 10 * 4 + 2 * 5 * 4, 5 * pdfs, 4 * 8
    assert column(table, "parameters")[0] == f"{hidden + output:,}"
    assert column(table, "parameters")[2] == f"{hidden + output + gates:,}"
    assert column(table, "WER test") == ["44.00", "40.00", "42.00", "38.00", "34.00", "38.00"]
    assert column(table, "WER dev")[-1] == "43.00" and column(table, "seeds")[-1] == "2"
    test = table.header.index("WER test")
    assert table.rows[-1][test].detail.endswith("36.00..40.00") and table.rows[4][test].best
    assert column(table, "real-time factor") == ["", "", "", "0.12", "", ""]
    assert column(table, "training CPU s")[3] == "1,034"


def test_gaussian_tables_hold_no_network(experiment):
    assert column(wer_table(experiment, "test"), "system") == ["mono"]
    assert column(cost_table(experiment), "system") == []


def test_the_headline_is_chosen_by_the_mean_over_seeds(experiment):
    # 39.00 on dev for the adapted student's two seeds, 40.00 for sMBR.
    assert experiment.headline.system == "hdnn4_kd_q02_t1.gates_ce"
    assert "mean of 2 seeds" in summarise(experiment)[0]
    assert "33.00 % WER on test" in summarise(experiment)[0]


def test_p_better_is_that_of_the_paired_bootstrap():
    rng = np.random.default_rng(0)

    def noisy(rate):
        words = {utt: [w if r > rate else "x" for w, r in zip(text.split(), rng.random(5),
                 strict=True)] for utt, text in TEXT.items()}  # fmt: skip
        return score_wer(TEXT, words)

    a, b = noisy(0.30), noisy(0.36)
    assert p_better([a], [b]) == pytest.approx(a.p_better(b), abs=0.05)
    assert p_better([a], [a]) == 0.5
    assert p_better([a], [b]) + p_better([b], [a]) == pytest.approx(1, abs=0.02)


def test_seeds_count_in_the_interval_and_in_p_better(experiment):
    # Every utterance of a system has the same errors but for one: seeds are all the uncertainty.
    good, bad, middle = (score_wer(TEXT, heard(n)) for n in (20, 60, 41))
    assert p_better([good], [middle]) == 1 and p_better([bad], [middle]) == 0
    assert p_better([good, bad], [middle]) == pytest.approx(0.5, abs=0.02)
    two = over_seeds(experiment, "hdnn4_kd_q02_t1", "test")
    assert two.value == 38 and two.per_seed == (36, 40)
    assert two.low < 36.5 and two.high > 39.5


def test_systems_of_other_references_are_not_compared():
    other = score_wer({**TEXT, "s0-u00": "a"}, heard(3))
    with pytest.raises(InputError, match="s0-u00: the systems were scored on different"):
        p_better([score_wer(TEXT, heard(3))], [other])


def test_results_md_has_the_networks(exp):
    done = CliRunner().invoke(app, ["report-asr", str(exp), "--results-md", str(exp / "R.md")])
    assert done.exit_code == 0, done.output
    text = (exp / "R.md").read_text()
    assert "| hdnn4_kd_q02_t1 | HDNN-H4-L3 | KD |" in text
    assert '<section id="networks">' in (exp / "report.html").read_text()
