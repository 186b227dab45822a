"""The mixtures of a Kaldi binary model, by a few lines that share nothing with the package."""

import struct

import numpy as np

from kdspeech.features import Gaussians


def read_gaussians(path) -> Gaussians:
    data = path.read_bytes()
    arrays = {tag: list(_matrices(data, tag)) for tag in ("GCONSTS", "MEANS_INVVARS", "INV_VARS")}
    counts = [len(means) for means in arrays["MEANS_INVVARS"]]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Gaussians(offsets, *(np.concatenate(arrays[tag]) for tag in arrays))


def _matrices(data: bytes, tag: str):
    """Every float vector or matrix that stands behind <tag>."""
    mark, at = f"<{tag}> F".encode(), 0
    while (at := data.find(mark, at) + len(mark)) >= len(mark):
        dims = 1 if data[at : at + 1] == b"V" else 2
        shape = struct.unpack("<" + "bi" * dims, data[at + 2 : at + 2 + 5 * dims])[1::2]
        yield np.frombuffer(data, "<f4", int(np.prod(shape)), at + 2 + 5 * dims).reshape(shape)
