"""Kaldi's decoding cases, as several tests need them."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from kdspeech.decode import Graph

SYSTEMS = ("mono", "tri3b")


class System:
    """Graph, tid_to_pdf and log-likelihoods of one of the golden systems."""

    def __init__(self, golden: Path, name: str):
        self.graph_path = golden / "lattice" / f"HCLG.{name}.fst"
        self.graph = Graph.read(self.graph_path)
        pdfs = np.load(golden / "gmm" / "gmm.npz")[f"transitions/{name}/pdf"]
        self.tid_to_pdf = np.concatenate([[-1], pdfs]).astype(np.int32)
        arrays = np.load(golden / "lattice" / "lattice.npz")
        prefix = f"loglikes/{name}/"
        self.loglikes = {
            key[len(prefix) :]: arrays[key] for key in arrays.files if key.startswith(prefix)
        }


@lru_cache(maxsize=2)
def system(golden: Path, name: str) -> System:
    return System(golden, name)


@lru_cache(maxsize=1)
def _files(golden: Path) -> tuple[list[dict], dict]:
    cases = json.loads((golden / "cases.json").read_text())["lattice"]["cases"]
    return cases, json.loads((golden / "lattice" / "results.json").read_text())


def decoding_cases(golden: Path, name: str, kind: str):
    """(case, utterance, Kaldi's best path) where Kaldi found what an unpruned search finds, of the
    utterances that there are log-likelihoods of."""
    cases, results = _files(golden)
    known = system(golden, name).loglikes
    for case in cases:
        if not case["id"].startswith(f"{name}_{kind}_"):
            continue
        for utterance, same in case["same_path_as_beam_1000"].items():
            if same and utterance in known:
                yield case, utterance, results[case["id"]][utterance]
