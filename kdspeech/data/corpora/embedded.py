"""The embedded corpus: spoken words made on the spot by espeak-ng, in a real corpus's layout.

It lets every recipe run without a download, and is no measure of a model: the speakers are a
synthesizer's. A speaker is a fixed voice, pitch, speed, vocal tract length, microphone and room;
each clip changes speed, pitch and intonation a little, and gets its own place in the second,
loudness and background noise. Everything follows from one seed: the same seed gives the same
bytes (with the same releases of espeak-ng, numpy and soxr), whatever the number of jobs.
"""

import functools
import os
from pathlib import Path

import numpy as np

from kdspeech.data.corpora import fsdd, speech_commands
from kdspeech.data.corpora.espeak import Espeak
from kdspeech.data.corpora.fsdd import DIGITS
from kdspeech.data.corpora.generated import README, check_place, run_jobs, write_readme, write_wav
from kdspeech.data.corpora.noises import background_noises
from kdspeech.data.corpora.speech_commands import split_of_speaker
from kdspeech.data.corpora.voices import draw_speaker, speak
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

TEN_WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
# fmt: off
OTHER_WORDS = [
    *DIGITS, "backward", "bed", "bird", "cat", "dog", "follow", "forward", "happy", "house",
    "learn", "marvin", "sheila", "tree", "visual", "wow",
]
# fmt: on

NOISE_SECONDS = 60.0  # of each background noise, as in Speech Commands
CLIP_NOISE_SECONDS = 20.0
COMMANDS_NOISE, FSDD_NOISE = (8, 40), (10, 40)  # signal to noise, dB


def make_speech_commands(
    out: str | os.PathLike,
    speakers: int = 120,
    takes: int = 2,
    others: int = 8,
    seed: int = 0,
    nj: int = 1,
) -> int:
    """Writes an embedded corpus in the layout of Google Speech Commands.

    One folder per word with `<speaker>_nohash_<take>.wav` (16 kHz, int16, one second),
    `_background_noise_/` with six minute-long recordings, `validation_list.txt` and
    `testing_list.txt`. The split is by the SHA-1 of the speaker's name, as in the real corpus;
    names are drawn such that of every ten speakers one is for validation and one for testing.

    Args:
        out: folder to make; an older embedded corpus there is replaced.
        speakers: how many, at least 3 (one for each set).
        takes: how often each speaker says each of the ten target words.
        others: how many of the 25 other words each speaker says, once each.
        seed: of everything random.
        nj: number of processes.
    Returns:
        The number of clips.
    Raises:
        InputError: espeak-ng is missing, a number is out of its range, or `out` holds other files.
    """
    _check_sizes(out, speakers=(speakers, 3), takes=(takes, 1), others=(others, 0))
    if others > len(OTHER_WORDS):
        raise InputError(f"others: {others} words asked for, there are {len(OTHER_WORDS)}")
    words, lists = [*TEN_WORDS, *OTHER_WORDS], speech_commands.LISTS.values()
    ours = [*words, speech_commands.NOISE_FOLDER, *lists, README]
    with atomic_dir(out, ours) as folder:
        _write_noises(folder / speech_commands.NOISE_FOLDER, seed)
        jobs = [(folder, seed, i, takes, others) for i in range(speakers)]
        files = sorted(run_jobs(_speak_commands, jobs, nj))
        _write_lists(folder, files)
        write_readme(folder, "Speech Commands", f"{speakers=} {takes=} {others=} {seed=}")
    return len(files)


def make_fsdd(
    out: str | os.PathLike, speakers: int = 6, takes: int = 25, seed: int = 0, nj: int = 1
) -> int:
    """Writes an embedded corpus in the layout of the Free Spoken Digit Dataset.

    `{digit}_{speaker}_{take}.wav`, 8 kHz, int16, cut close around the digit.

    Args:
        out: folder to make; an older embedded corpus there is replaced.
        speakers: how many.
        takes: how often each says each digit; takes 0 to 4 are the test set, so 11 at least
            leave something to train on after the development takes.
        seed: of everything random.
        nj: number of processes.
    Returns:
        The number of clips.
    Raises:
        InputError: espeak-ng is missing, a number is out of its range, or `out` holds other files.
    """
    _check_sizes(out, speakers=(speakers, 1), takes=(takes, 11))
    with atomic_dir(out, ours=["[0-9]_*_*.wav", README]) as folder:
        files = run_jobs(_speak_digits, [(folder, seed, i, takes) for i in range(speakers)], nj)
        write_readme(folder, "the Free Spoken Digit Dataset", f"{speakers=} {takes=} {seed=}")
    return len(files)


