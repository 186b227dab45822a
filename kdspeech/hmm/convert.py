"""Alignments of one model as alignments of another with the same phones (Kaldi's convert-ali)."""

import numpy as np

from kdspeech.hmm.topology import NO_PDF
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import DecisionTree
from kdspeech.io.errors import InputError


class AlignmentConverter:
    """Converts alignments; remembers the contexts it has seen.

    Args:
        old, new: the models.
        tree: the new model's tree.
    Raises:
        InputError: the models have different topologies.
    """

    def __init__(self, old: TransitionModel, new: TransitionModel, tree: DecisionTree):
        if any(old.topology.entry(p) != new.topology.entry(p) for p in np.unique(old.tuples[:, 0])):
            raise InputError("models of different topologies: alignments cannot be converted")
        self._old, self._new, self._tree = old, new, tree
        self._num_states = max(len(states) for states in new.topology.entries)
        self._seen: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, tids: np.ndarray, name: str = "alignment") -> np.ndarray:
        """The alignment with the new model's transition ids, int32 (frames,).

        Raises:
            InputError: the alignment is not one of whole phones of the old model; names it.
        """
        tids = self._old.checked(tids, name)
        if not len(tids):
            return tids
        ends, whole = self._old.phone_ends(tids)
        if not whole:
            raise InputError(f"{name}: is cut off inside a phone, or of another model")
        lengths = np.diff(ends, prepend=0)
        phones = self._old.tid_to_phone[tids[ends - 1]]
        firsts = np.stack([self._first_tids(window) for window in self._windows(phones)])
        place = np.repeat(np.arange(len(phones)), lengths)
        arcs = tids - self._old.first_tid[self._old.tid_to_state[tids]]
        return firsts[place, self._old.tid_to_hmm_state[tids]] + arcs.astype(np.int32)

    def _windows(self, phones: np.ndarray) -> list[tuple[int, ...]]:
        width, centre = self._tree.context_width, self._tree.central_position
        padded = np.pad(phones, (centre, width - 1 - centre))
        return list(map(tuple, np.lib.stride_tricks.sliding_window_view(padded, width).tolist()))

    def _first_tids(self, window: tuple[int, ...]) -> np.ndarray:
        """The first transition id of each HMM state of the phone in the window's middle."""
        if window not in self._seen:
            self._seen[window] = self._find_first_tids(window)
        return self._seen[window]

    def _find_first_tids(self, window: tuple[int, ...]) -> np.ndarray:
        phone = window[self._tree.central_position]
        firsts = np.zeros(self._num_states, dtype=np.int32)
        for number, state in enumerate(self._new.topology.entry(phone)):
            if state.pdf_class == NO_PDF:
                continue
            pdf = self._tree.compute(window, state.pdf_class)
            if pdf is None:
                raise InputError(f"the tree has no pdf for phones {' '.join(map(str, window))}")
            firsts[number] = self._new.first_tid[self._new.transition_state(phone, number, pdf)]
        return firsts
