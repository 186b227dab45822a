"""What a student is told about its crops: by one teacher or the mean of several, as they train or
from a store; and the teacher's hidden layers, where a loss asks for them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kdspeech.distill.targets import SoftLabelStore, write_soft_labels
from kdspeech.distill.views import Waves, paired_crops
from kdspeech.io.errors import InputError
from kdspeech.io.hashing import fingerprint
from kdspeech.models import outputs_of

if TYPE_CHECKING:
    from kdspeech.distill.family import Node
    from kdspeech.distill.keyword import KeywordRun
    from kdspeech.distill.plans import Step

CHUNK = 256  # clips that are scored or labelled at a time


class Labels(NamedTuple):
    """The student's waves (n, samples); the teachers' mean log-posteriors (n, classes); outputs
    of the nearest teacher's modules by name."""

    waves: np.ndarray
    targets: Tensor | None = None
    hidden: dict[str, Tensor] = {}


LabelSource = Callable[[np.ndarray, np.ndarray], Labels]


def label_source(run: "KeywordRun", step: "Step | Node") -> LabelSource:
    """Gives the labels of (clips, crop ids) for a step; its teachers must be trained.

    Raises:
      InputError: a teacher that cannot look at the crops, a loss that asks for a module the
        teacher does not have, or for one's output from a store.
    """
    if not step.teachers:
        pack, law, noise = run.data.train, run.law(step.length), run.data.noise
        return lambda clips, ids: Labels(pack.crops(clips, law, crop_ids=ids, noise=noise))
    teachers = [run.trained_model(teacher).to(run.device()) for teacher in step.teachers]
    for teacher, model in zip(step.teachers, teachers, strict=True):
        _check_view(run, step, teacher, model)
    if run.config.distill.store:
        return _stored(run, step, teachers)
    names = run.config.distill.teacher_modules
    return lambda clips, ids: _online(run, step, teachers, clips, ids, names)


def label_identity(run: "KeywordRun", step: "Step | Node") -> dict:
    """What a step's labels depend on."""
    marks = [
        fingerprint((run.folder / teacher.name / "best.pt").read_bytes())
        for teacher in step.teachers
    ]
    return {
        "teacher": marks[0] if len(marks) == 1 else fingerprint(repr((marks, step.weights))),
        "corpus": run.pool.corpus(step),
        "crop_law": run.law(step.length).fingerprint(run.data.noise),
        "view": run.config.distill.view,
        "features": fingerprint(repr((run.computer.options, run.config.features.floor))),
        "task": fingerprint(run.config.task.model_dump_json()),
    }


def mean_log_probs(log_probs: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    """log sum_m w_m p_m of teachers' natural-log posteriors, (n, classes) each."""
    if len(log_probs) == 1:
        return log_probs[0]
    logs = [p + np.log(w) for p, w in zip(log_probs, weights, strict=True)]
    return torch.stack(logs).logsumexp(0)


def _check_view(run: "KeywordRun", step, teacher, model: nn.Module) -> None:
    native = run.config.distill.view == "native" and teacher.length != step.length
    if native and not model.any_length:
        raise InputError(
            f"distill.view native: {run.config.model_of(teacher).name} takes clips of "
            f"{teacher.length} ms alone; set it to pad or context"
        )


def _online(run, step, teachers: list[nn.Module], clips, ids, names: list[str]) -> Labels:
    """All teachers' labels of new crops; each length of theirs is cut once."""
    views = {t.length: _paired(run, step, t, clips, ids) for t in step.teachers}
    features = {length: run.features(waves.teacher) for length, waves in views.items()}
    log_probs = []
    for teacher, model in zip(step.teachers, teachers, strict=True):
        wanted = names if model is teachers[-1] else []
        with outputs_of(model, wanted) as hidden:
            log_probs.append(run.log_posteriors(model, features[teacher.length], fast=True))
    hidden = {name: output.detach().float().cpu() for name, output in hidden.items()}
    waves = next(iter(views.values())).student
    return Labels(waves, mean_log_probs(log_probs, step.weights), hidden)


def _paired(run, step, teacher, clips: np.ndarray, ids: np.ndarray) -> Waves:
    """Crops of clips of the pool."""
    law, length = run.law(step.length), run.samples(teacher.length)
    how = (run.config.distill.view, run.data.noise)
    order, parts = [], []
    for pack, at, local in run.pool.parts(clips):
        order.append(at)
        parts.append(paired_crops(pack, local, law, ids[at], length, *how))
    if len(parts) == 1:
        return parts[0]
    back = np.argsort(np.concatenate(order))
    return Waves(*(np.concatenate(waves)[back] for waves in zip(*parts, strict=True)))


def _stored(run, step, teachers: list[nn.Module]) -> LabelSource:
    """Labels from the step's store, which is written if it is not there."""
    if run.config.distill.teacher_modules:
        raise InputError(
            "distill.store holds a teacher's labels alone, but distill.losses ask for its hidden "
            "layers: set store: false"
        )
    path = run.folder / step.name / "labels.arrow"
    made_from = label_identity(run, step)
    if not path.exists():
        _write_store(run, path, step, teachers, made_from)
    store = SoftLabelStore(path, made_from)

    def label(clips: np.ndarray, ids: np.ndarray) -> Labels:
        names = run.pool.names(clips)
        waves = _paired(run, step, step.teachers[-1], clips, ids).student
        return Labels(waves, torch.from_numpy(store.log_probs(names, ids)))

    return label


def _write_store(run, path: Path, step, teachers: list[nn.Module], made_from: dict) -> None:
    def blocks():
        for crop_id in range(run.config.distill.crops_per_clip):
            clips, _ = run.pool.clips(step, crop_id)
            for part in np.array_split(clips, max(1, len(clips) // CHUNK)):
                ids = np.full(len(part), crop_id)
                targets = _online(run, step, teachers, part, ids, []).targets.numpy()
                yield run.pool.names(part), ids.tolist(), list(targets[:, None, :])

    classes = len(run.config.task.classes)
    write_soft_labels(path, blocks(), classes, min(run.config.distill.top_k, classes), made_from)
