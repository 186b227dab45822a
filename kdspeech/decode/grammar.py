"""Language models for rescoring lattices."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kdspeech import _core
from kdspeech.graph.grammar import make_grammar
from kdspeech.graph.ngram import NgramLM
from kdspeech.graph.symbols import DISAMBIG
from kdspeech.io.errors import InputError
from kdspeech.io.fst import Fst

_CORE = _core.decode


class Grammar:
    """A back-off language model, made ready for `Lattice.rescore_lm`.

    Args:
        fst: G as a transducer; arcs are back-off arcs where they read `backoff` or epsilon.
        backoff: id of #0 (Lang.word_disambig); 0 where back-off arcs read epsilon.
    Raises:
        InputError: not the grammar of a back-off model.
    """

    def __init__(self, fst: Fst, backoff: int):
        arcs = np.empty(len(fst.arcs), _CORE.GRAMMAR_ARC_DTYPE)
        arcs["word"], arcs["next"], arcs["cost"] = (
            fst.arcs[name] for name in ("ilabel", "next", "cost")
        )
        offsets = np.ascontiguousarray(fst.offsets, dtype=np.int64)
        finals = np.ascontiguousarray(fst.finals, dtype=np.float32)
        self.core = _CORE.Grammar(offsets, arcs, finals, fst.start, backoff)

    @classmethod
    def read(cls, path: str | os.PathLike, backoff: int) -> "Grammar":
        """Reads a G.fst."""
        return cls(Fst.read(path), backoff)

    @classmethod
    def load(cls, path: str | os.PathLike, words: Mapping[str, int]) -> "Grammar":
        """Reads a G.fst by its name's ending, else an ARPA file.

        Args:
            words: word -> id, of the lattices' words.txt.
        """
        if DISAMBIG not in words:
            raise InputError(f"words.txt has no {DISAMBIG}, which {path} needs")
        if Path(path).suffix == ".fst":
            return cls.read(path, words[DISAMBIG])
        return cls.from_lm(NgramLM.read_arpa(path), words)

    @classmethod
    def from_lm(cls, lm: NgramLM, words: Mapping[str, int]) -> "Grammar":
        """The grammar of a model; n-grams with words that `words` lacks are left out."""
        return cls(make_grammar(lm, words), words[DISAMBIG])
