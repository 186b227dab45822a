"""The recipes' run.sh from stage 0 to the report, on a tiny embedded corpus."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdspeech.config import load_config
from kdspeech.distill import KeywordConfig

ROOT = Path(__file__).resolve().parents[2]

SMALL = ["epochs=2", "batch_size=16", "warmup_epochs=0", "num_threads=1"]


def run(recipe: str, *arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """Runs a recipe with the `kds` of the Python that runs the tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(ROOT / "egs" / recipe / "run.sh"), *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=["speech_commands", "fsdd"])
def finished(request, tmp_path_factory):
    """A recipe's folder after all stages."""
    folder = tmp_path_factory.mktemp(request.param)
    fsdd = request.param == "fsdd"
    layout = ["--layout", "fsdd"] if fsdd else []
    size = ["--speakers", "4", "--takes", "12"] if fsdd else ["--speakers", "10", "--takes", "1"]
    embed = ["corpus", "embed", *layout, *size, str(folder / "corpus")]
    kds = [sys.executable, "-m", "kdspeech.cli.main"]
    subprocess.run([*kds, *embed], check=True, capture_output=True, cwd=ROOT)
    arguments = [
        *("--corpus", str(folder / "corpus")),
        *(part for setting in SMALL for part in ("--set", f"train.{setting}")),
        *("--data", str(folder / "data"), "--exp", str(folder / "exp")),
        *("--results", str(folder / "RESULTS.md")),
    ]
    done = run(request.param, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return request.param, folder, arguments, done.stdout


def test_all_stages_leave_results(finished):
    recipe, folder, _, output = finished
    rows = json.loads((folder / "exp" / "results.json").read_text())["rows"]
    kinds = {row["kind"] for row in rows if row["split"] == "test"}
    assert kinds == {"teacher", "distilled", "clip_label", "truncated"}
    assert (folder / "exp" / "report.html").stat().st_size > 10_000
    assert output.strip().splitlines()[-1].endswith("report.html")
    assert "run.sh" in (folder / "RESULTS.md").read_text()


def test_a_later_stage_starts_from_what_is_there(finished):
    recipe, folder, arguments, _ = finished
    teacher = next((folder / "exp" / "seed0").glob("*/best.pt"))
    before = teacher.stat().st_mtime_ns
    done = run(recipe, *arguments, "--stage", "3", "--stop-stage", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "stage 2" not in done.stdout and "stage 3" in done.stdout and "stage 6" not in done.stdout
    )
    assert teacher.stat().st_mtime_ns == before


def test_the_search_only_where_it_is_asked_for(finished):
    recipe, folder, arguments, output = finished
    assert "stage 7" not in output
    plan = "iterate.plan=[{children: [{by: width, factor: 0.3}, {by: length, factor: 0.5}]}]"
    small = ("--set", plan, "--set", "model.options.channels=[4, 8]", "--set", "train.epochs=1")
    done = run(recipe, *arguments, *small, "--stage", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().splitlines()[-1].endswith("exp/iterate/report.html")
    family = json.loads((folder / "exp" / "iterate" / "family.json").read_text())
    assert len(family["nodes"]) == 3 and len({node["length_ms"] for node in family["nodes"]}) == 2
    text = (folder / "RESULTS-iterate.md").read_text()
    assert "run.sh --corpus" in text and "### The family" in text


@pytest.mark.parametrize("recipe", ["speech_commands", "fsdd"])
def test_the_searches_shrink_input_and_network(recipe):
    config = load_config(KeywordConfig, ROOT / "egs" / recipe / "conf" / "iterate.yaml")
    ways = {child.by for part in config.iterate.plan for child in part.children}
    assert ways == {"length", "width", "depth"}


@pytest.mark.parametrize("recipe", ["speech_commands", "fsdd"])
def test_help_lists_the_stages(recipe):
    done = run(recipe, "--help")
    assert done.returncode == 0
    for number in range(9):
        assert f"\n  {number}  " in done.stdout


def test_unknown_option_and_missing_value():
    assert "unknown option --crpus" in run("fsdd", "--crpus", "x").stderr
    assert "--corpus needs a value" in run("fsdd", "--corpus").stderr
    for wrong in ("x", "-1", "1x", ""):
        done = run("fsdd", "--stage", wrong)
        assert done.returncode == 1 and "--stage and --stop-stage take a number" in done.stderr


def test_a_corpus_that_is_not_there_stops_the_recipe(tmp_path):
    done = run("speech_commands", "--corpus", "/no/such/corpus", "--data", str(tmp_path / "data"))
    assert done.returncode != 0
    assert "/no/such/corpus" in done.stderr
    assert not (tmp_path / "data" / "train").exists()


def test_notes_belong_to_their_configuration(tmp_path):
    shell = f'cd {ROOT}/egs/fsdd; set -- --results R.md --conf "$1"; . ../common/options.sh; '
    for conf, notes in (
        ("conf/kws.yaml", " --notes conf/kws.notes.md"),
        (str(tmp_path / "own.yaml"), ""),
    ):
        print_options = ["bash", "-uc", shell + 'markdown_options; echo "${markdown[*]}"', "run.sh"]
        done = subprocess.run([*print_options, conf], capture_output=True, text=True, check=True)
        assert done.stdout == f"--results-md R.md{notes}\n"
