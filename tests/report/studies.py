"""Studies of made-up networks, imported by tests."""

import numpy as np

from kdspeech.report.analysis import Network, Study, audio_exhibit, picture_exhibit

CLASSES = ("_silence_", "yes <b>", "no", "up")


def logits(rng, labels, accuracy, classes=4, scale=3.0):
    """Of a network that is right so often."""
    out = rng.normal(size=(len(labels), classes))
    right = rng.random(len(labels)) < accuracy
    answers = np.where(right, labels, (labels + 1) % classes)
    out[np.arange(len(labels)), answers] += scale
    return out


def made_up(n=80, embed=True, audio=True, repeats=1, seed=0) -> Study:
    """A teacher, its student and a baseline; clips are noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    networks = []
    for name, accuracy in (("1000", 0.95), ("1000-500", 0.9), ("500", 0.8)):
        made = logits(rng, labels, accuracy)
        networks.append(
            Network(
                name,
                made,
                {"parameters": "1,234"},
                embedding=np.c_[made, made**2] if embed else None,
                held_out=(logits(rng, labels, accuracy), labels),
                repeats=tuple(logits(rng, labels, accuracy) for _ in range(repeats)),
            )
        )
    waves = rng.normal(0, 1000, (n, 800)).astype(np.int16)
    pixels = rng.integers(0, 255, (n, 8, 8))
    show = (lambda i: audio_exhibit(waves[i], 8000, (-50, 400))) if audio else (
        lambda i: picture_exhibit(pixels[i]))  # fmt: skip
    samples = tuple(f"clip-{i}" for i in range(n))
    return Study(CLASSES, labels, samples, tuple(networks), baseline=2, exhibit=show)
