"""Decoding: graphs, alignment, lattices and what is made of them."""

from kdspeech.decode.align import Alignment, align
from kdspeech.decode.decoder import Decoded, LatticeDecoder
from kdspeech.decode.graph import Graph
from kdspeech.decode.lattice import (
    Lattice,
    LatticePack,
    read_lattices,
    write_lattices,
    write_pack,
)

__all__ = [
    "Alignment",
    "Decoded",
    "Graph",
    "Lattice",
    "LatticeDecoder",
    "LatticePack",
    "align",
    "read_lattices",
    "write_lattices",
    "write_pack",
]
