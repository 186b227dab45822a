"""Background noise for the embedded corpus: long recordings that no microphone heard.

Each function gives float samples of unit mean power, shape (num_samples,). The names and the
role are those of `_background_noise_` in Speech Commands: hiss, machines, water, dishes, people.
"""

import numpy as np
import soxr

from kdspeech.data.corpora.espeak import Espeak

BABBLE_VOICES = ["en-us", "en-us+f1", "en-gb-x-rp+m3", "en+f4", "en-gb-scotland+m7", "en-029+m1"]


def background_noises(
    seed: int, seconds: float, sample_rate: int, words: list[str]
) -> dict[str, np.ndarray]:
    """All background noises.

    Args:
        seed: the same seed gives the same samples.
        seconds: length of each recording.
        sample_rate: in Hz.
        words: what the people of the babble talk about.
    Returns:
        name -> samples, int16, shape (seconds * sample_rate,), about 26 dB below full scale.
    """
    length = round(seconds * sample_rate)
    makers = [white_noise, pink_noise, mains_hum, running_tap, rattling_dishes]
    noises = {}
    for i, maker in enumerate(makers):
        noises[maker.__name__] = maker(np.random.default_rng([seed, i]), length, sample_rate)
    rng = np.random.default_rng([seed, len(makers)])
    noises["babble"] = babble(rng, length, sample_rate, words)
    return {
        name: np.rint(np.clip(1600 * x, -32768, 32767)).astype(np.int16)
        for name, x in noises.items()
    }


def white_noise(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """Equal power at all frequencies."""
    return rng.standard_normal(length)


def pink_noise(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """Power falling as 1 / frequency, from 20 Hz on."""
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)
    return _shape(rng, length, 1 / np.sqrt(np.maximum(frequencies, 20)))


def mains_hum(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """An appliance: 20 harmonics of a mains frequency near 60 Hz that drifts, over some hiss."""
    drift = 1 + 0.01 * _slow(rng, length, sample_rate, 0.2)
    phase = 2 * np.pi * np.cumsum(60 * drift) / sample_rate
    hum = sum(
        rng.uniform(0.2, 1) / k * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
        for k in range(1, 21)
    )
    return _unit(_unit(hum) + 0.2 * rng.standard_normal(length))


def running_tap(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """Water: a broad band around 2.5 kHz whose strength flutters several times a second."""
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)
    octaves = np.log2(np.maximum(frequencies, 1) / 2500)
    noise = _shape(rng, length, np.exp(-0.5 * octaves**2) + 0.05)
    return _unit(noise * (1 + 0.5 * _slow(rng, length, sample_rate, 6.0)))


def rattling_dishes(rng: np.random.Generator, length: int, sample_rate: int) -> np.ndarray:
    """About three knocks a second, each a few ringing resonances, over soft pink noise."""
    sound = 0.3 * pink_noise(rng, length, sample_rate)
    ring = int(0.15 * sample_rate)
    time = np.arange(ring) / sample_rate
    for _ in range(3 * length // sample_rate):
        start = int(rng.integers(0, max(1, length - ring)))
        knock = np.zeros(ring)
        for _ in range(4):
            frequency, decay = rng.uniform(600, 0.45 * sample_rate), rng.uniform(20, 80)
            knock += np.exp(-decay * time) * np.sin(2 * np.pi * frequency * time)
        piece = sound[start : start + ring]
        piece += rng.uniform(0.2, 1.5) * knock[: len(piece)]
    return _unit(sound)


def babble(rng: np.random.Generator, length: int, sample_rate: int, words: list[str]) -> np.ndarray:
    """Six people talking at once, each somewhere else in the room (needs espeak-ng)."""
    mixture = np.zeros(length)
    with Espeak() as espeak:
        for voice in BABBLE_VOICES:
            wanted = int(length / sample_rate * espeak.sample_rate) + 1
            talk, rate = [], int(rng.integers(150, 200))
            while sum(map(len, talk)) < wanted:
                sentence = " ".join(rng.choice(words, 20))
                talk.append(espeak.say(sentence, voice, rate, int(rng.integers(20, 80))))
            talk = np.concatenate(talk)[:wanted].astype(np.float32)
            talk = soxr.resample(talk, espeak.sample_rate, sample_rate)[:length]
            mixture[: len(talk)] += rng.uniform(0.5, 1) * _unit(talk)
    return _unit(mixture)


def _shape(rng: np.random.Generator, length: int, magnitude: np.ndarray) -> np.ndarray:
    """White noise through a filter given by its magnitude at the length's rfft frequencies."""
    return _unit(np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * magnitude, length))


def _slow(rng: np.random.Generator, length: int, sample_rate: int, rate: float) -> np.ndarray:
    """A random curve within [-1, 1] that turns about `rate` times a second."""
    knots = max(2, int(length / sample_rate * rate) + 2)
    return np.interp(np.linspace(0, knots - 1, length), np.arange(knots), rng.uniform(-1, 1, knots))


def _unit(samples: np.ndarray) -> np.ndarray:
    return samples / np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
