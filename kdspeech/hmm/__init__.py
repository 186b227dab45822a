"""HMM-GMM models: topology, decision tree, transitions, Gaussian mixtures; Kaldi's files."""

from kdspeech.hmm.gmm import DiagGmms
from kdspeech.hmm.model import (
    AcousticModel,
    ReadModel,
    ScoringModel,
    SpeakerModel,
    check_adapted,
    read_gmm,
)
from kdspeech.hmm.topology import HmmTopology, default_topology
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import DecisionTree

__all__ = [
    "AcousticModel",
    "DecisionTree",
    "DiagGmms",
    "HmmTopology",
    "ReadModel",
    "ScoringModel",
    "SpeakerModel",
    "TransitionModel",
    "check_adapted",
    "default_topology",
    "read_gmm",
]
