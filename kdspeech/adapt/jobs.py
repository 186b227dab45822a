"""Adapts a network to every speaker of a frame pack: `kds adapt`."""

import copy
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from kdspeech.acoustic import Network, open_teachers
from kdspeech.acoustic.identity import network_id
from kdspeech.acoustic.teachers import Teachers, check_features
from kdspeech.adapt.config import AdaptConfig
from kdspeech.adapt.difference import (
    ABOUT,
    REPORT,
    About,
    updated_parameters,
    write_about,
    write_difference,
)
from kdspeech.adapt.speaker import adapt_speaker
from kdspeech.adapt.targets import FrameTargets, read_frame_targets
from kdspeech.data.frames import FramePack
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError
from kdspeech.parallel import open_client
from kdspeech.progress import progress_bar

_ARRAYS = "offsets.npy", "pdfs.npy", "weights.npy"  # of FrameTargets, for the workers


def adapt(
    frames: str | os.PathLike,
    targets: str | os.PathLike,
    exp: str | os.PathLike,
    out: str | os.PathLike,
    config: AdaptConfig | None = None,
    nj: int = 1,
    scheduler: str | None = None,
    retries: int = 3,
) -> dict[str, dict]:
    """Adapts a network to the speakers of a pack, each for itself.

    Written to `out`, whole or not at all: speakers/SPEAKER.npy, the differences; speakers.json,
    what is returned; adapt.yaml, the settings and what the differences belong to.

    Args:
        frames: the pack of the speakers' features, as make_frames made it.
        targets: directory with the lattices of a decoding or with alignments, or "-"
            (see read_frame_targets).
        exp: the network's directory.
        out: the folder to make; an older one is replaced if it holds nothing else.
        config: AdaptConfig.
        nj: number of processes; how many does not change what comes out.
        scheduler: as in kdspeech.parallel.open_client.
        retries: how often the work of a process that died starts again.
    Returns:
        For each speaker `utterances`, `without_targets`, `bytes` and the fields of SpeakerResult
        but `difference`.
    Raises:
        InputError: as read_frame_targets and adapt_speaker; workers that keep dying; `out` holds
            other files.
    """
    config = config or AdaptConfig()
    exp, frames = str(Path(exp).absolute()), str(Path(frames).absolute())
    network, pack, _ = _open(exp, frames, config)
    found = read_frame_targets(pack, targets, network.transitions, config)
    shapes = _shapes(network, config)
    with atomic_dir(out, [ABOUT, REPORT, "speakers"], [exp, frames]) as folder:
        for name, array in zip(_ARRAYS, found[:-1], strict=True):
            np.save(folder / name, array)
        tasks = [
            (speaker, exp, frames, folder.absolute(), config)
            for speaker in sorted(set(pack.speakers))
        ]
        rows = dict(_run(tasks, nj, scheduler, retries))
        for name in _ARRAYS:
            (folder / name).unlink()
        for utt, i in pack.index.items():
            rows[pack.speakers[i]]["without_targets"] += utt in found.problems
        about = About(base=exp, network=network_id(exp), parameters=shapes, settings=config)
        write_about(folder, about, rows)
    return rows


def _shapes(network: Network, config: AdaptConfig) -> dict[str, tuple[int, ...]]:
    """Of the updated parameters; InputError where there is no such group."""
    updated = updated_parameters(copy.deepcopy(network.model), config.update)
    return {name: tuple(parameter.shape) for name, parameter in updated.items()}


def _run(tasks, nj, scheduler, retries) -> Iterator[tuple[str, dict]]:
    """The speakers' rows, in order."""
    with progress_bar("adapt", len(tasks)) as bar:
        if nj == 1 and scheduler is None:
            for task in tasks:
                yield task[0], _adapt_one(*task)
                bar.advance(1)
            return
        from distributed import KilledWorker

        with open_client(nj, scheduler, retries) as client:
            futures = [client.submit(_on_worker, Path.cwd(), task, pure=False) for task in tasks]
            try:
                for task, future in zip(tasks, futures, strict=True):
                    yield task[0], future.result()
                    bar.advance(1)
            except KilledWorker as error:
                raise InputError(
                    f"the workers of {error.task} died again and again (killed, or out of memory; "
                    "try fewer jobs at a time)"
                ) from error
            finally:
                client.cancel(futures)


def _on_worker(home: Path, task: tuple) -> dict:
    """A task in the caller's directory, where the configuration's paths begin."""
    os.chdir(home)
    return _adapt_one(*task)


def _adapt_one(speaker: str, exp: str, frames: str, folder: Path, config: AdaptConfig) -> dict:
    """One speaker, on a worker: writes the difference, returns the report's row."""
    network, pack, teachers = _opened(exp, frames, config, folder)
    targets = FrameTargets(*(np.load(folder / name, "r") for name in _ARRAYS), {})
    utterances = np.flatnonzero(np.array(pack.speakers) == speaker)
    try:
        result = adapt_speaker(network, pack, utterances, targets, config, teachers)
    except InputError as error:
        raise InputError(f"speaker {speaker}: {error}") from error
    row = {"utterances": len(utterances), "without_targets": 0, **asdict(result), "bytes": 0}
    if row.pop("difference") is not None:
        row["bytes"] = write_difference(folder, speaker, result.difference)
    return row


@lru_cache(maxsize=1)
def _opened(exp: str, frames: str, config: AdaptConfig, folder: Path):
    """What the speakers of a worker share; `folder` is another one in every run."""
    return _open(exp, frames, config)


def _open(exp: str, frames: str, config: AdaptConfig) -> tuple[Network, FramePack, Teachers | None]:
    network, pack = Network.read(exp), FramePack(frames)
    check_features(exp, network, pack)
    distill = config.distill
    return network, pack, open_teachers(distill, pack, exp) if distill.teachers else None
