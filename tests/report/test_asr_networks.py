"""Networks of a speech recognition experiment: names, tables, seeds."""

import shutil

import networks
import numpy as np
import pytest
import torch
from networks import DIM, TEXT, heard
from typer.testing import CliRunner

from kdspeech.acoustic import Network
from kdspeech.cli.main import app
from kdspeech.data.frames import FramePack
from kdspeech.decode.wer import score_wer
from kdspeech.io.errors import InputError
from kdspeech.report.asr import read_asr
from kdspeech.report.asr_distillation import distillation_table
from kdspeech.report.asr_network_plots import gains_by_speaker, learning_curves, wer_by_size
from kdspeech.report.asr_network_tables import adaptation_table, networks_table
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.asr_tables import cost_table, summarise, wer_table
from kdspeech.report.claims import Claim, claims_table, read_claims
from kdspeech.report.gates import gate_openings, load_gates
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
        ("hdnn_h128_l10", "hdnn_h128_l10", 0, "CE", ("", "")),
        ("dnn_h256_l6_smbr_seed2", "dnn_h256_l6_smbr", 2, "sMBR", ("", "")),
        ("h_kd_skd.all_kl", "h_kd_skd.all_kl", 0, "KD + sequence KD", ("all", "KL")),
        ("hdnn128_kd_q02_t1.gates_ce", "hdnn128_kd_q02_t1.gates_ce", 0, "KD", ("gates", "CE")),
        ("h_kd_smbr_seed1.gates_hidden_softmax_kl", "h_kd_smbr.gates_hidden_softmax_kl", 1,
         "KD + sMBR", ("gates, hidden, softmax", "KL")),
        ("h_kd_kall", "h_kd_kall", 0, "KD", ("", "")),
        ("h_kd_ensemble_seed1", "h_kd_ensemble", 1, "KD", ("", "")),
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


def test_students_of_posteriors_stand_beside_their_twin(experiment):
    table = distillation_table(experiment)
    assert column(table, "student") == ["hdnn4_kd_q02_t1"]
    assert column(table, "teacher") == ["hdnn8_smbr, not here"]
    cells = [column(table, name)[0] for name in ("q", "T", "top k", "bytes a frame", "against")]
    assert cells == ["0.2", "1", "5", "22", "hdnn4"]
    # Only the seed that both have: 36 errors against 42, on dev 42.
    cells = [column(table, f"{name} test")[0] for name in ("WER", "its WER")]
    assert cells == ["36.00", "42.00"] and column(table, "WER dev") == ["42.00"]
    assert column(table, "change, %") == ["-14.3"] and column(table, "seeds") == ["1"]


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


def test_adaptation_compares_the_seeds_that_were_adapted(experiment):
    table = adaptation_table(experiment)
    assert column(table, "network") == ["hdnn4_kd_q02_t1"] * 3
    assert column(table, "update") == ["gates", "gates, hidden, softmax", "LHUC"]
    assert column(table, "loss") == ["CE", "KL", "CE"]
    # Both seeds of gates_ce, the first alone of the others.
    assert column(table, "SI test") == ["38.00", "36.00", "36.00"]
    assert column(table, "SD test") == ["33.00", "40.00", "35.00"]
    assert column(table, "change, %") == ["-13.2", "+11.1", "-2.8"]
    assert column(table, "seeds") == ["2", "1", "1"]
    assert [column(table, f"{kind} dev") for kind in ("SI", "SD")] == [
        ["43.00", "42.00", "42.00"],
        ["39.00", "42.00", "41.00"],
    ]
    p = [float(text) for text in column(table, "P(better)")]
    assert p[0] > 0.99 and p[1] < 0.02 and 0.6 < p[2] < 0.95


