"""Work over the splits of a data directory."""

import os
import signal
import stat
import sys
import time

import pytest
from make_corpus import write_corpus

from kdspeech.data import DataDir
from kdspeech.data.jobs import run_splits
from kdspeech.io.errors import InputError


@pytest.fixture
def data(tmp_path):
    return DataDir(write_corpus(tmp_path / "train"))


def list_utterances(split, folder, advance):
    """Writes the split's utterances, one file each."""
    for utt in split.utterances:
        (folder / utt).touch()
        advance(1)
    return int(folder.name), split.utterances


def die_once(split, folder, advance, witness):
    """Dies by SIGKILL in the middle, the first time that anyone gets here."""
    utts = split.utterances
    (folder / f"half-{os.getpid()}").touch()
    try:
        os.close(os.open(witness, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        (folder / f"half-{os.getpid()}").unlink()
        return list_utterances(split, folder, advance)
    os.kill(os.getpid(), signal.SIGKILL)
    return utts


def die_always(split, folder, advance):
    """Dies by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(split, folder, advance):
    """Fails as bad input does, in the split that has s2."""
    (folder / "half").touch()
    if "s2" in split.spk2utt:
        raise InputError("s2: bad")


def outputs(out):
    return {part: sorted(os.listdir(out / part)) for part in sorted(os.listdir(out))}


def whole(data, results):
    assert [number for number, _ in results] == list(range(1, len(results) + 1))
    return sorted(utt for _, utts in results for utt in utts) == data.utterances


@pytest.mark.parametrize("nj", [1, 2])
def test_every_utterance_once(tmp_path, data, nj):
    results = run_splits(list_utterances, data, nj, tmp_path / "out")
    assert whole(data, results) and len(results) == nj
    assert outputs(tmp_path / "out") == {str(number): utts for number, utts in results}
    assert sorted(os.listdir(tmp_path)) == ["out", "train"]


def test_killed_worker_is_replaced(tmp_path, data):
    results = run_splits(die_once, data, 2, tmp_path / "out", witness=tmp_path / "witness")
    assert (tmp_path / "witness").exists() and whole(data, results)
    assert outputs(tmp_path / "out") == {str(number): utts for number, utts in results}


def test_worker_that_keeps_dying_ends_the_job(tmp_path, data):
    with pytest.raises(InputError, match="died again and again"):
        run_splits(die_always, data, 2, tmp_path / "out", retries=1)
    assert os.listdir(tmp_path) == ["train"]


@pytest.mark.parametrize("nj", [1, 2])
def test_error_in_one_split_leaves_no_output(tmp_path, data, nj):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "3").touch()
    with pytest.raises(InputError, match="s2: bad"):
        run_splits(refuse, data, nj, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["3"]
    assert sorted(os.listdir(tmp_path)) == ["out", "train"]


def test_too_many_splits(tmp_path, data):
    with pytest.raises(InputError, match="cannot make 13 parts of 12 utterances"):
        run_splits(list_utterances, data, 13, tmp_path / "out")


def test_running_cluster(tmp_path, data):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=":0") as cluster:
        results = run_splits(
            list_utterances, data, 3, tmp_path / "out", scheduler=cluster.scheduler_address
        )
    assert whole(data, results) and len(results) == 3


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x"])
def test_no_cluster_there(tmp_path, data, address, monkeypatch):
    monkeypatch.setattr("kdspeech.parallel._CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        run_splits(list_utterances, data, 2, tmp_path / "out", scheduler=address)
    assert not (tmp_path / "out").exists()


SBATCH = """#!{python}
import subprocess, sys
job = subprocess.Popen(["sh", sys.argv[1]], stdout=open("{log}", "a"), stderr=subprocess.STDOUT,
                       start_new_session=True)
print("Submitted batch job", job.pid)
"""


def test_job_queue(tmp_path, data, monkeypatch):
    """Slurm as far as dask-jobqueue sees it: sbatch that starts the job script at once."""
    import dask

    programs = tmp_path / "bin"
    programs.mkdir()
    scripts = {"sbatch": SBATCH.format(python=sys.executable, log=tmp_path / "log")}
    scripts["scancel"] = '#!/bin/sh\nkill -- "-$1"\n'
    for name, script in scripts.items():
        (programs / name).write_text(script)
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    queue = {"cores": 1, "memory": "1GB", "interface": None, "log-directory": str(tmp_path)}
    queue["scheduler-options"] = {"dashboard_address": ":0"}
    with dask.config.set({"jobqueue.slurm": {**_defaults(), **queue}}):
        results = run_splits(list_utterances, data, 2, tmp_path / "out", scheduler="slurm")
    assert whole(data, results)


def _defaults():
    import dask
    import dask_jobqueue  # noqa: F401  its import fills in the defaults

    return dask.config.get("jobqueue.slurm")


def test_job_queue_without_settings(tmp_path, data):
    with pytest.raises(InputError, match=r"--scheduler slurm: .*jobqueue\.yaml"):
        run_splits(list_utterances, data, 2, tmp_path / "out", scheduler="slurm")


def test_progress_reaches_the_caller(tmp_path, data, monkeypatch):
    from contextlib import contextmanager
    from types import SimpleNamespace

    counts = []

    @contextmanager
    def progress(description, total):
        assert total == 12
        yield SimpleNamespace(advance=counts.append)

    monkeypatch.setattr("kdspeech.data.jobs.progress_bar", progress)
    run_splits(slow_list, data, 2, tmp_path / "out")
    assert sum(counts) == 12 and len(counts) > 1


def slow_list(split, folder, advance):
    for _ in split.utterances:
        time.sleep(0.1)
        advance(1)
