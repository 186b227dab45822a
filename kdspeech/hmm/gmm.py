"""Mixtures of diagonal Gaussians, those of all pdfs packed one after the other."""

import logging
import math
from collections.abc import Sequence

import numpy as np

from kdspeech.features.gaussians import log_likelihoods
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiReader, KaldiWriter

log = logging.getLogger(__name__)


class DiagGmms:
    """The Gaussian mixtures of all pdfs (Kaldi's AmDiagGmm).

    Gaussian g of pdf p is row offsets[p] + g of every array. Kept as Kaldi keeps them, so that a
    file read and written again is the same.

    Args:
        offsets: int32 (num_pdfs + 1,).
        weights: float32 (G,).
        means_invvars: float32 (G, D), means times inverse variances.
        inv_vars: float32 (G, D), inverse variances.
        gconsts: float32 (G,), the part of the log-likelihood that no feature changes; computed
            if not given.
    """

    def __init__(self, offsets, weights, means_invvars, inv_vars, gconsts=None):
        self.offsets = np.ascontiguousarray(offsets, dtype=np.int32)
        self.weights = np.ascontiguousarray(weights, dtype=np.float32)
        self.means_invvars = np.ascontiguousarray(means_invvars, dtype=np.float32)
        self.inv_vars = np.ascontiguousarray(inv_vars, dtype=np.float32)
        self._check()
        self.gconsts = np.ascontiguousarray(
            self._compute_gconsts() if gconsts is None else gconsts, dtype=np.float32
        )

    @classmethod
    def from_moments(cls, offsets, weights, means, variances) -> "DiagGmms":
        """From means and variances, (G, D), in the precision they come."""
        inv_vars = 1.0 / np.asarray(variances, dtype=np.float64)
        return cls(offsets, weights, means * inv_vars, inv_vars)

    @property
    def num_pdfs(self) -> int:
        """Number of pdfs."""
        return len(self.offsets) - 1

    @property
    def num_gaussians(self) -> int:
        """Number of Gaussians of all pdfs together."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """Dimension of the features."""
        return self.inv_vars.shape[1]

    @property
    def sizes(self) -> np.ndarray:
        """Number of Gaussians of each pdf, int32 (num_pdfs,)."""
        return np.diff(self.offsets)

    @property
    def variances(self) -> np.ndarray:
        """Variances, float64 (G, D)."""
        return 1.0 / self.inv_vars.astype(np.float64)

    @property
    def means(self) -> np.ndarray:
        """Means, float64 (G, D)."""
        return self.means_invvars / self.inv_vars.astype(np.float64)

    def _check(self) -> None:
        shape = (self.num_gaussians, self.dim) if self.inv_vars.ndim == 2 else None
        if shape is None or self.means_invvars.shape != shape or not shape[0]:
            raise InputError(
                f"Gaussians with weights {self.weights.shape}, means {self.means_invvars.shape} "
                f"and variances {self.inv_vars.shape}"
            )
        if len(self.offsets) < 2 or self.offsets[0] or self.offsets[-1] != self.num_gaussians:
            raise InputError("offsets of pdfs that do not cover the Gaussians")
        if np.any(np.diff(self.offsets) < 1):
            raise InputError(f"pdf {int(np.argmin(np.diff(self.offsets)))} has no Gaussian")
        if not (np.all(np.isfinite(self.means_invvars)) and np.all(np.isfinite(self.inv_vars))):
            raise InputError("means or variances of Gaussians that are NaN or infinite")
        if np.any(self.inv_vars <= 0) or not np.all(self.weights >= 0):
            raise InputError("Gaussians with variances or weights that are not positive")

    def _compute_gconsts(self) -> np.ndarray:
        inv_vars, scaled = self.inv_vars.astype(np.float64), self.means_invvars.astype(np.float64)
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights.astype(np.float64))
        norm = np.log(inv_vars) - scaled * scaled / inv_vars - math.log(2 * math.pi)
        return log_weights + 0.5 * norm.sum(axis=1)

    def log_likelihoods(
        self,
        feats: np.ndarray,
        pdfs: Sequence[int] | None = None,
        name: str = "features",
        num_threads: int = 1,
    ) -> np.ndarray:
        """Natural-log likelihoods of frames given pdfs, float32 (frames, pdfs).

        Args:
            feats: (frames, dim).
            pdfs: pdf ids of the columns; all if not given.
            name: the utterance, for messages.
            num_threads: threads to use.
        Raises:
            InputError: no frames, or features of another dimension or not finite; names the
                utterance.
        """
        return log_likelihoods(feats, self, pdfs, num_threads=num_threads, name=name)

    @classmethod
    def read_from(cls, reader: KaldiReader) -> "DiagGmms":
        """Reads the object where the reader stands; InputError names the file and the place."""
        reader.expect("<DIMENSION>")
        dim = reader.integer()
        reader.expect("<NUMPDFS>")
        count = reader.integer()
        if dim < 1 or count < 1:
            raise reader.fail(f"a model of {count} pdfs and dimension {dim}")
        parts = [_read_mixture(reader, dim) for _ in range(count)]
        gconsts, weights, means_invvars, inv_vars = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        offsets = np.concatenate([[0], np.cumsum([len(part[1]) for part in parts])])
        try:
            gmms = cls(offsets, weights, means_invvars, inv_vars)
        except InputError as error:
            raise reader.fail(str(error)) from error
        if np.allclose(gmms.gconsts, gconsts, rtol=1e-3, atol=1e-2):
            gmms.gconsts = np.array(gconsts, dtype=np.float32)  # to the last digit
        else:
            log.warning("%s: its gconsts do not fit its Gaussians; computed anew", reader.name)
        return gmms

    def write_to(self, writer: KaldiWriter) -> None:
        """Adds the object to a file."""
        writer.token("<DIMENSION>")
        writer.integer(self.dim)
        writer.token("<NUMPDFS>")
        writer.integer(self.num_pdfs)
        for first, last in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            self._write_mixture(writer, slice(int(first), int(last)))

    def _write_mixture(self, writer: KaldiWriter, rows: slice) -> None:
        writer.token("<DiagGMM>")
        writer.line_end()
        writer.token("<GCONSTS>")
        writer.vector(self.gconsts[rows])
        writer.token("<WEIGHTS>")
        writer.vector(self.weights[rows])
        writer.token("<MEANS_INVVARS>")
        writer.matrix(self.means_invvars[rows])
        writer.token("<INV_VARS>")
        writer.matrix(self.inv_vars[rows])
        writer.token("</DiagGMM>")
        writer.line_end()


def _read_mixture(reader: KaldiReader, dim: int) -> tuple[np.ndarray, ...]:
    reader.expect("<DiagGMM>", "<DiagGMMBegin>")
    start = reader.position
    gconsts = None
    if reader.expect("<GCONSTS>", "<WEIGHTS>") == "<GCONSTS>":
        gconsts = reader.vector()
        reader.expect("<WEIGHTS>")
    weights = reader.vector()
    reader.expect("<MEANS_INVVARS>")
    means_invvars = reader.matrix()
    reader.expect("<INV_VARS>")
    inv_vars = reader.matrix()
    reader.expect("</DiagGMM>", "<DiagGMMEnd>")
    shape = (len(weights), dim)
    if means_invvars.shape != shape or inv_vars.shape != shape or not len(weights):
        raise reader.fail(
            f"a mixture of {len(weights)} weights, means {means_invvars.shape} and variances "
            f"{inv_vars.shape} in a model of dimension {dim}",
            start,
        )
    if gconsts is None or len(gconsts) != len(weights):
        raise reader.fail("a mixture without its gconsts", start)
    return gconsts, weights, means_invvars, inv_vars
