"""The lattice decoder: beam search over a decoding graph, of whole utterances or as they come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdspeech import _core
from kdspeech.decode.align import loglike_array, pdf_array
from kdspeech.decode.graph import Graph
from kdspeech.decode.lattice import Lattice, phone_starts
from kdspeech.hmm import TransitionModel
from kdspeech.io.errors import InputError

_CORE = _core.decode


@dataclass(frozen=True)
class Decoded:
    """What was found in an utterance.

    `words` and `tids` (int32, one transition id per frame) of the best path, its `graph_cost` and
    `acoustic_cost` (-log likelihood without the acoustic scale). `reached_final`: the path ends in
    a final state of the graph; where none does, it ends in the best state of the last frame.
    `lattice`: the state-level lattice, None with best_only. `compact`: the determinized one, where
    the decoder makes it (see Lattice.determinize). `problem`: why nothing was found;
    empty if something was.
    """

    words: np.ndarray
    tids: np.ndarray
    graph_cost: float
    acoustic_cost: float
    reached_final: bool
    lattice: Lattice | None = None
    compact: Lattice | None = None
    problem: str = ""


class LatticeDecoder:
    """Finds the best path of an utterance and the lattice around it (Kaldi's LatticeFasterDecoder).

    Args:
        graph: HCLG; shared, not copied.
        tid_to_pdf: int32 (num_tids + 1,), the column of the log-likelihoods of each transition id;
            index 0 is unused (TransitionModel.tid_to_pdf).
        beam: paths worse than the frame's best by more are given up.
        lattice_beam: the lattice holds the paths that are worse than the best by at most this.
        max_active, min_active: the beam is narrowed or widened to so many states a frame.
        acoustic_scale: of the log-likelihoods.
        prune_interval: frames between two prunings of the lattice.
        best_only: no lattices, the best path alone: faster.
        determinize: the TransitionModel, to have determinized lattices as well.
    Raises:
        InputError: options out of range, or a graph that does not match the model.
    """

    def __init__(
        self,
        graph: Graph,
        tid_to_pdf: np.ndarray,
        beam: float = 16.0,
        lattice_beam: float = 10.0,
        max_active: int = 7000,
        min_active: int = 200,
        acoustic_scale: float = 0.1,
        prune_interval: int = 25,
        best_only: bool = False,
        determinize: TransitionModel | None = None,
    ):
        options = _CORE.SearchOptions()
        options.beam, options.lattice_beam = beam, lattice_beam
        options.max_active, options.min_active = max_active, min_active
        options.acoustic_scale = acoustic_scale
        options.prune_interval = prune_interval
        options.best_only = best_only
        starts = phone_starts(determinize) if determinize else np.empty(0, np.int32)
        self._core = _CORE.Decoder(graph.core, pdf_array(tid_to_pdf), options, starts)
        self._lattices = not best_only
        self._compact = determinize is not None and not best_only

    def decode(self, loglikes: np.ndarray) -> Decoded:
        """Decodes (frames, pdfs) log-likelihoods.

        Raises:
            InputError: no frames, a log-likelihood that is NaN or infinite, or no path is left
                at some frame.
        """
        (decoded,) = self.decode_batch([loglikes])
        if decoded.problem:
            raise InputError(decoded.problem)
        return decoded

    def decode_batch(self, loglikes: Sequence[np.ndarray], num_threads: int = 1) -> list[Decoded]:
        """Decodes several utterances on some threads, without the GIL.

        An utterance that cannot be decoded does not stop the others: see `Decoded.problem`.
        """
        arrays = [loglike_array(array) for array in loglikes]
        return [self._decoded(core) for core in self._core.decode(arrays, num_threads)]

    def start(self) -> None:
        """Begins an utterance that comes in chunks; one that was begun is given up."""
        self._core.start()

    def advance(self, loglikes: np.ndarray) -> None:
        """Takes the next frames, (frames, pdfs).

        Raises:
            InputError: as in `decode`, or `start` has not been called.
        """
        self._core.advance(loglike_array(loglikes))

    def partial(self) -> Decoded:
        """The best path so far, without a lattice; later frames may change its end."""
        return _from_path(self._core.partial())

    def finish(self) -> Decoded:
        """Ends the utterance that came in chunks; the same as `decode` of all of them.

        Raises:
            InputError: no path is left, or `start` has not been called.
        """
        decoded = self._decoded(self._core.finish())
        if decoded.problem:
            raise InputError(decoded.problem)
        return decoded

    def _decoded(self, core: "_CORE.Decoded") -> Decoded:
        found = not core.problem
        lattice = Lattice(core.take_lattice()) if found and self._lattices else None
        compact = Lattice(core.take_compact()) if found and self._compact else None
        return _from_path(core.best, lattice, compact, core.problem)


def _from_path(path: "_CORE.BestPath", *others) -> Decoded:
    costs = path.graph_cost, path.acoustic_cost
    return Decoded(path.words, path.tids, *costs, path.reached_final, *others)
