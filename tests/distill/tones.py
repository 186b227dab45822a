"""A tiny recipe, imported by tests: words are pure tones that anyone can tell apart."""

from pathlib import Path

import numpy as np

from kdspeech.config import load_config
from kdspeech.data.pack import WavePack
from kdspeech.distill import Job, KeywordConfig

RATE = 8000
PITCHES = {"low": 300, "mid": 700, "high": 1500, "other": 2500}

CONF = """
task: {words: [low, mid, high], unknown_percent: 10, silence_percent: 10}
sample_rate: 8000
features: {kind: fbank, conf: FOLDER/fbank.conf}
model: {name: res8, options: {maps: 8}}
train: {epochs: 8, batch_size: 8, optimizer: adamw, lr: 0.01, schedule: one_cycle, num_threads: 1,
        tensorboard: false}
crops: {shift_ms: 20}
plan: 400,300,200
sliding_hop_ms: 50
"""


def clips(rng, count):
    """Tones of 0.2 s anywhere within 0.4 s, and silence with a little noise."""
    for n in range(count):
        for word, pitch in PITCHES.items():
            wave = rng.normal(0, 20, 3200)
            at = rng.integers(0, 1600)
            time = np.arange(1600) / RATE
            wave[at : at + 1600] += 3000 * np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * time)
            yield f"{word}-{n}", wave.astype(np.int16), word, f"s{n}"
        yield f"sil-{n}", rng.normal(0, 20, 3200).astype(np.int16), "_silence_", "noise"


def write_recipe(folder: Path) -> Path:
    """Writes packs/{train,dev,test,noise}, fbank.conf and kws.yaml into a folder."""
    for seed, (split, count) in enumerate({"train": 20, "dev": 8, "test": 8}.items()):
        rng = np.random.default_rng(seed)
        WavePack.build(folder / "packs" / split, clips(rng, count), RATE)
    noise = np.random.default_rng(9).normal(0, 300, 8000).astype(np.int16)
    WavePack.build(folder / "packs" / "noise", [("n", noise, "", "n")], RATE)
    (folder / "fbank.conf").write_text(
        "--sample-frequency=8000\n--num-mel-bins=40\n--high-freq=3800\n--snip-edges=false\n"
    )
    (folder / "kws.yaml").write_text(CONF.replace("FOLDER", str(folder)))
    return folder


def job(recipe, exp, *overrides):
    config = load_config(KeywordConfig, recipe / "kws.yaml", list(overrides))
    return Job(config, str(recipe / "packs"), str(exp), "test")