def test_a_seed_that_was_removed_is_not_asked_for(tmp_path):
    exp = networks.make_experiment(tmp_path / "exp")
    shutil.rmtree(exp / "hdnn4_kd_q02_t1_seed1")
    experiment = read_asr(exp)
    assert column(networks_table(experiment), "seeds") == ["1"] * 6
    assert column(adaptation_table(experiment), "SD test") == ["32.00", "40.00", "35.00"]
    shutil.rmtree(exp / "hdnn4_kd_q02_t1")
    assert not distillation_table(read_asr(exp)).rows


@pytest.fixture
def claims(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(
        "- {claim: frame KD helps, better: hdnn4_kd_q02_t1, than: hdnn4}\n"
        "- {claim: networks beat Gaussians, better: dnn4, than: mono}\n"
        "- {claim: MMI helps, better: hdnn8_mmi, than: hdnn8}\n"
    )
    return path


def test_claims_have_both_systems_and_say_what_was_not_run(experiment, claims):
    table = claims_table(experiment, read_claims(claims))
    assert [[cell.text for cell in row] for row in table.rows][1:] == [
        ["networks beat Gaussians", "dnn4", "mono", "44.00", "60.00", "-26.7", "1.000", "1 : 1"],
        ["MMI helps", "hdnn8_mmi", "hdnn8", "not run", "38.00", "", "", ""],
    ]
    # The first seed of both, 36 errors and 42; the second one has no counterpart.
    assert [cell.text for cell in table.rows[0][3:6]] == ["36.00", "42.00", "-14.3"]
    assert table.rows[0][7].text == "1"


def claimed(experiment, better, than):
    """The numbers of a claim: both WERs, change, P(better), seeds."""
    table = claims_table(experiment, [Claim(claim="", better=better, than=than)])
    return [cell.text for cell in table.rows[0][3:]]


def test_systems_are_compared_on_the_seeds_that_both_have(experiment):
    student = "hdnn4_kd_q02_t1"
    wer, other, change, _, seeds = claimed(experiment, f"{student}.gates_ce", student)
    assert (wer, other, change, seeds) == ("33.00", "38.00", "-13.2", "2")
    wer, other, change, _, seeds = claimed(experiment, student, f"{student}.lhuc_ce")
    assert (wer, other, change, seeds) == ("36.00", "35.00", "+2.9", "1")
    # A Gaussian system has no seed to be paired with.
    assert claimed(experiment, student, "mono") == ["38.00", "60.00", "-36.7", "1.000", "2 : 1"]


def test_common_seeds_are_resampled_together_and_others_apart(tmp_path):
    for name in ("a4", "a4_seed1", "b4", "b4_seed1", "c4_seed2", "c4_seed3"):
        networks.write_network(tmp_path / name, "DNN-H4-L3")
    errors = {"a4": 20, "a4_seed1": 40, "b4": 30, "b4_seed1": 50, "c4_seed2": 30, "c4_seed3": 50}
    for system, count in errors.items():
        networks.add_score(tmp_path, system, "test", heard(count))
    experiment = read_asr(tmp_path)
    # Seed by seed a is 10 points better; of the four ways to set one seed beside another, three.
    assert claimed(experiment, "a4", "b4") == ["30.00", "40.00", "-25.0", "1.000", "2"]
    wer, other, change, p, seeds = claimed(experiment, "a4", "c4")
    assert (wer, other, change, seeds) == ("30.00", "40.00", "-25.0", "2 : 2")
    assert float(p) == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    "content, message",
    [
        ("claim: a\n", "valid list"),
        ("- {claim: a, better: b}\n", r"0\.than: Field required"),
        ("- {claim: a, better: b, than: c, that: d}\n", r"0\.that: Extra inputs"),
        ("- {claim: a\n", "not YAML"),
    ],
)
def test_claims_of_another_form_are_refused(tmp_path, content, message):
    path = tmp_path / "claims.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_claims(path)
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_claims(tmp_path / "none.yaml")


@pytest.fixture
def pack(tmp_path):
    rng = np.random.default_rng(0)
    frames = ((f"u{i}", "s", rng.standard_normal((30, DIM)).astype("f4")) for i in range(4))
    return FramePack.build(tmp_path / "frames/dev", frames)


