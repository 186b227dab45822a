"""Lattices from and to files; the formats are those of `kdspeech.io.lattices`."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kdspeech.decode.lattice import Lattice
from kdspeech.io import lattices as files
from kdspeech.io.atomic import atomic_path, check_apart
from kdspeech.io.errors import InputError


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


def decode_archives(source: str | os.PathLike) -> list[Path]:
    """The archives lat.1.gz, lat.2.gz, ... of a decoding directory; or the one that is given.

    Raises:
        InputError: there are none.
    """
    source = Path(source)
    if source.is_file():
        return [source]
    named = [(re.fullmatch(r"lat\.(\d+)(\.gz)?", path.name), path) for path in source.glob("lat.*")]
    jobs = sorted((int(match[1]), path) for match, path in named if match)
    if not jobs:
        raise InputError(f"{source}: no lattices lat.1.gz, ... (decode first)")
    return [path for _, path in jobs]


def read_decode_lattices(source: str | os.PathLike) -> Iterator[tuple[str, Lattice]]:
    """Yields (utterance, lattice) of a decoding directory or an archive.

    Raises:
        InputError: as `decode_archives` and `read_lattices`.
    """
    for path in decode_archives(source):
        yield from read_lattices(path)


def change_lattices(
    source: str | os.PathLike, target: str | os.PathLike, change: Callable[[Lattice], Lattice]
) -> tuple[int, int]:
    """Writes changed lattices: of a decoding directory another one, of an archive an archive.

    Args:
        source: a decoding directory, or an archive.
        target: what to make; of a directory, archives of the same names and num_jobs, which
            comes last.
        change: makes of each lattice what is written.
    Returns:
        The number of lattices, and how many of them became empty.
    Raises:
        InputError: as `read_decode_lattices`; the target is the source.
    """
    source, target, counts = Path(source), Path(target), [0, 0]
    check_apart(target, [source])

    def changed(path: Path) -> Iterator[tuple[str, Lattice]]:
        for utterance, lattice in read_lattices(path):
            lattice = change(lattice)
            counts[0] += 1
            counts[1] += lattice.num_states == 0
            yield utterance, lattice

    archives, folder = decode_archives(source), source.is_dir()
    if folder:
        target.mkdir(parents=True, exist_ok=True)
        for old in (target / "num_jobs", *target.glob("lat.*")):
            old.unlink(missing_ok=True)
    for path in archives:
        write_lattices(target / path.name if folder else target, changed(path))
    if folder:
        with atomic_path(target / "num_jobs") as temporary:
            temporary.write_text(f"{len(archives)}\n")
    return counts[0], counts[1]


class LatticePack(files.LatticePack):
    """The lattices of a pack (one mapped file) by utterance, as `Lattice`s."""

    def __getitem__(self, utterance: str) -> Lattice:
        return Lattice(super().__getitem__(utterance))


def write_pack(path: str | os.PathLike, pairs: Iterable[tuple[str, Lattice]]) -> None:
    """Writes (utterance, lattice) pairs to a pack that `LatticePack` opens."""
    with files.LatticePackWriter(path) as writer:
        for utterance, lattice in pairs:
            writer.write(utterance, lattice.core)
