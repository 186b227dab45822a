"""The graphs that training utterances are aligned to (Kaldi's compile-train-graphs)."""

from collections.abc import Sequence
from itertools import groupby

import kaldifst
import numpy as np

from kdspeech.graph.hmms import HmmMaker, phones_to_tids
from kdspeech.graph.lang import Lang
from kdspeech.graph.self_loops import add_self_loops
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import DecisionTree
from kdspeech.io.errors import InputError
from kdspeech.io.fst import ARC, Fst


class TrainingGraphs:
    """Makes training graphs: transition ids in, the words of the transcript out.

    Args:
        lang: with the lexicon.
        tree, transitions: of the model to align with.
        transition_scale: of log probabilities between states.
        self_loop_scale: of those of self-loops.
    Raises:
        InputError: lang, tree and model do not fit each other; the lexicon is damaged.
    """

    def __init__(
        self,
        lang: Lang,
        tree: DecisionTree,
        transitions: TransitionModel,
        transition_scale: float = 1.0,
        self_loop_scale: float = 0.1,
    ):
        self._lexicon = _Lexicon(lang)
        self._hmms = HmmMaker(lang, tree, transitions, transition_scale)
        self._transitions, self._scale = transitions, self_loop_scale

    def __call__(self, word_ids: Sequence[int]) -> Fst:
        """The graph of a transcript.

        Args:
            word_ids: its words, as Lang.word_ids gives them. Where there are none the graph holds
                the optional silence alone.
        Raises:
            InputError: a word that the lexicon has no pronunciation of; no words, and a lexicon
                without optional silence.
        """
        phones = self._lexicon.accept(word_ids).to_kaldifst()
        graph = phones_to_tids(phones, self._hmms).to_kaldifst()
        kaldifst.determinize_star(graph, use_log=True)
        kaldifst.minimize_encoded(graph)
        return add_self_loops(Fst.from_kaldifst(graph), self._transitions, self._scale)


class _Lexicon:
    """L.fst, its arcs found by state and word."""

    def __init__(self, lang: Lang):
        self._path, fst = lang.L, Fst.read(lang.L)
        self._words = {number: word for word, number in lang.words.items()}
        self._start, self._finals = fst.start, fst.finals
        rows = zip(fst.sources.tolist(), fst.arcs.tolist(), strict=True)
        rows = sorted((source, word, phone, cost, to) for source, (phone, word, cost, to) in rows)
        groups = groupby(rows, key=lambda row: row[:2])
        self._arcs = {key: [row[2:] for row in group] for key, group in groups}

    def accept(self, word_ids: Sequence[int]) -> Fst:
        """The pronunciations of a sequence of words: phones in, words out."""
        words = [*map(int, word_ids), -1]
        number, queue = {(self._start, 0): 0}, [(self._start, 0)]
        sources, arcs, finals = [], [], []
        for state, done in queue:
            ends = words[done] == -1
            finals.append(self._finals[state] if ends else np.inf)
            for word, after in ((0, done), (words[done], done + 1)):
                for phone, cost, to in self._arcs.get((state, word), ()):
                    key = (to, after)
                    if key not in number:
                        number[key] = len(number)
                        queue.append(key)
                    sources.append(number[state, done])
                    arcs.append((phone, word, cost, number[key]))
        self._check(words, max(done for _, done in queue), arcs)
        return Fst.from_arcs(0, np.array(sources), np.array(arcs, ARC), finals)

    def _check(self, words: list[int], done: int, arcs: list[tuple]) -> None:
        if words[done] != -1:
            word = self._words.get(words[done], words[done])
            raise InputError(f"{self._path}: has no pronunciation of the word {word}")
        if not any(phone for phone, *_ in arcs):
            raise InputError(f"a transcript without words, and {self._path} without silence")
