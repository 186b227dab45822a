"""The embedded corpus: spoken words made on the spot by espeak-ng, in a real corpus's layout.

It lets every recipe run without a download, and is no measure of a model: the speakers are a
synthesizer's. A speaker is a fixed voice, pitch, speed, vocal tract length, microphone and room;
each clip changes speed, pitch and intonation a little, and gets its own place in the second,
loudness and background noise. Everything follows from one seed: the same seed gives the same
bytes (with the same releases of espeak-ng, numpy and soxr), whatever the number of jobs.
"""

import functools
import hashlib
import multiprocessing
import os
import wave
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from kdspeech.data.corpora import fsdd, speech_commands
from kdspeech.data.corpora.espeak import Espeak
from kdspeech.data.corpora.fsdd import DIGITS
from kdspeech.data.corpora.noises import background_noises
from kdspeech.data.corpora.progress import track
from kdspeech.data.corpora.speech_commands import split_of_speaker
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

TEN_WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
# fmt: off
OTHER_WORDS = [
    *DIGITS, "backward", "bed", "bird", "cat", "dog", "follow", "forward", "happy", "house",
    "learn", "marvin", "sheila", "tree", "visual", "wow",
]
LANGUAGES = [
    "en-us", "en-us", "en-us-nyc", "en", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
    "en-gb-scotland", "en-029",
]
# The variants of espeak-ng 1.52 that sound like people. Left out: robots and effects, voices
# slower than a second a word, and those with a `breath` line (f2, f3, f5, whisper ...): what they
# say changes from process to process, by unset memory and the C library's rand.
VARIANTS = [
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f4", "croak", "Alex", "Andrea", "Annie",
    "Denis", "Diogo", "Gene", "Gene2", "Hugo", "Jacky", "Lee", "Mario", "Michael", "Mike", "Nguyen",
    "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "david", "ed", "edward",
    "grandma", "grandpa", "gustave", "ian", "john", "klatt", "klatt2", "klatt3", "linda", "marcelo",
    "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert",
    "shelby", "steph", "steph2", "travis", "zac",
]
# fmt: on
ENDINGS = [".", ".", "!", "?", ","]

README, MADE_BY = "README.txt", "made by `kds corpus embed`"

NOISE_SECONDS = 60.0  # of each background noise, as in Speech Commands
CLIP_NOISE_SECONDS = 20.0
COMMANDS_NOISE, FSDD_NOISE = (8, 40), (10, 40)  # signal to noise, dB


