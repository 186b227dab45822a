"""L: the lexicon as a transducer from phones to words, with optional silence between words."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from kdspeech.graph.lexicon import Pronunciation
from kdspeech.io.fst import ARC, Fst

_LOOP = 0
"""The state between words."""


def add_disambig(entries: Sequence[Pronunciation]) -> tuple[list[Pronunciation], int]:
    """Appends #1, #2, ... to pronunciations that others share or begin with.

    Returns:
        The entries and the largest number used, 0 for none.
    """
    count = Counter(entry.phones for entry in entries)
    prefixes = {entry.phones[:n] for entry in entries for n in range(1, len(entry.phones))}
    used: Counter = Counter()
    marked = []
    for entry in entries:
        if count[entry.phones] > 1 or entry.phones in prefixes:
            used[entry.phones] += 1
            symbol = f"#{used[entry.phones]}"
            entry = entry._replace(phones=(*entry.phones, symbol))
        marked.append(entry)
    return marked, max(used.values(), default=0)


def lexicon_fst(
    entries: Iterable[Pronunciation],
    phones: Mapping[str, int],
    words: Mapping[str, int],
    optional_silence: str,
    sil_prob: float = 0.5,
    sil_disambig: int = 0,
    loops: Sequence[tuple[int, int]] = (),
) -> Fst:
    """Makes L (Kaldi's make_lexicon_fst), its arcs sorted by word.

    Args:
        entries: pronunciations of phones in `phones`.
        phones, words: symbols.
        optional_silence: the phone that may stand before the first and after every word.
        sil_prob: its probability, less than 1; 0 for never.
        sil_disambig: phone-side symbol after optional silence, 0 for none.
        loops: (phone-side, word-side) symbols that may come between words: #0 for back-off arcs.
    """
    builder = _Builder(phones, words)
    start, ends = _LOOP, [(_LOOP, 0.0)]
    if sil_prob:
        start, ends = builder.add_silence(phones[optional_silence], sil_prob, sil_disambig)
    for entry in entries:
        builder.add_word(entry, ends)
    for phone, word in loops:
        builder.add_arc(_LOOP, phone, word, 0.0, _LOOP)
    return builder.finish(start)


class _Builder:
    def __init__(self, phones: Mapping[str, int], words: Mapping[str, int]):
        self._phones, self._words = phones, words
        self._num_states = _LOOP + 1
        self._sources: list[int] = []
        self._arcs: list[tuple] = []

    def add_arc(self, source: int, phone: int, word: int, cost: float, to: int) -> None:
        self._sources.append(source)
        self._arcs.append((phone, word, cost, to))

    def add_silence(self, phone: int, prob: float, disambig: int) -> tuple[int, list]:
        """Adds the optional silence; returns the start, and the states after words with costs."""
        start, silence = self._new_state(), self._new_state()
        ends = [(_LOOP, -math.log(1 - prob)), (silence, -math.log(prob))]
        for to, cost in ends:
            self.add_arc(start, 0, 0, cost, to)
        after = self._new_state() if disambig else _LOOP
        self.add_arc(silence, phone, 0, 0.0, after)
        if disambig:
            self.add_arc(after, disambig, 0, 0.0, _LOOP)
        return start, ends

    def add_word(self, entry: Pronunciation, ends: Sequence[tuple[int, float]]) -> None:
        """Adds a pronunciation; its last arc goes to each of the `ends`, at their cost."""
        *first, last = (self._phones[phone] for phone in entry.phones)
        state, word, cost = _LOOP, self._words[entry.word], -math.log(entry.prob)
        for phone in first:
            to = self._new_state()
            self.add_arc(state, phone, word, cost, to)
            state, word, cost = to, 0, 0.0
        for to, end_cost in ends:
            self.add_arc(state, last, word, cost + end_cost, to)

    def finish(self, start: int) -> Fst:
        arcs, sources = np.array(self._arcs, ARC), np.array(self._sources)
        order = np.lexsort((arcs["ilabel"], arcs["olabel"], sources))
        finals = np.full(self._num_states, np.inf, np.float32)
        finals[_LOOP] = 0
        return Fst.from_arcs(start, sources[order], arcs[order], finals)

    def _new_state(self) -> int:
        self._num_states += 1
        return self._num_states - 1
