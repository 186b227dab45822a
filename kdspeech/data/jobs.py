"""Runs a function over the splits of a data directory: in this process, or by Dask.

All machines of a cluster must see the data directory and the output folder under the same paths.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdspeech.data.datadir import DataDir
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError
from kdspeech.parallel import open_client
from kdspeech.progress import progress_bar

_POLL_SECONDS = 0.2  # between looks at how far the workers are

SplitFunction = Callable[..., Any]


def run_splits(
    function: SplitFunction,
    data: DataDir,
    nj: int,
    out: str | os.PathLike,
    scheduler: str | None = None,
    retries: int = 3,
    description: str | None = None,
    total: int | None = None,
    **arguments,
) -> list[Any]:
    """Calls `function(split, folder, advance, **arguments)` for each split of `data`.

    `split` is a DataDir, `folder` an empty directory for the outputs of this split (its name is
    the split's number, from 1), `advance(n)` reports n more utterances done. A worker that dies
    (killed, out of memory, its machine gone) is replaced and its split starts again in an empty
    folder, at most `retries` times; an exception of the function ends the job.

    Args:
        function: importable by name on the workers; returns something small.
        data: the data directory; split by speaker where it has enough speakers, else by utterance.
        nj: number of splits; 1 without a scheduler runs in this process.
        out: the folder to make; split i's outputs are in `out/i`, i from 1. It appears when all
            splits are done: whole or not at all. An older one is replaced if it holds
            nothing else.
        scheduler: None, the address of a Dask scheduler, or a key of
            kdspeech.parallel.JOB_QUEUES.
        retries: how often the work of a worker that died starts again.
        description: text before the progress bar; `function`'s name if not given.
        total: number of utterances for the progress bar; counted if not given.
    Returns:
        What the calls returned, in the order of the splits.
    Raises:
        InputError: too many splits for the data, no cluster there, or workers that keep dying.
    """
    description = description or function.__name__
    total = total or data.count()
    with atomic_dir(out, ours=["[0-9]*"]) as folder:
        if nj == 1 and scheduler is None:
            with progress_bar(description, total) as bar:
                (folder / "1").mkdir()
                return [function(data, folder / "1", bar.advance, **arguments)]
        splits = _write_splits(data, nj, folder / "splits")
        tasks = [
            (function, split, folder.absolute() / str(i), Path.cwd(), data.allow_pipes, arguments)
            for i, split in enumerate(splits, 1)
        ]
        with (
            open_client(nj, scheduler, retries) as client,
            progress_bar(description, total) as bar,
        ):
            results = _gather(client, tasks, folder, bar.advance, total)
        _remove_leftovers(folder, nj)
        return results


def _remove_leftovers(folder: Path, nj: int) -> None:
    """Removes all but the splits' outputs: their inputs, and what dead workers left."""
    outputs = {str(i) for i in range(1, nj + 1)}
    for path in folder.iterdir():
        if path.name not in outputs:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_splits(data: DataDir, nj: int, folder: Path) -> list[Path]:
    by_speaker = "utt2spk" in data and len(data.spk2utt) >= nj
    parts = data.split_by_speaker(nj) if by_speaker else data.split(nj)
    for i, part in enumerate(parts, 1):
        part.write(folder / str(i), scratch=True)
    return [folder.absolute() / str(i) for i in range(1, nj + 1)]


def _run_task(function, split: Path, folder: Path, home: Path, allow_pipes: bool, arguments: dict):
    """One split, on a worker, in the caller's directory. Progress goes through a file."""
    os.chdir(home)
    done, count, last = folder.with_suffix(".done"), 0, 0.0

    def advance(number: int) -> None:
        nonlocal count, last
        count += number
        if time.monotonic() - last > _POLL_SECONDS:
            done.write_text(str(count))
            last = time.monotonic()

    # Its own folder for each attempt: a worker that was given up may still be writing.
    attempt = folder.parent / f"attempt-{uuid.uuid4().hex}" / folder.name
    attempt.mkdir(parents=True)
    result = function(DataDir(split, allow_pipes=allow_pipes), attempt, advance, **arguments)
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(attempt, folder)
    return result


def _gather(client, tasks: list[tuple], folder: Path, advance: Callable, total: int) -> list:
    from distributed import KilledWorker

    futures = [client.submit(_run_task, *task, pure=False) for task in tasks]
    shown = 0
    try:
        while not all(future.done() for future in futures):
            time.sleep(_POLL_SECONDS)
            if any(future.status == "error" for future in futures):
                break  # gather raises it; the other splits are of no use any more
            count = sum(int(path.read_text() or 0) for path in folder.glob("*.done"))
            if count > shown:
                advance(count - shown)
                shown = count
        results = client.gather(futures)
        advance(total - shown)
        return results
    except KilledWorker as error:
        raise InputError(
            f"the workers of {error.task} died again and again (killed, or out of memory; "
            "try fewer jobs at a time)"
        ) from error
    finally:
        client.cancel(futures)
