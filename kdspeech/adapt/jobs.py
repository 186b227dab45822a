"""Adapts a network to every speaker of a frame pack: `kds adapt`."""

import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import numpy as np

from kdspeech.acoustic import Network
from kdspeech.adapt.config import AdaptConfig
from kdspeech.adapt.difference import (
    About,
    fingerprint_of,
    updated_parameters,
    write_about,
    write_difference,
)
from kdspeech.adapt.speaker import adapt_speaker, check_teacher
from kdspeech.adapt.targets import FrameTargets, read_frame_targets
from kdspeech.data.frames import FramePack
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError
from kdspeech.parallel import open_client, progress_bar

log = logging.getLogger(__name__)


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
        frames: the pack of the speakers' features.
        targets: directory with the lattices of a decoding or with alignments, or "-"
            (see read_frame_targets).
        exp: the network's directory.
        out: the folder to make; an older one is replaced.
        config: AdaptConfig.
        nj: number of processes; how many does not change what comes out.
        scheduler: as in kdspeech.parallel.open_client.
        retries: how often the work of a process that died starts again.
    Returns:
        For each speaker `utterances`, `without_targets`, `bytes` and the fields of SpeakerResult
        but `difference`.
    Raises:
        InputError: as read_frame_targets and adapt_speaker; workers that keep dying.
    """
    config, pack = config or AdaptConfig(), FramePack(frames)
    network = Network.read(exp)
    check_teacher(network, _teacher(config), pack)
    found = read_frame_targets(pack, targets, network.transitions, config)
    log.info("%d utterances with targets", len(pack) - len(found.problems))
    weights = fingerprint_of(network.model)
    updated = updated_parameters(network.model, config.update)
    shapes = {name: tuple(p.shape) for name, p in updated.items()}
    with atomic_dir(out) as folder:
        np.save(folder / "pdfs.npy", found.pdfs)
        np.save(folder / "weights.npy", found.weights)
        tasks = [
            (speaker, str(Path(exp).absolute()), str(pack.path.absolute()), folder.absolute())
            for speaker in sorted(set(pack.speakers))
        ]
        rows = dict(_run(tasks, config, nj, scheduler, retries))
        for name in ("pdfs.npy", "weights.npy"):
            (folder / name).unlink()
        for utt, i in pack.index.items():
            rows[pack.speakers[i]]["without_targets"] += utt in found.problems
        about = About(base=os.fspath(exp), weights=weights, parameters=shapes, settings=config)
        write_about(folder, about, rows)
    return rows


def _run(tasks, config, nj, scheduler, retries) -> Iterator[tuple[str, dict]]:
    """The speakers' rows, in order."""
    with progress_bar("adapt", len(tasks)) as advance:
        if nj == 1 and scheduler is None:
            for task in tasks:
                yield task[0], _adapt_one(*task, config)
                advance(1)
            return
        from distributed import KilledWorker

        with open_client(nj, scheduler, retries) as client:
            futures = [client.submit(_adapt_one, *task, config, pure=False) for task in tasks]
            try:
                for task, future in zip(tasks, futures, strict=True):
                    yield task[0], future.result()
                    advance(1)
            except KilledWorker as error:
                raise InputError(
                    f"the workers of {error.task} died again and again (killed, or out of memory; "
                    "try fewer jobs at a time)"
                ) from error
            finally:
                client.cancel(futures)


def _adapt_one(speaker: str, exp: str, frames: str, folder: Path, config: AdaptConfig) -> dict:
    """One speaker, on a worker: writes the difference, returns the report's row."""
    network, pack = _opened(exp, frames)
    targets = FrameTargets(*(np.load(folder / f"{n}.npy", "r") for n in ("pdfs", "weights")), {})
    utterances = np.flatnonzero(np.array(pack.speakers) == speaker)
    result = adapt_speaker(network, pack, utterances, targets, config, _teacher(config))
    row = {"utterances": len(utterances), "without_targets": 0, **asdict(result), "bytes": 0}
    if row.pop("difference") is not None:
        row["bytes"] = write_difference(folder, speaker, result.difference)
    return row


@lru_cache(maxsize=1)
def _opened(exp: str, frames: str) -> tuple[Network, FramePack]:
    return Network.read(exp), FramePack(frames)


def _teacher(config: AdaptConfig) -> Network | None:
    if config.loss == "ce" or config.teacher is None:
        return None
    return Network.read(config.teacher)
