"""Self-loops: what makes a graph of transitions between states a graph of frames."""

import numpy as np

from kdspeech.hmm.transitions import TransitionModel
from kdspeech.io.errors import InputError
from kdspeech.io.fst import ARC, Fst, join_arcs


def add_self_loops(fst: Fst, transitions: TransitionModel, self_loop_scale: float = 0.1) -> Fst:
    """Adds self-loops behind the arcs that lead into their states (Kaldi's "reordered" graphs).

    Args:
        fst: its input labels are transition ids but of self-loops.
        transitions: of the model.
        self_loop_scale: of the log probabilities of staying in a state and of leaving it.
    Raises:
        InputError: a transition id that is not the model's, or already a self-loop.
    """
    tids = fst.arcs["ilabel"]
    if len(tids) and (tids.max() > transitions.num_tids or transitions.is_self_loop[tids].any()):
        raise InputError("a graph with labels that are no transition ids of the model")
    fst, entered = _split_states(fst, transitions.tid_to_state[tids])
    leave = -self_loop_scale * transitions.forward_log_probs[entered]
    arcs = fst.arcs.copy()
    arcs["cost"] += leave[fst.sources]
    loops = transitions.self_loop_of[entered]
    states = np.flatnonzero(loops)
    stay = np.zeros(len(states), ARC)
    stay["ilabel"], stay["next"] = loops[states], states
    stay["cost"] = -self_loop_scale * transitions.log_probs[loops[states]]
    sources, arcs = np.concatenate([fst.sources, states]), join_arcs([arcs, stay])
    return Fst.from_arcs(fst.start, sources, arcs, fst.finals + leave)


def _split_states(fst: Fst, through: np.ndarray) -> tuple[Fst, np.ndarray]:
    """Gives each state that is entered through several transition states a state for each of them.

    Args:
        through: the transition state of each arc, 0 for epsilon.
    Returns:
        The transducer, with epsilon arcs from the new states to the old one; the transition state
        through which each of its states is entered, 0 for none.
    """
    num_states, to = fst.num_states, fst.arcs["next"]
    least, most = np.full(num_states, np.iinfo(np.int32).max), np.zeros(num_states, int)
    least[fst.start] = 0
    np.minimum.at(least, to, through)
    np.maximum.at(most, to, through)
    several = least < most
    moved = several[to] & (through > 0)
    num_kinds = int(most.max(initial=0)) + 1
    pairs, place = np.unique(
        to[moved].astype(int) * num_kinds + through[moved], return_inverse=True
    )
    arcs = fst.arcs.copy()
    arcs["next"][moved] = num_states + place
    back = np.zeros(len(pairs), ARC)
    back["next"], kinds = np.divmod(pairs, num_kinds)
    sources = np.concatenate([fst.sources, num_states + np.arange(len(pairs))])
    finals = np.concatenate([fst.finals, np.full(len(pairs), np.inf, np.float32)])
    split = Fst.from_arcs(fst.start, sources, join_arcs([arcs, back]), finals)
    return split, np.concatenate([np.where(several, 0, most), kinds])
