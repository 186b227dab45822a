"""Statistics of a split, in constant memory: blocks of utterances, products over frames by pdf."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from kdspeech.features.front_end import FrontEnd
from kdspeech.features.lda import LdaStats
from kdspeech.features.mllt import MlltStats
from kdspeech.gmm.store import FrameStore
from kdspeech.hmm import AcousticModel, TransitionModel
from kdspeech.hmm.estimate import GmmStatistics
from kdspeech.hmm.tree_stats import TreeStats, TreeStatsAccumulator

_SPLICED_FRAMES = 20_000  # frames of spliced features at a time, which are wide


def gmm_stats(
    folder: Path, model: AcousticModel, feats: str = "feats", summed: str | None = None
) -> GmmStatistics:
    """For the update of a model; `summed` names other features to sum than those of `model`."""
    store = FrameStore(folder)
    arrays = [store.array(feats), store.array(summed or feats)]
    stats = GmmStatistics.zeros(model, arrays[1].shape[1])
    for block in store.blocks():
        frames = store.span(block)
        tids = store.alignment()[frames]
        if not tids.any():
            continue
        used = slice(None) if tids.all() else tids > 0
        own, other = (array[frames][used] for array in arrays)
        stats.add(model, own, tids[used], other)
    return stats


def tree_stats(
    folder: Path, transitions: TransitionModel, ci_phones: Collection[int], feats: str = "feats"
) -> TreeStats | None:
    """For a tree of triphones; None where no utterance of the split has an alignment."""
    store = FrameStore(folder)
    tids, array = store.alignment(), store.array(feats)
    classes = _pdf_classes(transitions)
    collected = TreeStatsAccumulator(ci_phones=ci_phones)
    for i in store.aligned(tids):
        frames = store.frames(i)
        ends, _ = transitions.phone_ends(tids[frames])
        phones = transitions.tid_to_phone[tids[frames][ends - 1]]
        lengths = np.diff(ends, prepend=0)
        collected.add(array[frames], phones, lengths, classes[tids[frames]])
    return collected.result() if tids.any() else None


def _pdf_classes(transitions: TransitionModel) -> np.ndarray:
    """The pdf class of each transition id, int32 (num_tids + 1,)."""
    entries = [transitions.topology.entry(phone) for phone in transitions.tuples[:, 0].tolist()]
    states = transitions.tuples[:, 1].tolist()
    classes = [states_of[s].pdf_class for states_of, s in zip(entries, states, strict=True)]
    return np.array([-1, *classes], np.int32)[transitions.tid_to_state]


def lda_stats(
    folder: Path, front_end: FrontEnd, transitions: TransitionModel, silence: Collection[int]
) -> LdaStats:
    """For LDA of spliced frames, with the pdfs as classes and without silence."""
    store = FrameStore(folder)
    tids, base = store.alignment(), store.array("base")
    pdfs, stats = speech_pdfs(transitions, silence), None
    for block in store.blocks(_SPLICED_FRAMES):
        spliced = np.concatenate([front_end.splice(base[store.frames(i)]) for i in block])
        stats = stats or LdaStats(transitions.num_pdfs, spliced.shape[1])
        stats.accumulate(spliced, pdfs[tids[store.span(block)]])
    return stats


def speech_pdfs(transitions: TransitionModel, silence: Collection[int]) -> np.ndarray:
    """The pdf of each transition id, -1 for those of silence: int32 (num_tids + 1,)."""
    silent = np.isin(transitions.tid_to_phone, list(silence))
    return np.where(silent, -1, transitions.tid_to_pdf).astype(np.int32)


def mllt_stats(folder: Path, model: AcousticModel, silence: Collection[int]) -> MlltStats:
    """For MLLT, without silence."""
    store, stats = FrameStore(folder), MlltStats(model.gmms)
    tids, array = store.alignment(), store.array("feats")
    pdfs = speech_pdfs(model.transitions, silence)
    for block in store.blocks():
        frames = store.span(block)
        stats.accumulate(array[frames], pdfs[tids[frames]])
    return stats
