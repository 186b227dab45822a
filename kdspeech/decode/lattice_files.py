"""Lattices from and to files; the formats are those of `kdspeech.io.lattices`."""

import os
from collections.abc import Iterable, Iterator

from kdspeech.decode.lattice import Lattice
from kdspeech.io import lattices as files


def read_lattices(path: str | os.PathLike) -> Iterator[tuple[str, Lattice]]:
    """Yields (utterance, lattice) of a Kaldi lattice archive, as `kdspeech.io.lattices`."""
    for utterance, core in files.read_archive(path):
        yield utterance, Lattice(core)


def write_lattices(
    path: str | os.PathLike, pairs: Iterable[tuple[str, Lattice]], binary: bool = True
) -> None:
    """Writes (utterance, lattice) pairs to a Kaldi lattice archive, whole or not at all.

    Args:
        path: the file; gzipped if its name ends in .gz.
        binary: Kaldi's binary format, or text.
    """
    with files.ArchiveWriter(path, binary) as writer:
        for utterance, lattice in pairs:
            writer.write(utterance, lattice.core)


class LatticePack(files.LatticePack):
    """The lattices of a pack (one mapped file) by utterance, as `Lattice`s."""

    def __getitem__(self, utterance: str) -> Lattice:
        return Lattice(super().__getitem__(utterance))


def write_pack(path: str | os.PathLike, pairs: Iterable[tuple[str, Lattice]]) -> None:
    """Writes (utterance, lattice) pairs to a pack that `LatticePack` opens."""
    with files.LatticePackWriter(path) as writer:
        for utterance, lattice in pairs:
            writer.write(utterance, lattice.core)
