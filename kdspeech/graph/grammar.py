"""G.fst: a back-off language model as an acceptor of words, the machine Kaldi's arpa2fst makes.

A state is a history, an arc a word with -log P(word | history), and every history has an arc to
the longest shorter one with -log of its backoff. With a disambiguation symbol (#0) that arc reads
#0, which keeps L o G determinizable, and <s>, </s> become the start and final weights; without
one it reads epsilon, and <s>, </s> are words.
"""

import math
import os
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from kdspeech.graph.ngram import NgramLM
from kdspeech.graph.symbols import DISAMBIG, EPSILON, read_symbols
from kdspeech.graph.text import BOS, EOS, UNK
from kdspeech.io.errors import InputError
from kdspeech.io.fst import ARC, Fst

_ARC = np.dtype([("from", "i4"), ("to", "i4"), ("word", "i4"), ("label", "i4"), ("cost", "f4")])
"""Word is the model's id, label what the arc reads."""
_NO_WORD = -1  # of an arc that comes from no n-gram

Words = str | os.PathLike | Mapping[str, int]


def arpa_to_fst(
    arpa: str | os.PathLike | NgramLM, words: Words, disambig: str = DISAMBIG
) -> "kaldifst.StdVectorFst":  # noqa: F821  imported where it is needed
    """Makes G from a language model; its arcs are sorted by input label.

    N-grams with a word that `words` lacks are left out, and a warning counts and names them.

    Args:
        arpa: an ARPA file or a model.
        words: words.txt, or a mapping from words to ids.
        disambig: the symbol on backoff arcs, "" for none.
    Raises:
        InputError: bad files, a symbol that is needed or forbidden, no word in common.
    """
    lm = arpa if isinstance(arpa, NgramLM) else NgramLM.read_arpa(arpa)
    symbols = words if isinstance(words, Mapping) else read_symbols(words)
    complaint = skipped_words(lm, symbols)
    if complaint:
        warnings.warn(complaint, stacklevel=2)
    return make_grammar(lm, symbols, disambig).to_kaldifst()


def one_word_grammar(choice: Sequence[str], words: Words) -> Fst:
    """Makes G for utterances of one word, each of `choice` as likely as the others.

    Args:
        choice: the words.
        words: words.txt, or a mapping from words to ids.
    Raises:
        InputError: no words, or one that `words` lacks.
    """
    symbols = words if isinstance(words, Mapping) else read_symbols(words)
    missing = [word for word in choice if word not in symbols]
    if missing or not choice:
        raise InputError(f"words.txt has no {missing[0]}" if missing else "no words to choose from")
    labels = np.unique([symbols[word] for word in choice])
    arcs = np.zeros(len(labels), ARC)
    arcs["ilabel"] = arcs["olabel"] = labels
    arcs["cost"], arcs["next"] = math.log(len(labels)), 1
    return Fst.from_arcs(0, np.zeros(len(labels)), arcs, [np.inf, 0.0])


def skipped_words(lm: NgramLM, symbols: Mapping[str, int], most: int = 20) -> str:
    """Says which words of a model `symbols` lacks and how many n-grams go with them, or "".

    <unk>, which LM tools add to every model, is left out without a word.
    """
    special = {BOS, EOS, UNK}
    names = [word for word in lm.words if word not in symbols and word not in special]
    if not names:
        return ""
    count = sum(int(np.count_nonzero(~kept)) for kept in _kept(lm, _labels(lm, symbols)))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (
        f"{len(names)} words of the language model are not among the words of the graph, their "
        f"{count} n-grams are left out: {' '.join(names[:most])}{more}"
    )


def make_grammar(lm: NgramLM, symbols: Mapping[str, int], disambig: str = DISAMBIG) -> Fst:
    """Makes G as `arpa_to_fst`, without a word about the words that are left out."""
    _check_symbols(lm, symbols, disambig)
    labels = _labels(lm, symbols)
    histories, end = _number_states(lm, _kept(lm, labels))
    words = [_word_arcs(lm, labels, histories, end, n) for n in range(1, lm.order + 1)]
    arcs = np.concatenate(words)
    start = arcs["to"][arcs["word"] == lm.bos][0]
    arcs = arcs[arcs["word"] != lm.bos]
    backoff = symbols[disambig] if disambig else 0
    backoffs = [_backoff_arcs(lm, histories, backoff, n) for n in range(1, lm.order)]
    arcs = np.concatenate([arcs, *backoffs])
    if disambig:
        arcs = _skip_empty(arcs, start)
        last = arcs["to"] == end
        return _to_fst(arcs[~last], start, arcs["from"][last], arcs["cost"][last])
    first = np.array([(end + 1, start, lm.bos, labels[lm.bos], 0.0)], _ARC)
    return _to_fst(np.concatenate([arcs, first]), end + 1, np.array([end]), np.zeros(1))


def _check_symbols(lm: NgramLM, symbols: Mapping[str, int], disambig: str) -> None:
    needed = [disambig] if disambig else [BOS, EOS]
    for name in needed:
        if name not in symbols:
            raise InputError(f"words.txt has no {name}, which the grammar needs")
    for name in filter(None, (EPSILON, disambig)):
        if name in lm.ids:
            raise InputError(f"the language model has the word {name}, which is no word")
    if symbols.keys() & lm.ids.keys() <= {BOS, EOS}:
        raise InputError("the language model and words.txt have no word in common")


