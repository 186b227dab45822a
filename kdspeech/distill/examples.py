"""A few training crops with their teacher's labels, for people to look at in the report."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from kdspeech.data.crops import CropLaw
from kdspeech.data.pack import WavePack
from kdspeech.distill.labels import CHUNK
from kdspeech.distill.plans import Step
from kdspeech.distill.sweep import Job
from kdspeech.distill.views import paired_crops
from kdspeech.io.atomic import atomic_path


def write_examples(job: Job, steps: Iterable[Step], seed: int, count: int = 4) -> Path | None:
    """Writes `exp/crops.npz` from the last of `steps` that has a teacher; None if none has.

    Among some hundred training clips those are shown that lie evenly between the one whose crop
    the teacher is surest of, and the one whose word it no longer hears.

    Args:
        job: the recipe's run; the teacher's network must be trained.
        steps: as given to `run_steps`.
        seed: whose teacher is asked.
        count: how many crops.
    """
    step = next((step for step in reversed(list(steps)) if step.teacher), None)
    if step is None:
        return None
    run = job.run(seed)
    pack, law = run.data.train, run.law(step.length)
    clips, labels = run.config.task.select(pack, seed)
    some = np.random.default_rng(seed).permutation(len(clips))[:CHUNK]
    clips, labels = clips[some], labels[some]
    ids = np.zeros(len(clips), dtype=np.int64)
    teacher_length = run.samples(step.teacher.length)
    view = run.config.distill.view
    waves = paired_crops(pack, clips, law, ids, teacher_length, view, run.data.noise)
    log_probs = run.log_probs(run.trained_model(step.teacher), waves.teacher).numpy()
    order = np.argsort(-log_probs[np.arange(len(clips)), labels], kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
    path = Path(job.exp) / "crops.npz"
    with atomic_path(path) as part:
        np.savez_compressed(
            part,
            wave=_played(pack, clips[shown], law, ids[shown]),
            start=pack.crop_starts(clips[shown], law, crop_ids=ids[shown]),
            length=law.length,
            teacher=log_probs[shown],
            label=labels[shown],
            utt=np.array([pack.utts[clip] for clip in clips[shown]]),
            sample_rate=pack.sample_rate,
        )
    return path


def _played(pack: WavePack, clips: np.ndarray, law: CropLaw, ids: np.ndarray) -> np.ndarray:
    """Clips as rows of one int16 array at the speed of their crops, zeros at the end."""
    longest = int(pack.num_samples[clips].max() / (1 - law.speed))
    whole = replace(law, length=longest)
    return pack.crops(clips, whole, crop_ids=ids, start=np.zeros_like(clips), dtype=np.int16)
