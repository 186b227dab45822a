"""HMM topologies: the states of each phone, their classes and initial transitions."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter

NO_PDF = -1  # the class of a state that emits nothing


@dataclass(frozen=True)
class HmmState:
    """One state: the class of its frames and its (next state, probability) transitions.

    The two classes differ only in models of the "chain" kind, where the self-loop has its own.
    """

    pdf_class: int
    self_loop_pdf_class: int
    transitions: tuple[tuple[int, float], ...]


Entry = tuple[HmmState, ...]


class HmmTopology:
    """The topology of every phone, as in Kaldi's `topo` file.

    Args:
        entries: the different topologies; the last state of each is final and emits nothing.
        phone_entry: phone id to index of its entry.
        name: what to call it in messages.
    Raises:
        InputError: a topology that makes no sense.
    """

    def __init__(
        self, entries: Iterable[Entry], phone_entry: Mapping[int, int], name: str = "topology"
    ):
        self.entries = tuple(entries)
        self.phone_entry = dict(sorted(phone_entry.items()))
        self.phones = list(self.phone_entry)
        self._check(name)

    def __eq__(self, other) -> bool:
        return (
            isinstance(other, HmmTopology)
            and self.entries == other.entries
            and self.phone_entry == other.phone_entry
        )

    __hash__ = None

    def entry(self, phone: int) -> Entry:
        """The states of a phone; InputError names a phone without topology."""
        try:
            return self.entries[self.phone_entry[phone]]
        except KeyError:
            raise InputError(f"phone {phone} has no topology") from None

    def num_pdf_classes(self, phone: int) -> int:
        """How many classes of frames a phone has."""
        states = self.entry(phone)
        return 1 + max(max(s.pdf_class, s.self_loop_pdf_class) for s in states)

    def is_hmm(self) -> bool:
        """Whether self-loops have no pdf of their own."""
        return all(s.pdf_class == s.self_loop_pdf_class for e in self.entries for s in e)

    def _check(self, name: str) -> None:
        if not self.phones or self.phones[0] < 1:
            raise InputError(f"{name}: a topology needs phones, with ids from 1")
        for phone, index in self.phone_entry.items():
            if not 0 <= index < len(self.entries):
                raise InputError(f"{name}: phone {phone} has no topology")
        for states in self.entries:
            _check_states(states, name)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "HmmTopology":
        """Reads Kaldi's `topo` file, text or binary; InputError names the file and the place."""
        reader = KaldiReader.open(path)
        topology = cls.read_from(reader)
        reader.finish()
        return topology

    @classmethod
    def parse(cls, text: str, name: str = "topology") -> "HmmTopology":
        """The topology that the text of a `topo` file describes."""
        return cls.read_from(KaldiReader(text.encode(), name))

    @classmethod
    def read_from(cls, reader: KaldiReader) -> "HmmTopology":
        """Reads the object where the reader stands."""
        reader.expect("<Topology>")
        read = _read_binary if reader.binary else _read_text
        entries, phone_entry = read(reader)
        return cls(entries, phone_entry, reader.name)

    def write(self, path: str | os.PathLike, binary: bool = False) -> None:
        """Writes a `topo` file, as text unless asked otherwise."""
        writer = KaldiWriter(binary)
        self.write_to(writer)
        writer.write(path)

    def write_to(self, writer: KaldiWriter) -> None:
        """Adds the object to a file."""
        writer.token("<Topology>")
        if writer.binary:
            _write_binary(self, writer)
        else:
            _write_text(self, writer)
        writer.token("</Topology>")
        writer.line_end()


def default_topology(
    silence: Iterable[int],
    nonsilence: Iterable[int],
    num_silence_states: int = 5,
    num_nonsilence_states: int = 3,
) -> HmmTopology:
    """Kaldi's usual topology (utils/gen_topo.pl).

    Phones go left to right with self-loops of 0.75; silence enters at its first state, leaves
    from its last and moves freely between the states in the middle.

    Args:
        silence, nonsilence: phone ids.
        num_silence_states, num_nonsilence_states: emitting states.
    """
    nonsilence, silence = list(nonsilence), list(silence)
    entries = [_left_to_right(num_nonsilence_states)] if nonsilence else []
    phone_entry = dict.fromkeys(nonsilence, 0)
    if silence:
        phone_entry |= dict.fromkeys(silence, len(entries))
        entries.append(_free_middle(num_silence_states))
    return HmmTopology(entries, phone_entry)


def _left_to_right(count: int) -> Entry:
    return (*(_state(i, [(i, 0.75), (i + 1, 0.25)]) for i in range(count)), _state(NO_PDF, []))


def _free_middle(count: int) -> Entry:
    if count < 3:
        return _left_to_right(count)
    last, share = count - 1, 1 / (count - 1)
    states = [_state(0, [(j, share) for j in range(last)])]
    states += [_state(i, [(j, share) for j in range(1, count)]) for i in range(1, last)]
    return (*states, _state(last, [(last, 0.75), (count, 0.25)]), _state(NO_PDF, []))


def _state(pdf_class: int, transitions) -> HmmState:
    return HmmState(pdf_class, pdf_class, tuple(transitions))


