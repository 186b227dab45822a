"""Statistics a decision tree is built from: frames counted by phone in context and HMM position."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

MISSING = -1  # instead of a neighbour that was not looked at (context-independent phones)
_MERGE_FRAMES = 50_000  # frames kept before they are summed by event


@dataclass
class TreeStats:
    """Gaussian statistics of each event, sorted by event.

    Attributes:
        events: (events, 1 + context width) int32: the pdf class, then the phones of the window,
            0 before and after the utterance, MISSING where the context was not recorded.
        stats: (events, 1 + 2 dim) float64: count, sum, sum of squares.
    """

    events: np.ndarray
    stats: np.ndarray

    def __len__(self) -> int:
        return len(self.events)

    def select(self, rows: np.ndarray) -> "TreeStats":
        return TreeStats(self.events[rows], self.stats[rows])

    @staticmethod
    def merge(parts: "Collection[TreeStats]") -> "TreeStats":
        """The sum of several, as of the splits of a data directory.

        Raises:
            ValueError: none, or of different context or feature dimension.
        """
        events, inverse = np.unique(
            np.concatenate([p.events for p in parts]), axis=0, return_inverse=True
        )
        return TreeStats(
            events, sum_by(inverse.ravel(), np.concatenate([p.stats for p in parts]), len(events))
        )


def sum_by(groups: np.ndarray, rows: np.ndarray, num_groups: int) -> np.ndarray:
    """Sums rows of the same group: (num_groups, columns) float64; groups without rows are 0."""
    out = np.zeros((num_groups, rows.shape[1]))
    if len(groups):
        order = np.argsort(groups, kind="stable")
        present, starts = np.unique(groups[order], return_index=True)
        out[present] = np.add.reduceat(rows[order], starts, axis=0, dtype=np.float64)
    return out


class TreeStatsAccumulator:
    """Collects the statistics of a tree utterance by utterance, in constant memory.

    Args:
        context_width: phones of the window (3 for triphones).
        central_position: where the phone itself is in it, from 0.
        ci_phones: phones whose neighbours are not recorded (silences).
    """

    def __init__(
        self, context_width: int = 3, central_position: int = 1, ci_phones: Collection[int] = ()
    ):
        self._width, self._centre = context_width, central_position
        self._ci = np.array(sorted(ci_phones), dtype=np.int32)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._frames = 0
        self._total: TreeStats | None = None

    def add(
        self, feats: np.ndarray, phones: np.ndarray, lengths: np.ndarray, pdf_classes: np.ndarray
    ) -> None:
        """Adds one utterance.

        Args:
            feats: (frames, dim) float32.
            phones: (segments,) the phones in order.
            lengths: (segments,) frames of each.
            pdf_classes: (frames,) the pdf class each frame is aligned to.
        Raises:
            ValueError: the lengths do not add up to the frames.
        """
        if lengths.sum() != len(feats) or len(pdf_classes) != len(feats):
            raise ValueError(
                f"an alignment of {len(pdf_classes)} frames ({lengths.sum()} in its phones) does "
                f"not fit {len(feats)} frames of features"
            )
        windows = np.repeat(self._windows(phones), lengths, axis=0)
        events = np.concatenate([pdf_classes[:, None], windows], axis=1).astype(np.int32)
        self._waiting.append((events, feats))
        self._frames += len(feats)
        if self._frames >= _MERGE_FRAMES:
            self._flush()

    def _windows(self, phones: np.ndarray) -> np.ndarray:
        """(segments, width): each phone's window; MISSING around context-independent ones."""
        right = self._width - 1 - self._centre
        padded = np.pad(phones, (self._centre, right))
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._width).copy()
        alone = np.isin(phones, self._ci)
        others = np.arange(self._width) != self._centre
        windows[np.ix_(alone, others)] = MISSING
        return windows

    def _flush(self) -> None:
        if not self._waiting:
            return
        events, feats = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        feats = feats.astype(np.float64)
        rows = np.concatenate([np.ones((len(feats), 1)), feats, feats * feats], axis=1)
        new = TreeStats.merge([TreeStats(events, rows)])
        self._total = new if self._total is None else TreeStats.merge([self._total, new])
        self._waiting, self._frames = [], 0

    def result(self) -> TreeStats:
        """The statistics so far.

        Raises:
            ValueError: nothing was added.
        """
        self._flush()
        if self._total is None:
            raise ValueError("no utterance was added: there are no statistics")
        return self._total
