"""Lattices as lines of text: their best paths, and the lattices themselves."""

from collections.abc import Iterable, Iterator, Mapping

from kdspeech import _core
from kdspeech.decode.lattice import Lattice
from kdspeech.decode.sweep import spell

Pairs = Iterable[tuple[str, Lattice]]
Words = Mapping[int, str]
"""Word by id: words.txt the other way round."""


def best_path_lines(pairs: Pairs, words: Words, **scales: float) -> Iterator[str]:
    """Lines of Kaldi's `text`: each utterance and the words of its best path.

    Args:
        pairs: utterances and lattices.
        words: Words.
        scales: acoustic_scale, lm_scale and word_ins_penalty of Lattice.best_path.
    Raises:
        InputError: a word that `words` lacks; names the utterance.
    """
    for utterance, lattice in pairs:
        for path in lattice.nbest(1, **scales):  # an empty lattice has none
            yield " ".join([utterance, *spell(path.words.tolist(), words, utterance)]) + "\n"


def nbest_lines(pairs: Pairs, n: int, words: Words, **scales: float) -> Iterator[str]:
    """Lines `utterance-rank graph-cost acoustic-cost word ...`, the best path first.

    Args and Raises: as best_path_lines; costs carry no scale and no penalty.
    """
    for utterance, lattice in pairs:
        for rank, path in enumerate(lattice.nbest(n, **scales), 1):
            costs = f"{path.graph_cost:.4f} {path.acoustic_cost:.4f}"
            said = spell(path.words.tolist(), words, utterance)
            yield " ".join([f"{utterance}-{rank}", costs, *said]) + "\n"


def lattice_lines(pairs: Pairs, words: Words | None = None) -> Iterator[str]:
    """Kaldi's text archive of lattices, a lattice at a time; with `words` as int2sym makes it."""
    for utterance, lattice in pairs:
        text = _core.decode.lattice_entry_bytes(utterance, lattice.core, False).decode()
        yield text if words is None else _spelled(text, words, utterance, lattice.is_compact)


def _spelled(text: str, words: Words, utterance: str, compact: bool) -> str:
    """With words instead of ids; the lines of arcs have one field more than those of states."""
    field, lines = (2 if compact else 3), text.split("\n")
    for number, line in enumerate(lines):
        fields = line.split("\t")
        if len(fields) > field:
            fields[field] = spell([int(fields[field])], words, utterance)[0]
            lines[number] = "\t".join(fields)
    return "\n".join(lines)
