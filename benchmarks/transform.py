"""How fast Gaussian statistics and transforms are computed, beside the same in plain numpy.

    OMP_NUM_THREADS=1 python benchmarks/transform.py [--frames 3000] [--repeat 7]

The numpy columns are the usual way with BLAS: one product of [x, x^2] with all Gaussians, sums by
`reduceat`; statistics as products of the posteriors of each pdf with its frames. "a bare product"
is that sgemm alone, below which a way that computes log-likelihoods by it cannot be. Times are CPU
seconds of the calling thread per frame (or per transform); medians, the rows taking turns.
"""

import argparse
import time

import numpy as np

from kdspeech.features import FmllrStats, Gaussians, MlltStats, accumulate_gmms, log_likelihoods
from kdspeech.features.packed import symmetric


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


class NumpyGmms:
    """The statistics written with numpy, pdf by pdf."""

    def __init__(self, gmms: Gaussians):
        self.gmms = gmms
        self.packed = np.hstack([gmms.means_invvars, -0.5 * gmms.inv_vars]).T.copy()

    def log_likelihoods(self, x):
        scores = np.hstack([x, x * x]) @ self.packed + self.gmms.gconsts
        starts, sizes = self.gmms.offsets[:-1], np.diff(self.gmms.offsets)
        peak = np.maximum.reduceat(scores, starts, axis=1)
        scores = np.exp(scores - np.repeat(peak, sizes, axis=1))
        return peak + np.log(np.add.reduceat(scores, starts, axis=1))

    def posteriors(self, x, pdfs):
        """Of each pdf: its Gaussians, frames and posteriors (frames, Gaussians)."""
        order = np.argsort(pdfs, kind="stable")
        present, starts = np.unique(pdfs[order], return_index=True)
        for pdf, frames in zip(present, np.split(x[order], starts[1:]), strict=True):
            rows = slice(self.gmms.offsets[pdf], self.gmms.offsets[pdf + 1])
            scores = np.hstack([frames, frames * frames]) @ self.packed[:, rows]
            scores = np.exp(scores + self.gmms.gconsts[rows] - scores.max(axis=1, keepdims=True))
            yield rows, frames, scores / scores.sum(axis=1, keepdims=True)

    def mle(self, x, pdfs, occupancy, sums, squares):
        for rows, frames, shares in self.posteriors(x, pdfs):
            occupancy[rows] += shares.sum(axis=0)
            sums[rows] += shares.T @ frames
            squares[rows] += shares.T @ (frames * frames)

    def fmllr(self, x, pdfs, k, g):
        for rows, frames, shares in self.posteriors(x, pdfs):
            extended = np.hstack([frames, np.ones((len(frames), 1), np.float32)])
            k += (shares @ self.gmms.means_invvars[rows]).T @ extended
            outer = (extended[:, :, None] * extended[:, None, :]).reshape(len(frames), -1)
            g += ((shares @ self.gmms.inv_vars[rows]).T @ outer).reshape(g.shape)

    def mllt(self, x, pdfs, g):
        means = self.gmms.means_invvars / self.gmms.inv_vars
        for rows, frames, shares in self.posteriors(x, pdfs):
            for i, row in enumerate(range(rows.start, rows.stop)):
                y = frames - means[row]
                scatter = (y * shares[:, i, None]).T @ y
                g += self.gmms.inv_vars[row][:, None, None] * scatter


def numpy_fmllr(k, g, beta, num_iters=40):
    """Sweeps over the rows, each with an inverse of the square part."""
    dim, inverse = len(k), np.linalg.inv(g)
    w = np.eye(dim, dim + 1)
    for _ in range(num_iters):
        for i in range(dim):
            cofactors = np.append(np.linalg.inv(w[:, :-1])[:, i], 0)
            direction = inverse[i] @ cofactors
            e1, e2 = cofactors @ direction, direction @ k[i]
            roots = (-e2 + np.array([1, -1]) * np.sqrt(e2**2 + 4 * e1 * beta)) / (2 * e1)
            gains = beta * np.log(np.abs(roots * e1 + e2)) - 0.5 * roots**2 * e1
            w[i] = roots[gains.argmax()] * direction + inverse[i] @ k[i]
    return w


