"""What the student sees of a clip, and what its teacher sees of the same stretch.

The student sees a crop of its own input length. A teacher with a longer input can be shown

- `native`: the crop as it is; for networks that end in an average over time;
- `pad`: the crop in the middle of silence of the teacher's length;
- `context`: the teacher's own length of the clip, the crop somewhere within.

Lin & Wong (2019) do not say which of them they used.
"""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from kdspeech.data.crops import CropLaw
from kdspeech.data.pack import WavePack

View = Literal["native", "pad", "context"]


class Waves(NamedTuple):
    """Float32 waves in int16 range: student (n, length), teacher (n, teacher's length)."""

    student: np.ndarray
    teacher: np.ndarray


def paired_crops(
    pack: WavePack,
    clips: np.ndarray,
    law: CropLaw,
    crop_ids: np.ndarray,
    teacher_length: int,
    view: View,
    noise: WavePack | None = None,
) -> Waves:
    """Crops for the student and the view of each that its teacher labels.

    Args:
        pack: the waveform pack.
        clips: (n,) indices into the pack.
        law: how the student's crops are drawn.
        crop_ids: (n,) which crop of each clip; with the law's seed they decide everything.
        teacher_length: the teacher's input in samples, at least the law's length.
        view: see the module.
        noise: the pack to mix noise from.
    """
    if view == "context":
        return _with_context(pack, clips, law, crop_ids, teacher_length, noise)
    crops = pack.crops(clips, law, crop_ids=crop_ids, noise=noise)
    if view == "native" or teacher_length == law.length:
        return Waves(crops, crops)
    before = (teacher_length - law.length) // 2
    after = teacher_length - law.length - before
    return Waves(crops, np.pad(crops, ((0, 0), (before, after))))


def _with_context(pack, clips, law, crop_ids, teacher_length, noise) -> Waves:
    """The crop at its place in a stretch of the teacher's length, cut as one wave.

    The crop is in the middle of the stretch, unless the stretch would leave the clip. Noise lies
    fixed along the clip, so both see the same.
    """
    starts = pack.crop_starts(clips, law, crop_ids=crop_ids)
    spare = teacher_length - law.length
    last = np.asarray(pack.num_samples)[clips] - teacher_length
    outer = np.clip(starts - spare // 2, np.minimum(0, starts), np.maximum(last, starts - spare))
    whole = replace(law, length=teacher_length)
    waves = pack.crops(clips, whole, crop_ids=crop_ids, noise=noise, start=outer)
    inner = (starts - outer)[:, None] + np.arange(law.length)
    return Waves(np.take_along_axis(waves, inner, axis=1), waves)
