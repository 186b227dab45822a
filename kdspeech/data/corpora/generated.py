"""Writing an embedded corpus: only over an older one, by many processes, into plain files."""

import multiprocessing
import os
import wave
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from kdspeech.data.corpora.progress import track
from kdspeech.io.errors import InputError

README, MADE_BY = "README.txt", "made by `kds corpus"


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Writes int16 samples, shape (num_samples,), into a folder that is made for them."""
    path.parent.mkdir(exist_ok=True)
    with wave.open(os.fspath(path), "wb") as file:
        file.setparams((1, 2, sample_rate, len(samples), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def write_readme(folder: Path, layout: str, sizes: str) -> None:
    """Says in the folder what it is, so that a later call may replace it."""
    (folder / README).write_text(
        f"Synthetic speech in the layout of {layout}, {MADE_BY} embed`\nwith espeak-ng: {sizes}\n"
    )


def check_place(out: Path) -> None:
    """Only what an earlier call made may be replaced."""
    if out.is_file():
        raise InputError(f"{out}: is a file, a folder is to be made there")
    if not out.is_dir() or not any(out.iterdir()):
        return
    readme = out / README
    if not (readme.is_file() and MADE_BY in readme.read_text(encoding="utf-8", errors="replace")):
        raise InputError(
            f"{out}: holds something else than an embedded corpus; choose a new folder"
        )


def run_jobs(function, jobs: list[tuple], nj: int) -> list[str]:
    """Runs function(*job) for all jobs over `nj` processes; all their file names, in order."""
    if nj <= 1 or len(jobs) <= 1:
        return _gather(map(function, *zip(*jobs, strict=True)), len(jobs))
    context = multiprocessing.get_context("spawn")  # a fork would copy other threads' locks
    try:
        with ProcessPoolExecutor(min(nj, len(jobs)), context) as pool:
            return _gather(pool.map(function, *zip(*jobs, strict=True)), len(jobs))
    except BrokenProcessPool as error:
        raise InputError(
            "a process that spoke the corpus was killed (out of memory?); nothing was written; "
            "run again, perhaps with --nj 1"
        ) from error


def _gather(results: Iterable[list[str]], total: int) -> list[str]:
    return [file for files in track(results, total, "speaking") for file in files]
