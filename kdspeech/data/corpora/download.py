"""Fetching an archive: resumed where it stopped, checked, whole or absent."""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from kdspeech.io.errors import InputError

_BLOCK = 1 << 18
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416
_TIMEOUT = 60  # seconds without a byte


def fetch(url: str, path: str | os.PathLike, sha256: str | None, progress: bool = True) -> Path:
    """Downloads a file to `path`; does nothing if it is there with the right checksum.

    What came before a broken connection or a kill is kept as `path`.part, and the next call goes
    on from there if the server allows it.

    Args:
        url: http(s), or file.
        path: where the file goes.
        sha256: its checksum, hexadecimal; None leaves the file unchecked.
        progress: show a bar on stderr.
    Returns:
        The path.
    Raises:
        InputError: the server cannot be reached or breaks off, or the checksum is wrong (a wrong
            download is removed; a wrong file that was already there is left).
    """
    path = Path(path)
    if path.is_file():
        _check(path, path, sha256)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _download(url, part, progress)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"{url}: {getattr(error, 'reason', None) or error} (run again to go on from there, or "
            f"fetch it by other means to {path})"
        ) from error
    try:
        _check(part, path, sha256)
    except InputError:
        part.unlink()
        raise
    os.replace(part, path)
    return path


def _download(url: str, part: Path, progress: bool) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url)
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE and done:
            return  # all of it had come; the checksum decides
        raise
    with response:
        if response.status != _PARTIAL_CONTENT:
            done = 0
        with open(part, "ab" if done else "wb") as file:
            _copy(response, file, done, progress)


def _copy(response, file, done: int, progress: bool) -> None:
    length = response.headers.get("Content-Length")
    total = done + int(length) if length else None
    columns = (TextColumn("downloading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("", total=total, completed=done)
        while block := response.read(_BLOCK):
            file.write(block)
            done += len(block)
            bar.update(task, completed=done)
    if total is not None and done < total:
        raise ConnectionError(f"broke off after {done} of {total} bytes")


def _check(path: Path, name: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != sha256.lower():
        raise InputError(
            f"{name}: SHA-256 is {digest.hexdigest()}, {sha256} expected (remove it and run again)"
        )
