"""Data directories into waveform packs, with speed-perturbed copies on request."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.data.pack import WavePack
from kdspeech.io.atomic import atomic_path
from kdspeech.io.audio import convert_rate
from kdspeech.io.errors import InputError

MAX_BAD = 0.01  # of the utterances; DESIGN: a job with more fails


def pack_data_dir(
    data: DataDir,
    path: str | Path,
    speeds: Sequence[float] = (1.0,),
    sample_rate: int | None = None,
    resample_others: bool = False,
    max_bad: float = MAX_BAD,
    on_utterance=lambda: None,
) -> tuple[WavePack, dict[str, str]]:
    """Packs all utterances of a data directory; memory does not grow with their number.

    Args:
        data: with wav.scp (and segments), and text and utt2spk where there are any.
        path: the pack's folder. What is left out is listed beside it, in `<path>.bad`.
        speeds: a copy of each utterance per factor, faster above 1 (Ko et al. 2015: 0.9, 1, 1.1).
            Copies are named as Kaldi names them: `sp0.9-<utterance>`; their speakers likewise.
        sample_rate: in Hz, of the pack; that of the first utterance unless given.
        resample_others: bring other rates to it; else they are bad utterances.
        max_bad: largest share of utterances that may be bad.
        on_utterance: called after each, for a progress bar.

    Returns:
        The pack, and what was wrong with each utterance that was left out.

    Raises:
        InputError: too many bad utterances or no other, or a speed that is not within 0.5 and 2.
    """
    for speed in speeds:
        if not 0.5 <= speed <= 2:
            raise InputError(f"speed {speed:g}: must be within 0.5 and 2")
    path = Path(path)
    bad_list = path.with_name(path.name + ".bad")
    if sample_rate is None:
        sample_rate = _first_rate(data, max_bad, bad_list)
    bad: dict[str, str] = {}
    how = {"sample_rate": sample_rate, "resample": resample_others}
    clips = _clips(data, bad, how, speeds, max_bad, bad_list, on_utterance)
    return WavePack.build(path, clips, sample_rate), bad


def _first_rate(data: DataDir, max_bad: float, bad_list: Path) -> int:
    """The rate of the first utterance that can be read."""
    bad: dict[str, str] = {}
    for _, _, rate in data.iter_audio(bad.__setitem__):
        return rate
    _judge(data, bad, 0, max_bad, bad_list)  # raises: there is none


def _clips(
    data: DataDir, bad, how, speeds, max_bad, bad_list: Path, on_utterance
) -> Iterator[tuple]:
    text = data.text if "text" in data else {}
    speakers = data.utt2spk if "utt2spk" in data else {}
    good = 0
    for utt, samples, rate in data.iter_audio(bad.__setitem__, **how):
        good += 1
        for speed in speeds:
            prefix = "" if speed == 1 else f"sp{speed:g}-"
            speaker = prefix + speakers.get(utt, utt)
            yield prefix + utt, _at_speed(samples, rate, speed), text.get(utt, ""), speaker
        on_utterance()
    _judge(data, bad, good, max_bad, bad_list)


def _judge(data: DataDir, bad: dict[str, str], good: int, max_bad: float, bad_list: Path) -> None:
    """Lists what was left out; fails if it is too much, or if nothing is left."""
    if bad:
        with atomic_path(bad_list) as temporary:
            lines = [f"{utt} {' '.join(message.split())}\n" for utt, message in bad.items()]
            temporary.write_text("".join(lines), encoding="utf-8")
    else:
        bad_list.unlink(missing_ok=True)
    if len(bad) > max_bad * (good + len(bad)):
        raise InputError(
            f"{data.path}: {len(bad)} of {good + len(bad)} utterances cannot be used, more than "
            f"{100 * max_bad:g} %; {bad_list} lists them; the first: {next(iter(bad.values()))}"
        )
    if not good:
        raise InputError(f"{data.path}: has no utterance that can be used")


def _at_speed(samples: np.ndarray, rate: int, speed: float) -> np.ndarray:
    """The samples played faster by `speed`, which also raises the pitch, as sox's `speed` does."""
    return samples if speed == 1 else convert_rate(samples, round(rate * speed), rate)
