"""Lattices: what the search leaves, and everything that is made of them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from kdspeech import _core
from kdspeech.decode.grammar import Grammar
from kdspeech.decode.posteriors import ACOUSTIC_SCALE, Posteriors, lattice_posteriors
from kdspeech.hmm import TransitionModel
from kdspeech.io.errors import InputError

_CORE = _core.decode


class MbrResult(NamedTuple):
    """A word sequence with confidences, and the alternatives to its words.

    Attributes:
        words: int32 ids.
        confidences: float32, the posterior of each word at its place.
        begins, ends: float64, averaged times of each word in frames; the words' own where the
            lattice is word-aligned.
        bayes_risk: expected edit distance between the words and what the lattice says.
        sausage: for each place (before, at and after each word) the words that may be there, as
            (id, posterior) with the most probable first and 0 for no word, and its (begin, end).
    """

    words: np.ndarray
    confidences: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    bayes_risk: float
    sausage: list[tuple[list[tuple[int, float]], tuple[float, float]]]


class Lattice:
    """An acyclic automaton of words with graph and acoustic costs; read-only.

    A state-level lattice (Kaldi's Lattice) has a transition id, or none, on every arc; a compact
    one (Kaldi's CompactLattice) a string of them, and one with every final cost. Costs are
    negative natural logs; acoustic costs carry no acoustic scale. State 0 is the start, states are
    sorted topologically. Methods that take scales compare paths by
    `lm_scale * graph_cost + acoustic_scale * acoustic_cost`.

    Args:
        core: the core's lattice (`Lattice.from_arrays` makes one).
    """

    def __init__(self, core: "_CORE.Lattice"):
        self.core = core

    @classmethod
    def from_arrays(cls, offsets, arcs, finals, final_strings=None, string_offsets=None, tids=None):
        """Makes a lattice of numpy arrays, without a copy where they have the right types.

        Args:
            offsets: int32 (num_states + 1,): the arcs of state s are arcs[offsets[s]:offsets[s+1]].
            arcs: (num_arcs,) of fields (ilabel, olabel, nextstate, graph_cost, acoustic_cost):
                transition id (or number of a string), word, state, and two float32.
            finals: (num_states,) of (graph_cost, acoustic_cost); infinite where not final.
            final_strings, string_offsets, tids: int32, compact lattices only: number of the string
                of each final cost; string i is tids[string_offsets[i]:string_offsets[i+1]], and
                string 0 is empty.
        Raises:
            InputError: the arrays make no lattice.
        """
        strings = (final_strings, string_offsets, tids)
        return cls(
            _CORE.Lattice(
                np.ascontiguousarray(offsets, dtype=np.int32),
                np.ascontiguousarray(arcs, dtype=_CORE.ARC_DTYPE),
                np.ascontiguousarray(finals, dtype=_CORE.COST_DTYPE),
                *(None if x is None else np.ascontiguousarray(x, dtype=np.int32) for x in strings),
            )
        )

    def __reduce__(self):
        core = self.core
        strings = (core.final_strings, core.string_offsets, core.tids)
        return Lattice.from_arrays, (core.offsets, core.arcs, core.finals, *strings)

    def __repr__(self) -> str:
        kind = "compact" if self.is_compact else "state-level"
        return f"<{kind} Lattice: {self.num_states} states, {self.num_arcs} arcs>"

    @property
    def num_states(self) -> int:
        return len(self.core.finals)

    @property
    def num_arcs(self) -> int:
        return len(self.core.arcs)

    @property
    def is_compact(self) -> bool:
        return self.core.tids is not None

    @property
    def offsets(self) -> np.ndarray:
        return self.core.offsets

    @property
    def arcs(self) -> np.ndarray:
        return self.core.arcs

    @property
    def finals(self) -> np.ndarray:
        return self.core.finals

    def string(self, number: int) -> np.ndarray:
        """The transition ids, int32, of a compact lattice's string: that of an arc's ilabel."""
        begin, end = self.core.string_offsets[number : number + 2]
        return self.core.tids[begin:end]

    def state_times(self) -> np.ndarray:
        """The frame of each state, int32 (num_states,).

        Raises:
            InputError: two paths to a state have different lengths.
        """
        return _CORE.lattice_state_times(self.core)

    @property
    def num_frames(self) -> int:
        """The number of frames, of the longest path if they differ."""
        return _CORE.lattice_num_frames(self.core)

    def best_path(
        self,
        acoustic_scale: float = ACOUSTIC_SCALE,
        lm_scale: float = 1.0,
        word_ins_penalty: float = 0.0,
    ) -> "_CORE.LatticePath":
        """The path of the lowest cost, `word_ins_penalty` being added for each word.

        Returns:
            Its words, tids (int32 arrays), graph_cost and acoustic_cost (unscaled, without the
            penalty), and for each word the frames [begins, ends) of its arc, which are the word's
            own where the lattice is word-aligned.
        Raises:
            InputError: the lattice is empty.
        """
        paths = self.nbest(1, acoustic_scale, lm_scale, word_ins_penalty)
        if not paths:
            raise InputError("lattice: empty, it has no path")
        return paths[0]

    def nbest(
        self,
        n: int,
        acoustic_scale: float = ACOUSTIC_SCALE,
        lm_scale: float = 1.0,
        word_ins_penalty: float = 0.0,
    ) -> list["_CORE.LatticePath"]:
        """The n best paths, as from `best_path`, the best first; fewer where there are no more.

        Paths of a determinized lattice differ in their words, those of a state-level one may
        differ in their alignments alone.
        """
        scales = _CORE.LatticeScales(acoustic_scale, lm_scale, word_ins_penalty)
        return _CORE.lattice_nbest(self.core, scales, n)

    def prune(
        self, beam: float, acoustic_scale: float = ACOUSTIC_SCALE, lm_scale: float = 1.0
    ) -> "Lattice":
        """The lattice without what is on no path within `beam` of the best (lattice-prune)."""
        scales = _CORE.LatticeScales(acoustic_scale, lm_scale)
        return Lattice(_CORE.lattice_prune(self.core, scales, beam))

    def determinize(
        self,
        transitions: TransitionModel,
        beam: float = 10.0,
        acoustic_scale: float = ACOUSTIC_SCALE,
        max_mem: int = 50_000_000,
        phone_determinize: bool = True,
    ) -> "Lattice":
        """The compact lattice with, for each word sequence within the beam, its best path.

        Kaldi's determinize-lattice-phone-pruned: first on words and phones, then on words.

        Args:
            transitions: tells which transition ids begin a phone.
            beam: word sequences worse than the best by more are left out.
            max_mem: bytes; where they do not suffice, a smaller beam is in force.
            phone_determinize: False determinizes on words at once: slower, the same in the end.
        Raises:
            InputError: a transition id that the model does not have.
        """
        starts = phone_starts(transitions)
        lattice = self.to_state_level()
        if lattice.num_arcs and lattice.arcs["ilabel"].max() >= len(starts):
            raise InputError("lattice: has transition ids that the model lacks (another model's?)")
        core, _ = _CORE.lattice_determinize(
            lattice.core, starts, acoustic_scale, beam, max_mem, phone_determinize
        )
        return Lattice(core)

    def posteriors(
        self, acoustic_scale: float = ACOUSTIC_SCALE, lm_scale: float = 1.0
    ) -> Posteriors:
        """The posterior of each transition id in each frame (lattice-to-post).

        Raises:
            InputError: the lattice is empty.
        """
        return lattice_posteriors([self], acoustic_scale=acoustic_scale, lm_scale=lm_scale)[0]

    def arc_posteriors(
        self, acoustic_scale: float = ACOUSTIC_SCALE, lm_scale: float = 1.0
    ) -> np.ndarray:
        """The posterior of each arc, float64 (num_arcs,)."""
        scales = _CORE.LatticeScales(acoustic_scale, lm_scale)
        return _CORE.lattice_arc_posteriors(self.core, scales)

    def mbr(
        self,
        acoustic_scale: float = ACOUSTIC_SCALE,
        lm_scale: float = 1.0,
        decode_mbr: bool = True,
    ) -> MbrResult:
        """The words of the lowest expected edit distance, with confidences (lattice-mbr-decode).

        Args:
            decode_mbr: False keeps the best path's words, for their confidences and times.
        Source: Xu, Povey, Mangu and Zhu, Computer Speech and Language 25 (2011), figures 4 to 6.
        """
        scales = _CORE.LatticeScales(acoustic_scale, lm_scale)
        return MbrResult(*_CORE.lattice_mbr(self.core, scales, decode_mbr))

    def confidences(
        self, acoustic_scale: float = ACOUSTIC_SCALE, lm_scale: float = 1.0
    ) -> np.ndarray:
        """The posterior of each word of the best path, float32 (words,)."""
        return self.mbr(acoustic_scale, lm_scale, decode_mbr=False).confidences

    def word_align(
        self,
        transitions: TransitionModel,
        word_boundary: Mapping[int, str],
        reorder: bool = True,
    ) -> "Lattice":
        """The same paths, cut into arcs at the ends of words and silences (lattice-align-words).

        Times of words (`best_path`, `mbr`) are exact then. Silences have arcs without a word. Of a
        path that was cut off at its end, the rest makes an arc too.

        Args:
            transitions: tells where phones end.
            word_boundary: "nonword", "begin", "end", "internal" or "singleton" of each phone:
                Lang.word_boundary, of a lang with position-dependent phones.
            reorder: self-loops come after the transition out of their state, as they do in
                graphs made with Kaldi's default.
        Raises:
            InputError: a transition id or a phone that these do not know.
        """
        positions = ["?"] * (max(word_boundary, default=-1) + 1)
        for phone, kind in word_boundary.items():
            positions[phone] = kind[0]
        core = _CORE.lattice_align_words(
            self.to_compact().core,
            transitions.tid_to_phone,
            transitions.is_final,
            transitions.is_self_loop,
            "".join(positions),
            reorder,
        )
        return Lattice(core)

    def rescore_lm(
        self, old: Grammar | None, new: Grammar | None, lm_scale: float = 1.0
    ) -> "Lattice":
        """The same lattice with the graph costs of another language model.

        For each word sequence `old`'s cost is subtracted and `new`'s added, both times lm_scale,
        backing off exactly (lattice-lmrescore, twice). Either may be None. States become as many
        as there are different histories.

        Raises:
            InputError: no path without words that the models lack.
        """
        terms = [(old, -lm_scale), (new, lm_scale)]
        used = [(grammar.core, scale) for grammar, scale in terms if grammar is not None]
        return Lattice(_CORE.rescore_lattice_lm(self.core, used))

    def rescore_acoustic(self, loglikes: np.ndarray, transitions: TransitionModel) -> "Lattice":
        """The same lattice with acoustic costs from other scores.

        Args:
            loglikes: float32 (frames, pdfs), natural log, unscaled.
            transitions: tells the pdf of each transition id.
        Raises:
            InputError: the numbers of frames differ, or a pdf is missing.
        """
        costs = _CORE.score_lattice_acoustics(self.core, transitions.tid_to_pdf, loglikes)
        arcs, finals = self.arcs.copy(), self.finals.copy()
        arcs["acoustic_cost"] = costs[0]
        is_final = np.isfinite(finals["graph_cost"])
        finals["acoustic_cost"][is_final] = costs[1][is_final]
        return self._with(arcs, finals)

    def _with(self, arcs: np.ndarray, finals: np.ndarray) -> "Lattice":
        core = self.core
        strings = (core.final_strings, core.string_offsets, core.tids)
        return Lattice(_CORE.Lattice(core.offsets, arcs, finals, *strings))

    def to_state_level(self) -> "Lattice":
        """The same lattice with at most one transition id on each arc."""
        return Lattice(_CORE.lattice_to_state_level(self.core)) if self.is_compact else self

    def to_compact(self) -> "Lattice":
        """The same lattice as a compact one, its states and arcs as they are."""
        return self if self.is_compact else Lattice(_CORE.lattice_to_compact(self.core))


def phone_starts(transitions: TransitionModel) -> np.ndarray:
    """For each transition id the phone that begins with it, or 0; int32."""
    begins = (transitions.tid_to_hmm_state == 0) & ~transitions.is_self_loop
    return np.where(begins, transitions.tid_to_phone, 0).astype(np.int32)
