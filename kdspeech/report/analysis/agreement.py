"""Two networks on the same samples: where they agree, how far apart their posteriors are, and what
one has right that the other has wrong."""

from typing import NamedTuple

import numpy as np

from kdspeech.io.errors import InputError
from kdspeech.report.accuracy import mcnemar_exact
from kdspeech.report.analysis.soft_targets import check_samples, log_softmax


class Agreement(NamedTuple):
    """Of every sample, (n,) each: the same answer or not; KL(first || second) in nats and its part
    about the true class against all others, `kl_target`. The rest is about which others."""

    same: np.ndarray
    kl: np.ndarray
    kl_target: np.ndarray


class Outcomes(NamedTuple):
    """Numbers of samples by what two networks answer."""

    both_right: int
    only_first: int
    only_second: int
    same_mistake: int
    other_mistakes: int


class Changes(NamedTuple):
    """Samples that were wrong and are right, `fixed`, and the reverse, `broken`: indices; and the
    p value of McNemar's exact test that both are as likely."""

    fixed: np.ndarray
    broken: np.ndarray
    mcnemar: float


def agreement(
    first: np.ndarray, second: np.ndarray, labels: np.ndarray, temperature: float = 1.0
) -> Agreement:
    """Agreement and divergence of two networks, sample by sample.

    KL splits into that of (p_t, 1 - p_t), and 1 - p_t times that over the other classes: the two
    terms of decoupled distillation (Zhao et al. 2022, "Decoupled knowledge distillation", eq. 5).

    Args:
      first, second: logits (n, classes); the first is the reference (the teacher).
      labels: (n,), the true classes.
      temperature: of both softmaxes.

    Raises:
      InputError: see `check_samples`; logits of different shapes.
    """
    _check_pair(first, second, labels)
    log_p, log_q = log_softmax(first, temperature), log_softmax(second, temperature)
    kl = _divergence(log_p, log_q)
    kl_target = _divergence(_target_or_not(log_p, labels), _target_or_not(log_q, labels))
    same = np.argmax(first, axis=1) == np.argmax(second, axis=1)
    return Agreement(same, kl, np.minimum(kl_target, kl))


def outcomes(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Outcomes:
    """How many samples two networks have right and wrong; logits as for `agreement`."""
    _check_pair(first, second, labels)
    a, b = np.argmax(first, axis=1), np.argmax(second, axis=1)
    right_a, right_b = a == labels, b == labels
    wrong = ~right_a & ~right_b
    cells = (right_a & right_b, right_a & ~right_b, ~right_a & right_b, wrong & (a == b),
             wrong & (a != b))  # fmt: skip
    return Outcomes(*(int(cell.sum()) for cell in cells))


def changes(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Changes:
    """What became right and wrong from one network to another; logits as for `agreement`."""
    _check_pair(before, after, labels)
    was, now = np.argmax(before, axis=1) == labels, np.argmax(after, axis=1) == labels
    fixed, broken = np.flatnonzero(~was & now), np.flatnonzero(was & ~now)
    return Changes(fixed, broken, mcnemar_exact(len(fixed), len(broken)))


def _check_pair(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> None:
    check_samples(first, labels)
    check_samples(second, labels)
    if np.shape(first) != np.shape(second):
        raise InputError(f"logits {np.shape(first)} and {np.shape(second)}: not of the same task")


def _divergence(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """KL(p || q) of each row, at least 0; what has no mass in p counts nothing."""
    p = np.exp(log_p)
    with np.errstate(invalid="ignore"):
        terms = np.where(p > 0, p * (log_p - log_q), 0.0)
    return np.maximum(terms.sum(axis=1), 0.0)


def _target_or_not(log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n, 2): log of the mass on the true class and of that on all others."""
    rows = np.arange(len(labels))
    others = log_probs.copy()
    others[rows, labels] = -np.inf
    return np.stack([log_probs[rows, labels], np.logaddexp.reduce(others, axis=1)], axis=1)
