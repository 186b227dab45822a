"""Utterances with lattices, packed: what all sequence losses have in common."""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kdspeech.decode.lattice import Lattice
from kdspeech.decode.lattice_paths import Path, add_paths, contains
from kdspeech.decode.posteriors import (
    LatticeSums,
    TidTables,
    add_distillation_gradients,
    add_lattice_gradients,
)
from kdspeech.io.errors import InputError

MISSING = ("keep", "add", "skip")


@dataclass
class SequenceReport:
    """What became of the utterances; calls add to it. A loss that is given one skips what it
    cannot use and notes it here; without one such an utterance is an error.

    Attributes:
        utterances, frames: used.
        value: sum of the criterion over them: log posterior probabilities (MMI), right frames
            (sMBR, MPFE), expected log posterior probabilities (sequence KD).
        dropped_frames: without gradient, as the reference's pdf is not in the lattice (MMI).
        added: lattices that the reference was added to.
        skipped: (number in the call, reason).
    """

    utterances: int = 0
    frames: int = 0
    value: float = 0.0
    dropped_frames: int = 0
    added: int = 0
    skipped: list[tuple[int, str]] = field(default_factory=list)


class LatticeBatch:
    """The utterances of a call that can be used, and sums over their lattices.

    Args: as of the losses.
    Attributes:
        values: the scores, float32 (total_frames, pdfs) on the CPU.
        rows: a slice of it for each utterance in use.
        lattices, alignments: theirs; alignments are int32 arrays, or none where not given.
        divisor: of sums over the frames, by `reduction`: how many those are, or 1.
    """

    def __init__(
        self,
        scores: Tensor,
        lattices: Lattice | Sequence[Lattice],
        tables: TidTables,
        alignments: np.ndarray | Sequence[np.ndarray] | None,
        offsets: Sequence[int] | None,
        missing: str,
        report: SequenceReport | None,
        reduction: str,
    ):
        if reduction not in ("mean", "sum"):
            raise ValueError(f'reduction must be "mean" or "sum", got {reduction!r}')
        if missing not in MISSING:
            raise ValueError(f"missing must be one of {', '.join(MISSING)}, got {missing!r}")
        self.scores, self.values, self.tables = scores, to_numpy(scores), tables
        self.strict, self.report = report is None, report or SequenceReport()
        lattices = [lattices] if isinstance(lattices, Lattice) else list(lattices)
        alignments = _alignments(alignments, len(lattices))
        offsets = _offsets(offsets, lattices, alignments, len(self.values))
        self.lattices, self.alignments, self.rows, self.numbers = [], [], [], []
        for number, lattice in enumerate(lattices):
            alignment = None if alignments is None else alignments[number]
            rows = slice(int(offsets[number]), int(offsets[number + 1]))
            self._use(number, lattice, alignment, rows, missing)
        frames = sum(rows.stop - rows.start for rows in self.rows)
        self.divisor = max(frames, 1) if reduction == "mean" else 1
        self.report.utterances += len(self.rows)
        self.report.frames += frames

    def _use(self, number, lattice, alignment, rows, missing) -> None:
        problem = _problem(lattice, alignment, rows.stop - rows.start)
        if not problem and missing != "keep" and alignment is not None:
            lattice, problem = self._with_reference(lattice, alignment, missing)
        if problem and self.strict:
            raise InputError(f"utterance {number} of the batch: {problem}")
        if problem:
            self.report.skipped.append((number, problem))
            return
        self.lattices.append(lattice)
        self.rows.append(rows)
        self.numbers.append(number)
        if alignment is not None:
            self.alignments.append(alignment)

    def _with_reference(self, lattice, alignment, missing) -> tuple[Lattice, str]:
        if contains(lattice, alignment, self.tables.tid_to_pdf):
            return lattice, ""
        if missing == "skip":
            return lattice, "the reference is not in the lattice"
        self.report.added += 1
        return _add_reference(lattice, alignment), ""

    def add_gradients(self, gradient: np.ndarray, **options) -> LatticeSums:
        """Adds to `gradient`, packed as the values, what `add_lattice_gradients` does."""
        with self._named_errors():
            return add_lattice_gradients(
                self._split(gradient),
                self.lattices,
                self.tables,
                self.alignments or None,
                loglikes=self._split(self.values),
                **options,
            )

    def add_distillation(
        self, gradient: np.ndarray, teachers: Sequence[tuple[Tensor, float]], **options
    ) -> float:
        """The same with `add_distillation_gradients`, of teachers' scores and weights."""
        with self._named_errors():
            values = add_distillation_gradients(
                self._split(gradient),
                self.lattices,
                self.tables,
                self._split(self.values),
                [self._split(to_numpy(scores)) for scores, _ in teachers],
                [weight for _, weight in teachers],
                **options,
            )
        return values.sum()

    def _split(self, packed: np.ndarray) -> list[np.ndarray]:
        return [packed[rows] for rows in self.rows]

    @contextmanager
    def _named_errors(self):
        try:
            yield
        except InputError as error:
            used = ", ".join(map(str, self.numbers))
            raise InputError(f"utterances {used}: {error}") from None

    def references(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of all frames in use and the pdfs of the references there, int64."""
        if not self.rows:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows = np.concatenate([np.arange(r.start, r.stop) for r in self.rows])
        tids, table = np.concatenate(self.alignments), self.tables.tid_to_pdf
        if tids.min() < 1 or tids.max() >= len(table):
            raise InputError("alignment: a transition id that is not in the model")
        pdfs = table[tids].astype(np.int64)
        if pdfs.max() >= self.values.shape[1]:
            raise InputError(
                f"alignment: pdf {pdfs.max()} is not among the {self.values.shape[1]} of the scores"
            )
        return rows, pdfs

    def loss(self, value: float, gradient: np.ndarray) -> Tensor:
        """The scalar -value / divisor, of a sum over the frames, with this gradient."""
        self.report.value += value
        tensor = torch.from_numpy(gradient).to(self.scores.device, self.scores.dtype)
        return _KnownGradient.apply(self.scores, -value / self.divisor, tensor)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """-log softmax(logits) of the references' pdfs, over the frames in use."""
        if logits.shape != self.scores.shape:
            raise ValueError(
                f"logits must be as the scores, {tuple(self.scores.shape)}, got "
                f"{tuple(logits.shape)}"
            )
        rows, pdfs = (torch.from_numpy(x).to(logits.device) for x in self.references())
        return F.cross_entropy(logits[rows].float(), pdfs, reduction="sum") / self.divisor


class _KnownGradient(torch.autograd.Function):
    """A value of the scores that was computed elsewhere, with its gradient."""

    @staticmethod
    def forward(ctx, scores: Tensor, value: float, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        dtype = torch.promote_types(scores.dtype, torch.float32)
        return torch.tensor(value, dtype=dtype, device=scores.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output: Tensor):
        (gradient,) = ctx.saved_tensors
        return (gradient * grad_output).to(gradient.dtype), None, None


def to_numpy(scores: Tensor) -> np.ndarray:
    """float32, C-contiguous, on the CPU; a view where it can be."""
    if scores.dim() != 2:
        raise ValueError(f"scores must be (frames, pdfs), got {tuple(scores.shape)}")
    return scores.detach().to("cpu", torch.float32).contiguous().numpy()


def _alignments(alignments, num: int) -> list[np.ndarray] | None:
    if alignments is None:
        return None
    if isinstance(alignments, np.ndarray) and alignments.ndim == 1 and alignments.dtype != object:
        alignments = [alignments]
    if len(alignments) != num:
        raise ValueError(f"{num} lattices, but {len(alignments)} alignments")
    return [np.ascontiguousarray(alignment, dtype=np.int32) for alignment in alignments]


def _offsets(offsets, lattices, alignments, total: int) -> np.ndarray:
    if offsets is None and len(lattices) == 1:
        return np.array([0, total])
    if offsets is None:
        frames = (
            [lattice.num_frames for lattice in lattices]
            if alignments is None
            else [len(alignment) for alignment in alignments]
        )
        offsets = np.concatenate([[0], np.cumsum(frames)])
    offsets = np.asarray(offsets, dtype=np.int64)
    if (
        len(offsets) != len(lattices) + 1
        or offsets[0] != 0
        or offsets[-1] != total
        or np.any(np.diff(offsets) < 0)
    ):
        raise InputError(
            f"{total} frames of scores do not divide into {len(lattices)} utterances that end at "
            f"{offsets[1:].tolist()}"
        )
    return offsets


def _problem(lattice: Lattice, alignment: np.ndarray | None, frames: int) -> str:
    """Why an utterance cannot be used, or ""."""
    if lattice.num_states == 0 or not np.isfinite(lattice.finals["graph_cost"]).any():
        return "the lattice is empty"
    if lattice.num_frames != frames:
        return f"a lattice of {lattice.num_frames} frames, but scores of {frames}"
    if alignment is not None and len(alignment) != frames:
        return f"an alignment of {len(alignment)} frames, but scores of {frames}"
    return ""


def _add_reference(lattice: Lattice, alignment: np.ndarray) -> Lattice:
    """With the reference as a path of its own, at the graph cost of the lattice's best path."""
    return add_paths(lattice, [Path(alignment, graph_cost=lattice.best_path().graph_cost)])
