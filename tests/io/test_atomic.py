"""Outputs that are whole or absent."""

import os
import signal
import subprocess
import sys

import pytest

from kdspeech.io.atomic import atomic_dir, atomic_path


def test_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".txt" and temporary.parent == path.parent
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole" and os.listdir(path.parent) == ["a.txt"]


def test_failed_file_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "d"
    for content in ("one", "two"):
        with atomic_dir(path) as temporary:
            (temporary / content).touch()
        assert os.listdir(path) == [content]
    with pytest.raises(RuntimeError), atomic_dir(path) as temporary:
        (temporary / "three").touch()
        raise RuntimeError
    assert os.listdir(path) == ["two"] and os.listdir(tmp_path) == ["d"]


def test_killed_writer_leaves_nothing_under_the_name(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from kdspeech.io.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.txt")])
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.txt").exists()


def test_folder_never_replaces_a_file(tmp_path):
    path = tmp_path / "d"
    path.write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file"), atomic_dir(path):
        raise AssertionError("the block must not run")
    assert path.read_text() == "mine" and os.listdir(tmp_path) == ["d"]
