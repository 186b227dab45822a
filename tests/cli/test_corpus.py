"""`kds corpus` as a user calls it."""

import http.server
import shutil
import subprocess
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.data import DataDir
from kdspeech.data.corpora import embedded

ROOT = Path(__file__).parents[2]


def kds(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def short_noise(monkeypatch):
    monkeypatch.setattr(embedded, "NOISE_SECONDS", 11.0)
    monkeypatch.setattr(embedded, "CLIP_NOISE_SECONDS", 2.0)


def test_embed_then_prepare(tmp_path):
    sizes = ("--speakers", 3, "--takes", 1, "--others", 2, "--seed", 4, "--nj", 1)
    result = kds("corpus", "embed", tmp_path / "c", *sizes)
    assert result.exit_code == 0 and "36 clips" in result.output
    result = kds("corpus", "speech-commands", tmp_path / "c", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "train: 12 words, 2 silence" in result.output
    for split in ("train", "dev", "test", "noise"):
        assert DataDir(tmp_path / "data" / split).validate() == []


def test_embed_digits(tmp_path):
    sizes = ("--speakers", 1, "--takes", 11, "--nj", 1)
    result = kds("corpus", "embed", tmp_path / "c", "--layout", "fsdd", *sizes)
    assert result.exit_code == 0 and "110 clips" in result.output
    result = kds("corpus", "fsdd", tmp_path / "c", tmp_path / "data", "--dev-takes", "5")
    assert result.exit_code == 0 and "dev: 10 words" in result.output


def test_hold_speakers_out(tmp_path):
    rng = np.random.default_rng(0)
    for speaker in ("ann", "bob", "cleo"):
        samples = rng.normal(0, 500, 4000).astype(np.int16)
        soundfile.write(tmp_path / f"3_{speaker}_0.wav", samples, 8000)
    speakers = ("--test-speakers", "bob", "--dev-speakers", "ann")
    result = kds("corpus", "fsdd", tmp_path, tmp_path / "data", *speakers)
    assert result.exit_code == 0, result.output
    assert DataDir(tmp_path / "data/dev").utt2spk == {"ann-three-00": "ann"}
    assert DataDir(tmp_path / "data/train").utt2spk == {"cleo-three-00": "cleo"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "OUT", "--layout", "fsdd", "--others", "3"], "--others"),
        (["embed", "OUT", "--speakers", "1"], "speakers: 1 asked for, at least 3"),
        (["speech-commands", "OUT/none", "OUT"], "no such folder"),
        (["fsdd", "OUT/none", "OUT"], "no <digit>_<speaker>_<take>"),
        (["fsdd", "OUT", "OUT", "--dev-takes", "a-b"], "give a range, as 5-9"),
        (["fsdd", "OUT", "OUT", "--dev-takes", "3-6"], "within the training takes"),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path):
    places = [argument.replace("OUT", str(tmp_path / "out")) for argument in arguments]
    result = kds("corpus", *places)
    assert result.exit_code == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_embed_replaces_only_its_own(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("years of work")
    result = kds("corpus", "embed", tmp_path / "c", "--speakers", 3)
    assert result.exit_code == 1 and "holds something else" in result.stderr
    assert (tmp_path / "c" / "thesis.txt").exists()


def test_problems_are_pointed_out(tmp_path):
    kds("corpus", "embed", tmp_path / "c", "--speakers", 3, "--takes", 1, "--others", 0, "--nj", 1)
    clip = next((tmp_path / "c" / "yes").glob("*.wav"))
    shutil.copy(clip, clip.with_name(clip.name.replace("_0.", "_5.")))
    result = kds("corpus", "speech-commands", tmp_path / "c", tmp_path / "data")
    assert "0 left out, 1 duplicates kept" in result.output
    assert "problems.txt" in result.output


@pytest.fixture
def url(tmp_path):
    """Where a server of this process serves the folder `served`."""
    (tmp_path / "served").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_download(url, tmp_path):
    embedded.make_fsdd(tmp_path / "c", speakers=1, takes=11)
    with tarfile.open(tmp_path / "served" / "v1.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "c", arcname="fsdd-1/recordings")
    places = ("--to", tmp_path / "down", "--url", f"{url}/v1.tar.gz")
    result = kds("corpus", "fsdd", "download", tmp_path / "data", *places)
    assert result.exit_code == 0 and "test: 50 words" in result.output, result.output
    wrong = kds(
        "corpus", "speech-commands", "download", tmp_path / "data2", "--to", tmp_path / "other",
        "--url", f"{url}/v1.tar.gz",
    )  # fmt: skip
    assert wrong.exit_code == 1 and "SHA-256" in wrong.stderr
    assert not (tmp_path / "data2").exists()


@pytest.mark.parametrize("recipe", ["speech_commands", "fsdd"])
def test_prepare_script(recipe, tmp_path):
    script = ROOT / "egs" / recipe / "local" / "prepare.sh"
    usage = subprocess.run([script], capture_output=True, text=True)
    assert usage.returncode == 1 and "Usage: local/prepare.sh CORPUS DATA" in usage.stderr
    fake = tmp_path / "bin" / "kds"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -m kdspeech.cli.main "$@"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{fake.parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    command = [script, tmp_path / "none", tmp_path / "data"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and done.stderr.startswith("kds: ") and "none" in done.stderr
