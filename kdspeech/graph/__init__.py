"""Language side: n-gram models and the grammar G."""

from kdspeech.graph.grammar import arpa_to_fst
from kdspeech.graph.ngram import NgramLM

__all__ = ["NgramLM", "arpa_to_fst"]
