"""Decoding graphs: both of OpenFst's file types, the compact file, and files that are damaged."""

import gzip
import struct

import kaldifst
import numpy as np
import pytest

from kdspeech.decode import Graph
from kdspeech.io.errors import InputError

INF = np.inf


def small() -> Graph:
    """Two ways from 0 to 2, one of them by an arc without transition id."""
    return Graph.from_arrays(
        [1, 0, 0, 1],
        [2, 1, 2, 1],
        [3, 1, 0, 2],
        [0, 5, 6, 0],
        [0.5, 1.0, 7.0, 0.25],
        [INF, INF, 0.0],
    )


def arcs_of(graph: Graph) -> list[tuple]:
    sources = np.repeat(np.arange(graph.num_states), np.diff(graph.offsets[::2]))
    return sorted((s, *arc) for s, arc in zip(sources.tolist(), graph.arcs.tolist(), strict=True))


def assert_same(a: Graph, b: Graph) -> None:
    assert a.start == b.start and arcs_of(a) == arcs_of(b)
    np.testing.assert_array_equal(a.finals, b.finals)
    np.testing.assert_array_equal(a.offsets, b.offsets)


def text_arcs(lines: list[str]) -> tuple[list[tuple], dict[int, float]]:
    """Arcs and final costs of fstprint's text."""
    arcs, finals = [], {}
    for fields in map(str.split, lines):
        if len(fields) < 3:
            finals[int(fields[0])] = float(fields[1]) if len(fields) > 1 else 0.0
            continue
        source, target, tid, word = map(int, fields[:4])
        arcs.append((source, tid, word, target, float(fields[4]) if len(fields) > 4 else 0.0))
    return sorted(arcs), finals


@pytest.mark.golden
@pytest.mark.parametrize("name", ["mono", "tri3b"])
def test_kaldis_hclg_is_its_text(golden, name):
    folder = golden / "lattice"
    text, packed = folder / f"HCLG.{name}.txt", folder / f"HCLG.{name}.txt.gz"
    lines = text.read_text() if text.exists() else gzip.decompress(packed.read_bytes()).decode()
    arcs, finals = text_arcs(lines.splitlines())
    graph = Graph.read(folder / f"HCLG.{name}.fst")
    assert graph.start == 0
    ours = arcs_of(graph)
    assert [a[:4] for a in ours] == [a[:4] for a in arcs]
    np.testing.assert_allclose([a[4] for a in ours], [a[4] for a in arcs], rtol=1e-5, atol=1e-6)
    assert {s for s, cost in enumerate(graph.finals) if np.isfinite(cost)} == set(finals)
    np.testing.assert_allclose([graph.finals[s] for s in finals], list(finals.values()), rtol=1e-5)


def test_kaldifst_graphs_and_files(tmp_path):
    fst = kaldifst.compile("0 1 1 5 1\n0 2 0 6 7\n1 1 2 0 0.25\n1 2 3 0 0.5\n2", False)
    path = tmp_path / "graph.fst"
    fst.write(str(path))
    assert_same(Graph.from_fst(fst), small())
    assert_same(Graph.from_fst(path.read_bytes()), small())
    assert_same(Graph.read(path), small())
    symbols = kaldifst.SymbolTable()
    symbols.add_symbol("<eps>", 0)
    symbols.add_symbol("word", 5)
    fst.output_symbols = symbols
    fst.write(str(path))
    assert_same(Graph.read(path), small())


def test_arcs_without_transition_id_come_first():
    graph = small()
    assert graph.offsets.tolist() == [0, 1, 2, 2, 4, 4, 4]
    assert graph.arcs["tid"].tolist() == [0, 1, 3, 2]
    assert not graph.arcs.flags.writeable and graph.num_states == 3


def test_compact_file(tmp_path):
    path = tmp_path / "graph"
    small().write(path)
    assert_same(Graph.read(path), small())
    assert path.stat().st_size == 32 + 16 * 4 + 4 * 7 + 4 * 3
    assert_same(Graph.read(path), Graph.read(path))


def test_impossible_arcs_are_left_out():
    graph = Graph.from_arrays([0, 0], [1, 1], [1, 2], [0, 0], [INF, 0.5], [INF, 0.0])
    assert graph.num_arcs == 1 and graph.arcs["tid"].tolist() == [2]


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"nexts": [3, 1, 2, 1]}, "arc of state 1 is damaged .*next state 3 of 3"),
        ({"sources": [1, 0, 0, 3]}, "arc 3 leaves state 3 of 3"),
        ({"tids": [-3, 1, 0, 2]}, "transition id -3"),
        ({"words": [0, -5, 6, 0]}, "word -5"),
        ({"costs": [0, np.nan, 0, 0]}, "cost -?nan"),
        ({"costs": [0, -INF, 0, 0]}, "cost -inf"),
        ({"finals": [INF, INF, INF]}, "no final state"),
        ({"finals": [INF, np.nan, 0]}, "final cost of state 1 is no number"),
        ({"start": 3}, "no start state"),
        ({"start": -1}, "no start state"),
        ({"tids": [0, 0, 0, 2], "nexts": [0, 1, 2, 1]}, "form a cycle"),
        ({"tids": [3, 1, 0, 0]}, "form a cycle"),
    ],
)
def test_graphs_that_cannot_be_searched(changes, problem):
    arguments = {
        "sources": [1, 0, 0, 1],
        "nexts": [2, 1, 2, 1],
        "tids": [3, 1, 0, 2],
        "words": [0, 5, 6, 0],
        "costs": [0.5, 1.0, 7.0, 0.25],
        "finals": [INF, INF, 0.0],
    }
    with pytest.raises(InputError, match=problem):
        Graph.from_arrays(**{**arguments, **changes})


def test_files_of_other_kinds_are_named(tmp_path):
    path = tmp_path / "HCLG.fst"
    path.write_text("0 1 2 3\n1\n")
    with pytest.raises(InputError, match=r"HCLG.fst: graph: no OpenFst binary file"):
        Graph.read(path)
    head = struct.pack("<ii6si3siiQqqq", 2125659606, 6, b"vector", 3, b"log", 2, 0, 0, 0, 1, 0)
    path.write_bytes(head)
    with pytest.raises(InputError, match="type vector with arcs of type log"):
        Graph.read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        Graph.read(path)
    with pytest.raises(FileNotFoundError):
        Graph.read(tmp_path / "absent")


def read_or_refuse(data: bytes, path) -> bool:
    """True where `data` could be read: then it makes a graph that holds together."""
    path.write_bytes(data)
    try:
        graph = Graph.read(path)
    except InputError:
        return False
    assert graph.arcs["next"].max(initial=0) < graph.num_states
    return True


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["const", "vector", "compact"])
def test_damaged_files_never_crash(golden, tmp_path, kind):
    source, path = golden / "lattice" / "HCLG.mono.fst", tmp_path / "graph"
    whole = source.read_bytes()
    if kind == "vector":
        kaldifst.StdVectorFst(kaldifst.StdConstFst.read(str(source))).write(str(path))
    elif kind == "compact":
        Graph.read(source).write(path)
    whole = whole if kind == "const" else path.read_bytes()
    assert read_or_refuse(whole, path)
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(whole), 60):
        assert not read_or_refuse(whole[:cut], path)
    for _ in range(200):
        damaged = bytearray(whole)
        near_head = rng.random() < 0.5
        for at in rng.integers(0, 120 if near_head else len(whole), rng.integers(1, 4)):
            damaged[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
        read_or_refuse(bytes(damaged), path)
