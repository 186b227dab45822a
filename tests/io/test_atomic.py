"""Outputs that are whole or absent."""

import os
import signal
import subprocess
import sys

import pytest

from kdspeech.io.atomic import atomic_dir, atomic_path, check_apart
from kdspeech.io.errors import InputError

OURS = ("one", "two", "three", "part.*")


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
        with atomic_dir(path, OURS) as temporary:
            (temporary / content).touch()
        assert os.listdir(path) == [content]
    with pytest.raises(RuntimeError), atomic_dir(path, OURS) as temporary:
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
    with pytest.raises(NotADirectoryError, match="is a file"), atomic_dir(path, OURS):
        raise AssertionError("the block must not run")
    assert path.read_text() == "mine" and os.listdir(tmp_path) == ["d"]


def test_folder_of_the_user_stays(tmp_path):
    path = tmp_path / "d"
    path.mkdir()
    for name in ("one", "part.1", ".one.12-ab.tmp"):  # the last: of a writer that was killed
        (path / name).touch()
    with atomic_dir(path, OURS) as temporary:
        (temporary / "one").touch()
    assert os.listdir(path) == ["one"]
    (path / "thesis.txt").write_text("mine")
    refused = pytest.raises(InputError, match=r"d: holds something else .*, thesis\.txt; choose an")
    with refused, atomic_dir(path, OURS):
        raise AssertionError("the block must not run")
    assert sorted(os.listdir(path)) == ["one", "thesis.txt"] and os.listdir(tmp_path) == ["d"]


def test_folder_is_not_made_over_its_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("d/one/in")
    for inputs, message in (
        (["d/../d"], "d: cannot be made from itself"),
        (["x", "d/one/in"], "d/one/in, which is read"),
    ):
        with pytest.raises(InputError, match=message), atomic_dir("d", OURS, inputs):
            raise AssertionError("the block must not run")
    with atomic_dir("d/one/in/two", OURS, ["d"]):
        pass
    assert os.path.isdir("d/one/in/two")


def test_every_name_of_an_input_is_known(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    check_apart(tmp_path / "a/c", [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(InputError, match="b: cannot be made from itself"):
        check_apart(tmp_path / "b", [tmp_path / "c", tmp_path / "a"])
