"""How fast crops are cut from a waveform pack, beside the machine's copy bandwidth and peers.

    python benchmarks/crops.py [--clips 4000] [--batch 256] [--repeat 15]

Bytes of a crop per sample: 2 read (int16) and 4 written (float32; 2 as int16); where noise is mixed
in, 2 more read for the 80 % of crops that get it. An energy search reads the whole clip, once: 2
bytes per sample of the clip in place of those of the crop. A second look at samples that are in
the processor's cache by then is not counted. `memcpy` is numpy's copy of 3 bytes per sample of a
crop, that is 6 read and written. All but "new array" fill an array that was there before, on one
thread, from a pack in the page cache, each call other clips. Clips are 1 s of 16 kHz, taken in
random order.
Times are CPU seconds of the calling thread, which does all the work (on an idle machine the same
as time on the clock); medians over the repeats, the rows taking turns.
"""

import argparse
import tempfile
import time

import numpy as np
import torch

from kdspeech.data import CropLaw, WavePack
from kdspeech.features import Mfcc
from kdspeech.features.crops import crop_features

RATE = 16000


def make_pack(folder: str, clips: int, seconds: int) -> WavePack:
    rng = np.random.default_rng(seconds)
    samples = (rng.standard_normal((50, RATE * seconds)) * 3000).astype(np.int16)
    rows = ((f"clip{i}", np.roll(samples[i % 50], i), "word", "speaker") for i in range(clips))
    return WavePack.build(f"{folder}/{seconds}s", rows, RATE)


def medians(calls: dict, repeat: int) -> dict[str, float]:
    """Median CPU seconds of each call, after one call to warm up."""
    times = {name: [] for name in calls}
    for turn in range(repeat + 1):
        for name, call in calls.items():
            begin = time.thread_time()
            call()
            if turn:
                times[name].append(time.thread_time() - begin)
    return {name: float(np.median(t)) for name, t in times.items()}


class Batches:
    """Batches of clips, never the one before."""

    def __init__(self, pack: WavePack, batch: int):
        self.order = np.random.default_rng(0).permutation(len(pack))
        self.batch, self.at = batch, 0

    def __call__(self) -> np.ndarray:
        self.at = (self.at + self.batch) % (len(self.order) - self.batch)
        return self.order[self.at : self.at + self.batch]


def peer_calls(pack: WavePack, batches: Batches, length: int) -> dict:
    """The ways without this package: slice by slice, or one gather of indices."""
    samples = np.memmap(pack.path / "waves.i16", np.int16, mode="r")
    tensor = torch.from_numpy(samples.copy())
    offsets = np.concatenate([[0], np.cumsum(pack.num_samples)])
    rng = np.random.default_rng(0)
    out = np.empty((batches.batch, length), np.float32)
    within = torch.arange(length)

    def begins():
        clips = batches()
        return offsets[clips] + rng.integers(0, pack.num_samples[clips] - length + 1)

    def numpy_loop():
        for row, begin in zip(out, begins(), strict=True):
            row[:] = samples[begin : begin + length]

    def numpy_stack():
        np.stack([samples[b : b + length].astype(np.float32) for b in begins()])

    def torch_gather():
        tensor[torch.from_numpy(begins())[:, None] + within].float()

    return {
        "numpy, loop of slices into out": numpy_loop,
        "numpy, slices, astype, stack": numpy_stack,
        "torch, one gather, float()": torch_gather,
    }


