"""egs/ami/run.sh and egs/fsdd/run_asr.sh from stage 0 to the report on a few embedded meetings and
digits; the recipes' options.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdspeech.acoustic import DnnConfig, SequenceConfig
from kdspeech.adapt import AdaptConfig
from kdspeech.config import load_config

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("mono.num_iters=4", "mono.tot_gauss=150", "tri2b.dim=20"),
    *(f"{system}.num_iters=3" for system in ("tri1", "tri2b", "tri3b")),
    *(f"{system}.num_leaves=50" for system in ("tri1", "tri2b", "tri3b")),
    *(f"{system}.tot_gauss=100" for system in ("tri1", "tri2b", "tri3b")),
    *("decode.beam=7", "decode.lattice_beam=1", "decode.max_active=300", "decode.min_active=20"),
    *("decode_fmllr.first_beam=6", "score.min_lmwt=10", "score.max_lmwt=12"),
]


def run(recipe: str, *arguments: str, cwd: Path = ROOT, script: str = "run.sh"):
    """Runs a recipe with the `kds` of the Python that runs the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(ROOT / "egs" / recipe / script), *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_configurations_of_networks_are_read():
    models = {"dnn": DnnConfig, "sequence": SequenceConfig, "adapt": AdaptConfig}
    for name, model in models.items():
        paths = list(ROOT.glob(f"egs/*/conf/**/{name}*.yaml"))
        assert len(paths) > 3
        for path in paths:
            load_config(model, path)


@pytest.mark.parametrize("loss", ["ce", "kl"])
def test_each_loss_of_adaptation_has_settings_that_do_something(loss):
    said = {"ce": ["loss=ce"], "kl": ["loss=kl", "distill.teachers=[teacher]"]}
    for path in ROOT.glob("egs/*/conf/**/adapt.yaml"):
        own = path.with_name(f"adapt_{loss}.yaml")  # as config_of of networks.sh looks for it
        load_config(AdaptConfig, own if own.exists() else path, said[loss])


def test_a_variant_is_the_other_file_but_for_what_it_says():
    conf = ROOT / "egs/speechocean762/conf"
    plain, wide = (load_config(DnnConfig, conf / f"{name}.yaml") for name in ("dnn", "dnn_h512"))
    assert wide.network.dropout > plain.network.dropout
    assert wide.network.context == plain.network.context and wide.train == plain.train


