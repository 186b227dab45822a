"""Where sequence training has its lattices from: a decoding, or the network as it is now.

Both kinds are called with utterances and their scores, and give a lattice for each.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from kdspeech.acoustic.sequence_config import LatticeConfig
from kdspeech.decode import Graph, Lattice, LatticeDecoder, LatticePack, read_lattices, write_pack
from kdspeech.hmm import TransitionModel
from kdspeech.io.errors import InputError


class StoredLattices:
    """Lattices in mapped packs, whatever the scores are.

    Args:
        packs: LatticePacks, each with other utterances.
    Attributes:
        utts: the utterances that have a lattice.
    """

    def __init__(self, packs: Iterable[LatticePack]):
        self._packs = {utt: pack for pack in packs for utt in pack}
        self.utts = self._packs.keys()

    @classmethod
    def read(cls, folder: str | os.PathLike, work: Path) -> "StoredLattices":
        """Opens the lattices of a decoding: raw.*.pack where there are any, else lat.*.gz.

        Args:
            folder: as `kds decode` leaves it.
            work: where archives are unpacked, to files that go with the process.
        Raises:
            InputError: no lattices there, fewer files than jobs, or damaged ones.
        """
        packs = _numbered(Path(folder), "raw.*.pack")
        if packs:
            return cls(map(LatticePack, packs))
        archives = _numbered(Path(folder), "lat.*.gz")
        if not archives:
            raise InputError(f"{folder}: no raw.*.pack or lat.*.gz there (run `kds decode --raw`)")
        return cls(_unpacked(archive, work) for archive in archives)

    def __getitem__(self, utt: str) -> Lattice:
        return self._packs[utt][utt]

    def __call__(self, utts: Sequence[str], scores: Sequence[np.ndarray]) -> list[Lattice]:
        return [self[utt] for utt in utts]


class OnlineLattices:
    """Lattices of the scores given, from a graph; empty ones where no path is found.

    Args:
        graph_dir: with HCLG.fst.
        transitions: TransitionModel.
        acoustic_scale: of the scores.
        options: LatticeConfig.
    Raises:
        InputError: no graph there, or one of another model.
    """

    def __init__(
        self,
        graph_dir: str | os.PathLike,
        transitions: TransitionModel,
        acoustic_scale: float,
        options: LatticeConfig,
    ):
        path = Path(graph_dir) / "HCLG.fst"
        try:
            self._decoder = LatticeDecoder(
                Graph.read(path),
                transitions.tid_to_pdf,
                acoustic_scale=acoustic_scale,
                **options.model_dump(),
            )
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def __call__(self, utts: Sequence[str], scores: Sequence[np.ndarray]) -> list[Lattice]:
        found = self._decoder.decode_batch(scores, torch.get_num_threads())
        return [one.lattice or Lattice.from_arrays([0], [], []) for one in found]


def _numbered(folder: Path, pattern: str) -> list[Path]:
    """The files of all jobs, in the order of their numbers."""
    files = {int(re.search(r"\.(\d+)\.", path.name)[1]): path for path in folder.glob(pattern)}
    jobs = folder / "num_jobs"
    if files and jobs.exists() and jobs.read_text().strip() != str(len(files)):
        raise InputError(f"{jobs}: says {jobs.read_text().strip()}, there are {len(files)} files")
    return [files[number] for number in sorted(files)]


def _unpacked(archive: Path, work: Path) -> LatticePack:
    path = work / f".{archive.name}.{os.getpid()}"
    try:
        write_pack(path, read_lattices(archive))
        return LatticePack(path)
    finally:
        path.unlink(missing_ok=True)