def crop_calls(pack: WavePack, noise: WavePack, batches: Batches, length: int) -> dict:
    out = np.empty((batches.batch, length), np.float32)
    whole = np.empty((batches.batch, length), np.int16)
    laws = {mode: CropLaw(length, mode) for mode in ("random", "center", "best_energy", "energy")}
    shifted, played = CropLaw(length, shift=1600, gain_db=6), CropLaw(length, speed=0.1)
    return {
        "crops random": lambda: pack.crops(batches(), laws["random"], out=out),
        "crops random, new array": lambda: pack.crops(batches(), laws["random"]),
        "crops random, int16": lambda: pack.crops(batches(), laws["random"], out=whole),
        "crops random, shift, gain": lambda: pack.crops(batches(), shifted, out=out),
        "crops random, speed": lambda: pack.crops(batches(), played, out=out),
        "crops random, noise": lambda: pack.crops(batches(), laws["random"], noise=noise, out=out),
        "crops center": lambda: pack.crops(batches(), laws["center"], out=out),
        "crops best_energy": lambda: pack.crops(batches(), laws["best_energy"], out=out),
        "crops energy": lambda: pack.crops(batches(), laws["energy"], out=out),
    }


def copy_call(pack: WavePack, size: int):
    """A copy of `size` bytes out of the pack, of other places each time."""
    samples = np.memmap(pack.path / "waves.i16", np.uint8, mode="r")
    out = np.empty(size, np.uint8)
    places = iter(np.random.default_rng(0).integers(0, len(samples) - size, 10**6))

    def copy():
        place = next(places)
        np.copyto(out, samples[place : place + size])

    return copy


def bytes_moved(name: str, length: int) -> float:
    """Read and written for one crop out of a clip of RATE samples."""
    if "int16" in name:
        return 4 * length
    if "energy" in name:
        return 2 * RATE + 4 * length
    return (6 + 2 * 0.8 * ("noise" in name)) * length


def bench_crops(pack: WavePack, noise: WavePack, batch: int, length: int, repeat: int) -> None:
    batches = Batches(pack, batch)
    calls = {
        "memcpy": copy_call(pack, 3 * batch * length),
        **crop_calls(pack, noise, batches, length),
        **peer_calls(pack, batches, length),
    }
    times = medians(calls, repeat)
    print(f"\n{batch} crops of {length} samples, float32, one thread")
    print(f"{'':34}{'us/crop':>9}{'GB/s':>8}{'of memcpy':>11}{'audio s/s':>12}")
    for name, seconds in times.items():
        rate = batch * bytes_moved(name, length) / seconds
        share = rate / (batch * length * 6 / times["memcpy"])
        audio = "" if name == "memcpy" else f"{batch * length / RATE / seconds:12,.0f}"
        print(f"{name:34}{seconds / batch * 1e6:9.2f}{rate / 1e9:8.2f}{share:11.0%}{audio}")


def bench_features(pack: WavePack, noise: WavePack, batch: int, length: int, repeat: int) -> None:
    batches, law, mfcc = Batches(pack, batch), CropLaw(length), Mfcc(dither=0)
    offsets = np.arange(batch + 1) * length

    def apart():
        crops = pack.crops(batches(), law, noise=noise)
        mfcc.batch((crops.reshape(-1), offsets))

    times = medians(
        {
            "crop_features": lambda: crop_features(mfcc, pack, batches(), law, noise=noise),
            "crops, then Mfcc.batch": apart,
            "crops alone": lambda: pack.crops(batches(), law, noise=noise),
        },
        repeat,
    )
    print(f"\n{batch} crops of {length} samples with noise, 13 MFCC, one thread")
    print(f"{'':34}{'us/crop':>9}{'audio s/s':>12}")
    for name, seconds in times.items():
        audio = batch * length / RATE / seconds
        print(f"{name:34}{seconds / batch * 1e6:9.2f}{audio:12,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pack = make_pack(folder, args.clips, 1)
        noise = make_pack(folder, 5, 60)
        print(f"pack: {args.clips} clips, {2 * pack.num_samples.sum() / 1e6:.0f} MB")
        for length in (8000, 16000):
            bench_crops(pack, noise, args.batch, length, args.repeat)
        bench_features(pack, noise, args.batch, 8000, args.repeat)


if __name__ == "__main__":
    main()
