"""Speakers for embedded corpora: voices of espeak-ng with a microphone and a room of their own."""

import hashlib
from dataclasses import dataclass

import numpy as np
import soxr

from kdspeech.data.corpora.espeak import Espeak
from kdspeech.data.corpora.speech_commands import split_of_speaker

# fmt: off
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
