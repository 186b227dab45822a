"""From features to lattices: what the decoding jobs do with a split of the data."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.decode.decoder import Decoded, LatticeDecoder
from kdspeech.decode.graph import Graph
from kdspeech.decode.lattice import Lattice
from kdspeech.features.front_end import FrontEnd
from kdspeech.features.post import CmvnStats, apply_affine
from kdspeech.hmm import ScoringModel
from kdspeech.io.ark import Scp
from kdspeech.io.errors import InputError
from kdspeech.io.lattices import ArchiveWriter, LatticePackWriter

_FRAME_SECONDS = 0.01
_FRAMES_AT_ONCE = 1000  # per thread: bounds the memory of the log-likelihoods

Utterance = tuple[str, np.ndarray]
"""Name and features, (frames, dim)."""


class SplitFeatures:
    """The model's features of a split, utterance by utterance.

    Args:
        data: with feats.scp, cmvn.scp and utt2spk.
        front_end: the model's.
        problems: where utterances that cannot be used go, with the reason.
        transforms: each speaker's, applied last; None: there are none.
    """

    def __init__(
        self,
        data: DataDir,
        front_end: FrontEnd,
        problems: dict[str, str],
        transforms: Mapping[str, np.ndarray] | None = None,
    ):
        self._data, self._front_end, self._problems = data, front_end, problems
        self._transforms = transforms
        self._feats, self._cmvn = (Scp(data.path / f"{name}.scp") for name in ("feats", "cmvn"))

    def speakers(self) -> Iterator[tuple[str, Iterator[Utterance]]]:
        """Speakers and their utterances."""
        for speaker, utterances in self._data.spk2utt.items():
            yield speaker, self._of(speaker, utterances)

    def _of(self, speaker: str, utterances: list[str]) -> Iterator[Utterance]:
        if speaker not in self._cmvn:
            raise InputError(
                f"{self._cmvn.path}: has no speaker {speaker} (run `kds compute-cmvn` again)"
            )
        stats = CmvnStats.from_matrix(self._cmvn[speaker])
        for utt in utterances:
            if utt not in self._feats:
                self._problems[utt] = "has no features"
                continue
            try:
                feats = self._front_end.expand(self._front_end.normalize(self._feats[utt], stats))
                if self._transforms is not None:
                    feats = apply_affine(feats, self._transforms[speaker])
                yield utt, feats
            except InputError as error:  # no frames, NaN
                self._problems[utt] = str(error)


class Found(NamedTuple):
    """An utterance, its features and what the decoder made of it."""

    utt: str
    feats: np.ndarray
    decoded: Decoded


class Recognizer:
    """A model and a graph: lattices of features.

    Args:
        model: AcousticModel or another ScoringModel.
        determinize: make determinized lattices too.
        options: of LatticeDecoder.
    """

    def __init__(
        self,
        model: ScoringModel,
        graph: Graph,
        num_threads: int = 1,
        determinize: bool = True,
        **options,
    ):
        self._model, self._num_threads = model, num_threads
        transitions = model.transitions
        self._decoder = LatticeDecoder(
            graph,
            transitions.tid_to_pdf,
            determinize=transitions if determinize else None,
            **options,
        )

    def __call__(
        self, utterances: Iterable[Utterance], problems: dict[str, str]
    ) -> Iterator[Found]:
        """Decodes utterances in their order; those that fail go to `problems`."""
        for group in _groups(utterances, _FRAMES_AT_ONCE * self._num_threads):
            scored = list(self._scored(group, problems))
            scores = [loglikes for _, _, loglikes in scored]
            decoded = self._decoder.decode_batch(scores, self._num_threads)
            for (utt, feats, _), found in zip(scored, decoded, strict=True):
                if found.problem:
                    problems[utt] = found.problem
                else:
                    yield Found(utt, feats, found)

    def _scored(self, group: list[Utterance], problems: dict[str, str]) -> Iterator[tuple]:
        for utt, feats in group:
            try:
                yield utt, feats, self.loglikes(utt, feats)
            except InputError as error:
                problems[utt] = str(error)

    def loglikes(self, utt: str, feats: np.ndarray) -> np.ndarray:
        """(frames, pdfs) natural logs."""
        return self._model.log_likelihoods(feats, name=utt, num_threads=self._num_threads)


def _groups(utterances: Iterable[Utterance], num_frames: int) -> Iterator[list[Utterance]]:
    group, count = [], 0
    for utt, feats in utterances:
        group.append((utt, feats))
        count += len(feats)
        if count >= num_frames:
            yield group
            group, count = [], 0
    if group:
        yield group


@dataclass
class Tally:
    """What a decoding did.

    Attributes:
        utterances, frames: decoded.
        log_like: of the best paths, graph and scaled acoustic together.
        partial: utterances whose best path does not end in a final state.
        problems: utterance to why it has no lattice.
        fallbacks: speaker to why it has no transform, or no weights of its own.
        cpu_seconds: of all jobs together.
    """

    utterances: int = 0
    frames: int = 0
    log_like: float = 0.0
    partial: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    fallbacks: dict[str, str] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    def __iadd__(self, other: "Tally") -> "Tally":
        for name in ("utterances", "frames", "log_like", "partial", "cpu_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.problems |= other.problems
        self.fallbacks |= other.fallbacks
        return self

    @property
    def real_time_factor(self) -> float:
        """CPU seconds per second of speech, at Kaldi's frame shift of 10 ms."""
        return self.cpu_seconds / max(1, self.frames) / _FRAME_SECONDS

    def summary(self) -> dict:
        """What decode.json holds."""
        return {
            "utterances": self.utterances,
            "failed": len(self.problems),
            "partial": self.partial,
            "frames": self.frames,
            "log_like_per_frame": self.log_like / max(1, self.frames),
            "cpu_seconds": self.cpu_seconds,
            "real_time_factor": self.real_time_factor,
            "fallbacks": self.fallbacks,
        }


