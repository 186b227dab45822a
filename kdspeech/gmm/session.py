"""A training or alignment under way: its splits, its experiment directory, its log."""

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.features.front_end import FrontEnd
from kdspeech.gmm import passes, realign
from kdspeech.gmm.accumulate import gmm_stats
from kdspeech.gmm.jobs import SplitJobs
from kdspeech.gmm.options import AlignOptions, Jobs
from kdspeech.gmm.passes import Problems
from kdspeech.gmm.realign import AlignReport
from kdspeech.gmm.speakers import estimate_transforms, load_transforms, save_transforms
from kdspeech.graph import Lang
from kdspeech.graph.symbols import read_symbols
from kdspeech.hmm import AcousticModel, DecisionTree, ReadModel, ScoringModel, read_gmm
from kdspeech.hmm.estimate import GmmStatistics, MleOptions, UpdateReport, estimate
from kdspeech.io.atomic import atomic_path, check_apart
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import KaldiWriter
from kdspeech.io.record import write_config, write_metrics

log = logging.getLogger(__name__)

# What an older run left: gone before the new one starts, so that nothing passes for its result.
_RESULTS = (
    *("final.mdl", "final.alimdl", "final.mat", "final.occs", "full.mat", "ali.*", "trans.*"),
    *("tree", "cmvn_opts", "delta_opts", "splice_opts", "num_jobs", "phones.txt"),
    "metrics.jsonl",
)
_NAMED = 5  # utterances named in a log line; files hold them all
_ADAPTED = ("adapted.0", "adapted.1")  # in turns: further transforms start from the others


@dataclass
class Report:
    """What became of a stage.

    Attributes:
        log_likes: average log-likelihood of a frame in each training pass.
        num_pdfs, num_gaussians: of the final model.
        alignment: of the last alignment; its `failed` also has the utterances never tried.
        fallbacks: speakers with the unit transform, and why.
    """

    log_likes: list[float] = field(default_factory=list)
    num_pdfs: int = 0
    num_gaussians: int = 0
    alignment: AlignReport = field(default_factory=AlignReport)
    fallbacks: dict[str, str] = field(default_factory=dict)


