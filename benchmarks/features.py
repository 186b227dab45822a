"""How fast is MFCC on one core, beside kaldi-native-fbank, torchaudio, librosa and a bare FFT?

13 coefficients of 16 kHz audio, dither off, one thread. Everything runs round after round in one
process, so that a busy machine slows all alike; the numbers are medians over the rounds, in
seconds of audio per second, and the ratios are medians of the ratios within each round. The bare
FFT is torch.fft.rfft of 512 points over as many frames as the audio has, 10 ms apart.

    OMP_NUM_THREADS=1 python benchmarks/features.py --seconds 10 --clips 20 --rounds 11
    KDSPEECH_SIMD=avx2 python benchmarks/features.py
"""

import argparse
import os
import platform
import statistics
import time

import kaldi_native_fbank
import librosa
import numpy as np
import torch
import torchaudio.compliance.kaldi
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kdspeech.features import Fbank, Mfcc, Plp

RATE = 16000
OURS = "kdspeech Mfcc"
# What is measured against what, and the ratio that issue 2 asks for.
RATIOS = [
    (OURS, "kaldi-native-fbank", 12.0),
    (OURS, "torchaudio", 5.0),
    (OURS, "librosa", 3.0),
    (OURS, "bare rfft", 0.4),
    ("kdspeech Mfcc, dither on", OURS, 0.6),
    ("kdspeech Mfcc, 2 threads", OURS, 1.8),
]


def make_clips(clips: int, seconds: float) -> list[np.ndarray]:
    """Noise through a resonance, int16."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((clips, int(seconds * RATE) + 2))
    waves = (noise[:, 2:] + 1.6 * noise[:, 1:-1] + 0.9 * noise[:, :-2]) * 600
    return list(waves.astype(np.int16))


def native_fbank(clips):
    """kaldi-native-fbank; it takes lists or float arrays, and is handed the latter."""
    options = kaldi_native_fbank.MfccOptions()
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 23

    def run():
        for clip in clips:
            mfcc = kaldi_native_fbank.OnlineMfcc(options)
            mfcc.accept_waveform(RATE, clip)
            mfcc.input_finished()

    return run


def librosa_mfcc(clip):
    librosa.feature.mfcc(
        y=clip,
        sr=RATE,
        n_mfcc=13,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=23,
        fmin=20,
        center=False,
    )


def candidates(clips: list[np.ndarray]) -> dict:
    """What is timed, by name: each call processes all clips in the form that suits it."""
    floats = [clip.astype(np.float32) for clip in clips]
    tensors = [torch.from_numpy(clip)[None] for clip in floats]
    mfcc, dithered = Mfcc(), Mfcc(dither=1.0)
    fbank, plp = Fbank(num_mel_bins=80), Plp()
    frames = torch.randn(mfcc.num_frames(len(clips[0])), 512)
    return {
        OURS: lambda: mfcc.batch(clips),
        "kdspeech Mfcc, float32": lambda: mfcc.batch(floats),
        "kdspeech Mfcc, clip by clip": lambda: [mfcc(clip) for clip in clips],
        "kdspeech Mfcc, dither on": lambda: dithered.batch(clips),
        "kdspeech Mfcc, 2 threads": lambda: mfcc.batch(clips, num_threads=2),
        "kdspeech Fbank, 80 filters": lambda: fbank.batch(clips),
        "kdspeech Plp": lambda: plp.batch(clips),
        "kaldi-native-fbank": native_fbank(floats),
        "torchaudio": lambda: [torchaudio.compliance.kaldi.mfcc(t, dither=0.0) for t in tensors],
        "librosa": lambda: [librosa_mfcc(clip) for clip in floats],
        "bare rfft": lambda: [torch.fft.rfft(frames) for _ in clips],
    }


def time_once(function) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(functions: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds of every function in every round, after one call to warm up."""
    for function in functions.values():
        function()
    times = {name: [] for name in functions}
    for _ in track(range(rounds), "rounds"):
        for name, function in functions.items():
            times[name].append(time_once(function))
    return times


def print_rates(times: dict, audio_seconds: float, console: Console) -> None:
    table = Table("", "seconds of audio per second", "slowest", "fastest")
    for name, seconds in times.items():
        rates = [audio_seconds / s for s in seconds]
        row = (statistics.median(rates), min(rates), max(rates))
        table.add_row(name, *(f"{rate:,.0f}" for rate in row))
    console.print(table)


def print_ratios(times: dict, console: Console) -> None:
    table = Table("", "beside", "ratio of rates", "asked for")
    for name, peer, wanted in RATIOS:
        ratios = [p / t for t, p in zip(times[name], times[peer], strict=True)]
        table.add_row(name, peer, f"{statistics.median(ratios):.2f}", f">= {wanted:g}")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=20, help="number of clips")
    parser.add_argument("--seconds", type=float, default=10, help="length of each clip")
    parser.add_argument("--rounds", type=int, default=11, help="how often everything is timed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    clips = make_clips(arguments.clips, arguments.seconds)
    console.print(
        f"SIMD variant {Mfcc().simd_variant}, {platform.machine()}, {os.cpu_count()} cores; "
        f"{arguments.clips} clips of {arguments.seconds:g} s, medians of {arguments.rounds} rounds"
    )
    times = measure(candidates(clips), arguments.rounds)
    print_rates(times, arguments.clips * arguments.seconds, console)
    print_ratios(times, console)


if __name__ == "__main__":
    main()
