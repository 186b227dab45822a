"""Back-off n-gram language models as sorted arrays: probabilities, perplexity, ARPA in and out."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kdspeech.graph.text import BOS, EOS, UNK, Lines, token_stream, windows
from kdspeech.io.errors import InputError

UNKNOWN = (UNK, "<UNK>")
"""What an unknown word is called: by LM tools, and by Kaldi's recipes."""

LOG_ZERO = -99.0
"""What stands for the logarithm of zero in ARPA files."""


def log10(probs: np.ndarray) -> np.ndarray:
    """Logarithms as in ARPA files, LOG_ZERO for 0."""
    return np.log10(np.maximum(probs, 10.0**LOG_ZERO))


@dataclass
class Table:
    """All n-grams of one order, sorted by key = context * V + last word.

    `context` is the index of the first n - 1 words in the table of order n - 1 (0 for 1-grams), V
    the number of words. Probabilities and backoffs are log10, as in an ARPA file.
    """

    keys: np.ndarray  # int64
    log_probs: np.ndarray  # float64
    backoffs: np.ndarray  # float64, 0 where a context has none

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: np.ndarray) -> "Table":
        """The table of these rows (indices or a mask), which must keep the order of the keys."""
        return Table(self.keys[rows], self.log_probs[rows], self.backoffs[rows])


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text; words outside the vocabulary are kept apart.

    Tokens are the words and one </s> per sentence. `log_prob` (natural log) and `perplexity`
    leave unknown words out; `perplexity_with_oovs` counts each as the model's <unk>, and is
    infinite where the model has none.
    """

    sentences: int
    words: int
    oovs: int
    log_prob: float
    log_prob_oovs: float

    @property
    def tokens(self) -> int:
        """Predicted tokens that the model knows: words without unknown ones, and </s>."""
        return self.words - self.oovs + self.sentences

    @property
    def perplexity(self) -> float:
        return _exp(-self.log_prob / self.tokens) if self.tokens else math.nan

    @property
    def perplexity_with_oovs(self) -> float:
        total = self.tokens + self.oovs
        return _exp(-(self.log_prob + self.log_prob_oovs) / total) if total else math.nan


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


class NgramLM:
    """A back-off n-gram model of any order.

    Attributes:
        words: the vocabulary; a word's id is its place. <s> is among them, never predicted.
        tables: one `Table` per order. Every context of an n-gram is itself in the table below;
            an n-gram's ending need not be (pruned models).
    """

    def __init__(self, words: Sequence[str], tables: list[Table]):
        self.words = list(words)
        self.ids = {word: i for i, word in enumerate(self.words)}
        self.tables = tables
        for symbol in (BOS, EOS):
            if symbol not in self.ids:
                raise InputError(f"the language model has no 1-gram {symbol}")
        self.bos, self.eos = self.ids[BOS], self.ids[EOS]
        self.unk = next((self.ids[name] for name in UNKNOWN if name in self.ids), -1)

    @classmethod
    def estimate(
        cls,
        lines: Lines,
        order: int = 3,
        words: Iterable[str] | None = None,
    ) -> "NgramLM":
        """Interpolated modified Kneser-Ney of sentences, see `kneser_ney.estimate`."""
        from kdspeech.graph.kneser_ney import estimate

        return estimate(lines, order, words)

    @classmethod
    def read_arpa(cls, path: str | os.PathLike) -> "NgramLM":
        """Reads an ARPA file (.gz too), see `arpa.read_arpa`."""
        from kdspeech.graph.arpa import read_arpa

        return read_arpa(path)

    def write_arpa(self, path: str | os.PathLike) -> None:
        """Writes an ARPA file, compressed where `path` ends in .gz."""
        from kdspeech.graph.arpa import write_arpa

        write_arpa(self, path)

    def prune(self, threshold: float) -> "NgramLM":
        """A smaller model by entropy pruning, see `ngram_change.prune`."""
        from kdspeech.graph.ngram_change import prune

        return prune(self, threshold)

    def interpolate(self, other: "NgramLM", weight: float) -> "NgramLM":
        """weight * self + (1 - weight) * other as one model, see `ngram_change.interpolate`."""
        from kdspeech.graph.ngram_change import interpolate

        return interpolate(self, other, weight)

    def best_weight(self, other: "NgramLM", lines: Lines) -> float:
        """The weight for `interpolate` that suits a text, see `ngram_change.best_weight`."""
        from kdspeech.graph.ngram_change import best_weight

        return best_weight(self, other, lines)

    @property
    def order(self) -> int:
        return len(self.tables)

    def expand(self, order: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Word ids of n-grams of one order, int64 (rows, order); of all by default."""
        rows = np.arange(len(self.tables[order - 1])) if rows is None else rows
        columns = []
        for table in reversed(self.tables[:order]):
            rows, word = np.divmod(table.keys[rows], len(self.words))
            columns.append(word)
        return np.stack(columns[::-1], axis=1)

    def find(self, ngrams: np.ndarray) -> np.ndarray:
        """Rows of n-grams (ids, (n, order)) in their order's table, -1 where they are not there."""
        rows = np.zeros(len(ngrams), dtype=np.int64)
        for order, words in enumerate(ngrams.T, 1):
            rows = self._lookup(order, rows, words)
        return rows

    def _lookup(self, order: int, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        keys = self.tables[order - 1].keys
        wanted = contexts * len(self.words) + words
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        if not len(keys):
            return np.full(len(wanted), -1)
        return np.where((contexts >= 0) & (words >= 0) & (keys[place] == wanted), place, -1)

    def score(self, ngrams: np.ndarray) -> np.ndarray:
        """log10 P(last word | the words before), with backing off.

        Args:
            ngrams: word ids, (n, 1 to order); -1 for no word, as before <s>.
        Returns:
            float64 (n,); NaN where the last word is -1.
        """
        length = ngrams.shape[1]
        scores = np.zeros(len(ngrams))
        todo = np.arange(len(ngrams))
        for start in range(length):
            words = ngrams[todo, start:]
            contexts = self.find(words[:, :-1])
            found = self._lookup(length - start, contexts, words[:, -1])
            hit = found >= 0
            scores[todo[hit]] += self.tables[length - start - 1].log_probs[found[hit]]
            if start + 1 < length:
                scores[todo] += np.where(hit, 0, self._backoffs(length - start - 1, contexts))
            todo = todo[~hit]
        scores[todo] = math.nan
        return scores

    def _backoffs(self, order: int, rows: np.ndarray) -> np.ndarray:
        backoffs = self.tables[order - 1].backoffs
        return np.where(rows >= 0, backoffs[rows], 0.0) if len(backoffs) else np.zeros(len(rows))

    def log_prob(self, sentence: str | Sequence[str]) -> float:
        """Natural log probability of a sentence with its </s>.

        Unknown words count as the model's <unk>; without one the result is -inf.
        """
        scores, _ = self.token_log_probs([sentence])
        return float(scores.sum())

    def token_log_probs(self, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
        """Natural log probability of every word and </s> of a text, one sentence a line.

        Returns:
            float64 (tokens,), -inf for an unknown word where the model has no <unk>; bool
            (tokens,), which tokens are unknown words.
        Raises:
            InputError: <s> or </s> among the words.
        """
        stream = token_stream(lines, lambda word: self.ids.get(word, self.unk), self.bos, self.eos)
        ngrams = windows(stream, self.bos, self.order)
        scores = self.score(ngrams) * math.log(10)
        return np.where(np.isnan(scores), -math.inf, scores), ngrams[:, -1] == self.unk

    def perplexity(self, lines: Lines) -> Perplexity:
        """Perplexity of a text, one sentence a line; raises as `token_log_probs`."""
        lines = list(lines)
        scores, unknown = self.token_log_probs(lines)
        return Perplexity(
            sentences=len(lines),
            words=len(scores) - len(lines),
            oovs=int(unknown.sum()),
            log_prob=float(scores[~unknown].sum()),
            log_prob_oovs=float(scores[unknown].sum()),
        )