class Session:
    """Context manager around a stage; its methods are the passes that stages share.

    Args:
        data_dir: with feats.scp, cmvn.scp, text and utt2spk.
        lang_dir: as prepare_lang makes it.
        exp: the directory to make; the results of an older run in it go first.
        jobs: Jobs.
        source: a directory with a model to begin with; not `exp`.
        read_model: what reads it.
        settings: the stage's options by name (objects of dataclasses, numbers, text), for
            config.yaml.

    Attributes:
        source: that directory, absolute. source_model: its model.
        feats: which features the model is trained on: "feats", or those adapted last.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike,
        lang_dir: str | os.PathLike,
        exp: str | os.PathLike,
        jobs: Jobs | None = None,
        source: str | os.PathLike | None = None,
        read_model: ReadModel = read_gmm,
        settings: Mapping[str, Any] | None = None,
    ):
        self.data, self.lang, self.exp = DataDir(data_dir), Lang.read(lang_dir), Path(exp)
        self.options, self.report, self.feats = jobs or Jobs(), Report(), "feats"
        self.rng = np.random.default_rng(self.options.seed)
        self._problems: Problems = {}
        self._metrics: list[dict] = []
        inputs = {"data_dir": data_dir, "lang_dir": lang_dir, "source": source}
        self._settings = {k: os.fspath(v) for k, v in inputs.items() if v is not None}
        self._settings |= {"jobs": self.options, **(settings or {})}
        for name in ("feats.scp", "cmvn.scp", "text", "utt2spk"):
            if name not in self.data:
                raise InputError(f"{self.data.path}: has no {name}")
        check_apart(exp, filter(None, [data_dir, lang_dir, source]))
        if source is not None:
            self._take_source(Path(source).absolute(), read_model)

    def _take_source(self, source: Path, read_model: ReadModel) -> None:
        self.source, self.source_model = source, read_model(source)
        theirs = source / "phones.txt"
        if theirs.exists() and read_symbols(theirs) != self.lang.phones:
            raise InputError(f"{theirs}: has other phones than {self.lang.folder}/phones.txt")

    def __enter__(self) -> "Session":
        (self.exp / "log").mkdir(parents=True, exist_ok=True)
        for path in (p for pattern in _RESULTS for p in self.exp.glob(pattern)):
            path.unlink()
        with ExitStack() as stack:
            stack.enter_context(_log_to(self.exp / "log" / "train.log"))
            jobs = SplitJobs(self.data, self.options.nj, self.exp / ".work", self.options.scheduler)
            self._jobs = stack.enter_context(jobs)
            self._stack = stack.pop_all()
        settings = {k: asdict(v) if is_dataclass(v) else v for k, v in self._settings.items()}
        write_config(self.exp / "config.yaml", settings)
        self._started = time.perf_counter()
        self.write_text("num_jobs", f"{self.options.nj}\n")
        shutil.copy(self.lang.folder / "phones.txt", self.exp)
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def write_text(self, name: str, text: str) -> None:
        """Writes a file of the experiment directory."""
        with atomic_path(self.exp / name) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def copy_from_source(self, *names: str) -> None:
        """Copies those of the source's files that are there."""
        for name in names:
            if (self.source / name).exists():
                shutil.copy(self.source / name, self.exp / name)

    def run(self, function: Callable[..., Any], **arguments) -> list[Any]:
        """The results of a pass over the splits."""
        return self._jobs.run(function, **arguments)

    def sum(self, function: Callable[..., Any], **arguments) -> Any:
        """The sum of the statistics that a pass over the splits gives."""
        total, *others = self.run(function, **arguments)
        for other in others:
            total += other
        return total

    def problems(self, function: Callable[..., Problems], **arguments) -> None:
        """Runs a pass that gives utterances which cannot be used, and why."""
        for part in self.run(function, **arguments):
            self._problems |= part
        _list("left out", self._problems)

    def prepare(self, front_end: FrontEnd) -> None:
        """Reads the features in."""
        feats = self.data.table("feats.scp")
        self._problems = {utt: "has no features" for utt in self.data.text if utt not in feats}
        self.problems(passes.prepare, front_end=front_end)
        self._count_usable("no utterance can be used")
        self._count_unknown_words()

    def _count_usable(self, complaint: str) -> int:
        usable = (self.data.utt2spk.keys() & self.data.text.keys()) - self._problems.keys()
        if not usable:
            nothing = "text and utt2spk", "no utterance is in both"
            utt, why = next(iter(self._problems.items()), nothing)
            raise InputError(f"{self.data.path}: {complaint}; the first: {utt}: {why}")
        return len(usable)

    def _count_unknown_words(self) -> None:
        words = Counter(word for line in self.data.text.values() for word in line.split())
        unknown = [word for word, _ in words.most_common() if word not in self.lang.words]
        if unknown:
            count = sum(words[word] for word in unknown)
            more = ", ..." if len(unknown) > _NAMED else ""
            log.warning(
                "%d words of the transcripts are not in the lexicon and count as %s: %s%s",
                count, self.lang.oov, ", ".join(unknown[:_NAMED]), more,
            )  # fmt: skip

    def load_alignments(self) -> None:
        """Takes the alignments of the source; InputError where they are of other utterances."""
        transitions = self.source_model.transitions
        self.problems(passes.load_alignments, ali_dir=self.source, transitions=transitions)
        aligned = self._count_usable(f"no utterance has an alignment in {self.source} that fits")
        self.report.alignment = AlignReport(aligned=aligned, failed=dict(self._problems))

    def compile_graphs(self, tree: DecisionTree, model: ScoringModel) -> None:
        """Makes the training graphs."""
        self.run(realign.compile_graphs, lang_dir=self.lang.folder, tree=tree, model=model)

    def align(self, model: ScoringModel, options: AlignOptions) -> None:
        """Aligns all utterances anew."""
        silence = self.lang.optional_silence
        arguments = {"model": model, "options": options, "feats": self.feats, "silence": silence}
        self.take_alignment(self.sum(realign.realign, **arguments))

    def take_alignment(self, report: AlignReport) -> None:
        """Notes how an alignment went; InputError if it found nothing."""
        if not report.aligned:
            utt, why = next(iter(report.failed.items()))
            raise InputError(f"no utterance could be aligned; the first: {utt}: {why}")
        log.info(
            "aligned %d utterances, log-likelihood %.4f a frame; %d with the wider beam, %d failed",
            report.aligned,
            report.log_like / report.frames,
            len(report.retried),
            len(report.failed),
        )
        _list("no alignment", report.failed)
        for speaker, why in report.unadapted.items():
            log.warning("speaker %s is not adapted: %s", speaker, why)
        report.failed |= self._problems
        self.report.alignment = report

    def adapt(self, model: AcousticModel, more: bool = False, **options) -> None:
        """Goes on with features adapted to the speakers; names those with the unit transform.

        Args:
            model: the model to fit them to.
            more: adapt those further that are adapted already.
            options: of estimate_transforms.
        """
        before = self.feats if more else None
        self.feats = _ADAPTED[before == _ADAPTED[0]]
        options |= {"model": model, "silence": self.lang.silence_phones, "before": before}
        self.report.fallbacks = {}
        for part in self.run(estimate_transforms, adapted=self.feats, **options):
            self.report.fallbacks |= part
        _list("unit transform", self.report.fallbacks)

    def load_transforms(self, folder: Path) -> None:
        """Goes on with features adapted by the transforms of a directory."""
        self.feats = _ADAPTED[0]
        self.run(load_transforms, adapted=self.feats, trans_dir=folder.absolute())

    def save_transforms(self) -> None:
        """Writes trans.*, the transforms of the features adapted last."""
        self.run(save_transforms, adapted=self.feats, out=self.exp.absolute())

    def update(self, model: AcousticModel, **options) -> AcousticModel:
        """One pass of training: statistics and the model they give (options of MleOptions)."""
        stats: GmmStatistics = self.sum(gmm_stats, model=model, feats=self.feats)
        new, update = estimate(model, stats, MleOptions(**options), self.rng)
        self.report.log_likes.append(update.log_like)
        self._note(len(self.report.log_likes), update)
        self.occupancies = np.add.reduceat(stats.occupancy, model.gmms.offsets[:-1])
        log.info(
            "pass %d: log-likelihood %.4f a frame over %d frames; now %d Gaussians",
            len(self.report.log_likes),
            update.log_like,
            update.frames,
            update.num_gaussians,
        )
        return new

    def _note(self, iteration: int, update: UpdateReport) -> None:
        """What metrics.jsonl will say of a pass: seconds since the one before, its alignment."""
        before, self._started = self._started, time.perf_counter()
        alignment = self.report.alignment
        self._metrics.append(
            {
                "iteration": iteration,
                "log_likelihood": round(update.log_like, 4),
                "frames": int(update.frames),
                "gaussians": update.num_gaussians,
                "aligned": alignment.aligned,
                "failed": len(alignment.failed),
                "seconds": round(self._started - before, 3),
            }
        )

    def save_alignments(self) -> None:
        """Writes ali.*.gz, and log/failed with the utterances that are not in it and why."""
        self.run(passes.save_alignments, out=self.exp.absolute())
        rows = sorted(self.report.alignment.failed.items())
        self.write_text("log/failed", "".join(f"{utt} {why}\n" for utt, why in rows))
        rows = sorted(self.report.alignment.retried)
        self.write_text("log/retried", "".join(f"{utt}\n" for utt in rows))

    def save(self, tree: DecisionTree, model: AcousticModel, front_end: FrontEnd) -> Report:
        """Writes the model and what belongs to it; final.mdl comes last."""
        self.save_alignments()
        front_end.write(self.exp)
        tree.write(self.exp / "tree")
        writer = KaldiWriter()
        writer.vector(self.occupancies.astype(np.float32))
        writer.write(self.exp / "final.occs")
        write_metrics(self.exp / "metrics.jsonl", self._metrics)
        self.report.num_pdfs = model.gmms.num_pdfs
        self.report.num_gaussians = model.gmms.num_gaussians
        model.write(self.exp / "final.mdl")
        return self.report


def _list(what: str, named: dict[str, str]) -> None:
    """Warns of some utterances or speakers, by name."""
    for name, why in list(named.items())[:_NAMED]:
        log.warning("%s: %s: %s", what, name, why)
    if len(named) > _NAMED:
        log.warning("%s: and %d more", what, len(named) - _NAMED)


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Also writes what the package logs to a file; an older one is replaced."""
    logger = logging.getLogger("kdspeech")
    handler, level = logging.FileHandler(path, "w", encoding="utf-8"), logger.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()