@dataclass(frozen=True)
class Speaker:
    """What does not change between the clips of a speaker."""

    name: str  # 8 hexadecimal digits
    voice: str  # espeak-ng's language+variant
    rate: float  # words a minute
    pitch: float  # 0 to 99
    pitch_range: float  # 0 to 99
    tract: float  # formants and pitch are multiplied by this
    tilt: float  # of the microphone: y[n] = x[n] + tilt * x[n - 1]
    room: float  # seconds until the echo has fallen by 60 dB; 0: none


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
        out: folder to make; replaced as a whole if it is there.
        speakers: how many, at least 3 (one for each set).
        takes: how often each speaker says each of the ten target words.
        others: how many of the 25 other words each speaker says, once each.
        seed: of everything random.
        nj: number of processes.
    Returns:
        The number of clips.
    Raises:
        InputError: espeak-ng is missing, or a number is out of its range.
    """
    _check_sizes(out, speakers=(speakers, 3), takes=(takes, 1), others=(others, 0))
    if others > len(OTHER_WORDS):
        raise InputError(f"others: {others} words asked for, there are {len(OTHER_WORDS)}")
    with atomic_dir(out) as folder:
        _write_noises(folder / speech_commands.NOISE_FOLDER, seed)
        jobs = [(folder, seed, i, takes, others) for i in range(speakers)]
        files = sorted(_run(_speak_commands, jobs, nj))
        _write_lists(folder, files)
        _write_readme(folder, "Speech Commands", f"{speakers=} {takes=} {others=} {seed=}")
    return len(files)


def make_fsdd(
    out: str | os.PathLike, speakers: int = 6, takes: int = 25, seed: int = 0, nj: int = 1
) -> int:
    """Writes an embedded corpus in the layout of the Free Spoken Digit Dataset.

    `{digit}_{speaker}_{take}.wav`, 8 kHz, int16, cut close around the digit.

    Args:
        out: folder to make; replaced as a whole if it is there.
        speakers: how many.
        takes: how often each says each digit; takes 0 to 4 are the test set, so 11 at least
            leave something to train on after the development takes.
        seed: of everything random.
        nj: number of processes.
    Returns:
        The number of clips.
    Raises:
        InputError: espeak-ng is missing, or a number is out of its range.
    """
    _check_sizes(out, speakers=(speakers, 1), takes=(takes, 11))
    with atomic_dir(out) as folder:
        files = _run(_speak_digits, [(folder, seed, i, takes) for i in range(speakers)], nj)
        _write_readme(folder, "the Free Spoken Digit Dataset", f"{speakers=} {takes=} {seed=}")
    return len(files)


def draw_speaker(seed: int, index: int) -> Speaker:
    """Speaker `index` of the corpus with this seed; the same however many there are."""
    rng = np.random.default_rng([seed, 1, index])
    wanted = ("train", "dev", "test", *["train"] * 7)[index % 10]
    names = (hashlib.sha1(f"{seed} {index} {i}".encode()).hexdigest()[:8] for i in range(10**6))
    return Speaker(
        name=next(name for name in names if split_of_speaker(name) == wanted),
        voice=f"{rng.choice(LANGUAGES)}+{rng.choice(VARIANTS)}",
        rate=rng.uniform(120, 190),
        pitch=rng.uniform(15, 85),
        pitch_range=rng.uniform(20, 90),
        tract=rng.uniform(0.94, 1.08),
        tilt=rng.uniform(-0.5, 0.5),
        room=rng.choice([0.0, rng.uniform(0.1, 0.5)]),
    )


def speak(
    espeak: Espeak, speaker: Speaker, word: str, rng: np.random.Generator, sample_rate: int
) -> np.ndarray:
    """One take of a word: float32, peak 1, shape (num_samples,), no silence around it."""
    samples = espeak.say(
        word + rng.choice(ENDINGS),
        speaker.voice,
        rate=round(speaker.rate * rng.uniform(0.85, 1.2)),
        pitch=round(np.clip(speaker.pitch + rng.normal(0, 5), 0, 99)),
        pitch_range=round(np.clip(speaker.pitch_range + rng.normal(0, 8), 0, 99)),
    )
    samples = _trim(samples.astype(np.float32))
    samples = soxr.resample(samples, espeak.sample_rate * speaker.tract, sample_rate)
    samples[1:] += np.float32(speaker.tilt) * samples[:-1]
    if speaker.room > 0:
        samples = _echo(samples, speaker.room, sample_rate, rng)
    return samples / np.abs(samples).max()


def _trim(samples: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def _echo(samples, room: float, sample_rate: int, rng) -> np.ndarray:
    """Adds a diffuse echo 6 dB below the direct sound (white noise under the room's decay)."""
    time = np.arange(int(room * sample_rate)) / sample_rate
    response = rng.standard_normal(len(time)) * 10 ** (-3 * time / room)
    response *= 0.5 / np.linalg.norm(response)
    response[0] += 1
    length = len(samples) + len(response) - 1
    spectrum = np.fft.rfft(samples, length) * np.fft.rfft(response, length)
    return np.fft.irfft(spectrum, length).astype(np.float32)


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
            _write_wav(folder / files[-1], clip, speech_commands.SAMPLE_RATE)
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
                _write_wav(folder / files[-1], clip, fsdd.SAMPLE_RATE)
    return files


@functools.lru_cache(maxsize=1)
def _clip_noises(seed: int, sample_rate: int) -> list[np.ndarray]:
    # Another seed than the recordings of the noise folder: a clip never holds a piece of those.
    noises = background_noises(seed + 2**32, CLIP_NOISE_SECONDS, sample_rate, OTHER_WORDS)
    return list(noises.values())


def _write_noises(folder: Path, seed: int) -> None:
    noises = background_noises(seed, NOISE_SECONDS, speech_commands.SAMPLE_RATE, OTHER_WORDS)
    for name, samples in noises.items():
        _write_wav(folder / f"{name}.wav", samples, speech_commands.SAMPLE_RATE)


def _write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(os.fspath(path), "wb") as file:
        file.setparams((1, 2, sample_rate, len(samples), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def _write_lists(folder: Path, files: list[str]) -> None:
    for split, name in speech_commands.LISTS.items():
        lines = [f for f in files if split_of_speaker(Path(f).name.split("_nohash_")[0]) == split]
        (folder / name).write_text("".join(line + "\n" for line in lines))


def _write_readme(folder: Path, layout: str, sizes: str) -> None:
    (folder / README).write_text(
        f"Synthetic speech in the layout of {layout}, {MADE_BY}\nwith espeak-ng: {sizes}\n"
    )


def _check_sizes(out, **sizes: tuple[int, int]) -> None:
    for name, (value, least) in sizes.items():
        if value < least:
            raise InputError(f"{name}: {value} asked for, at least {least} needed")
    _check_place(Path(out))


def _check_place(out: Path) -> None:
    """Only what an earlier call made may be replaced."""
    if out.is_file():
        raise InputError(f"{out}: is a file, a folder is to be made there")
    if not out.is_dir() or not any(out.iterdir()):
        return
    readme = out / README
    if not (readme.is_file() and MADE_BY in readme.read_text(encoding="utf-8", errors="replace")):
        raise InputError(
            f"{out}: holds something else than an embedded corpus; choose a new folder"
        )


def _run(function, jobs: list[tuple], nj: int) -> list[str]:
    """Runs function(*job) for all jobs over `nj` processes; all their file names, in order."""
    if nj <= 1 or len(jobs) <= 1:
        return _gather(map(function, *zip(*jobs, strict=True)), len(jobs))
    context = multiprocessing.get_context("spawn")  # a fork would copy other threads' locks
    try:
        with ProcessPoolExecutor(min(nj, len(jobs)), context) as pool:
            return _gather(pool.map(function, *zip(*jobs, strict=True)), len(jobs))
    except BrokenProcessPool as error:
        raise InputError(
            "a process that spoke the corpus was killed (out of memory?); nothing was written; "
            "run again, perhaps with --nj 1"
        ) from error


def _gather(results: Iterable[list[str]], total: int) -> list[str]:
    return [file for files in track(results, total, "speaking") for file in files]
