"""The commands over data directories, as a user calls them."""

import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from make_corpus import write_corpus
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.io.ark import Scp


def kds(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_kds(*arguments, **how):
    command = [sys.executable, "-m", "kdspeech.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **how)


def good(result):
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def refused(result, message):
    """One line on stderr and status 1."""
    assert result.exit_code == 1 and message in result.stderr
    assert result.stderr.startswith("kds: ") and len(result.stderr.strip().splitlines()) == 1


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "train")


def test_from_wav_to_features(tmp_path, corpus):
    conf = tmp_path / "mfcc.conf"
    conf.write_text("--num-ceps=20\n")
    arks = tmp_path / "mfcc"
    assert "12 utterances" in good(kds("make-feats", "mfcc", corpus, arks, "--config", conf))
    assert "3 speakers" in good(kds("compute-cmvn", corpus, arks))
    assert "12 utterances" in good(kds("compute-vad", corpus, arks))
    assert Scp(corpus / "feats.scp")["s1-1"].shape == (28, 20)
    assert Scp(corpus / "cmvn.scp")["s1"].shape == (2, 21)
    assert Scp(corpus / "vad.scp")["s1-1"].shape == (28,)
    assert "valid, 12 utterances" in good(kds("data", "validate", corpus))


def test_features_of_subset_and_combination(tmp_path, corpus):
    good(kds("make-feats", "fbank", corpus, tmp_path / "ark", "--nj", 2))
    good(kds("data", "subset", corpus, tmp_path / "a", "--first", 5))
    (tmp_path / "speakers").write_text("s2\ns3 and more\n")
    good(kds("data", "subset", corpus, tmp_path / "b", "--spk-list", tmp_path / "speakers"))
    good(kds("data", "combine", tmp_path / "both", tmp_path / "a", tmp_path / "b"))
    assert "valid, 12 utterances" in good(kds("data", "validate", tmp_path / "both"))
    whole = Scp(corpus / "feats.scp")
    for utt, matrix in Scp(tmp_path / "both" / "feats.scp").items():
        np.testing.assert_array_equal(matrix, whole[utt])


def test_data_commands(tmp_path, corpus):
    assert "4, 4, 4 utterances" in good(kds("data", "split", corpus, 3))
    assert "6, 6 utterances" in good(kds("data", "split", corpus, 2, "--per-utt"))
    assert (corpus / "split3" / "1" / "wav.scp").exists()
    assert (corpus / "split2utt" / "2" / "spk2utt").exists()
    found = good(kds("data", "info", corpus, "--durations"))
    assert "24, 5 different" in found and "0.001 hours" in found
    chosen = good(kds("data", "subset", corpus, tmp_path / "r", "--random", 3, "--seed", 1))
    assert "3 of 12" in chosen
    (corpus / "text").write_text("s1-1 A\ns1-1 A\ns1-2 B\n")
    assert "kept 2 of 12" in good(kds("data", "fix", corpus))
    assert "valid, 2 utterances" in good(kds("data", "validate", corpus))


def test_user_errors_are_one_line(tmp_path, corpus):
    refused(kds("data", "info", tmp_path / "nowhere"), "nowhere: no such data directory")
    refused(kds("data", "subset", corpus, tmp_path / "x"), "exactly one of")
    refused(kds("data", "subset", corpus, tmp_path / "x", "--first", 99), "cannot take 99 of 12")
    conf = tmp_path / "mfcc.conf"
    conf.write_text("--window-type=hamming\n--windw=3\n")
    refused(kds("make-feats", "mfcc", corpus, "--config", conf), "mfcc.conf:2")
    (corpus / "s1-1.wav").write_text("no audio")
    refused(kds("make-feats", "mfcc", corpus), "1 of 12 utterances cannot be used")
    good(kds("make-feats", "mfcc", corpus, "--max-bad", 10))
    assert not (tmp_path / "x").exists()


def test_make_pack(tmp_path, corpus):
    assert "12 utterances" in good(kds("make-pack", corpus, tmp_path / "pack"))
    (corpus / "s1-1.wav").write_text("no audio")
    message = f"1 of 12 utterances cannot be used, more than 1 %; {tmp_path}/pack.bad lists"
    refused(kds("make-pack", corpus, tmp_path / "pack"), message)
    shown = good(kds("make-pack", corpus, tmp_path / "pack", "--max-bad", 10))
    assert "1 utterances left out, see" in shown
    refused(kds("make-pack", corpus, corpus), "holds something else than what is made here")
    refused(kds("make-pack", corpus, corpus / "text"), "text: is a file")
    refused(kds("make-pack", tmp_path / "nowhere", tmp_path / "pack"), "no such data directory")


def test_pipes_need_the_flag(tmp_path, corpus):
    wav = corpus / "s1-1.wav"
    (corpus / "wav.scp").write_text(f"s1-1 touch {tmp_path}/ran; cat {wav} |\n")
    refused(kds("make-feats", "mfcc", corpus), "wav.scp:1")
    assert not (tmp_path / "ran").exists()
    good(kds("make-feats", "mfcc", corpus, "--allow-pipes"))
    assert (tmp_path / "ran").exists() and len(Scp(corpus / "feats.scp")) == 1


def test_validate_lists_all_problems(corpus):
    (corpus / "text").write_text("s1-2 B\ns1-1 A\n")
    (corpus / "spk2utt").unlink()
    result = kds("data", "validate", corpus)
    assert result.exit_code == 1
    for message in ("text:2: not sorted", "has no spk2utt", "text: lacks 10 utterances"):
        assert message in result.stderr


def test_help_names_options_and_defaults():
    for arguments in ([], ["data"], ["make-feats"], ["compute-cmvn"], ["compute-vad"]):
        found = run_kds(*arguments, "--help", env={**os.environ, "COLUMNS": "120"})
        assert found.returncode == 0 and "--help" in found.stdout
    found = run_kds("make-feats", "--help", env={**os.environ, "COLUMNS": "160"}).stdout
    for option in ("--nj", "--scheduler", "--allow-pipes", "--resample", "--max-bad", "--config"):
        assert option in found
    assert "default: 1.0" in found
    found = run_kds("corpus", "embed", "--help", env={**os.environ, "COLUMNS": "160"}).stdout
    assert "120; fsdd: 6" in found  # square brackets in a help text would be taken for markup


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from kdspeech.cli.main import app\n"
        "heavy = {'torch', 'numpy', 'dask', 'pyarrow', 'soundfile', 'librosa', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@contextmanager
def small_disk(folder, megabytes):
    """A full disk to be: a small tmpfs where we may mount one, else files that may not grow.

    Yields how to run a command so that it meets the limit.
    """
    size = f"size={megabytes}m"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], capture_output=True
    )
    if mounted.returncode == 0:
        try:
            yield {}
        finally:
            subprocess.run(["umount", folder], check=True)
    else:
        yield {"preexec_fn": lambda: limit_files(megabytes)}


