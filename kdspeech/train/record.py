"""What a run leaves in its directory for people: config.yaml, train.log, metrics.jsonl,
TensorBoard events."""

import contextlib
import fcntl
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import torch
import yaml

import kdspeech
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError

log = logging.getLogger("kdspeech.train")


def git_revision() -> str:
    """Commit of the code that runs, with "+" when it was changed since; "unknown" outside git."""
    git = ["git", "-C", str(Path(kdspeech.__file__).parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")


def write_config(path: Path, settings: dict) -> None:
    """Writes the resolved settings and the versions that run, as YAML."""
    versions = {
        "git": git_revision(),
        "kdspeech": kdspeech.__version__,
        "torch": str(torch.__version__),
        "python": sys.version.split()[0],
    }
    with atomic_path(path) as temporary:
        text = yaml.safe_dump({**settings, "versions": versions}, sort_keys=False)
        temporary.write_text(text, encoding="utf-8")


def write_metrics(path: Path, history: list[dict]) -> None:
    """Writes metrics.jsonl whole: one line per finished epoch, none twice, none cut."""
    with atomic_path(path) as temporary:
        lines = "".join(json.dumps(row) + "\n" for row in history)
        temporary.write_text(lines, encoding="utf-8")


def read_metrics(path: str | Path) -> list[dict]:
    """The rows of a metrics.jsonl."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Appends what the logger `kdspeech.train` says, from INFO up, to a file within the block.

    The file is locked meanwhile, so that no two processes train in one directory.

    Raises:
      InputError: another process holds the lock.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    try:
        _lock(handler.stream, path)
    except InputError:
        handler.close()
        raise
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


def _lock(file: TextIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"{path.parent}: another process is training here (wait for it, or choose another "
            "directory)"
        ) from None
    except OSError as error:  # some network file systems have no locks
        log.warning("%s cannot be locked: %s", path, error.strerror)


@contextlib.contextmanager
def event_writer(directory: Path, first_step: int) -> Iterator[Callable[[dict], None]]:
    """Gives a function that writes a row of metrics as TensorBoard scalars, x = its step."""
    from torch.utils.tensorboard import SummaryWriter  # half a second that not every run needs

    writer = SummaryWriter(directory, purge_step=first_step + 1)

    def write(row: dict) -> None:
        for key, value in row.items():
            if key not in ("epoch", "step"):
                writer.add_scalar(key, value, row["step"])
        writer.flush()

    try:
        yield write
    finally:
        writer.close()
