"""Language side: n-gram models, the grammar G, the lexicon, the lang directory, graphs."""

from kdspeech.graph.grammar import arpa_to_fst
from kdspeech.graph.lang import Lang
from kdspeech.graph.lexicon import Lexicon
from kdspeech.graph.make_graph import make_graph
from kdspeech.graph.ngram import NgramLM
from kdspeech.graph.prepare_lang import prepare_lang
from kdspeech.graph.training_graphs import TrainingGraphs

__all__ = [
    "Lang",
    "Lexicon",
    "NgramLM",
    "TrainingGraphs",
    "arpa_to_fst",
    "make_graph",
    "prepare_lang",
]
