"""Language side: n-gram models, the grammar G, the lexicon and the lang directory."""

from kdspeech.graph.grammar import arpa_to_fst
from kdspeech.graph.lang import Lang
from kdspeech.graph.lexicon import Lexicon
from kdspeech.graph.ngram import NgramLM
from kdspeech.graph.prepare_lang import prepare_lang
from kdspeech.graph.training_graphs import TrainingGraphs

__all__ = ["Lang", "Lexicon", "NgramLM", "TrainingGraphs", "arpa_to_fst", "prepare_lang"]
