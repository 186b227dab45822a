"""OpenFst files: Kaldi's, kaldifst's and ours are one transducer; damaged ones are errors."""

import kaldifst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdspeech.io.errors import InputError
from kdspeech.io.fst import ARC, Fst

ARCS = st.tuples(
    st.integers(0, 4), st.integers(0, 9), st.integers(0, 9), st.floats(-5, 5, width=32)
)


def equal(a: Fst, b: Fst) -> bool:
    arrays = zip((a.finals, a.offsets, a.arcs), (b.finals, b.offsets, b.arcs), strict=True)
    return a.start == b.start and all((x == y).all() for x, y in arrays)


def make(rows) -> Fst:
    arcs = np.array([(i, o, cost, (source + i) % 5) for source, i, o, cost in rows], ARC)
    finals = np.array([np.inf, 0.5, np.inf, 0, np.inf], np.float32)
    return Fst.from_arcs(2, np.array([row[0] for row in rows], int), arcs, finals)


@given(st.lists(ARCS))
def test_through_kaldifst(rows):
    fst = make(rows)
    assert equal(Fst.from_kaldifst(fst.to_kaldifst()), fst)


@pytest.mark.parametrize("const", [False, True])
def test_kaldifst_reads_ours(tmp_path, const):
    fst = make([(0, 1, 2, 0.5), (4, 0, 0, 1.5), (0, 3, 0, -1)])
    fst.write(tmp_path / "a.fst", const=const)
    kind = kaldifst.StdConstFst if const else kaldifst.StdVectorFst
    theirs = kaldifst.StdVectorFst(kind.read(str(tmp_path / "a.fst")))
    assert equal(Fst.from_kaldifst(theirs), fst)
    assert equal(Fst.read(tmp_path / "a.fst"), fst)


def test_sources_and_order():
    fst = make([(3, 1, 1, 0), (0, 5, 5, 0), (3, 0, 0, 0)])
    np.testing.assert_array_equal(fst.sources, [0, 3, 3])
    np.testing.assert_array_equal(fst.arcs["ilabel"], [5, 1, 0])


@pytest.mark.golden
def test_reads_kaldis_graph(golden):
    fst = Fst.read(golden / "lattice/HCLG.mono.fst")
    rows = [line.split() for line in (golden / "lattice/HCLG.mono.txt").read_text().splitlines()]
    arcs = [row for row in rows if len(row) > 2]
    assert (fst.num_states, len(fst.arcs), fst.start) == (335, len(arcs), int(arcs[0][0]))
    found = zip(fst.sources.tolist(), fst.arcs.tolist(), strict=True)
    ours = sorted((s, to, i, o, f"{cost:.5g}") for s, (i, o, cost, to) in found)
    kaldis = [(*map(int, row[:4]), f"{float((row + ['0'])[4]):.5g}") for row in arcs]
    assert ours == sorted(kaldis)


@pytest.mark.parametrize("const", [False, True])
def test_damaged_files(tmp_path, const):
    path = tmp_path / "a.fst"
    make([(0, 1, 2, 0.5), (4, 0, 0, 1.5)]).write(path, const=const)
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match="a.fst"):
            Fst.read(path)
    for place in range(len(data)):
        path.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
        try:
            Fst.read(path)  # costs and flags may be anything
        except InputError as error:
            assert "a.fst" in str(error)


def test_other_files(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Fst.read(tmp_path / "a.fst")
    (tmp_path / "a.fst").write_text("0 1 1 1\n1\n")
    with pytest.raises(InputError, match="not an OpenFst file"):
        Fst.read(tmp_path / "a.fst")
    log = b"\xd6\xfd\xb2~\x06\0\0\0vector\x03\0\0\0log" + bytes(40)
    (tmp_path / "a.fst").write_bytes(log)
    with pytest.raises(InputError, match="vector with log arcs"):
        Fst.read(tmp_path / "a.fst")
