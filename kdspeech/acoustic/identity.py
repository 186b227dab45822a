"""What networks, trees and packs are recognised by when they have to belong together."""

import os
from pathlib import Path

import numpy as np

from kdspeech.acoustic.network import CONFIG, WEIGHTS
from kdspeech.data.frames import FramePack
from kdspeech.hmm import TransitionModel
from kdspeech.io.errors import InputError
from kdspeech.io.hashing import fingerprint

_SAMPLED = 1000  # frames that stand for all in a pack's id


def tree_id(exp: str | os.PathLike) -> str:
    """Of a directory's `tree` and of the states in its final.mdl; their probabilities may change.

    Raises:
        InputError: one of the two is missing or damaged.
    """
    exp = Path(exp)
    states = TransitionModel.read(exp / "final.mdl").tuples
    return fingerprint(_content(exp / "tree") + states.astype("<i4").tobytes())


def network_id(exp: str | os.PathLike) -> str:
    """Of a network's weights and description; InputError where the directory holds none."""
    return fingerprint(_content(Path(exp) / WEIGHTS) + _content(Path(exp) / CONFIG))


def pack_id(pack: FramePack) -> str:
    """Of a pack's utterances, their lengths and a sample of the frames."""
    count = len(pack.feats)
    some = np.linspace(0, count - 1, min(count, _SAMPLED)).astype(np.int64)
    names = repr((pack.utts, pack.dim)).encode()
    return fingerprint(names + pack.offsets.astype("<i8").tobytes() + pack.feats[some].tobytes())


def check_same_tree(exp: str | os.PathLike, reference: str | os.PathLike) -> None:
    """Refuses a network whose outputs are not the pdfs of `reference` (a network's or an
    alignment's directory).

    Raises:
        InputError: another number of pdfs, another tree, or files that are missing.
    """
    pdfs, expected = (
        TransitionModel.read(Path(folder) / "final.mdl").num_pdfs for folder in (exp, reference)
    )
    if pdfs != expected:
        raise InputError(
            f"{exp}: has another tree than {reference}: {pdfs} pdfs, {expected} there "
            "(train it on alignments of the same system)"
        )
    if tree_id(exp) != tree_id(reference):
        raise InputError(
            f"{exp}: has another tree than {reference}, with as many pdfs "
            "(train it on alignments of the same system)"
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