def networks_say(recipe: str, *commands: str) -> list[str]:
    """What commands print after egs/common/networks.sh was read for a recipe."""
    read = "conf=conf/asr.yaml exp=exp; runs() { false; }; . ../common/networks.sh"
    script = "; ".join([read, *commands])
    folder = ROOT / "egs" / recipe
    done = subprocess.run(["bash", "-euc", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_network_is_trained_as_the_first_file_for_it_says():
    files = networks_say(
        "speechocean762",
        *("config_of dnn plain h512", "config_of dnn h512", "config_of dnn h128"),
        *("config_of sequence smbr", "config_of sequence mmi"),
    )
    names = ("dnn_plain", "dnn_h512", "dnn", "sequence_smbr", "sequence")
    assert files == [f"conf/{name}.yaml" for name in names]


def test_a_teacher_of_one_seed_teaches_students_of_all():
    of_one, of_two = "seeded=HDNN-H128-L10", "seeded=$teacher"
    ask = ("teacher_of 0", "teacher_of 1")
    assert networks_say("speechocean762", of_one, *ask) == ["hdnn_h512_l6_smbr"] * 2
    teachers = ["hdnn_h512_l6_smbr", "hdnn_h512_l6_smbr_seed1"]
    assert networks_say("speechocean762", of_two, *ask) == teachers


def test_a_store_says_of_what_by_whom_and_how_much():
    stores = ["exp/a/posteriors_train_t1_k50.arrow", "exp/a/posteriors_dev_t2_k50+b+c.arrow"]
    ask = ("store_of a 1 train", "store_of a,b,c 2 dev")
    assert networks_say("speechocean762", *ask) == stores


def test_a_network_is_adapted_in_what_it_has_and_not_by_itself():
    said = networks_say(
        "speechocean762",
        "evaluated() { echo test; }; timed() { echo $*; }; decode_network() { :; }",
        *(f"adapt_network dnn_h512_l6 {how} teacher" for how in ("gates_ce", "all_ce", "all_kl")),
        *(f"adapt_network hdnn_h512_l6 {how} hdnn_h512_l6" for how in ("gates_ce", "gates_kl")),
    )
    assert [re.search(r"adapt_(\S+)_test .*(update=\S+)", line).groups() for line in said] == [
        ("dnn_h512_l6.all_ce", "update=[all]"),
        ("dnn_h512_l6.all_kl", "update=[all]"),
        ("hdnn_h512_l6.gates_ce", "update=[gates]"),
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of the recipe after all stages, and what it printed."""
    folder = tmp_path_factory.mktemp("ami")
    kds = [sys.executable, "-m", "kdspeech.cli.main", "corpus", "embed", "--layout", "ami"]
    size = ["--meetings", "2,1,1", "--turns", "6"]
    subprocess.run([*kds, *size, str(folder / "corpus")], check=True, capture_output=True)
    done = run(
        "ami",
        *("--corpus", str(folder / "corpus"), "--conf", "conf/embedded.yaml", "--nj", "1"),
        *("--data", str(folder / "data"), "--exp", str(folder / "exp")),
        *("--results", str(folder / "RESULTS.md")),
        *(part for setting in SMALL for part in ("--set", setting)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_every_system_has_a_word_error_rate(finished):
    folder, output = finished
    rows = json.loads((folder / "exp/results.json").read_text())["rows"]
    assert {(row["system"], row["split"]) for row in rows} == {
        (system, split)
        for system in (
            *("mono", "tri1", "tri2b", "tri3b.si", "tri3b"),
            *("hdnn_h64_l4", "hdnn_h32_l4", "hdnn_h64_l4_smbr"),
            *("hdnn_h32_l4_kd_q0_t1", "hdnn_h32_l4_skd", "hdnn_h32_l4_kd_skd"),
            *("hdnn_h32_l4_kd_smbr", "hdnn_h32_l4_kd_smbr_kl"),
            *("hdnn_h32_l4_kd_ensemble", "hdnn_h32_l4_kd_kall"),
            *(f"hdnn_h32_l4_kd_q0_t1.{how}" for how in ("gates_ce", "gates_kl", "lhuc_ce")),
        )
        for split in ("dev", "test")
    }
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    assert output.strip().splitlines()[-1] == str(folder / "exp/report.html")
    assert "run.sh" in (folder / "RESULTS.md").read_text()
    assert (folder / "exp/tri3b/final.mdl").is_file()
    assert (folder / "exp/tri3b_ali/trans.1").is_file()


def test_costs_were_measured(finished):
    folder, _ = finished
    for step in ("train_mono", "align_tri1", "train_tri3b", "decode_tri3b_test"):
        user, system, wall = map(float, (folder / "exp/times" / step).read_text().split())
        assert user > 0 and wall > 0


def test_denominators_of_a_data_directory_without_text_for_an_lm(finished, tmp_path):
    folder, _ = finished
    data = tmp_path / "data"
    shutil.copytree(folder / "data", data, ignore=shutil.ignore_patterns("local"))
    places = ("--corpus", "embedded", "--conf", "conf/embedded.yaml", "--nj", "1")
    done = run(
        "ami",
        *places,
        *("--data", str(data), "--exp", str(folder / "exp"), "--stage", "12", "--stop-stage", "12"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with gzip.open(data / "local/lm_train.arpa.gz", "rt") as arpa:
        words = {line.split()[1] for line in arpa if line.startswith("-")}
    said = {word for line in (data / "train/text").open() for word in line.split()[1:]}
    assert words >= said


def test_digits_of_a_speaker_held_out(tmp_path):
    kds = [sys.executable, "-m", "kdspeech.cli.main", "corpus", "embed", "--layout", "fsdd"]
    size = ["--speakers", "3", "--takes", "11"]
    subprocess.run([*kds, *size, str(tmp_path / "corpus")], check=True, capture_output=True)
    done = run(
        "fsdd",
        *("--corpus", str(tmp_path / "corpus"), "--conf", "conf/embedded.yaml", "--nj", "1"),
        *("--data", str(tmp_path / "data"), "--exp", str(tmp_path / "exp")),
        *(part for setting in SMALL[:-2] for part in ("--set", setting)),
        *("--set", "prepare.test_speakers=c574e451", "--stop-stage", "9"),
        script="run_asr.sh",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "exp/results.json").read_text())["rows"]
    assert {row["split"] for row in rows} == {"test"} and len(rows) == 5
    assert all((row["n"], row["lm_scale"], row["penalty"]) == (110, 10, 0) for row in rows)
    assert {row["ins"] for row in rows} == {0}  # the grammar has one word
    assert {row["tuned_on"] for row in rows} == {"the options"}


@pytest.mark.parametrize("recipe", ["ami", "speechocean762"])
def test_help_lists_the_stages(recipe):
    done = run(recipe, "--help")
    assert done.returncode == 0
    assert [int(n) for n in re.findall(r"^  (\d+)  ?[a-z]", done.stdout, re.M)] == list(range(17))


def test_what_is_wrong_is_said(tmp_path):
    assert "unknown option --crpus" in run("ami", "--crpus", "x").stderr
    assert "--corpus needs a value" in run("ami", "--corpus").stderr
    done = run("speechocean762", "--corpus", "/no/such/corpus", "--data", str(tmp_path / "data"))
    assert done.returncode != 0 and "/no/such/corpus" in done.stderr
    done = run("ami", "--set", "tri9.x=1", "--data", str(tmp_path / "data"))
    assert done.returncode != 0 and "tri9" in done.stderr
    assert not (tmp_path / "data").exists()
