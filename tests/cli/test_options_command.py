"""`kds options`: sections of YAML as bash arrays."""

import subprocess

import pytest
from typer.testing import CliRunner

from kdspeech.cli.main import app

CONF = "mono:\n  num_iters: 4\n  path: a b\n  fast: true\n  slow: false\ndecode: {beam: 13.5}\n"


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "asr.yaml"
    path.write_text(CONF)
    return str(path)


def run(*arguments):
    return CliRunner().invoke(app, ["options", *arguments])


def test_bash_reads_the_arrays(conf):
    done = run(conf, "mono", "decode", "score", "--set", "decode.beam=9", "--set", "score.x=1")
    script = done.output + 'printf "%s|" "${mono[@]}" "${decode[@]}" "${score[@]}"'
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.split("|")[:-1] == [
        *("--num-iters", "4", "--path", "a b", "--fast", "--no-slow"),
        *("--beam", "9", "--x", "1"),
    ]


def test_a_section_that_is_missing_is_empty(conf):
    assert "score=()\n" in run(conf, "mono", "decode", "score").output


def test_unknown_sections_and_values_that_are_no_options(conf):
    assert "decode: unknown key" in run(conf, "mono").output
    done = run(conf, "mono", "decode", "--set", "mono.list=[1, 2]")
    assert done.exit_code == 1 and "mono.list" in done.output
    assert run("/no/such.yaml", "mono").exit_code == 1