def _labels(lm: NgramLM, symbols: Mapping[str, int]) -> np.ndarray:
    """Every word's label in the graph; 0 for what is no word there, -1 is left out."""
    names = {BOS: symbols.get(BOS, 0), EOS: symbols.get(EOS, 0)}
    return np.array([symbols.get(word, names.get(word, -1)) for word in lm.words])


def _kept(lm: NgramLM, labels: np.ndarray) -> list[np.ndarray]:
    """For every order a mask of the n-grams whose words are all in the graph."""
    kept = [labels >= 0]
    for table in lm.tables[1:]:
        contexts, words = np.divmod(table.keys, len(labels))
        kept.append(kept[-1][contexts] & kept[0][words])
    return kept


def _number_states(lm: NgramLM, kept: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """States of the histories of every length, by row of their table (-1: none), and of </s>.

    State 0 is the empty history. The longest n-grams and those that end in </s> are no histories.
    """
    histories, count = [np.zeros(1, dtype=np.int64)], 1
    for table, use in zip(lm.tables[:-1], kept, strict=False):
        use = use & (table.keys % len(lm.words) != lm.eos)
        states = np.where(use, count + np.cumsum(use) - 1, -1)
        histories.append(states)
        count += int(use.sum())
    return histories, count


def _shorter(lm: NgramLM, histories: list[np.ndarray], ngrams: np.ndarray) -> np.ndarray:
    """States of the longest histories that n-grams (ids, (n, order)) end in, but themselves."""
    states = np.full(len(ngrams), -1)
    for start in range(1, ngrams.shape[1] + 1):
        todo = np.flatnonzero(states < 0)
        rows = lm.find(ngrams[todo, start:])
        states[todo] = np.where(rows >= 0, histories[ngrams.shape[1] - start][rows], -1)
    return states


def _word_arcs(lm: NgramLM, labels, histories: list[np.ndarray], end: int, n: int) -> np.ndarray:
    """The arcs of all n-grams of one order that are kept; those of </s> lead to `end`."""
    contexts, words = np.divmod(lm.tables[n - 1].keys, len(lm.words))
    kept = (histories[n - 1][contexts] >= 0) & (labels[words] >= 0)
    arcs = np.zeros(np.count_nonzero(kept), _ARC)
    arcs["word"] = words[kept]
    arcs["from"] = histories[n - 1][contexts[kept]]
    arcs["label"] = labels[words[kept]]
    arcs["cost"] = -math.log(10) * lm.tables[n - 1].log_probs[kept]
    rows = np.flatnonzero(kept)
    own = n < lm.order
    arcs["to"] = histories[n][rows] if own else _shorter(lm, histories, lm.expand(n, rows))
    arcs["to"][arcs["word"] == lm.eos] = end
    return arcs


def _backoff_arcs(lm: NgramLM, histories: list[np.ndarray], label: int, n: int) -> np.ndarray:
    rows = np.flatnonzero(histories[n] >= 0)
    arcs = np.zeros(len(rows), _ARC)
    arcs["word"] = _NO_WORD
    arcs["from"] = histories[n][rows]
    arcs["label"] = label
    arcs["cost"] = -math.log(10) * lm.tables[n - 1].backoffs[rows]
    arcs["to"] = _shorter(lm, histories, lm.expand(n, rows))
    return arcs


def _skip_empty(arcs: np.ndarray, start: int) -> np.ndarray:
    """Leads arcs into a history with nothing but its backoff straight to where that leads."""
    size = int(max(arcs["from"].max(), arcs["to"].max())) + 1
    backoffs = arcs[arcs["word"] == _NO_WORD]
    empty = np.bincount(arcs["from"], minlength=size) == 1
    target, extra = np.arange(size), np.zeros(size)
    for arc in backoffs[empty[backoffs["from"]] & (backoffs["from"] != start)]:
        target[arc["from"]] = target[arc["to"]]  # shorter histories come first
        extra[arc["from"]] = arc["cost"] + extra[arc["to"]]
    arcs = arcs[target[arcs["from"]] == arcs["from"]]
    arcs["cost"] += extra[arcs["to"]]
    arcs["to"] = target[arcs["to"]]
    return arcs


def _to_fst(arcs: np.ndarray, start: int, ends: np.ndarray, end_costs: np.ndarray) -> Fst:
    """The machine with its states numbered anew, without those that no arc touches."""
    touched = np.concatenate([arcs["from"], arcs["to"], [start]])
    numbers = np.cumsum(np.bincount(touched) > 0) - 1
    sources = numbers[arcs["from"]]
    order = np.lexsort((arcs["label"], sources))
    out = np.zeros(len(arcs), ARC)
    out["ilabel"], out["cost"], out["next"] = arcs["label"], arcs["cost"], numbers[arcs["to"]]
    out["olabel"] = np.where(arcs["word"] == _NO_WORD, 0, arcs["label"])
    finals = np.full(numbers[-1] + 1, np.inf, np.float32)
    finals[numbers[ends]] = end_costs
    return Fst.from_arcs(int(numbers[start]), sources[order], out[order], finals)
