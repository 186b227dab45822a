"""How fast is `kds make-feats` from files on disk to ark/scp, per CPU second?

Makes clips of noise-like speech, runs the command over them as WAV and as FLAC, with dither off
and on, and prints the median rate in seconds of audio per CPU second (user and system, the whole
process with its start). Beside it: reading the files alone (for FLAC that is libsndfile's decoder,
which bounds the command), and Kaldi's compute-mfcc-feats from WAV, measured earlier on two cores of
the same kind.

    python benchmarks/make_feats.py --clips 2000 --seconds 10
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kdspeech.io.audio import read_audio

RATE = 16000
# Seconds of audio per CPU second, compute-mfcc-feats of Kaldi 5.5, WAV files to ark.
KALDI = {0: 3360, 1: 980}


def write_clips(folder: Path, suffix: str, clips: int, seconds: float) -> None:
    """A data directory of clips: noise through a resonance, with a slow envelope."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    num_samples = int(seconds * RATE)
    envelope = 1 + np.sin(np.arange(num_samples) * (2 * np.pi * 3 / RATE))
    with open(folder / "wav.scp", "w") as scp:
        for i in track(range(clips), f"writing {clips} {suffix} clips"):
            noise = rng.standard_normal(num_samples + 2, dtype=np.float32)
            wave = (noise[2:] + 1.6 * noise[1:-1] + 0.9 * noise[:-2]) * envelope * 600
            path = folder / f"clip{i:06d}.{suffix}"
            soundfile.write(path, wave.astype(np.int16), RATE)
            scp.write(f"clip{i:06d} {path}\n")


def cpu_seconds(function) -> float:
    """CPU seconds, user and system, of one call and the processes it runs."""
    start = os.times()
    function()
    end = os.times()
    return sum(end[:4]) - sum(start[:4])


def measure(function, audio_seconds: float, repeats: int) -> list[float]:
    """Seconds of audio per CPU second, one number a repeat."""
    return [audio_seconds / cpu_seconds(function) for _ in range(repeats)]


def read_all(folder: Path) -> None:
    """Reads every file of the data directory."""
    for path in sorted(folder.glob("clip*")):
        read_audio(path)


def decode_all(folder: Path) -> None:
    """Reads every file with libsndfile alone."""
    for path in sorted(folder.glob("clip*")):
        soundfile.read(path, dtype="int16")


def rows(folder: Path, suffix: str, audio_seconds: float, repeats: int):
    """(what, rates, Kaldi's rate or None) for one file format."""
    yield (
        f"{suffix}: read_audio alone",
        measure(lambda: read_all(folder), audio_seconds, repeats),
        None,
    )
    decode = measure(lambda: decode_all(folder), audio_seconds, repeats)
    yield f"{suffix}: libsndfile alone", decode, None
    for dither, kaldi in KALDI.items():
        conf = folder / f"mfcc{dither}.conf"
        conf.write_text(f"--dither={dither}\n")
        command = [sys.executable, "-m", "kdspeech.cli.main", "make-feats", "mfcc"]
        command += [folder, folder / "ark", "--config", conf]

        def job(command=command):
            subprocess.run(command, check=True, capture_output=True)

        rates = measure(job, audio_seconds, repeats)
        yield f"{suffix}: make-feats mfcc, dither {dither}", rates, kaldi


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    audio_seconds = args.clips * args.seconds
    table = Table("", "audio s per CPU s", "range", "x Kaldi (WAV)", title=f"{args}")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("wav", "flac"):
            write_clips(Path(folder) / suffix, suffix, args.clips, args.seconds)
            for what, rates, kaldi in rows(
                Path(folder) / suffix, suffix, audio_seconds, args.repeats
            ):
                middle = statistics.median(rates)
                ratio = f"{middle / kaldi:.1f}" if kaldi else ""
                spread = f"{min(rates):,.0f} .. {max(rates):,.0f}"
                table.add_row(what, f"{middle:,.0f}", spread, ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
