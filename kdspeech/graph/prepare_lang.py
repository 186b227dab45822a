"""The lang directory: what a dictionary directory says, in Kaldi's numbers and transducers."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from kdspeech.graph.lexicon import Lexicon, Pronunciation
from kdspeech.graph.lexicon_fst import add_disambig, lexicon_fst
from kdspeech.graph.symbols import DISAMBIG, EPSILON, number_symbols, write_rows, write_symbols
from kdspeech.hmm.topology import default_topology
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

POSITIONS = {"_B": "begin", "_E": "end", "_I": "internal", "_S": "singleton"}
"""What the suffixes of position-dependent phones say in word_boundary.txt."""

_OURS = (
    *("phones.txt", "words.txt", "oov.txt", "oov.int", "topo", "L.fst", "L_disambig.fst"),
    *("phones", "G.fst"),
)

Variants = Mapping[str, list[str]]
"""The phones of the model that stand for a phone of the dictionary."""


def prepare_lang(
    dict_dir: str | os.PathLike,
    lang_dir: str | os.PathLike,
    oov: str = "<UNK>",
    position_dependent: bool = False,
    sil_prob: float = 0.5,
    share_silence_phones: bool = False,
    num_sil_states: int = 5,
    num_nonsil_states: int = 3,
) -> Path:
    """Makes a lang directory as Kaldi's utils/prepare_lang.sh, with the same numbers in it.

    Args:
        dict_dir: see Lexicon.read.
        lang_dir: made, or replaced as a whole if it holds nothing else: also a G.fst there, which
            has other numbers.
        oov: the word that transcripts' unknown words are taken for.
        position_dependent: tell phones apart by their place in the word (_B, _E, _I, _S).
        sil_prob: probability of silence between words, less than 1.
        share_silence_phones: let all phones of silence share their pdfs.
        num_sil_states, num_nonsil_states: of the topology.
    Returns:
        lang_dir.
    Raises:
        InputError: as Lexicon.read; `oov` is not in the lexicon; an option out of range; lang_dir
            holds other files.
    """
    lexicon = Lexicon.read(dict_dir)
    _check(lexicon, dict_dir, oov, sil_prob, position_dependent)
    variants = _variants(lexicon, position_dependent)
    entries = [_with_positions(e) if position_dependent else e for e in lexicon.entries]
    marked, highest = add_disambig(entries)
    disambig = [f"#{n}" for n in range(highest + 2)]  # the last comes after optional silence
    silence, nonsilence = (_flat(p, variants) for p in (lexicon.silence, lexicon.nonsilence))
    phones = number_symbols([*silence, *nonsilence, *disambig])
    words = number_symbols([*lexicon.words, DISAMBIG, "<s>", "</s>"])
    with atomic_dir(lang_dir, _OURS, [dict_dir]) as folder:
        write_symbols(folder / "phones.txt", phones)
        write_symbols(folder / "words.txt", words)
        write_rows(folder / "oov.txt", [[oov]])
        write_rows(folder / "oov.int", [[words[oov]]])
        ids = ([phones[p] for p in names] for names in (silence, nonsilence))
        default_topology(*ids, num_sil_states, num_nonsil_states).write(folder / "topo")
        sil = lexicon.optional_silence, sil_prob
        _write_lexicons(folder, entries, marked, phones, words, sil)
        lists = {"silence": silence, "nonsilence": nonsilence, "disambig": disambig}
        _write_lists(folder / "phones", lists, lexicon.optional_silence, phones)
        _write_sets(folder / "phones", lexicon, variants, phones, share_silence_phones)
        if position_dependent:
            _write_boundaries(folder / "phones", [*silence, *nonsilence], phones)
    return Path(lang_dir)


def _check(lexicon: Lexicon, dict_dir, oov: str, sil_prob: float, position_dependent: bool) -> None:
    if not any(entry.word == oov for entry in lexicon.entries):
        raise InputError(f"{dict_dir}: the lexicon has no {oov}, the word for unknown words")
    if not 0 <= sil_prob < 1:
        raise InputError(
            f"the probability of silence is at least 0 and less than 1, not {sil_prob}"
        )
    for phone in lexicon.phones if position_dependent else ():
        if phone[-2:] in POSITIONS:
            raise InputError(f"{dict_dir}: the phone {phone} ends like one that tells its position")


def _variants(lexicon: Lexicon, position_dependent: bool) -> Variants:
    if not position_dependent:
        return {phone: [phone] for phone in lexicon.phones}
    variants = {phone: [phone + s for s in POSITIONS] for phone in lexicon.phones}
    for phone in _flat(lexicon.silence):
        variants[phone].insert(0, phone)
    return variants


def _flat(lines: Iterable[Iterable[str]], variants: Variants | None = None) -> list[str]:
    phones = [phone for line in lines for phone in line]
    return [v for phone in phones for v in variants[phone]] if variants else phones


def _with_positions(entry: Pronunciation) -> Pronunciation:
    first, *middle = entry.phones
    if not middle:
        return entry._replace(phones=(first + "_S",))
    *middle, last = middle
    return entry._replace(phones=(first + "_B", *(p + "_I" for p in middle), last + "_E"))


def _write_lexicons(folder: Path, entries, marked, phones, words, sil: tuple[str, float]) -> None:
    """L, L with disambiguation symbols, and the table that lattices are aligned to words with."""
    (folder / "phones").mkdir()
    lexicon_fst(entries, phones, words, *sil).write(folder / "L.fst")
    last_disambig, loop = max(phones.values()), (phones[DISAMBIG], words[DISAMBIG])
    with_disambig = lexicon_fst(marked, phones, words, *sil, last_disambig, [loop])
    with_disambig.write(folder / "L_disambig.fst")
    for name, number in zip(("phones", "words"), loop, strict=True):
        write_rows(folder / f"phones/wdisambig_{name}.int", [[number]])
    _write_align_lexicon(folder / "phones", entries, sil[0], phones, words)


def _write_lists(folder: Path, lists: Mapping[str, list[str]], optional: str, phones) -> None:
    """The lists of single phones, also with colons between for Kaldi's command lines."""
    others = {
        "context_indep": lists["silence"],
        "optional_silence": [optional],
        "wdisambig": [DISAMBIG],
    }
    for name, names in {**lists, **others}.items():
        _write_both(folder, name, [[phone] for phone in names], phones)
        (folder / f"{name}.csl").write_text(":".join(str(phones[p]) for p in names) + "\n")


