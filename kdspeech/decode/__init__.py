"""Decoding: lattices and what is made of them."""

from kdspeech.decode.lattice import (
    Lattice,
    LatticePack,
    read_lattices,
    write_lattices,
    write_pack,
)

__all__ = ["Lattice", "LatticePack", "read_lattices", "write_lattices", "write_pack"]
