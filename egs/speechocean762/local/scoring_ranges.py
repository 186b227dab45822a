#!/usr/bin/env python3
"""Which LM scales and penalties should be tried on dev? Each speaker of dev is scored with what is
best on the others, for several ranges. Nothing is written; test is not looked at.

Usage: local/scoring_ranges.py DATA_DEV GRAPH DECODE_DEV [DECODE_DEV ...]
"""

import sys
from pathlib import Path

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.decode.lattice_files import read_decode_lattices
from kdspeech.decode.sweep import best_paths, settings_of
from kdspeech.decode.wer import score_wer
from kdspeech.graph.symbols import read_symbols

RANGES = {  # scales, penalties
    "12, 0": ((12,), (0.0,)),
    "7-17, 0 to 1": (range(7, 18), (0.0, 0.5, 1.0)),
    "7-17, 0": (range(7, 18), (0.0,)),
    "7-25, 0": (range(7, 26), (0.0,)),
    "7-25, 0 to 1": (range(7, 26), (0.0, 0.5, 1.0)),
    "7-17, -2 to 1": (range(7, 18), (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0)),
    "7-25, -2 to 1": (range(7, 26), (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0)),
}


def main(data: str, graph: str, *decodes: str) -> None:
    table = DataDir(data)
    words = {i: word for word, i in read_symbols(Path(graph) / "words.txt").items()}
    widest = settings_of(*RANGES["7-25, -2 to 1"])
    print("| system |", " | ".join(RANGES), "|")
    rows = []
    for decode in decodes:
        found = best_paths(read_decode_lattices(decode), words, widest)
        scores = {setting: score_wer(table.text, found[setting]) for setting in widest}
        rows.append([left_out(scores, settings_of(*r), table.utt2spk) for r in RANGES.values()])
        print(f"| {decode} |", " | ".join(f"{wer:.2f}" for wer in rows[-1]), "|", flush=True)
    print("| mean |", " | ".join(f"{wer:.2f}" for wer in np.mean(rows, axis=0)), "|")


def left_out(scores: dict, settings: list, utt2spk: dict[str, str]) -> float:
    """WER in % of all speakers, each at the setting that is best for the others."""
    some = next(iter(scores.values()))
    speakers = np.array([utt2spk[utterance] for utterance in some.utterances])
    errors = np.array([scores[setting].counts.sum(axis=1) for setting in settings])
    total = 0
    for speaker in np.unique(speakers):
        best = errors[:, speakers != speaker].sum(axis=1).argmin()
        total += errors[best, speakers == speaker].sum()
    return 100 * total / some.total.words


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