def test_gates_are_those_of_each_layer_input(exp, pack):
    network = Network.read(exp / "hdnn4")
    with torch.no_grad():  # both gates are 1/2 then, whatever comes in
        network.model.gate.weight.zero_()
    found = gate_openings(network, pack)
    assert [row.layer for row in found] == [2, 3]
    assert all((row.transform, row.transform_sd, row.carry) == (0.5, 0, 0.5) for row in found)
    network = Network.read(exp / "hdnn4")
    second = gate_openings(network, pack)[0]
    inputs = np.concatenate([network.spliced(pack[i]) for i in range(4)])
    model = network.model
    h = torch.sigmoid(model.hidden[0](model.norm(torch.from_numpy(inputs))))
    transform = torch.sigmoid(h @ model.gate.weight[:4].T)
    assert second.transform == pytest.approx(transform.mean().item(), abs=1e-6)
    assert second.transform_sd == pytest.approx(transform.std().item(), rel=0.01)
    assert gate_openings(Network.read(exp / "dnn4"), pack) == []


def test_gates_are_kept_beside_the_network(tmp_path, pack, caplog):
    networks.write_network(tmp_path / "net", "HDNN-H4-L3")
    assert load_gates(tmp_path / "net", None) == []
    found = load_gates(tmp_path / "net", pack.path)
    assert len(found) == 2 and load_gates(tmp_path / "net", None) == found
    (tmp_path / "net/gates.json").write_text("[{}]")
    with pytest.raises(InputError, match="gates.json: damaged"):
        load_gates(tmp_path / "net", None)
    (tmp_path / "net/gates.json").unlink()
    wide = FramePack.build(tmp_path / "wide", [("u", "s", np.zeros((9, 5), "f4"))])
    assert load_gates(tmp_path / "net", wide.path) == []
    assert "5 values a frame, the network takes 3" in caplog.text


def test_the_page_has_every_figure(exp, claims, pack):
    options = ["--claims", str(claims), "--frames", str(pack.path), "--results-md", str(exp / "R")]
    done = CliRunner().invoke(app, ["report-asr", str(exp), *options])
    assert done.exit_code == 0, done.output
    text, page = (exp / "R").read_text(), (exp / "report.html").read_text()
    for title in ("### Networks", "### Speaker adaptation", "### Claims, paired on test"):
        assert title in text and title[4:] in page
    assert "| hdnn4_kd_q02_t1 | HDNN-H4-L3 | KD |" in text
    for figure in ("sizes-test", "gains", "learning-0", "gates-HDNN-H4-L3", "network-scales"):
        assert f'href="#{figure}-' in page, figure
    assert (
        "dev criterion" in page
        and "dev added" not in page
        and "HDNN KD, adapted" in page
        and "<script" not in page
    )


def test_lines_of_the_figure_are_trainings(experiment):
    ax = wer_by_size(experiment, "test").axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    sizes = {name: facts.parameters for name, facts in experiment.networks.items()}
    assert lines["HDNN CE"] == [[sizes["hdnn4"], 42], [sizes["hdnn8"], 38]]
    assert lines["HDNN KD"] == [[sizes["hdnn4"], 38]]
    assert lines["HDNN KD, adapted"] == [[sizes["hdnn4"], 33]]
    assert lines["mono"][0][1] == 60


def test_curves_begin_before_further_training_and_leave_out_what_stays(experiment):
    axes = learning_curves(experiment, "HDNN sMBR").axes
    assert [ax.get_ylabel() for ax in axes] == ["dev criterion"]
    assert axes[0].lines[0].get_xydata().tolist() == [[0, -1], [1, -0.9], [2, -0.8]]


def test_gains_of_speakers_are_means_over_seeds(experiment):
    ax = gains_by_speaker(experiment, "test").axes[0]
    # 36 to 32 and 40 to 34 errors; the words that are right again belong to speakers in turn.
    assert sorted(ax.lines[0].get_ydata()) == [4, 4, 6, 6]
