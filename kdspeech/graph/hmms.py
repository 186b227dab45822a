"""C and H: from phones to phones in context, from these to transition ids.

Kaldi composes with a transducer H; here every arc is replaced by the HMM of its phone in context,
which comes to the same. Self-loops are left out until the graph is minimal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import kaldifst
import numpy as np

from kdspeech.graph.lang import Lang
from kdspeech.hmm.topology import NO_PDF
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import DecisionTree
from kdspeech.io.errors import InputError
from kdspeech.io.fst import ARC, Fst, join_arcs

EXIT = -1
"""In an HMM's arcs: the state after the phone."""


@dataclass(frozen=True)
class Hmm:
    """An HMM without self-loops as pieces of a graph.

    The first and the last state are those before and after the phone; the others are numbered
    from 0.

    Attributes:
        num_states: count of these states.
        entry: ARC: the arcs into the HMM.
        sources, inner: the other arcs and the states they leave; `next` may be EXIT.
    """

    num_states: int
    entry: np.ndarray
    sources: np.ndarray
    inner: np.ndarray


class HmmMaker:
    """Makes the HMMs of phones in context.

    Args:
        lang: its phones are the model's.
        tree, transitions: the model.
        transition_scale: of the transitions' log probabilities, self-loops apart.
    Raises:
        InputError: lang, tree and model do not fit each other.
    """

    def __init__(
        self,
        lang: Lang,
        tree: DecisionTree,
        transitions: TransitionModel,
        transition_scale: float = 1.0,
    ):
        _check_fit(lang, tree, transitions)
        self.tree, self.num_tids = tree, transitions.num_tids
        self._transitions = transitions
        self._scale = transition_scale
        forward = transitions.forward_log_probs[transitions.tid_to_state]
        self._costs = -transition_scale * (transitions.log_probs - forward)
        self._by_window: dict[tuple[int, ...], Hmm] = {}
        self._by_pdfs: dict[tuple, Hmm] = {}

    def hmm(self, window: Sequence[int]) -> Hmm:
        """The HMM of the phone in the middle of a window of phones, 0 for none.

        Raises:
            InputError: the model does not know the phone.
        """
        window = tuple(window)
        if window not in self._by_window:
            phone = window[self.tree.central_position]
            pdfs = tuple(self._pdfs(window, phone))
            if (phone, pdfs) not in self._by_pdfs:
                self._by_pdfs[phone, pdfs] = self._make(phone, pdfs)
            self._by_window[window] = self._by_pdfs[phone, pdfs]
        return self._by_window[window]

    def _pdfs(self, window: tuple[int, ...], phone: int):
        for pdf_class in range(self._transitions.topology.num_pdf_classes(phone)):
            pdf = self.tree.compute(window, pdf_class)
            if pdf is None:
                raise InputError(
                    f"the tree has no pdf for phone {phone} in {window} (is it of this lang?)"
                )
            yield pdf

    def _make(self, phone: int, pdfs: tuple[int, ...]) -> Hmm:
        states = self._transitions.topology.entry(phone)
        rows = [row for number in range(len(states)) for row in self._arcs(phone, number, pdfs)]
        if any(to == 0 for _, _, _, to in rows):  # then the first state is one of the phone's own
            rows = [(-1, 0, 0.0, 0), *rows]
        last, own = len(states) - 1, min(to for _, _, _, to in rows)
        number = {state: state - own for state in range(-1, last)} | {last: EXIT}
        table = np.array([(tid, 0, cost, number[to]) for _, tid, cost, to in rows], ARC)
        sources = np.array([number[source] for source, *_ in rows])
        entry = sources < 0
        return Hmm(last - own, table[entry], sources[~entry], table[~entry])

    def _arcs(self, phone: int, number: int, pdfs: tuple[int, ...]):
        """(state, transition id, cost, next state) of one state's arcs, without its self-loop."""
        state = self._transitions.topology.entry(phone)[number]
        for arc, (to, prob) in enumerate(state.transitions):
            if state.pdf_class == NO_PDF:
                yield number, 0, -self._scale * np.log(prob), to
            elif to != number:
                pdf, loop_pdf = pdfs[state.pdf_class], pdfs[state.self_loop_pdf_class]
                transition_state = self._transitions.transition_state(phone, number, pdf, loop_pdf)
                tid = self._transitions.tid(transition_state, arc)
                yield number, tid, self._costs[tid], to


