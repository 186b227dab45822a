"""Passes that adapt a split's features to its speakers by fMLLR.

Adapted features are "feats" with the speakers' transforms, which stand beside them as Kaldi's
archive, NAME.trans for the features NAME. No pass writes what it reads, so one that is killed
anywhere, or whose result is lost, may run again.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from kdspeech.features.fmllr import FmllrStats
from kdspeech.features.front_end import read_transforms
from kdspeech.features.post import apply_affine, compose_transforms
from kdspeech.gmm.store import FrameStore
from kdspeech.hmm import AcousticModel
from kdspeech.io.ark import read_ark, write_ark

_SPEAKER_FRAMES = 50_000  # frames of a speaker at a time

Fallbacks = dict[str, str]
"""Speaker -> why it has the unit transform."""


def load_transforms(folder: Path, adapted: str, trans_dir: Path) -> None:
    """Makes the features `adapted` with the transforms in trans.1, trans.2, ... of a directory.

    Raises:
        InputError: a speaker has none there.
    """
    store = FrameStore(folder)
    _write(store, adapted, read_transforms(trans_dir, store.by_speaker))


def save_transforms(folder: Path, adapted: str, out: Path) -> None:
    """Writes trans.N of the split in folder N, the transforms of the features `adapted`."""
    write_ark(out / f"trans.{folder.name}", read_ark(folder / f"{adapted}.trans"))


def estimate_transforms(
    folder: Path,
    adapted: str,
    model: AcousticModel,
    silence: Collection[int],
    silence_weight: float = 0.0,
    posterior_model: AcousticModel | None = None,
    before: str | None = None,
    **options,
) -> Fallbacks:
    """Estimates a transform for each speaker of the split and makes features with them.

    Args:
        folder: of the split.
        adapted: name of the features to make.
        model: the model to fit the features to.
        silence: phones whose frames count `silence_weight`.
        silence_weight: 0 to 1.
        posterior_model: gives the Gaussians' posteriors instead of `model` (final.alimdl).
        before: name of adapted features to adapt further, by transforms that go on top of theirs.
        options: `update_type`, `min_count`, `num_iters` of estimate_fmllr.
    """
    store, fallbacks, transforms = FrameStore(folder), {}, {}
    first = dict(read_ark(folder / f"{before}.trans")) if before else {}
    weights = _weights(model, silence, silence_weight)
    feats = store.array(before or "feats")
    for speaker, numbers in store.by_speaker.items():
        stats = FmllrStats(model.gmms.dim)
        for frames in _pieces(store, numbers):
            tids = store.alignment()[frames]
            stats.accumulate(
                feats[frames],
                np.where(weights[tids] > 0, model.transitions.tid_to_pdf[tids], -1),
                model.gmms,
                weights=weights[tids],
                posterior_gmms=None if posterior_model is None else posterior_model.gmms,
            )
        found = stats.estimate(**options)
        if found.fallback:
            fallbacks[speaker] = found.fallback
        transforms[speaker] = found.matrix
        if before:
            transforms[speaker] = compose_transforms(found.matrix, first[speaker], True)
    _write(store, adapted, transforms)
    return fallbacks


def _weights(model: AcousticModel, silence: Collection[int], silence_weight: float) -> np.ndarray:
    """The weight of a frame by its transition id, float32 (num_tids + 1,)."""
    silent = np.isin(model.transitions.tid_to_phone, list(silence))
    return np.where(silent, silence_weight, 1.0).astype(np.float32)


def _pieces(store: FrameStore, numbers: list[int]) -> Iterator[np.ndarray]:
    """Frame numbers of some utterances, some ten thousand at a time."""
    waiting, count = [], 0
    for i in numbers:
        waiting.append(np.arange(store.offsets[i], store.offsets[i + 1]))
        count += len(waiting[-1])
        if count >= _SPEAKER_FRAMES:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _write(store: FrameStore, adapted: str, transforms: dict[str, np.ndarray]) -> None:
    """Keeps the transforms and makes the features with them."""
    write_ark(store.folder / f"{adapted}.trans", sorted(transforms.items()))
    feats = store.array("feats")
    parts = (
        apply_affine(feats[store.frames(i)], transforms[speaker])
        for i, speaker in enumerate(store.speakers)
    )
    store.write_array(adapted, parts)