def _check_states(states: Entry, name: str) -> None:
    last = len(states) - 1
    if last < 1 or states[last].transitions or states[last].pdf_class != NO_PDF:
        raise InputError(f"{name}: the last state of a topology is final: no class, no transition")
    reached = {0}
    for number, state in enumerate(states[:last]):
        if (state.pdf_class < 0) != (state.self_loop_pdf_class < 0):
            raise InputError(f"{name}: state {number} has a class only in one direction")
        total = sum(probability for _, probability in state.transitions)
        if not 0.99 < total < 1.01:
            raise InputError(f"{name}: the transitions of state {number} sum to {total:g}, not 1")
        for target, probability in state.transitions:
            if not 0 <= target <= last or probability <= 0 or (target == last and last == number):
                raise InputError(f"{name}: state {number} has a transition that is not possible")
            if target == number and state.pdf_class == NO_PDF:
                raise InputError(f"{name}: state {number} emits nothing and has a self-loop")
            reached.add(target)
    if len(reached) <= last:
        raise InputError(f"{name}: state {min(set(range(last + 1)) - reached)} is never reached")
    classes = {c for s in states for c in (s.pdf_class, s.self_loop_pdf_class)} - {NO_PDF}
    if classes != set(range(len(classes))) or not classes:
        raise InputError(f"{name}: the classes of a topology are 0, 1, ... without gaps")


def _read_binary(reader: KaldiReader):
    phones, phone_index = reader.integers().tolist(), reader.integers().tolist()
    if phones and not 0 < min(phones) <= max(phones) < len(phone_index):
        raise reader.fail("a topology whose list of phones is damaged")
    count = reader.integer()
    chain = count == -1
    if chain:
        count = reader.integer()
    entries = [
        tuple(_read_binary_state(reader, chain) for _ in range(reader.integer()))
        for _ in range(count)
    ]
    reader.expect("</Topology>")
    return entries, {phone: phone_index[phone] for phone in phones}


def _read_binary_state(reader: KaldiReader, chain: bool) -> HmmState:
    forward = reader.integer()
    self_loop = reader.integer() if chain else forward
    count = reader.integer()
    return HmmState(
        forward, self_loop, tuple((reader.integer(), reader.real()) for _ in range(count))
    )


def _read_text(reader: KaldiReader):
    entries, phone_entry = [], {}
    while reader.expect("<TopologyEntry>", "</Topology>") == "<TopologyEntry>":
        reader.expect("<ForPhones>")
        while reader.peek() != "</ForPhones>":
            phone = reader.integer()
            if phone in phone_entry:
                raise reader.fail(f"phone {phone} has two topologies")
            phone_entry[phone] = len(entries)
        reader.token()
        entries.append(_read_text_states(reader))
    return entries, phone_entry


def _read_text_states(reader: KaldiReader) -> Entry:
    states: list[HmmState] = []
    while reader.expect("<State>", "</TopologyEntry>") == "<State>":
        if reader.integer() != len(states):
            raise reader.fail(f"states are numbered 0, 1, ...; {len(states)} was expected")
        states.append(_read_text_state(reader))
    return tuple(states)


def _read_text_state(reader: KaldiReader) -> HmmState:
    forward = self_loop = NO_PDF
    token = reader.token()
    if token == "<PdfClass>":
        forward = self_loop = reader.integer()
        token = reader.token()
    elif token == "<ForwardPdfClass>":
        forward = reader.integer()
        reader.expect("<SelfLoopPdfClass>")
        self_loop = reader.integer()
        token = reader.token()
    transitions = []
    while token == "<Transition>":
        transitions.append((reader.integer(), reader.real()))
        token = reader.token()
    if token != "</State>":
        raise reader.fail(f"expected </State>, found {token[:30]!r}")
    return HmmState(forward, self_loop, tuple(transitions))


def _write_binary(topology: HmmTopology, writer: KaldiWriter) -> None:
    index = [topology.phone_entry.get(phone, -1) for phone in range(topology.phones[-1] + 1)]
    writer.integers(topology.phones)
    writer.integers(index)
    chain = not topology.is_hmm()
    if chain:
        writer.integer(-1)
    writer.integer(len(topology.entries))
    for states in topology.entries:
        writer.integer(len(states))
        for state in states:
            writer.integer(state.pdf_class)
            if chain:
                writer.integer(state.self_loop_pdf_class)
            writer.integer(len(state.transitions))
            for target, probability in state.transitions:
                writer.integer(target)
                writer.real(probability)


def _write_text(topology: HmmTopology, writer: KaldiWriter) -> None:
    writer.line_end()
    for index, states in enumerate(topology.entries):
        for word in ("<TopologyEntry>", "<ForPhones>"):
            writer.token(word)
            writer.line_end()
        for phone in topology.phones:
            if topology.phone_entry[phone] == index:
                writer.integer(phone)
        writer.line_end()
        writer.token("</ForPhones>")
        writer.line_end()
        for number, state in enumerate(states):
            _write_text_state(writer, number, state)
        writer.token("</TopologyEntry>")
        writer.line_end()


def _write_text_state(writer: KaldiWriter, number: int, state: HmmState) -> None:
    writer.token("<State>")
    writer.integer(number)
    if state.pdf_class != state.self_loop_pdf_class:
        writer.token("<ForwardPdfClass>", str(state.pdf_class))
        writer.token("<SelfLoopPdfClass>", str(state.self_loop_pdf_class))
    elif state.pdf_class != NO_PDF:
        writer.token("<PdfClass>", str(state.pdf_class))
    for target, probability in state.transitions:
        writer.token("<Transition>", str(target))
        writer.real(probability)
    writer.token("</State>")
    writer.line_end()
