"""Outputs that are whole or absent: written beside under a temporary name, then renamed."""

import contextlib
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from kdspeech.io.errors import InputError

_LEFT_BY_KILLED = ".*.tmp*"  # _temporary_name's, which nobody else takes


def _temporary_name(path: Path) -> Path:
    # The suffix is kept because many writers choose the format by it.
    return path.with_name(f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp{path.suffix}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _name_file(error: BaseException, path: Path) -> None:
    if isinstance(error, OSError) and error.errno and not error.filename:
        error.filename = os.fspath(path)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it to `path` when the block ends well.

    On any error (also a full disk, found as late as the flush) the temporary file is removed and
    an older `path` stays as it was. Folders above `path` are made. The block must write the file.
    An OSError that names no file, as of a full disk, names `path` afterwards.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _name_file(error, path)
        raise


@contextlib.contextmanager
def one_at_a_time(folder: str | os.PathLike) -> Iterator[None]:
    """Waits until no other process is in such a block for `folder`: to read, change and write.

    Where the file system has no locks, it does not wait.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_apart(out: str | os.PathLike, inputs: Iterable[str | os.PathLike]) -> None:
    """InputError where what is to be written is one of the inputs, under whatever name."""
    if Path(out).resolve() in (Path(given).resolve() for given in inputs):
        raise InputError(f"{out}: cannot be made from itself; choose another name")


@contextlib.contextmanager
def atomic_dir(
    path: str | os.PathLike, ours: Iterable[str], inputs: Iterable[str | os.PathLike] = ()
) -> Iterator[Path]:
    """Gives a temporary empty folder beside `path`; renames it to `path` when the block ends well.

    On any error the temporary folder is removed and an older `path` stays as it was; on success
    an older `path` is replaced as a whole. Errors name `path` as in `atomic_path`; a file is never
    replaced by a folder.

    Args:
        path: the folder.
        ours: names that the block may give to files in it, with * and ? as in a shell. An older
            folder that holds anything else is the user's and not replaced.
        inputs: what the folder is made of.
    Raises:
        InputError: an older `path` holds something of another name, or is or holds an input.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, "is a file, a folder is to be made there", str(path)
        )
    _check_replaceable(path, ours, list(inputs))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(path)
    temporary.mkdir()
    try:
        yield temporary
        os.sync()  # one flush of everything: thousands of files would each wait for the disk
        _replace_dir(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        _name_file(error, path)
        raise


def _check_replaceable(path: Path, ours: Iterable[str], inputs: list) -> None:
    check_apart(path, inputs)
    for given in inputs:
        if path.resolve() in Path(given).resolve().parents:
            raise InputError(f"{path}: holds {given}, which is read; choose another folder")
    ours = [*ours, _LEFT_BY_KILLED]
    for name in sorted(os.listdir(path)) if path.exists() else ():
        if not any(fnmatchcase(name, pattern) for pattern in ours):
            raise InputError(
                f"{path}: holds something else than what is made here, {name}; choose another "
                "folder (or move that away)"
            )


def _replace_dir(new: Path, path: Path) -> None:
    if not path.exists():
        os.rename(new, path)
        return
    old = _temporary_name(path)
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise
    shutil.rmtree(old)
