"""Softened outputs: how much they say beyond the true class (Hinton, Vinyals & Dean 2015,
"Distilling the knowledge in a neural network", section 2)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kdspeech.io.errors import InputError


class SoftTargets(NamedTuple):
    """Softened outputs at a temperature, by true class; a class without samples is NaN.

    mean: (classes, classes), row c the mean distribution of the samples of class c.
    entropy: (classes,), the mean entropy of such a sample's distribution, in nats.
    off_target: (classes,), the mean mass on other classes than the true one, 0 to 1.
    counts: (classes,), samples.
    """

    temperature: float
    mean: np.ndarray
    entropy: np.ndarray
    off_target: np.ndarray
    counts: np.ndarray


def log_softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Natural-log posteriors of logits / temperature, float64 (n, classes).

    Natural-log posteriors may be given for logits: they differ by a constant of each sample.

    Raises:
      InputError: a temperature that is not above 0.
    """
    if not temperature > 0:
        raise InputError(f"temperature {temperature:g}: must be above 0")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))


def check_samples(logits: np.ndarray, labels: np.ndarray) -> None:
    """Refuses logits (or posteriors) and labels that do not belong together.

    Raises:
      InputError: not (n, classes) and (n,), no sample, labels outside the classes, values that are
        not finite.
    """
    shapes = f"logits {np.shape(logits)}, labels {np.shape(labels)}"
    if np.ndim(logits) != 2 or np.shape(labels) != np.shape(logits)[:1] or not len(labels):
        raise InputError(f"{shapes}: must be (samples, classes) and (samples,)")
    if np.min(labels) < 0 or np.max(labels) >= np.shape(logits)[1]:
        raise InputError(f"{shapes}: labels from {np.min(labels)} to {np.max(labels)}")
    if not np.isfinite(logits).all():
        raise InputError(f"{shapes}: NaN or infinite; the network diverged, train it again")


def soft_target_stats(
    logits: np.ndarray, labels: np.ndarray, temperatures: Sequence[float] = (1, 2, 4, 8, 20)
) -> list[SoftTargets]:
    """What softened outputs look like at each temperature.

    Args:
      logits: (n, classes).
      labels: (n,), the true classes.
      temperatures: above 0.

    Raises:
      InputError: see `check_samples` and `log_softmax`.
    """
    check_samples(logits, labels)
    return [_at(logits, np.asarray(labels), temperature) for temperature in temperatures]


def _at(logits: np.ndarray, labels: np.ndarray, temperature: float) -> SoftTargets:
    log_probs = log_softmax(logits, temperature)
    probs = np.exp(log_probs)
    classes = probs.shape[1]
    mean = class_means(probs, labels, classes)
    entropy = class_means(-(probs * log_probs).sum(axis=1), labels, classes)
    off_target = 1 - np.diagonal(mean)
    return SoftTargets(temperature, mean, entropy, off_target, np.bincount(labels, None, classes))


def class_means(values: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Means of values (n, ...) over the samples of each class, (classes, ...); NaN without any."""
    means = np.full((num_classes, *values.shape[1:]), np.nan)
    for label in np.unique(labels):
        means[label] = values[labels == label].mean(axis=0)
    return means


def off_target_correlation(first: SoftTargets, second: SoftTargets) -> float:
    """Whether two networks find the same classes alike: the correlation (Pearson) of their mean
    masses on other classes than the true one; NaN with fewer than three classes."""
    others = ~np.eye(len(first.mean), dtype=bool) & np.isfinite(first.mean)
    if len(first.mean) < 3:
        return float("nan")
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(first.mean[others], second.mean[others])[0, 1])


def over_samples(by_class: np.ndarray, counts: np.ndarray) -> float:
    """The mean over all samples of a value that is given by class, (classes,)."""
    return float(np.nansum(by_class * counts) / np.sum(counts))
