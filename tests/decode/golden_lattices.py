"""Kaldi's own lattices and results, for the tests here."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

from kdspeech.decode import Lattice, read_lattices


@cache
def lattices(golden: Path, name: str) -> dict[str, Lattice]:
    return dict(read_lattices(golden / "lattice" / f"{name}.lat.txt.gz"))


@cache
def cases(golden: Path) -> dict[str, dict]:
    listed = json.loads((golden / "cases.json").read_text())["lattice"]["cases"]
    return {case["id"]: case for case in listed}


@cache
def results(golden: Path) -> dict[str, dict]:
    return json.loads((golden / "lattice" / "results.json").read_text())


@cache
def arrays(golden: Path) -> np.lib.npyio.NpzFile:
    return np.load(golden / "lattice" / "lattice.npz")


def weighted_paths(lattice: Lattice, limit: int = 100_000) -> dict[tuple, tuple[float, float]]:
    """(words, tids) of all paths, with their graph and acoustic costs."""
    paths = lattice.nbest(limit)
    assert len(paths) < limit
    keys = [(tuple(path.words), tuple(path.tids)) for path in paths]
    assert max(Counter(keys).values()) == 1
    return {k: (p.graph_cost, p.acoustic_cost) for k, p in zip(keys, paths, strict=True)}


def assert_same_paths(ours: Lattice, theirs: Lattice, atol: float = 1e-3) -> None:
    mine, expected = weighted_paths(ours), weighted_paths(theirs)
    assert mine.keys() == expected.keys()
    for key, costs in expected.items():
        np.testing.assert_allclose(mine[key], costs, rtol=2e-6, atol=atol)