def _check_fit(lang: Lang, tree: DecisionTree, transitions: TransitionModel) -> None:
    if tree.num_pdfs != transitions.num_pdfs:
        raise InputError(
            f"the tree has {tree.num_pdfs} pdfs, the model {transitions.num_pdfs}: "
            "they are not of one system"
        )
    others = set(lang.topo.phones) ^ set(transitions.topology.phones)
    if others:
        raise InputError(
            f"{lang.folder} is not the lang directory of this model: phone {min(others)} "
            "is in only one of them"
        )


def phones_to_tids(
    phones: kaldifst.StdVectorFst, hmms: HmmMaker, disambig: Sequence[int] = ()
) -> Fst:
    """Composes H and C with a transducer from phones.

    Args:
        phones: reads phones and disambiguation symbols.
        disambig: the phone ids of these.
    Returns:
        The transducer from transition ids; it reads num_tids + 1, num_tids + 2, ... where there
        were disambiguation symbols.
    """
    tree = hmms.tree
    in_context, windows = kaldifst.compose_context(
        list(disambig), tree.context_width, tree.central_position, phones
    )
    labels: list[Hmm | int] = []
    next_symbol = hmms.num_tids + 1
    for window in windows:
        if len(window) == 1 and window[0] <= 0:  # a symbol, its sign changed
            labels.append(next_symbol)
            next_symbol += 1
        else:
            labels.append(hmms.hmm(window) if window else 0)
    return expand_hmms(Fst.from_kaldifst(in_context), labels)


def expand_hmms(fst: Fst, labels: Sequence[Hmm | int]) -> Fst:
    """Replaces every arc by the HMM of its input label.

    Arcs with one HMM into one state share it, as they do after composition with Kaldi's H.

    Args:
        fst: its input labels are indexes of `labels`.
        labels: an HMM, or the label that takes the index's place (0: epsilon).
    """
    plain = np.array([-1 if isinstance(label, Hmm) else label for label in labels])
    is_hmm = plain[fst.arcs["ilabel"]] < 0
    kept = fst.arcs[~is_hmm]
    kept["ilabel"] = plain[kept["ilabel"]]
    sources, arcs = fst.sources[is_hmm], fst.arcs[is_hmm]
    hmms, kinds = _distinct(labels)
    blocks, place = np.unique(
        kinds[arcs["ilabel"]] * fst.num_states + arcs["next"], return_inverse=True
    )
    kind, after = np.divmod(blocks, fst.num_states)
    sizes = np.array([hmm.num_states for hmm in hmms], int)[kind]
    first = fst.num_states + np.cumsum(sizes) - sizes

    arc, places = _repeat([len(hmm.entry) for hmm in hmms], kind[place])
    entry = join_arcs([hmm.entry for hmm in hmms])[places]
    entry["olabel"] = arcs["olabel"][arc]
    entry["cost"] += arcs["cost"][arc]
    entry["next"] = _target(entry["next"], first[place][arc], after[place][arc])
    block, places = _repeat([len(hmm.inner) for hmm in hmms], kind)
    inner = join_arcs([hmm.inner for hmm in hmms])[places]
    inner_sources = np.concatenate([hmm.sources for hmm in hmms])[places]
    inner["next"] = _target(inner["next"], first[block], after[block])

    all_sources = (fst.sources[~is_hmm], sources[arc], first[block] + inner_sources)
    finals = np.concatenate([fst.finals, np.full(sizes.sum(), np.inf, np.float32)])
    all_arcs = join_arcs([kept, entry, inner])
    return Fst.from_arcs(fst.start, np.concatenate(all_sources), all_arcs, finals)


def _distinct(labels: Sequence[Hmm | int]) -> tuple[list[Hmm], np.ndarray]:
    """The HMMs among the labels, each once, and for every label which of them it is."""
    hmms = {id(label): label for label in labels if isinstance(label, Hmm)}
    numbers = {key: number for number, key in enumerate(hmms)}
    return list(hmms.values()), np.array([numbers.get(id(label), -1) for label in labels], int)


def _repeat(sizes: list[int], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places that the tables with these numbers have in all tables one after another.

    Args:
        sizes: of the tables.
        rows: their numbers.
    Returns:
        Which of `rows` each item is of, and its place.
    """
    ends = np.cumsum(sizes)
    counts = np.array(sizes, int)[rows]
    which = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, (ends - sizes)[rows][which] + within


def _target(states: np.ndarray, first: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.where(states == EXIT, after, first + states)
