"""A small Kaldi data directory on disk, for tests."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def write_corpus(folder: Path, num_speakers=3, num_utterances=4, seconds=0.3) -> Path:
    """Speakers s1.. with utterances s1-1.. of noise; tables as Kaldi sorts them."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    lines = {"wav.scp": [], "text": [], "utt2spk": [], "spk2utt": []}
    for s in range(1, num_speakers + 1):
        utts = [f"s{s}-{u}" for u in range(1, num_utterances + 1)]
        for utt in utts:
            wave = rng.normal(0, 1000, int(seconds * RATE)).astype(np.int16)
            soundfile.write(folder / f"{utt}.wav", wave, RATE)
            lines["wav.scp"].append(f"{utt} {folder}/{utt}.wav")
            lines["text"].append(f"{utt} WORD {utt[-1]}")
            lines["utt2spk"].append(f"{utt} s{s}")
        lines["spk2utt"].append(f"s{s} {' '.join(utts)}")
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows) + "\n")
    return folder
