"""Word error rates over seeds, and two systems beside each other, by bootstrap.

As for accuracies (kdspeech.report.accuracy): every seed of every system hears the same utterances,
so both are resampled. Two systems are compared on the same resampled utterances and on the seeds
that both have, resampled together. Where there are none, all seeds of each are, for each by itself.
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
        paired: of the same seeds, which are resampled together.
    Raises:
        InputError: the two were scored on different references.
    """
    a[0].check_references(b[0])
    difference = wer_replicates(a, 0) - wer_replicates(b, 0 if paired else 1)
    return float((difference < -_TIE).mean() + 0.5 * (np.abs(difference) <= _TIE).mean())


_TIE = 1e-4  # in %: replicates are sums in float32


@dataclass(frozen=True)
class Comparison:
    """Two systems on a split: `change` of the WER from b to a in % of b's, and P(a better).

    `paired`: both WERs are over the same seeds, seed k of a beside seed k of b.
    """

    a: SeededWer
    b: SeededWer
    change: float
    p_better: float
    paired: bool


def common_seeds(experiment: AsrExperiment, a: str, b: str, split: str) -> set[int] | None:
    """The seeds on which two systems are compared: those that both have.

    None, all of each, where there are none, or where one is a Gaussian system: it has no seed.
    """
    if {a, b} & set(experiment.gaussian_systems):
        return None
    return set(experiment.seeds(a, split)) & set(experiment.seeds(b, split)) or None


def compare(experiment: AsrExperiment, a: str, b: str, split: str) -> Comparison | None:
    """Compares system a with b on their common seeds; None where one was not scored.

    Raises:
        InputError: scoring files are gone, or the two were scored on different references.
    """
    only = common_seeds(experiment, a, b, split)
    found = [over_seeds(experiment, system, split, only) for system in (a, b)]
    if None in found:
        return None
    scores = [read_scores(experiment, system, split, only) for system in (a, b)]
    change = 100 * (found[0].value / found[1].value - 1) if found[1].value else float("nan")
    return Comparison(*found, change, p_better(*scores, only is not None), only is not None)
