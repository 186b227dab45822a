"""Fixtures shared by all tests.

`KDSPEECH_GOLDEN` and `KDSPEECH_CORPORA` name folders with Kaldi's own outputs and with
recordings, `KDSPEECH_CHROMIUM` a Chromium or Chrome (without it one in PATH serves). Where one is
not there, the tests marked for it are deselected and the run's header says so.
"""

import os
import shutil
from pathlib import Path

import pytest

FOLDERS = {
    "golden": "KDSPEECH_GOLDEN",
    "corpora": "KDSPEECH_CORPORA",
    "chromium": "KDSPEECH_CHROMIUM",
}


def folder(mark: str) -> Path | None:
    value = os.environ.get(FOLDERS[mark])
    if mark == "chromium":
        value = value or shutil.which("chromium") or shutil.which("google-chrome")
    return Path(value) if value else None


def pytest_configure(config):
    for mark, variable in FOLDERS.items():
        config.addinivalue_line("markers", f"{mark}: needs what {variable} names")


def pytest_collection_modifyitems(config, items):
    missing = {mark for mark in FOLDERS if folder(mark) is None}
    absent = [item for item in items if missing & {m.name for m in item.iter_markers()}]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in set(absent)]


def pytest_report_header(config):
    return [
        f"{variable}={folder(mark)}"
        if folder(mark)
        else f"{variable} is not set: the tests marked `{mark}` are NOT run"
        for mark, variable in FOLDERS.items()
    ]


@pytest.fixture(scope="session")
def golden() -> Path:
    return folder("golden")


@pytest.fixture(scope="session")
def corpora() -> Path:
    return folder("corpora")


@pytest.fixture(scope="session")
def chromium() -> Path:
    return folder("chromium")
