"""Alignment passes: training graphs, the flat start's equal alignment, Viterbi realignment."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.decode.align import align
from kdspeech.gmm.options import AlignOptions
from kdspeech.gmm.store import FrameStore, GraphStore
from kdspeech.gmm.training_graph import TrainingGraph, transition_costs
from kdspeech.graph import Lang, TrainingGraphs
from kdspeech.hmm import DecisionTree, ScoringModel, SpeakerModel
from kdspeech.io.errors import InputError


@dataclass
class AlignReport:
    """How an alignment went.

    Attributes:
        aligned: number of utterances that have an alignment.
        frames, log_like: of them; the log-likelihood without scales, acoustic only.
        retried: utterances that took the wider beam.
        failed: utterance -> why it has none.
        unadapted: speaker -> why a SpeakerModel has no weights for it.
    """

    aligned: int = 0
    frames: int = 0
    log_like: float = 0.0
    retried: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    unadapted: dict[str, str] = field(default_factory=dict)

    def __iadd__(self, other: "AlignReport") -> "AlignReport":
        for name in ("aligned", "frames", "log_like", "retried"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failed |= other.failed
        self.unadapted |= other.unadapted
        return self


def compile_graphs(folder: Path, lang_dir: Path, tree: DecisionTree, model: ScoringModel) -> None:
    """Makes the split's GraphStore."""
    lang, text = Lang.read(lang_dir), DataDir(folder / "data").text
    compiler = TrainingGraphs(lang, tree, model.transitions, transition_scale=0, self_loop_scale=0)

    def graph(utt: str) -> TrainingGraph:
        try:
            return TrainingGraph.of(compiler(lang.word_ids(text[utt].split())))
        except InputError as error:
            raise InputError(f"{utt}: {error}") from error

    GraphStore.create(folder, map(graph, FrameStore(folder).utterances))


def align_equal(folder: Path, seed: int = 0) -> AlignReport:
    """Aligns every utterance by a random path with its frames dealt out evenly."""
    store, graphs, report = FrameStore(folder), GraphStore(folder), AlignReport()
    with store.new_alignment() as tids:
        for i, utt in enumerate(store.utterances):
            frames = store.frames(i)
            count = frames.stop - frames.start
            path = graphs[i].equal_path(count, f"{seed} {utt}")
            if path is None:
                report.failed[utt] = _too_short(graphs[i], count) or "its path has no self-loop"
                continue
            tids[frames] = path
            report.aligned, report.frames = report.aligned + 1, report.frames + count
    return report


def realign(
    folder: Path,
    model: ScoringModel,
    options: AlignOptions,
    feats: str = "feats",
    silence: int | None = None,
) -> AlignReport:
    """Aligns every utterance by the best path under a model.

    Args:
        folder: of the split.
        model: AcousticModel or another ScoringModel; a SpeakerModel with each speaker's weights.
        options: AlignOptions.
        feats: which features.
        silence: the phone that `boost_silence` is for.
    """
    store, report, speaker = FrameStore(folder), AlignReport(), None
    aligner = _Aligner(model, options, silence)
    graphs, array = GraphStore(folder), store.array(feats)
    with store.new_alignment() as tids:
        for i, utt in enumerate(store.utterances):
            frames = store.frames(i)
            if store.speakers[i] != speaker:
                speaker = store.speakers[i]
                _use_speaker(model, speaker, report)
            try:
                tids[frames] = aligner(graphs[i], array[frames], utt, report)
            except InputError as error:
                report.failed[utt] = str(error)
    return report


def _use_speaker(model: ScoringModel, speaker: str, report: AlignReport) -> None:
    """Gives a model the speaker's weights, where it has such."""
    reason = model.use_speaker(speaker) if isinstance(model, SpeakerModel) else ""
    if reason:
        report.unadapted[speaker] = reason


class _Aligner:
    """Aligns utterances one after the other."""

    def __init__(self, model: ScoringModel, options: AlignOptions, silence: int | None):
        self._options, self._pdfs = options, model.transitions.tid_to_pdf
        self._costs = transition_costs(
            model.transitions, options.transition_scale, options.self_loop_scale
        )
        self._model = model
        self._boost = np.zeros(model.num_pdfs, np.float32)
        if silence is not None:
            silent = self._pdfs[model.transitions.tid_to_phone == silence]
            self._boost[silent] = np.log(options.boost_silence)

    def __call__(self, graph: TrainingGraph, feats: np.ndarray, utt: str, report: AlignReport):
        options = self._options
        columns, pdfs = self._columns(graph)
        loglikes = self._model.log_likelihoods(feats, pdfs, utt) + self._boost[pdfs]
        found = align(
            graph.with_costs(self._costs, options.careful),
            loglikes,
            columns,
            options.beam,
            options.retry_beam,
            options.acoustic_scale,
        )
        if found is None:
            raise InputError(_too_short(graph, len(feats)) or "no path reaches the end")
        report.aligned, report.frames = report.aligned + 1, report.frames + len(feats)
        report.log_like -= found.acoustic_cost
        if found.retried:
            report.retried.append(utt)
        return found.tids

    def _columns(self, graph: TrainingGraph) -> tuple[np.ndarray, np.ndarray]:
        """The column of each transition id in the likelihoods, and the pdfs of the columns."""
        used = np.zeros(len(self._boost), bool)
        used[self._pdfs[graph.arcs["tid"][graph.arcs["tid"] > 0]]] = True
        columns = np.cumsum(used, dtype=np.int32) - 1
        return columns[self._pdfs], np.flatnonzero(used).astype(np.int32)


def _too_short(graph: TrainingGraph, frames: int) -> str:
    """What to say of an utterance that is too short for its transcript; else nothing."""
    needed = graph.min_frames()
    return "" if frames >= needed else f"{frames} frames, its transcript takes {needed} at least"
