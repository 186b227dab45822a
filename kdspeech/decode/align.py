"""Viterbi alignment of an utterance to its training graph."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kdspeech import _core
from kdspeech.decode.graph import Graph
from kdspeech.io.errors import InputError

_CORE = _core.decode
_MIN_ACTIVE = 20  # Kaldi's, in aligning


@dataclass(frozen=True)
class Alignment:
    """The best path of an utterance through a graph.

    `tids`: int32, a transition id for each frame; `words`: int32. `graph_cost` is -log of
    the graph's probabilities, `acoustic_cost` -log likelihood without the acoustic scale, and
    `cost` what the search minimised. `retried`: only the wider beam found it.
    """

    tids: np.ndarray
    words: np.ndarray
    graph_cost: float
    acoustic_cost: float
    cost: float
    retried: bool


def align(
    graph: Any,
    loglikes: np.ndarray,
    tid_to_pdf: np.ndarray,
    beam: float = 10.0,
    retry_beam: float = 40.0,
    acoustic_scale: float = 0.1,
) -> Alignment | None:
    """Finds the best path from the start to a final state (Kaldi's gmm-align-compiled).

    Args:
        graph: a Graph, or what Graph.from_fst takes (TrainingGraphs makes them).
        loglikes: (frames, pdfs) natural logs.
        tid_to_pdf: int32 (num_tids + 1,), the column of each transition id; index 0 is unused.
            Transition ids that the graph lacks may have any.
        beam: of the first search.
        retry_beam: of the second one, where the first reaches no final state; 0: no second one.
        acoustic_scale: of the log-likelihoods.
    Returns:
        None where no complete path was found: the utterance is too short for its transcript, or
        does not match it.
    Raises:
        InputError: no frames, a log-likelihood that is NaN or infinite, or a graph that does not
            match the model.
    """
    graph = graph if isinstance(graph, Graph) else Graph.from_fst(graph)
    options = _CORE.SearchOptions()
    options.beam = beam
    options.acoustic_scale = acoustic_scale
    options.min_active = _MIN_ACTIVE
    found = _CORE.align(
        graph.core, loglike_array(loglikes), pdf_array(tid_to_pdf), options, retry_beam
    )
    path = found.path
    if not path.reached_final:
        return None
    cost = path.graph_cost + acoustic_scale * path.acoustic_cost
    return Alignment(
        path.tids, path.words, path.graph_cost, path.acoustic_cost, cost, found.retried
    )


def loglike_array(loglikes: np.ndarray) -> np.ndarray:
    """`loglikes` as the core takes them; InputError unless they are (frames, pdfs)."""
    array = np.ascontiguousarray(loglikes, np.float32)
    if array.ndim != 2:
        raise InputError(f"log-likelihoods of shape {array.shape}, (frames, pdfs) expected")
    return array


def pdf_array(tid_to_pdf: np.ndarray) -> np.ndarray:
    """`tid_to_pdf` as the core takes it; InputError unless it is a vector."""
    array = np.ascontiguousarray(tid_to_pdf, np.int32)
    if array.ndim != 1:
        raise InputError(f"tid_to_pdf of shape {array.shape}, (num_tids + 1,) expected")
    return array