def place(word: np.ndarray, length: int, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """The word about the middle of a clip of `length` samples; a few stick out and are cut.

    The middle wanders with a standard deviation of 0.12 s, which cuts a piece off 6 % of the
    clips; in the real corpus about one in ten is cut or clipped.
    """
    start = round((length - len(word)) / 2 + rng.normal(0, 0.12 * sample_rate))
    clip = np.zeros(length, np.float32)
    first, last = max(0, start), min(length, start + len(word))
    clip[first:last] = word[first - start : last - start]
    return clip


def add_noise(
    clip: np.ndarray,
    noise: np.ndarray,
    signal_to_noise: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Mixes in noise and sets the loudness.

    Args:
        clip: peak about 1, shape (num_samples,).
        noise: at least as long.
        signal_to_noise: least and greatest ratio of the word's power to the noise's, in dB.
        rng: draws ratio, piece of the noise and loudness (peak 24 dB below full scale to 2 dB
            above it, where it clips).
    Returns:
        int16 samples, shape (num_samples,).
    """
    start = int(rng.integers(0, len(noise) - len(clip) + 1))
    piece = noise[start : start + len(clip)].astype(np.float32)
    power = np.mean(clip[clip != 0] ** 2)
    ratio = 10 ** (rng.uniform(*signal_to_noise) / 10)
    mixture = clip + piece * np.sqrt(power / (ratio * max(np.mean(piece**2), 1e-9)))
    mixture *= 32767 * 10 ** (rng.uniform(-24, 2) / 20) / np.abs(mixture).max()
    return np.rint(np.clip(mixture, -32768, 32767)).astype(np.int16)


def _speak_commands(folder: Path, seed: int, index: int, takes: int, others: int) -> list[str]:
    speaker, rng = draw_speaker(seed, index), np.random.default_rng([seed, 2, index])
    chosen = [str(word) for word in rng.permutation(OTHER_WORDS)[:others]]
    plan = [(word, take) for word in TEN_WORDS for take in range(takes)]
    plan += [(word, 0) for word in chosen]
    noises = _clip_noises(seed, speech_commands.SAMPLE_RATE)
    files = []
    with Espeak() as espeak:
        for word, take in plan:
            samples = speak(espeak, speaker, word, rng, speech_commands.SAMPLE_RATE)
            clip = place(samples, speech_commands.SAMPLE_RATE, speech_commands.SAMPLE_RATE, rng)
            clip = add_noise(clip, noises[int(rng.integers(len(noises)))], COMMANDS_NOISE, rng)
            files.append(f"{word}/{speaker.name}_nohash_{take}.wav")
            write_wav(folder / files[-1], clip, speech_commands.SAMPLE_RATE)
    return files


def _speak_digits(folder: Path, seed: int, index: int, takes: int) -> list[str]:
    speaker, rng = draw_speaker(seed, index), np.random.default_rng([seed, 3, index])
    noises = _clip_noises(seed, fsdd.SAMPLE_RATE)
    files = []
    with Espeak() as espeak:
        for digit, word in enumerate(DIGITS):
            for take in range(takes):
                clip = speak(espeak, speaker, word, rng, fsdd.SAMPLE_RATE)
                clip = add_noise(clip, noises[int(rng.integers(len(noises)))], FSDD_NOISE, rng)
                files.append(f"{digit}_{speaker.name}_{take}.wav")
                write_wav(folder / files[-1], clip, fsdd.SAMPLE_RATE)
    return files


@functools.lru_cache(maxsize=1)
def _clip_noises(seed: int, sample_rate: int) -> list[np.ndarray]:
    # Another seed than the recordings of the noise folder: a clip never holds a piece of those.
    noises = background_noises(seed + 2**32, CLIP_NOISE_SECONDS, sample_rate, OTHER_WORDS)
    return list(noises.values())


def _write_noises(folder: Path, seed: int) -> None:
    noises = background_noises(seed, NOISE_SECONDS, speech_commands.SAMPLE_RATE, OTHER_WORDS)
    for name, samples in noises.items():
        write_wav(folder / f"{name}.wav", samples, speech_commands.SAMPLE_RATE)


def _write_lists(folder: Path, files: list[str]) -> None:
    for split, name in speech_commands.LISTS.items():
        lines = [f for f in files if split_of_speaker(Path(f).name.split("_nohash_")[0]) == split]
        (folder / name).write_text("".join(line + "\n" for line in lines))


def _check_sizes(out, **sizes: tuple[int, int]) -> None:
    for name, (value, least) in sizes.items():
        if value < least:
            raise InputError(f"{name}: {value} asked for, at least {least} needed")
    check_place(Path(out))
