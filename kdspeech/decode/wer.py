"""Word error rates: substitutions, deletions and insertions, intervals, speakers, comparisons."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import kaldialign
import numpy as np

from kdspeech.io.errors import InputError

REPLICATIONS = 10_000
"""Bootstrap replications, as of Kaldi's compute-wer-bootci."""

Transcripts = Mapping[str, str | Sequence[str]]
Normalise = Callable[[list[str]], list[str]]


@dataclass(frozen=True)
class Errors:
    """Counts of words, sentences and errors of some utterances; rates are in %."""

    sentences: int
    words: int
    sub: int
    ins: int
    deleted: int
    wrong_sentences: int

    @property
    def errors(self) -> int:
        return self.sub + self.ins + self.deleted

    @property
    def wer(self) -> float:
        """Errors in % of the reference's words; infinite for errors where it has none."""
        return _percent(self.errors, self.words)

    @property
    def ser(self) -> float:
        return _percent(self.wrong_sentences, self.sentences)

    def __str__(self) -> str:
        """As Kaldi's compute-wer says it."""
        return (
            f"%WER {self.wer:.2f} [ {self.errors} / {self.words}, {self.ins} ins, "
            f"{self.deleted} del, {self.sub} sub ]"
        )


def _percent(part: int, whole: int) -> float:
    if whole:
        return 100.0 * part / whole
    return float("inf") if part else 0.0


@dataclass(frozen=True)
class WerScore:
    """Hypotheses against references, utterance by utterance.

    Attributes:
        utterances: those of the reference, sorted.
        refs, hyps: their words, after normalisation.
        counts: int64 (utterances, 3): substitutions, insertions, deletions.
        missing: utterances without a hypothesis; their words count as deleted.
        unexpected: hypotheses without a reference; they are left out.
    """

    utterances: list[str]
    refs: list[list[str]]
    hyps: list[list[str]]
    counts: np.ndarray
    missing: list[str]
    unexpected: list[str]

    @property
    def references(self) -> dict[str, list[str]]:
        return dict(zip(self.utterances, self.refs, strict=True))

    @property
    def hypotheses(self) -> dict[str, list[str]]:
        """Hypotheses by utterance, without those that are missing."""
        missing = set(self.missing)
        pairs = zip(self.utterances, self.hyps, strict=True)
        return {utterance: words for utterance, words in pairs if utterance not in missing}

    @cached_property
    def total(self) -> Errors:
        return self.errors(range(len(self.utterances)))

    @property
    def wer(self) -> float:
        """The word error rate in %."""
        return self.total.wer

    def errors(self, rows: Iterable[int]) -> Errors:
        """The errors of some utterances, by their places."""
        rows = list(rows)
        sub, ins, deleted = (int(n) for n in self.counts[rows].sum(axis=0))
        wrong = int(np.count_nonzero(self.counts[rows].any(axis=1)))
        return Errors(len(rows), sum(len(self.refs[i]) for i in rows), sub, ins, deleted, wrong)

    def interval(self, replications: int = REPLICATIONS) -> tuple[float, float]:
        """95 % of the WER in %, by bootstrap over utterances (Bisani & Ney 2004)."""
        found = kaldialign.bootstrap_wer_ci(self.refs, self.hyps, replications=replications)
        return 100 * max(found["ci95min"], 0.0), 100 * found["ci95max"]

    def p_better(self, other: "WerScore", replications: int = REPLICATIONS) -> float:
        """The share of replications in which this system has fewer errors than `other`.

        Raises:
            InputError: the two were scored against different references; names an utterance.
        """
        self.check_references(other)
        found = kaldialign.bootstrap_wer_ci(
            self.refs, other.hyps, self.hyps, replications=replications
        )
        return found["p_s2_improv_over_s1"]

    def check_references(self, other: "WerScore") -> None:
        """Raises InputError where two systems were scored on different references."""
        mine, theirs = self.references, other.references
        for utterance in sorted(mine.keys() | theirs.keys()):
            if mine.get(utterance) != theirs.get(utterance):
                raise InputError(f"{utterance}: the systems were scored on different references")

    def per_speaker(self, utt2spk: Mapping[str, str]) -> dict[str, Errors]:
        """Errors by speaker, sorted. Raises InputError for an utterance without one."""
        rows: dict[str, list[int]] = {}
        for i, utterance in enumerate(self.utterances):
            if utterance not in utt2spk:
                raise InputError(f"{utterance}: is not in utt2spk")
            rows.setdefault(utt2spk[utterance], []).append(i)
        return {speaker: self.errors(rows[speaker]) for speaker in sorted(rows)}

    def alignment(self, row: int) -> list[tuple[str, str]]:
        """(reference, hypothesis) word by word, "" where one of them has none."""
        return kaldialign.align(self.refs[row], self.hyps[row], "")


def score_wer(
    references: Transcripts, hypotheses: Transcripts, normalise: Normalise | None = None
) -> WerScore:
    """Aligns hypotheses with references at the least number of errors.

    Args:
        references: words by utterance, as text or as lists; may be empty.
        hypotheses: the same; see `WerScore` for utterances that are on one side only.
        normalise: changes the words of both before they are compared (`drop_words`).
    Raises:
        InputError: the two have no utterance in common, or the reference has no word at all.
    """
    if not references.keys() & hypotheses.keys():
        raise InputError("references and hypotheses have no utterance in common")
    utterances = sorted(references)
    refs = [_words(references[utterance], normalise) for utterance in utterances]
    hyps = [_words(hypotheses.get(utterance, ""), normalise) for utterance in utterances]
    if not any(refs):
        raise InputError("there is no word in the references")
    return WerScore(
        utterances,
        refs,
        hyps,
        np.array([_count(*pair) for pair in zip(refs, hyps, strict=True)]),
        missing=sorted(references.keys() - hypotheses.keys()),
        unexpected=sorted(hypotheses.keys() - references.keys()),
    )


def drop_words(words: Iterable[str]) -> Normalise:
    """For `score_wer`: takes these words out, as Kaldi's wer_hyp_filter does with fillers."""
    dropped = frozenset(words)
    return lambda sentence: [word for word in sentence if word not in dropped]


def _words(sentence: str | Sequence[str], normalise: Normalise | None) -> list[str]:
    words = sentence.split() if isinstance(sentence, str) else list(sentence)
    return normalise(words) if normalise else words


def _count(ref: list[str], hyp: list[str]) -> tuple[int, int, int]:
    if ref == hyp:
        return 0, 0, 0
    found = kaldialign.edit_distance(ref, hyp)
    return found["sub"], found["ins"], found["del"]
