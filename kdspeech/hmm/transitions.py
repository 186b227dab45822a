"""The transition model: transition ids, what each of them is, and their probabilities."""

import os
from functools import cached_property

import numpy as np

from kdspeech.hmm.topology import NO_PDF, HmmTopology
from kdspeech.hmm.tree import DecisionTree
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter


class TransitionModel:
    """Kaldi's TransitionModel.

    A transition state is a (phone, HMM state, pdf of its forward arcs, pdf of its self-loop);
    they are numbered from 1. Each arc of each of them has a transition id, from 1 too. All tables
    have one entry per transition id and an unused one at index 0.

    Args:
        topology: the HMMs of the phones.
        tuples: int32 (states, 4), sorted: phone, HMM state, forward pdf, self-loop pdf.
        log_probs: float32 (transition ids + 1,); None takes the topology's probabilities.
        name: what to call it in messages.

    Attributes:
        tid_to_pdf: int32; -1 at index 0.
        tid_to_phone: int32; 0 at index 0.
        tid_to_hmm_state: int32; -1 at index 0.
        tid_to_state: int32, transition state; 0 at index 0.
        is_self_loop, is_final: bool; a final transition leaves the phone.
        log_probs: float32, natural log; 0 at index 0.
        first_tid: int32 (states + 2,): transition state s has the ids first_tid[s] up to
            first_tid[s + 1]; index 0 is unused.
        num_pdfs, num_tids, num_states: counts, without the unused entries.
    """

    def __init__(
        self,
        topology: HmmTopology,
        tuples: np.ndarray,
        log_probs: np.ndarray | None = None,
        name: str = "transition model",
    ):
        self.topology = topology
        self.tuples = np.ascontiguousarray(tuples, dtype=np.int32).reshape(-1, 4)
        self.num_states = len(self.tuples)
        self._check_tuples(name)
        self._make_tables()
        if log_probs is None:
            with np.errstate(divide="ignore"):
                log_probs = np.log(self._initial_probs())
            log_probs[0] = 0.0
        self.log_probs = np.array(log_probs, dtype=np.float32)
        self._check_log_probs(name)

    @classmethod
    def from_tree(cls, tree: DecisionTree, topology: HmmTopology) -> "TransitionModel":
        """The model of a tree with the topology's probabilities (Kaldi's init).

        Raises:
            InputError: the tree knows no pdf for a phone of the topology.
        """
        if not topology.is_hmm():
            raise InputError("a topology whose self-loops have their own classes is for reading")
        tuples = []
        for phone in topology.phones:
            pdfs = [tree.pdfs_of(phone, c) for c in range(topology.num_pdf_classes(phone))]
            for number, state in enumerate(topology.entry(phone)):
                if state.pdf_class == NO_PDF:
                    continue
                if not pdfs[state.pdf_class]:
                    raise InputError(f"the tree has no pdf for phone {phone} (is it of this lang?)")
                tuples += [(phone, number, pdf, pdf) for pdf in pdfs[state.pdf_class]]
        return cls(topology, np.array(sorted(tuples)))

    def _check_tuples(self, name: str) -> None:
        if not self.num_states:
            raise InputError(f"{name}: a transition model without states")
        if self.tuples.min() < 0:
            raise InputError(f"{name}: a transition state with a negative phone, state or pdf")
        if len({tuple(row) for row in self.tuples.tolist()}) < self.num_states:
            raise InputError(f"{name}: the same transition state twice")
        for phone, number in np.unique(self.tuples[:, :2], axis=0).tolist():
            if phone not in self.topology.phone_entry:
                raise InputError(f"{name}: phone {phone} has no topology")
            if number >= len(self.topology.entry(phone)):
                raise InputError(f"{name}: phone {phone} has no state {number}")

    def _check_log_probs(self, name: str) -> None:
        if self.log_probs.shape != (self.num_tids + 1,):
            raise InputError(
                f"{name}: {len(self.log_probs) - 1} transition probabilities for "
                f"{self.num_tids} transition ids"
            )
        if not np.all(self.log_probs <= 1e-4) or not np.all(np.isfinite(self.log_probs)):
            raise InputError(f"{name}: transition probabilities that are no probabilities")

    def _make_tables(self) -> None:
        phones, hmm_states, forward, self_loop = self.tuples.T
        arcs = [self.topology.entry(p)[s].transitions for p, s in self.tuples[:, :2].tolist()]
        finals = [len(self.topology.entry(p)) - 1 for p in phones.tolist()]
        sizes = np.array([len(a) for a in arcs])
        self.first_tid = np.concatenate([[0, 1], 1 + np.cumsum(sizes)]).astype(np.int32)
        self.num_tids = int(sizes.sum())
        state = np.repeat(np.arange(self.num_states), sizes)
        targets = np.array([target for a in arcs for target, _ in a])
        self.is_self_loop = _shifted(targets == hmm_states[state], False)
        self.is_final = _shifted(targets == np.array(finals)[state], False)
        pdfs = np.where(self.is_self_loop[1:], self_loop[state], forward[state])
        self.tid_to_pdf = _shifted(pdfs, -1)
        self.tid_to_phone = _shifted(phones[state], 0)
        self.tid_to_hmm_state = _shifted(hmm_states[state], -1)
        self.tid_to_state = _shifted((state + 1).astype(np.int32), 0)
        self.num_pdfs = int(max(forward.max(), self_loop.max())) + 1

    def _initial_probs(self) -> np.ndarray:
        probs = [
            probability
            for phone, number in self.tuples[:, :2].tolist()
            for _, probability in self.topology.entry(phone)[number].transitions
        ]
        return _shifted(np.array(probs, dtype=np.float32), 1.0)

    @cached_property
    def _state_ids(self) -> dict[tuple[int, int, int, int], int]:
        return {tuple(row): i for i, row in enumerate(self.tuples.tolist(), 1)}

    def transition_state(
        self, phone: int, hmm_state: int, forward_pdf: int, self_loop_pdf: int | None = None
    ) -> int:
        """The number of a transition state; InputError when the model has no such state."""
        key = (
            phone,
            hmm_state,
            forward_pdf,
            forward_pdf if self_loop_pdf is None else self_loop_pdf,
        )
        try:
            return self._state_ids[key]
        except KeyError:
            raise InputError(
                f"the model has no transition state for phone {phone}, state {hmm_state}, "
                f"pdf {forward_pdf} (are model and tree of one system?)"
            ) from None

    def tid(self, state: int, arc: int) -> int:
        """The transition id of a transition state's arc, counted from 0 as in the topology."""
        return int(self.first_tid[state]) + arc

    @cached_property
    def self_loop_of(self) -> np.ndarray:
        """Transition id of each transition state's self-loop, int32 (states + 1,); 0: none."""
        table = np.zeros(self.num_states + 1, dtype=np.int32)
        tids = np.flatnonzero(self.is_self_loop)
        table[self.tid_to_state[tids]] = tids
        return table

    @property
    def forward_log_probs(self) -> np.ndarray:
        """Log of all forward probability of each transition state, float32 (states + 1,)."""
        loops = self.self_loop_of
        stay = np.where(loops > 0, np.exp(self.log_probs[loops].astype(np.float64)), 0.0)
        return np.log(np.maximum(1.0 - stay, 1e-10)).astype(np.float32)

    def phones_of(self, tids: np.ndarray) -> np.ndarray:
        """The phone of each frame, int32 (frames,)."""
        return self.tid_to_phone[self.checked(tids)]

    def pdfs_of(self, tids: np.ndarray) -> np.ndarray:
        """The pdf of each frame, int32 (frames,)."""
        return self.tid_to_pdf[self.checked(tids)]

    def checked(self, tids: np.ndarray, name: str = "alignment") -> np.ndarray:
        """The transition ids as an int32 array; InputError when one is not of this model."""
        tids = np.asarray(tids, dtype=np.int32)
        if len(tids) and not 0 < tids.min() <= tids.max() <= self.num_tids:
            wrong = tids.max() if tids.min() > 0 else tids.min()
            raise InputError(
                f"{name}: transition id {wrong} is not in 1..{self.num_tids} "
                "(the alignment is of another model)"
            )
        return tids

    def split_to_phones(self, tids: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Cuts an alignment into its phones: a list of (phone, its transition ids).

        Works for both places of the self-loop, before the forward transition and after it
        (Kaldi's "reordered" graphs). A phone that is cut off at the end is kept.
        """
        tids = self.checked(tids)
        if not len(tids):
            return []
        pieces = np.split(tids, self.phone_ends(tids)[0][:-1])
        return [(int(self.tid_to_phone[piece[0]]), piece) for piece in pieces]

    def is_reordered(self, tids: np.ndarray) -> bool:
        """Whether self-loops come after the forward transition of their state."""
        states, loops = self.tid_to_state[tids], self.is_self_loop[tids]
        change = np.flatnonzero((states[1:] != states[:-1]) & (loops[1:] | loops[:-1]))
        if len(change):
            return bool(loops[change[0]])
        return bool(len(tids) and loops[-1] and not loops[0])

    def phone_ends(self, tids: np.ndarray) -> tuple[np.ndarray, bool]:
        """The frame after each phone's last, int (phones,), and whether all phones are whole."""
        final, places = self.is_final[tids], np.arange(len(tids))
        if self.is_reordered(tids):
            loops = self.is_self_loop[tids]
            last_forward = np.maximum.accumulate(np.where(loops, -1, places))
            final = final[last_forward] & (last_forward >= 0)
            final[:-1] &= ~loops[1:]
        phones = self.tid_to_phone[tids]
        ends = final | np.append(phones[1:] != phones[:-1], True)
        firsts = tids[np.flatnonzero(np.append(True, ends[:-1]))]
        whole = np.array_equal(ends, final) and not self.tid_to_hmm_state[firsts].any()
        return np.flatnonzero(ends) + 1, whole

    def update_mle(
        self, counts: np.ndarray, floor: float = 0.01, min_count: float = 5.0
    ) -> tuple["TransitionModel", float]:
        """Maximum likelihood probabilities (Kaldi's MleUpdate).

        Args:
            counts: (num_tids + 1,), frames of each transition id.
            floor: smallest probability.
            min_count: transition states with fewer frames keep their probabilities.
        Returns:
            The new model, and by how much it raises the log-likelihood of the counts.
        """
        starts, sizes = self.first_tid[1:-1] - 1, np.diff(self.first_tid[1:])
        counts = np.asarray(counts, dtype=np.float64)[1:]
        totals = np.add.reduceat(counts, starts)
        updated = np.repeat((totals >= min_count) & (sizes > 1), sizes)
        probs = counts / np.repeat(np.maximum(totals, 1e-300), sizes)
        for _ in range(3):
            sums = np.maximum(np.add.reduceat(probs, starts), 1e-300)
            probs = np.maximum(probs / np.repeat(sums, sizes), floor)
        new = np.where(updated, np.log(probs), self.log_probs[1:]).astype(np.float32)
        gain = float(np.sum(counts * (new.astype(np.float64) - self.log_probs[1:])))
        return TransitionModel(self.topology, self.tuples, _shifted(new, 0.0)), gain

    @classmethod
    def read(cls, path: str | os.PathLike) -> "TransitionModel":
        """Reads the first object of a model such as final.mdl."""
        return cls.read_from(KaldiReader.open(path))

    @classmethod
    def read_from(cls, reader: KaldiReader) -> "TransitionModel":
        """Reads the object where the reader stands; InputError names the file and the place."""
        reader.expect("<TransitionModel>")
        topology = HmmTopology.read_from(reader)
        kind = reader.expect("<Triples>", "<Tuples>")
        tuples = _read_tuples(reader, 3 if kind == "<Triples>" else 4)
        reader.expect(kind.replace("<", "</"))
        reader.expect("<LogProbs>")
        log_probs = reader.vector()
        reader.expect("</LogProbs>")
        reader.expect("</TransitionModel>")
        return cls(topology, tuples, log_probs, reader.name)

    def write_to(self, writer: KaldiWriter) -> None:
        """Adds the object to a file."""
        writer.token("<TransitionModel>")
        writer.line_end()
        self.topology.write_to(writer)
        name, columns = ("Triples", 3) if self.topology.is_hmm() else ("Tuples", 4)
        writer.token(f"<{name}>")
        writer.integer(self.num_states)
        writer.line_end()
        for row in self.tuples[:, :columns].tolist():
            for value in row:
                writer.integer(value)
            writer.line_end()
        writer.token(f"</{name}>")
        writer.line_end()
        writer.token("<LogProbs>")
        writer.line_end()
        writer.vector(self.log_probs)
        for word in ("</LogProbs>", "</TransitionModel>"):
            writer.token(word)
            writer.line_end()


def _read_tuples(reader: KaldiReader, columns: int) -> np.ndarray:
    count = reader.integer()
    if not 0 <= count * columns <= len(reader.data):
        raise reader.fail(f"{count} transition states are promised, the file is too short")
    rows = np.array([[reader.integer() for _ in range(columns)] for _ in range(count)])
    return np.column_stack([rows, rows[:, 2]]) if columns == 3 and count else rows


def _shifted(values: np.ndarray, first) -> np.ndarray:
    """The values from index 1 on, with `first` at index 0."""
    return np.concatenate([np.array([first], dtype=values.dtype), values])