def limit_files(megabytes):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails then, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes << 20, megabytes << 20))


def full_disk_error(done, folder):
    """One line that says what is full, no traceback."""
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"kds: {folder}/") and "Traceback" not in done.stderr
    assert "No space left on device" in last or "File too large" in last


@pytest.mark.parametrize("limit", ["disk", "file size"])
@pytest.mark.parametrize("nj", [1, 2])
def test_full_disk(tmp_path, limit, nj):
    corpus = write_corpus(tmp_path / "train", seconds=30)  # 12 x 3000 frames x 23 floats: 3.3 MB
    arks = tmp_path / "arks"
    arks.mkdir()
    if limit == "disk":
        with small_disk(arks, 1) as how:
            full_disk_error(run_kds("make-feats", "fbank", corpus, arks, "--nj", nj, **how), arks)
            assert os.listdir(arks) == []
    else:
        how = {"preexec_fn": lambda: limit_files(1)}
        full_disk_error(run_kds("make-feats", "fbank", corpus, arks, "--nj", nj, **how), arks)
        assert os.listdir(arks) == []
    assert not (corpus / "feats.scp").exists() and not (corpus / "utt2num_frames").exists()
    assert "12 utterances" in run_kds("make-feats", "fbank", corpus, arks).stdout


def test_full_disk_under_a_data_directory(tmp_path):
    corpus = write_corpus(tmp_path / "train")
    (corpus / "text").write_text(
        "".join(f"s{s}-{u} {'WORD ' * 40000}\n" for s in (1, 2, 3) for u in (1, 2, 3, 4))
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, 1) as how:
        full_disk_error(run_kds("data", "combine", disk / "new", corpus, **how), disk)
        assert os.listdir(disk) == []


def test_data_is_not_made_of_itself(tmp_path, corpus):
    before = (corpus / "text").read_bytes()
    refused(kds("data", "subset", corpus, corpus, "--first", 5), "cannot be made from itself")
    same = corpus / ".." / corpus.name
    refused(kds("data", "combine", same, corpus), "cannot be made from itself")
    refused(kds("data", "perturb-speed", corpus, corpus), "cannot be made from itself")
    assert (corpus / "text").read_bytes() == before
