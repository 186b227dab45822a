"""Decoding: graphs, alignment, lattices and what is made of them."""

from kdspeech.decode.align import Alignment, align
from kdspeech.decode.decoder import Decoded, LatticeDecoder
from kdspeech.decode.grammar import Grammar
from kdspeech.decode.graph import Graph
from kdspeech.decode.lattice import Lattice, MbrResult
from kdspeech.decode.lattice_files import (
    LatticePack,
    change_lattices,
    read_decode_lattices,
    read_lattices,
    write_lattices,
    write_pack,
)
from kdspeech.decode.lattice_paths import Path, add_paths, contains, nbest_lattice
from kdspeech.decode.posteriors import (
    LatticeSums,
    Posteriors,
    TidTables,
    add_lattice_gradients,
    lattice_posteriors,
)
from kdspeech.decode.score import score_decode_dir
from kdspeech.decode.wer import score_wer

__all__ = [
    "Alignment",
    "Decoded",
    "Grammar",
    "Graph",
    "Lattice",
    "LatticeDecoder",
    "LatticePack",
    "LatticeSums",
    "MbrResult",
    "Path",
    "Posteriors",
    "TidTables",
    "add_lattice_gradients",
    "add_paths",
    "align",
    "change_lattices",
    "contains",
    "lattice_posteriors",
    "nbest_lattice",
    "read_decode_lattices",
    "read_lattices",
    "score_decode_dir",
    "score_wer",
    "write_lattices",
    "write_pack",
]
