"""What a training leaves in its directory for people beside kdspeech.io.record: train.log,
TensorBoard events."""

import contextlib
import fcntl
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from kdspeech.io.errors import InputError

log = logging.getLogger("kdspeech.train")


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
