"""Speed perturbation: a corpus played faster and slower, as more training data."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from kdspeech.data.datadir import DataDir, combine
from kdspeech.data.jobs import run_splits
from kdspeech.io.atomic import check_apart
from kdspeech.io.audio import convert_rate
from kdspeech.io.errors import InputError

FACTORS = (0.9, 1.1)
_AUDIO = "speed"  # folder of the new audio


def perturb_speed(
    source: str | os.PathLike,
    target: str | os.PathLike,
    factors: Sequence[float] = FACTORS,
    nj: int = 1,
    scheduler: str | None = None,
    allow_pipes: bool = False,
) -> DataDir:
    """Writes a data directory of `source` and of `source` played at other speeds.

    Tempo and pitch change together (Ko et al. 2015, "Audio augmentation for speech recognition").
    Utterances and speakers of a factor f get the prefix sp<f>-, as in Kaldi; their audio is written
    to TARGET/speed, 16-bit WAV.

    Args:
        source: with wav.scp and utt2spk.
        target: the folder to make.
        factors: above 1 is faster. The speed as it was is there anyway.
        nj, scheduler: as in run_splits.
        allow_pipes: let entries of wav.scp be shell commands.
    Raises:
        InputError: a factor that is 1, not within 0.5 and 2, or there twice; audio that cannot be
            read; a target that is the source, or whose `speed` holds other files.
    """
    factors = sorted(factors)
    if not factors or len({*factors, 1.0}) != len(factors) + 1:
        raise InputError(f"speed factors {factors}: some, all different, none of them 1")
    if not 0.5 <= factors[0] <= factors[-1] <= 2:
        raise InputError(f"speed factors {factors}: all within 0.5 and 2")
    check_apart(target, [source])
    data, target = DataDir(source, allow_pipes=allow_pipes), Path(target)
    if "utt2spk" not in data:
        raise InputError(f"{data.path}: has no utt2spk")
    splits = run_splits(
        _perturb_split, data, nj, target / _AUDIO, scheduler, "perturb speed", factors=factors
    )
    folders = {
        utt: os.path.abspath(target / _AUDIO / str(split))
        for split, utts in enumerate(splits, 1)
        for utt in utts
    }
    return combine([data, *(_played(data, factor, folders) for factor in factors)]).write(target)


def _perturb_split(
    split: DataDir, folder: Path, advance: Callable[[int], None], factors: Sequence[float]
) -> list[str]:
    """Writes the audio of a split; gives its utterances."""
    import soundfile

    for utt, samples, rate in split.iter_audio():
        for factor in factors:
            played = convert_rate(samples, rate * factor, rate)
            soundfile.write(folder / _audio_name(utt, factor), played, rate, subtype="PCM_16")
        advance(1)
    return split.utterances


def _played(data: DataDir, factor: float, folders: dict[str, str]) -> DataDir:
    """The data directory of one speed."""
    prefix = _prefix(factor)
    tables = {
        "wav.scp": {
            prefix + utt: os.path.join(folder, _audio_name(utt, factor))
            for utt, folder in folders.items()
        },
        "utt2spk": {prefix + utt: prefix + data.utt2spk[utt] for utt in folders},
    }
    if "segments" in data:
        tables["segments"] = {prefix + utt: f"{prefix + utt} 0 -1" for utt in folders}
    if "text" in data:
        tables["text"] = {prefix + utt: data.text.get(utt, "") for utt in folders}
    if "spk2gender" in data:
        rows = data.table("spk2gender").items()
        tables["spk2gender"] = {prefix + speaker: gender for speaker, gender in rows}
    return DataDir(tables=tables)


def original(name: str) -> str:
    """The utterance or speaker that one with a prefix sp<f>- was made of; others as they are."""
    return re.sub(r"^sp[\d.]+-", "", name)


def _prefix(factor: float) -> str:
    return f"sp{factor:g}-"


def _audio_name(utt: str, factor: float) -> str:
    return f"{_prefix(factor)}{utt}.wav"
