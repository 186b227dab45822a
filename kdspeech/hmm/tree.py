"""Phonetic decision trees: from a phone in context and a state's class to a pdf.

A tree asks an event, a set of (key, value) pairs: key -1 is the class of the HMM state, keys 0,
1, ... are the phones of the context window from left to right (0: outside the utterance).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kdspeech.hmm.topology import HmmTopology
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter

PDF_CLASS = -1  # the key of the HMM state's class
_MAX_DEPTH = 400


@dataclass(frozen=True)
class Split:
    """A question: is the value of `key` in `values`? (Kaldi's SplitEventMap)."""

    key: int
    values: frozenset[int]
    yes: "Node"
    no: "Node"


@dataclass(frozen=True)
class Table:
    """One branch for each value of `key`, None where there is none (Kaldi's TableEventMap)."""

    key: int
    branches: tuple["Node | None", ...]

    def branch(self, value: int) -> "Node | None":
        """The branch of a value, None if it has none."""
        return self.branches[value] if 0 <= value < len(self.branches) else None


Node = Split | Table | int  # an int is a leaf: the pdf id


@dataclass(frozen=True)
class DecisionTree:
    """Kaldi's `tree` (ContextDependency).

    Attributes:
        context_width: phones in the window; 1 for monophones, 3 for triphones.
        central_position: place of the phone itself in the window, from 0.
        root: Split, Table or the id of the only pdf.
        num_pdfs: largest pdf id and one.
    """

    context_width: int
    central_position: int
    root: Node
    num_pdfs: int = field(init=False)

    def __post_init__(self):
        if not 0 <= self.central_position < self.context_width:
            raise InputError(
                f"a tree whose central position is {self.central_position} of "
                f"{self.context_width} phones"
            )
        object.__setattr__(self, "num_pdfs", 1 + max(self.leaves()))

    def compute(self, phone_window: Sequence[int], pdf_class: int) -> int | None:
        """The pdf id of an HMM state of the phone in the middle of the window, or None."""
        return self.map_event({PDF_CLASS: pdf_class, **dict(enumerate(phone_window))})

    def map_event(self, event: Mapping[int, int]) -> int | None:
        """The pdf id of an event (key to value), None if the tree asks what it does not say."""
        node = self.root
        while not isinstance(node, int):
            value = event.get(node.key)
            if value is None:
                return None
            if isinstance(node, Split):
                node = node.yes if value in node.values else node.no
            else:
                node = node.branch(value)
                if node is None:
                    return None
        return node

    def map_events(self, events: np.ndarray) -> np.ndarray:
        """The pdf ids of many events, int32 (events,).

        Args:
            events: int (events, 1 + context_width): class, then phones; -1 where not known.
        Raises:
            InputError: the tree asks for what an event does not say.
        """
        return map_events(self.root, events)

    def pdfs_of(self, phone: int, pdf_class: int) -> list[int]:
        """All pdfs that a class of this phone has in some context, sorted."""
        event = {self.central_position: phone, PDF_CLASS: pdf_class}
        return sorted(set(_reachable(self.root, event)))

    def leaves(self) -> list[int]:
        """The pdf ids of the leaves, from left to right; one may be at several leaves."""
        return list(_reachable(self.root, {}))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "DecisionTree":
        """Reads Kaldi's `tree`, binary or text; InputError names the file and the place."""
        reader = KaldiReader.open(path)
        tree = cls.read_from(reader)
        reader.finish()
        return tree

    @classmethod
    def read_from(cls, reader: KaldiReader) -> "DecisionTree":
        """Reads the object where the reader stands."""
        reader.expect("ContextDependency")
        width, position = reader.integer(), reader.integer()
        reader.expect("ToPdf")
        root = _read_node(reader)
        reader.expect("EndContextDependency")
        if root is None:
            raise reader.fail("a tree without leaves")
        if not 0 <= position < width:
            raise reader.fail(f"central position {position} of {width} phones")
        return cls(width, position, root)

    def write(self, path: str | os.PathLike, binary: bool = True) -> None:
        """Writes Kaldi's `tree`."""
        writer = KaldiWriter(binary)
        writer.token("ContextDependency")
        writer.integer(self.context_width)
        writer.integer(self.central_position)
        writer.token("ToPdf")
        _write_node(self.root, writer)
        writer.token("EndContextDependency")
        writer.write(path)


def monophone_tree(phone_sets: Sequence[Sequence[int]], topology: HmmTopology) -> DecisionTree:
    """A tree without context: one pdf for each class of each set of phones (sets.int)."""
    root, _ = stub_tree(0, phone_sets, topology, [False] * len(phone_sets))
    return DecisionTree(1, 0, root)


def stub_tree(
    central_position: int,
    phone_sets: Sequence[Sequence[int]],
    topology: HmmTopology,
    share_roots: Sequence[bool],
    first_pdf: int = 0,
) -> tuple[Node, int]:
    """The tree before any question is asked (Kaldi's GetStubMap).

    Args:
        central_position: key of the phone.
        phone_sets: sets of phones that share their pdfs.
        topology: tells the number of classes of each phone.
        share_roots: for each set, whether its classes share one leaf.
        first_pdf: id of the first leaf.
    Returns:
        The root and the id after the last leaf.
    """
    if len(phone_sets) == 1:
        if share_roots[0]:
            return first_pdf, first_pdf + 1
        return _class_leaves(phone_sets[0], topology, first_pdf)
    if all(len(phones) == 1 for phones in phone_sets):
        return _phone_table(central_position, phone_sets, topology, share_roots, first_pdf)
    half = len(phone_sets) // 2
    yes, middle = stub_tree(
        central_position, phone_sets[:half], topology, share_roots[:half], first_pdf
    )
    no, last = stub_tree(central_position, phone_sets[half:], topology, share_roots[half:], middle)
    values = frozenset(phone for phones in phone_sets[:half] for phone in phones)
    return Split(central_position, values, yes, no), last


def _class_leaves(phones, topology: HmmTopology, first: int) -> tuple[Node, int]:
    counts = {topology.num_pdf_classes(phone) for phone in phones}
    if len(counts) != 1:
        raise InputError(
            f"phones {' '.join(map(str, phones))} cannot share pdfs: they differ in their "
            "number of states"
        )
    last = first + counts.pop()
    return Table(PDF_CLASS, tuple(range(first, last))), last


def _phone_table(position, phone_sets, topology, share_roots, first) -> tuple[Node, int]:
    branches: dict[int, Node] = {}
    for phones, share in zip(phone_sets, share_roots, strict=True):
        branches[phones[0]], first = stub_tree(position, [phones], topology, [share], first)
    rows = tuple(branches.get(phone) for phone in range(max(branches) + 1))
    return Table(position, rows), first


def map_events(root: Node, events: np.ndarray) -> np.ndarray:
    """The leaves of many events under a node, as `DecisionTree.map_events`."""
    leaves = np.empty(len(events), np.int32)

    def walk(node: Node | None, rows: np.ndarray) -> None:
        if not len(rows):
            return
        if isinstance(node, int):
            leaves[rows] = node
            return
        values = _values(node, events[rows])
        if isinstance(node, Split):
            yes = np.isin(values, list(node.values))
            walk(node.yes, rows[yes])
            walk(node.no, rows[~yes])
        else:
            for value in np.unique(values).tolist():
                walk(node.branch(value), rows[values == value])

    walk(root, np.arange(len(events)))
    return leaves


def _values(node: Node | None, events: np.ndarray) -> np.ndarray:
    """What the events have for the key of a node."""
    values = None if node is None else events[:, node.key + 1]
    if values is None or (values < 0).any():
        raise InputError(
            f"the tree has no pdf for class {events[0, 0]} of phone-in-context "
            f"{events[0, 1:].tolist()}: is the phone in no root, or does a context-independent "
            "phone share a root with others?"
        )
    return values


def _reachable(node: Node | None, event: Mapping[int, int]) -> Iterator[int]:
    """The leaves an event can come to, where it says nothing of some keys."""
    if node is None:
        return
    if isinstance(node, int):
        yield node
        return
    value = event.get(node.key)
    if isinstance(node, Table):
        branches = node.branches if value is None else (node.branch(value),)
    else:
        branches = [
            branch
            for branch, taken in ((node.yes, True), (node.no, False))
            if value is None or (value in node.values) == taken
        ]
    for branch in branches:
        yield from _reachable(branch, event)


def _read_node(reader: KaldiReader, depth: int = 0) -> Node | None:
    if depth > _MAX_DEPTH:
        raise reader.fail(f"a tree of more than {_MAX_DEPTH} levels")
    kind = reader.expect("CE", "SE", "TE", "NULL")
    if kind == "CE":
        return _read_leaf(reader)
    if kind == "NULL":
        return None
    key = reader.integer()
    if kind == "TE":
        return _read_table(reader, key, depth)
    values = frozenset(reader.integers().tolist())
    reader.expect("{")
    yes, no = _read_node(reader, depth + 1), _read_node(reader, depth + 1)
    reader.expect("}")
    if yes is None or no is None:
        raise reader.fail("a question of the tree without both answers")
    return Split(key, values, yes, no)


def _read_leaf(reader: KaldiReader) -> int:
    leaf = reader.integer()
    if leaf < 0:
        raise reader.fail(f"a leaf of the tree is pdf {leaf}")
    return leaf


def _read_table(reader: KaldiReader, key: int, depth: int) -> Table:
    size = reader.integer()
    reader.expect("(")
    branches = tuple(_read_node(reader, depth + 1) for _ in range(size))
    reader.expect(")")
    return Table(key, branches)


def _write_node(node: Node | None, writer: KaldiWriter) -> None:
    if node is None:
        writer.token("NULL")
    elif isinstance(node, int):
        writer.token("CE")
        writer.integer(node)
    elif isinstance(node, Table):
        _write_table(node, writer)
    else:
        writer.token("SE")
        writer.integer(node.key)
        writer.integers(sorted(node.values))
        writer.token("{")
        _write_node(node.yes, writer)
        _write_node(node.no, writer)
        writer.token("}")
        writer.line_end()


def _write_table(table: Table, writer: KaldiWriter) -> None:
    writer.token("TE")
    writer.integer(table.key)
    writer.unsigned(len(table.branches))
    writer.token("(")
    for branch in table.branches:
        _write_node(branch, writer)
    writer.token(")")
    writer.line_end()
