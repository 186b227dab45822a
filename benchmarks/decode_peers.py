"""kaldi-decoder on this package's graphs and scores."""

import struct
import tempfile

import kaldi_decoder
import kaldifst
import numpy as np

from kdspeech.decode import Graph

_FILE_ARC = np.dtype("i4, i4, f4, i4")
_FILE_STATE = np.dtype("f4, u4, u4, u4, u4")


def openfst_bytes(graph: Graph, tid_to_pdf: np.ndarray) -> bytes:
    """The graph as an OpenFst const file, with pdf + 1 in the place of transition ids."""
    arcs = np.empty(graph.num_arcs, _FILE_ARC)
    tids = graph.arcs["tid"]
    columns = np.where(tids > 0, tid_to_pdf[tids] + 1, 0), graph.arcs["word"], graph.arcs["cost"]
    for field, column in zip(arcs.dtype.names, (*columns, graph.arcs["next"]), strict=True):
        arcs[field] = column
    begins = graph.offsets[::2]
    states = np.zeros(graph.num_states, _FILE_STATE)
    states["f0"], states["f1"], states["f2"] = graph.finals, begins[:-1], np.diff(begins)
    states["f3"] = graph.offsets[1::2] - begins[:-1]
    head = struct.pack("=ii5si8siiQqqq", 2125659606, 5, b"const", 8, b"standard", 2, 0, 0x65,
                       graph.start, graph.num_states, graph.num_arcs)  # fmt: skip
    return head + states.tobytes() + arcs.tobytes()


def to_kaldifst(graph: Graph, tid_to_pdf: np.ndarray) -> kaldifst.StdConstFst:
    with tempfile.NamedTemporaryFile(suffix=".fst") as file:
        file.write(openfst_bytes(graph, tid_to_pdf))
        file.flush()
        return kaldifst.StdConstFst.read(file.name)


def decodable(loglikes: np.ndarray, acoustic_scale: float):
    """Scaled scores; label i stands for column i - 1."""
    return kaldi_decoder.DecodableCtc(acoustic_scale * loglikes)


def words_and_cost(best) -> tuple[list[int], float]:
    """Words and cost of a linear lattice."""
    ok, fst = best if isinstance(best, tuple) else (True, best)
    ok, _, words, weight = kaldifst.get_linear_symbol_sequence(fst)
    return words, weight.value1 + weight.value2