def numpy_mllt(g, beta, num_iters=200):
    dim, inverse = len(g), np.linalg.inv(g)
    m = np.eye(dim)
    for _ in range(num_iters):
        for i in range(dim):
            cofactors = np.linalg.inv(m)[:, i]
            direction = inverse[i] @ cofactors
            m[i] = direction * np.sqrt(beta / (cofactors @ direction))
    return m


def make_task(rng, num_pdfs: int, num_gaussians: int, frames: int, dim: int = 40):
    offsets = np.append(np.arange(num_pdfs) * num_gaussians // num_pdfs, num_gaussians)
    means = rng.normal(size=(num_gaussians, dim))
    weights = np.repeat(1 / np.diff(offsets), np.diff(offsets))
    gmms = Gaussians.of(offsets, weights, means, rng.uniform(0.5, 2, means.shape))
    pdfs = rng.integers(0, num_pdfs, frames)
    noise = rng.normal(size=(frames, dim)) / np.sqrt(gmms.inv_vars[offsets[pdfs]])
    return gmms, (means[offsets[pdfs]] + noise).astype(np.float32), pdfs.astype(np.int32)


def show(title: str, ours: float, peer: float, unit: str, scale: float) -> None:
    print(f"{title:44}{ours * scale:10.2f}{peer * scale:10.2f}  {unit:13}{peer / ours:6.1f}x")


def bench_frames(rng, num_pdfs: int, num_gaussians: int, frames: int, repeat: int) -> None:
    gmms, x, pdfs = make_task(rng, num_pdfs, num_gaussians, frames)
    numpy_gmms, (count, dim) = NumpyGmms(gmms), gmms.means_invvars.shape
    sums = np.zeros(count), np.zeros((count, dim)), np.zeros((count, dim))
    doubled, k, g = (
        np.hstack([x, x * x]),
        np.zeros((dim, dim + 1)),
        np.zeros((dim, dim + 1, dim + 1)),
    )
    fmllr, mllt = FmllrStats(dim), MlltStats(gmms)
    pairs = {
        "log-likelihoods of all pdfs": (
            lambda: log_likelihoods(x, gmms), lambda: numpy_gmms.log_likelihoods(x)),
        "log-likelihoods, a bare product as peer": (
            lambda: log_likelihoods(x, gmms), lambda: doubled @ numpy_gmms.packed),
        "statistics for MLE": (
            lambda: accumulate_gmms(x, pdfs, gmms, *sums), lambda: numpy_gmms.mle(x, pdfs, *sums)),
        "statistics for fMLLR": (
            lambda: fmllr.accumulate(x, pdfs, gmms), lambda: numpy_gmms.fmllr(x, pdfs, k, g)),
        "statistics for MLLT": (
            lambda: mllt.accumulate(x, pdfs), lambda: numpy_gmms.mllt(x, pdfs, g[:, :-1, :-1])),
    }  # fmt: skip
    print(f"\n{num_pdfs} pdfs, {num_gaussians} Gaussians, {dim} dimensions, {frames} frames")
    print(f"{'':44}{'kdspeech':>10}{'peer':>10}")
    for name, (ours, peer) in pairs.items():
        times = medians({"ours": ours, "peer": peer}, repeat)
        show(name, times["ours"], times["peer"], "us a frame", 1e6 / frames)


def bench_updates(rng, repeat: int) -> None:
    gmms, x, pdfs = make_task(rng, 100, 800, 5000)
    fmllr = FmllrStats(40).accumulate(x, pdfs, gmms)
    mllt = MlltStats(gmms).accumulate(x, pdfs)
    full_fmllr, full_mllt = symmetric(fmllr.g), symmetric(mllt.g())
    print("\nfrom statistics to the transform, 40 dimensions")
    pairs = {
        "fMLLR, 40 sweeps": (
            fmllr.estimate, lambda: numpy_fmllr(fmllr.k, full_fmllr, fmllr.count)),
        "MLLT, 200 sweeps": (
            mllt.estimate, lambda: numpy_mllt(full_mllt, mllt.count)),
    }  # fmt: skip
    for name, (ours, peer) in pairs.items():
        times = medians({"ours": ours, "peer": peer}, max(1, repeat // 3))
        show(name, times["ours"], times["peer"], "ms", 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=3000)
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    for num_pdfs, num_gaussians in ((152, 2004), (1000, 10000), (3000, 40000)):
        bench_frames(rng, num_pdfs, num_gaussians, args.frames, args.repeat)
    bench_updates(rng, args.repeat)


if __name__ == "__main__":
    main()