def _write_both(folder: Path, name: str, rows: list[list[str]], phones, keep: int = 0) -> None:
    """Writes rows of phones as .txt and as .int, but for the first `keep` fields of each."""
    write_rows(folder / f"{name}.txt", rows)
    numbers = ([*row[:keep], *(phones[p] for p in row[keep:])] for row in rows)
    write_rows(folder / f"{name}.int", numbers)


def _write_sets(folder: Path, lexicon: Lexicon, variants: Variants, phones, share: bool) -> None:
    """What the tree is built with: sets of phones, its roots, extra questions."""
    silence = [_flat(lexicon.silence)] if share else lexicon.silence
    sets = [_flat([line], variants) for line in [*silence, *lexicon.nonsilence]]
    roots = [["shared", "split", *names] for names in sets]
    if share:
        roots[0][:2] = ["not-shared", "not-split"]
    questions = [_flat([line], variants) for line in lexicon.extra_questions]
    if any(len(names) > 1 for names in variants.values()):
        nonsilence = _flat(lexicon.nonsilence)
        questions += [[phone + s for phone in nonsilence] for s in POSITIONS]
        questions += [[p + s for p in _flat(lexicon.silence)] for s in ("", *POSITIONS)]
    _write_both(folder, "sets", sets, phones)
    _write_both(folder, "roots", roots, phones, keep=2)
    _write_both(folder, "extra_questions", questions, phones)


def _write_boundaries(folder: Path, names: Iterable[str], phones) -> None:
    rows = [[phone, POSITIONS.get(phone[-2:], "nonword")] for phone in names]
    write_rows(folder / "word_boundary.txt", rows)
    write_rows(folder / "word_boundary.int", ([phones[phone], place] for phone, place in rows))


def _write_align_lexicon(folder: Path, entries, optional: str, phones, words) -> None:
    """A word, the same word for the output, its phones."""
    rows = {(e.word, e.word, *e.phones) for e in entries} | {(EPSILON, EPSILON, optional)}
    rows = sorted(rows, key=" ".join)
    write_rows(folder / "align_lexicon.txt", rows)
    numbers = ([words[a], words[b], *(phones[p] for p in names)] for a, b, *names in rows)
    write_rows(folder / "align_lexicon.int", numbers)
