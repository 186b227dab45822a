"""egs/ami/run.sh from stage 0 to the report on a few embedded meetings; the recipes' options."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize("recipe", ["ami", "speechocean762"])
def test_help_lists_the_stages(recipe):
    done = run(recipe, "--help")
    assert done.returncode == 0
    assert [int(n) for n in re.findall(r"^  (\d+)  ?[a-z]", done.stdout, re.M)] == list(range(11))


def test_what_is_wrong_is_said(tmp_path):
    assert "unknown option --crpus" in run("ami", "--crpus", "x").stderr
    assert "--corpus needs a value" in run("ami", "--corpus").stderr
    done = run("speechocean762", "--corpus", "/no/such/corpus", "--data", str(tmp_path / "data"))
    assert done.returncode != 0 and "/no/such/corpus" in done.stderr
    done = run("ami", "--set", "tri9.x=1", "--data", str(tmp_path / "data"))
    assert done.returncode != 0 and "tri9" in done.stderr
    assert not (tmp_path / "data").exists()
