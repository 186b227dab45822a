"""Calibration: whether a network is right as often as it says (Guo, Pleiss, Sun & Weinberger 2017,
"On calibration of modern neural networks")."""

from typing import NamedTuple

import numpy as np

from kdspeech.io.errors import InputError
from kdspeech.report.analysis.soft_targets import check_samples, log_softmax

BINS = 15  # of the paper
COLDEST, HOTTEST = 0.02, 50.0  # temperatures that `best_temperature` looks at


class Reliability(NamedTuple):
    """The reliability diagram: bins of equal width of the largest posterior, (bins,) each: how many
    samples, their mean largest posterior, and the share that is right; NaN in an empty bin."""

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


class Calibration(NamedTuple):
    """ECE and the largest gap of a bin as shares, NLL in nats, Brier score, best temperature."""

    ece: float
    mce: float
    nll: float
    brier: float
    temperature: float


def reliability(probs: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """Confidence and accuracy by bins ((m - 1) / bins, m / bins] (section 2).

    Args:
      probs: posteriors (n, classes), each row sums to 1.
      labels: (n,), the true classes.
      bins: how many, 1 or more.

    Raises:
      InputError: see `check_samples`; no bins; rows that are no distributions.
    """
    check_samples(probs, labels)
    if bins < 1:
        raise InputError(f"bins {bins}: must be 1 or more")
    if np.min(probs) < -1e-6 or np.abs(np.sum(probs, axis=1) - 1).max() > 1e-3:
        raise InputError("posteriors must be 0 or more and sum to 1 (logits? apply softmax first)")
    top = np.max(probs, axis=1).astype(np.float64)
    right = np.argmax(probs, axis=1) == labels
    number = np.clip(np.ceil(top * bins - 1e-9).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(number, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (np.bincount(number, x, bins) / counts for x in (top, right))
    return Reliability(counts, confidence, accuracy)


def expected_calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """ECE, eq. 3: the gap between accuracy and confidence over the bins, by their samples; 0 to 1.

    Arguments and errors as for `reliability`.
    """
    found = reliability(probs, labels, bins)
    gaps = np.abs(found.accuracy - found.confidence)
    return float(np.nansum(gaps * found.counts) / len(labels))


def maximum_calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """MCE, eq. 5: the largest gap of a bin. Of few samples a bin's gap is mostly chance."""
    found = reliability(probs, labels, bins)
    return float(np.nanmax(np.abs(found.accuracy - found.confidence)))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray, temperature=1.0) -> float:
    """The mean of -log p(true class), in nats; logits (n, classes)."""
    check_samples(logits, labels)
    return float(-log_softmax(logits, temperature)[np.arange(len(labels)), labels].mean())


def brier_score(probs: np.ndarray, labels: np.ndarray) -> float:
    """The mean over samples of sum_k (p_k - y_k)^2, 0 to 2 (Brier 1950)."""
    check_samples(probs, labels)
    errors = np.array(probs, dtype=np.float64)
    errors[np.arange(len(labels)), labels] -= 1
    return float((errors**2).sum(axis=1).mean())


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of the least NLL (section 4.2), within `COLDEST` and `HOTTEST`.

    Of logits z, the NLL is convex in b = 1 / T and its slope the mean of E_p[z] - z_y: bisected.
    """
    check_samples(logits, labels)
    z = np.asarray(logits, dtype=np.float64)
    own = z[np.arange(len(labels)), labels].mean()
    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    for _ in range(60):
        middle = (low + high) / 2
        probs = np.exp(log_softmax(z, np.exp(-middle)))
        if (probs * z).sum(axis=1).mean() > own:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def calibration(
    logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0, bins: int = BINS
) -> Calibration:
    """All measures of logits / temperature; `temperature` of the result is the best one here."""
    log_probs = log_softmax(logits, temperature)
    probs = np.exp(log_probs)
    return Calibration(
        expected_calibration_error(probs, labels, bins),
        maximum_calibration_error(probs, labels, bins),
        negative_log_likelihood(log_probs, labels),
        brier_score(probs, labels),
        best_temperature(logits, labels),
    )
