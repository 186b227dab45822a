"""Crops of a waveform pack and their features in one call."""

from collections.abc import Sequence

import numpy as np

from kdspeech import _core
from kdspeech.data.crops import CropLaw
from kdspeech.data.pack import Utterances, WavePack
from kdspeech.features.extract import Fbank, Mfcc, Plp
from kdspeech.io.errors import InputError


def crop_features(
    computer: Mfcc | Fbank | Plp,
    pack: WavePack,
    utterances: Utterances,
    law: CropLaw,
    *,
    crop_ids: int | Sequence[int] | np.ndarray = 0,
    start: Sequence[int] | np.ndarray | None = None,
    noise: WavePack | None = None,
    pad_to: int | None = None,
    num_threads: int = 1,
) -> np.ndarray:
    """Features of the crops that `pack.crops` cuts for the same arguments, without the crops.

    The whole batch is one call into the core, which releases Python's lock. The numbers are those
    of `computer` on each crop, whatever the batch or the number of threads; with dither on, the
    crop itself seeds it.

    Args:
        computer: which features.
        pack, utterances, law, crop_ids, start, noise: as for `WavePack.crops`.
        pad_to: samples; each crop is put in the middle of that many, zero elsewhere (no noise
            there), before its features are computed: how a short crop is shown to a network
            with a longer input. None: the crop as it is.
        num_threads: threads to share the crops.
    Returns:
        (crops, frames, dim) float32; `torch.from_numpy` takes it without a copy. In mode
        "sliding" the windows of all utterances one after the other, as from `WavePack.crops`.
    Raises:
        InputError: as `WavePack.crops`; the pack is not at the features' sampling rate; a crop
            is shorter than one frame.
    """
    options = computer.options
    if options["sample_frequency"] != pack.sample_rate:
        raise InputError(
            f"{pack.path}: is at {pack.sample_rate} Hz, the features' sample_frequency is "
            f"{options['sample_frequency']:g} Hz (set the option, or build the pack at that rate)"
        )
    shown = law.length if pad_to is None else pad_to
    if shown < law.length:
        raise InputError(f"pad_to is {pad_to} samples, less than the crops' {law.length}")
    if not computer.num_frames(shown):
        raise InputError(f"crops of {shown} samples are shorter than one frame of the features")
    plan = pack.plan(utterances, law, crop_ids=crop_ids, start=start, num_threads=num_threads)
    return _core.crop_features(
        computer._computer, law._core(), pack.clips, plan.indices, plan.crop_ids, plan.starts,
        pack.noise_clips(noise), shown, options["vtln_warp"], num_threads,
    )  # fmt: skip
