"""Word error rates over seeds, and two systems beside each other, by bootstrap.

As for accuracies (kdspeech.report.accuracy): every seed of every system hears the same utterances,
so both are resampled. Two systems are compared on the same resampled utterances; seeds, of which
they may have different numbers, are resampled for each, or together where they belong together.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from kdspeech.decode.score import read_score
from kdspeech.decode.wer import WerScore
from kdspeech.report.accuracy import REPLICATES, seed_weights, utterance_replicates
from kdspeech.report.asr import AsrExperiment
from kdspeech.report.wer import WerRow


@dataclass(frozen=True)
class SeededWer:
    """WER in % of a system on a split: the mean over its seeds with its 95 % interval.

    `per_seed` has each seed's; the interval of one seed counts the utterances alone.
    """

    value: float
    low: float
    high: float
    per_seed: tuple[float, ...]


def over_seeds(
    experiment: AsrExperiment, system: str, split: str, only: Collection[int] | None = None
) -> SeededWer | None:
    """The WER of a system; None where it was not scored.

    Args:
        experiment, system, split: whose.
        only: the seeds to look at; all if not given.
    Raises:
        InputError: scoring files of one of several seeds are gone.
    """
    rows = _rows(experiment, system, split, only)
    if not rows:
        return None
    if len(rows) == 1:
        return SeededWer(rows[0].value, rows[0].low, rows[0].high, (rows[0].value,))
    replicates = wer_replicates(read_scores(experiment, system, split, only))
    low, high = np.percentile(replicates, [2.5, 97.5])
    per_seed = tuple(row.value for row in rows)
    return SeededWer(float(np.mean(per_seed)), float(low), float(high), per_seed)


def read_scores(
    experiment: AsrExperiment, system: str, split: str, only: Collection[int] | None = None
) -> list[WerScore]:
    """What each seed heard at its setting, from the scoring files. Arguments as `over_seeds`.

    Raises:
        InputError: they are gone or damaged.
    """
    rows = _rows(experiment, system, split, only)
    return [read_score(experiment.folder(row.system, split)) for row in rows]


def _rows(experiment, system, split, only) -> list[WerRow]:
    found = experiment.seeds(system, split)
    return [row for seed, row in found.items() if only is None or seed in only]


def wer_replicates(scores: list[WerScore], seed: int = 0) -> np.ndarray:
    """WER in % of resampled utterances and seeds, (replicates,).

    Args:
        scores: of each seed of a system.
        seed: of the draws of seeds; those of utterances are always the same.
    Raises:
        InputError: seeds that were scored on different references.
    """
    for score in scores[1:]:
        scores[0].check_references(score)
    words = [len(ref) for ref in scores[0].refs]
    counts = np.array([*(score.counts.sum(axis=1) for score in scores), words])
    drawn = utterance_replicates(counts, REPLICATES).astype(float)
    return 100 * (drawn[:-1] * seed_weights(len(scores), REPLICATES, seed)).sum(0) / drawn[-1]


def p_better(a: list[WerScore], b: list[WerScore], paired: bool = False) -> float:
    """The share of replicates in which system a has the lower WER; a tie counts one half.

    Args:
        a, b: of each seed.
        paired: seed k of a belongs to seed k of b.
    Raises:
        InputError: the two were scored on different references.
    """
    a[0].check_references(b[0])
    difference = wer_replicates(a, 0) - wer_replicates(b, 0 if paired else 1)
    return float((difference < -_TIE).mean() + 0.5 * (np.abs(difference) <= _TIE).mean())


_TIE = 1e-4  # in %: replicates are sums in float32


@dataclass(frozen=True)
class Comparison:
    """Two systems on a split: `change` of the WER from b to a in % of b's, and P(a better)."""

    a: SeededWer
    b: SeededWer
    change: float
    p_better: float


def compare(
    experiment: AsrExperiment, a: str, b: str, split: str, paired: bool = False
) -> Comparison | None:
    """Compares system a with b; None where one was not scored.

    Args:
        experiment, a, b, split: what to compare.
        paired: seed k of a was made of seed k of b; the seeds that both have are compared.
    Raises:
        InputError: scoring files are gone, or the two were scored on different references.
    """
    only = None
    if paired:
        only = experiment.seeds(a, split).keys() & experiment.seeds(b, split).keys()
    found = [over_seeds(experiment, system, split, only) for system in (a, b)]
    if None in found:
        return None
    scores = [read_scores(experiment, system, split, only) for system in (a, b)]
    change = 100 * (found[0].value / found[1].value - 1) if found[1].value else float("nan")
    return Comparison(*found, change, p_better(*scores, paired))
