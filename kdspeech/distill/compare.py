"""Two systems on the same clips: is one worse by more than so much?"""

from typing import NamedTuple

import numpy as np

REPLICATES = 10_000


class Gap(NamedTuple):
    """Accuracy of A minus B in points, its 95 % interval, and the share of replicates above the
    margin that was asked about (ties count one half)."""

    value: float
    low: float
    high: float
    above: float


def paired_gap(a: np.ndarray, b: np.ndarray, margin: float = 0.0, seed: int = 0) -> Gap:
    """Paired bootstrap over clips (Efron & Tibshirani 1993, section 16.4, on differences).

    Args:
      a, b: (seeds, clips) bool, whether each clip was right; the same clips, the same seeds.
      margin: in points.
      seed: of the replicates.

    Returns:
      The gap; the interval is over clips, for the seeds that were run.
    """
    differences = a.mean(0) - b.mean(0)
    # A replicate draws clips; all that counts of them is how often each difference comes.
    values, counts = np.unique(differences, return_counts=True)
    total = len(differences)
    draws = np.random.default_rng(seed).multinomial(total, counts / total, size=REPLICATES)
    gaps = 100 * (draws @ values) / total
    low, high = np.percentile(gaps, [2.5, 97.5])
    above = np.mean(gaps > margin + 1e-9) + 0.5 * np.mean(np.abs(gaps - margin) <= 1e-9)
    return Gap(float(100 * differences.mean()), float(low), float(high), float(above))