class SplitOutput:
    """The files of a split: lat.gz, the state-level lattices where wanted, and the log.

    Args:
        folder: where they go.
        words: word of each id, for the log.
        acoustic_scale: of the log-likelihoods in the log.
        raw: keep state-level lattices, in raw.pack.
    """

    def __init__(
        self, folder: Path, words: Mapping[int, str], acoustic_scale: float, raw: bool = False
    ):
        self.tally, self.folder = Tally(), folder
        self._words, self._scale, self._raw = words, acoustic_scale, raw

    def __enter__(self) -> "SplitOutput":
        with ExitStack() as stack:
            self.folder.mkdir(exist_ok=True)
            self._log = stack.enter_context(open(self.folder / "log", "w", encoding="utf-8"))
            self._lattices = stack.enter_context(ArchiveWriter(self.folder / "lat.gz"))
            if self._raw:
                self._pack = stack.enter_context(LatticePackWriter(self.folder / "raw.pack"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        if error[0] is None:
            self._log_end()
        return self._stack.__exit__(*error)

    def write_found(self, found: Found) -> None:
        """Adds an utterance as it was decoded."""
        decoded = found.decoded
        self.write(found.utt, decoded.lattice, decoded.compact, decoded.reached_final)

    def write(self, utt: str, raw: Lattice, compact: Lattice, reached_final: bool) -> None:
        """Adds an utterance."""
        self._lattices.write(utt, compact.core)
        if self._raw:
            self._pack.write(utt, raw.core)
        best = compact.best_path(self._scale)
        frames = len(best.tids)
        log_like = -(best.graph_cost + self._scale * best.acoustic_cost)
        self.tally += Tally(1, frames, log_like, int(not reached_final))
        words = " ".join(self._words.get(word, f"<{word}>") for word in best.words.tolist())
        partial = "" if reached_final else ", no final state reached"
        self._log.write(
            f"{utt} {words}\n{utt}: log-likelihood per frame {log_like / frames:.4f} over "
            f"{frames} frames{partial}\n"
        )

    def note(self, line: str) -> None:
        """Adds a line to the log."""
        self._log.write(line + "\n")

    def _log_end(self) -> None:
        for utt, problem in self.tally.problems.items():
            self.note(f"{utt}: no lattice: {problem}")
        frames = max(1, self.tally.frames)
        self.note(
            f"{self.tally.utterances} utterances, {len(self.tally.problems)} failed, "
            f"log-likelihood per frame {self.tally.log_like / frames:.4f} over {frames} frames"
        )
