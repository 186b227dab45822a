"""Decoding of data directories, as Kaldi's decode.sh and decode_fmllr.sh: `kds decode`."""

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kdspeech.data.datadir import DataDir
from kdspeech.data.jobs import run_splits
from kdspeech.decode.graph import Graph
from kdspeech.decode.recognize import Recognizer, SplitFeatures, SplitOutput, Tally
from kdspeech.decode.two_pass import FmllrOptions, SpeakerDecoder
from kdspeech.features.front_end import FrontEnd, read_transforms
from kdspeech.graph.symbols import read_symbols
from kdspeech.hmm import (
    AcousticModel,
    ReadModel,
    ScoringModel,
    SpeakerModel,
    check_adapted,
    read_gmm,
)
from kdspeech.io.ark import ArkWriter
from kdspeech.io.atomic import atomic_path, check_apart
from kdspeech.io.errors import InputError


@dataclass(frozen=True)
class DecodeOptions:
    """Options of decode.sh and decode_fmllr.sh, by their names and with their defaults.

    Attributes:
        acwt: acoustic scale.
        beam, lattice_beam, max_active, min_active: of the (second) pass.
        first_beam, first_max_active: of the speaker-independent pass, with fMLLR.
        fmllr: how transforms are estimated.
    """

    acwt: float = 0.083333
    beam: float = 13.0
    lattice_beam: float = 6.0
    max_active: int = 7000
    min_active: int = 200
    first_beam: float = 10.0
    first_max_active: int = 2000
    fmllr: FmllrOptions = field(default_factory=FmllrOptions)

    def search(self, first: bool = False) -> dict:
        """Options of LatticeDecoder for one of the passes."""
        return {
            "acoustic_scale": self.acwt,
            "beam": self.first_beam if first else self.beam,
            "max_active": self.first_max_active if first else self.max_active,
            "lattice_beam": self.lattice_beam,
            "min_active": self.min_active,
        }


@dataclass(frozen=True)
class _Task:
    """What a split needs to know."""

    exp: Path
    graph: Path
    words: Path
    silence: tuple[int, ...]
    options: DecodeOptions
    num_threads: int
    raw: bool
    read_model: ReadModel
    transforms: dict[str, np.ndarray] | None


def decode(
    graph_dir: str | os.PathLike,
    data_dir: str | os.PathLike,
    decode_dir: str | os.PathLike,
    exp: str | os.PathLike | None = None,
    fmllr: bool = False,
    options: DecodeOptions | None = None,
    nj: int = 1,
    num_threads: int = 1,
    scheduler: str | None = None,
    max_bad: float = 0.01,
    raw: bool = False,
    transform_dir: str | os.PathLike | None = None,
    read_model: ReadModel = read_gmm,
) -> Tally:
    """Decodes a data directory: writes lat.JOB.gz, log/decode.JOB.log, num_jobs and decode.json.

    With `fmllr` also trans.JOB, and a directory DECODE_DIR.si with the lattices of the
    speaker-independent pass. Utterances without lattice are listed in decode.bad.

    Args:
        graph_dir: with HCLG.fst and words.txt; with `fmllr` also phones/silence.csl.
        data_dir: with feats.scp, cmvn.scp and utt2spk.
        decode_dir: what an earlier decoding left there is replaced when this one has succeeded.
        exp: the directory of the model: final.mdl and what FrontEnd.read reads, with `fmllr`
            final.alimdl if there is one; DECODE_DIR's parent if not given.
        fmllr: decode in two passes with fMLLR (see two_pass).
        nj: number of splits, each decoded by a process; with `fmllr` not more than speakers.
        num_threads: of each process.
        scheduler: as in kdspeech.data.jobs.run_splits.
        max_bad: the largest part of the utterances that may end without lattice.
        raw: keep state-level lattices too, in raw.JOB.pack (see LatticePack).
        transform_dir: with the speakers' transforms, trans.*, to apply; None: there are none.
        read_model: kdspeech.acoustic.read_model where the model may be a network. A SpeakerModel
            is given each speaker's name before the utterances.
    Raises:
        InputError: a file that is missing or damaged, a graph that does not match the model, bad
            options, or too many utterances without lattice.
    """
    decode_dir, data = Path(decode_dir), DataDir(data_dir)
    if fmllr and len(data.spk2utt) < nj:
        raise InputError(
            f"{data.path}: {len(data.spk2utt)} speakers cannot be split into {nj} jobs"
        )
    if fmllr and transform_dir:
        raise InputError("transforms are either estimated (fmllr) or given (transform_dir)")
    exp = Path(exp) if exp else decode_dir.absolute().parent
    check_apart(decode_dir, filter(None, [graph_dir, data_dir, exp, transform_dir]))
    with _task(
        Path(graph_dir),
        exp,
        decode_dir,
        fmllr,
        options or DecodeOptions(),
        num_threads,
        raw,
        read_model,
        read_transforms(transform_dir, data.spk2utt) if transform_dir else None,
    ) as task:
        work = decode_dir / ".splits"
        function = decode_split_fmllr if fmllr else decode_split
        try:
            tallies = run_splits(
                function, data, nj, work, scheduler, description="decode", task=task
            )
            total = _judge(tallies, decode_dir, max_bad)
            _publish(decode_dir, work, nj, total)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return total


@contextmanager
def _task(graph_dir, exp, decode_dir, fmllr, options, num_threads, raw, read_model, transforms):
    """The task, with the graph as a compact file that all processes map."""
    model = read_gmm(exp) if fmllr else read_model(exp)
    check_adapted(exp, model, transforms is not None)
    _check_graph(graph_dir, model)
    hclg = graph_dir / "HCLG.fst"
    graph = Graph.read(hclg)
    try:
        Recognizer(model, graph, **options.search())
    except InputError as error:
        raise InputError(f"{hclg} with {exp / 'final.mdl'}: {error}") from error
    decode_dir.mkdir(parents=True, exist_ok=True)
    compact = decode_dir / ".HCLG.compact"
    silence = read_silence(graph_dir) if fmllr else ()
    graph.write(compact)
    del graph
    try:
        yield _Task(
            exp,
            compact,
            graph_dir / "words.txt",
            silence,
            options,
            num_threads,
            raw,
            read_model,
            transforms,
        )
    finally:
        compact.unlink()


def _check_graph(graph_dir: Path, model: ScoringModel) -> None:
    path = graph_dir / "num_pdfs"
    text = path.read_text().strip() if path.exists() else str(model.transitions.num_pdfs)
    if text != str(model.transitions.num_pdfs):
        raise InputError(
            f"{path}: the graph was made for a model of {text} pdfs, this one has "
            f"{model.transitions.num_pdfs} (run `kds make-graph` again)"
        )


def read_silence(graph_dir: Path) -> tuple[int, ...]:
    """Ids of the silence phones of a graph or lang directory. InputError: no list of ids."""
    path = graph_dir / "phones" / "silence.csl"
    words = path.read_text().strip().split(":")
    if not all(word.isdecimal() for word in words):
        raise InputError(f"{path}: phone ids with colons between expected")
    return tuple(map(int, words))


def decode_split(
    split: DataDir, folder: Path, advance: Callable[[int], None], task: _Task
) -> Tally:
    """Decodes a split in one pass."""
    begin = time.process_time()
    model, graph = task.read_model(task.exp), Graph.read(task.graph)
    recognizer = Recognizer(model, graph, task.num_threads, **task.options.search())
    with _output(folder, task, task.raw) as output:
        features = SplitFeatures(
            split, FrontEnd.read(task.exp), output.tally.problems, task.transforms
        )
        for speaker, utterances in features.speakers():
            _use_speaker(model, speaker, output)
            for found in recognizer(utterances, output.tally.problems):
                output.write_found(found)
                advance(1)
    output.tally.cpu_seconds = time.process_time() - begin
    return output.tally


def _use_speaker(model: ScoringModel, speaker: str, output: SplitOutput) -> None:
    """Gives a model the speaker's weights, where it has such."""
    reason = model.use_speaker(speaker) if isinstance(model, SpeakerModel) else ""
    if reason:
        output.tally.fallbacks[speaker] = reason
        output.note(f"speaker {speaker} is not adapted: {reason}")


def decode_split_fmllr(
    split: DataDir, folder: Path, advance: Callable[[int], None], task: _Task
) -> Tally:
    """Decodes a split speaker by speaker, in two passes."""
    begin = time.process_time()
    with ExitStack() as stack:
        output = stack.enter_context(_output(folder, task, task.raw))
        si_output = stack.enter_context(_output(folder / "si", task))
        transforms = stack.enter_context(ArkWriter(folder / "trans"))
        decoder = _speaker_decoder(task)
        features = SplitFeatures(split, FrontEnd.read(task.exp), output.tally.problems)
        for speaker, utterances in features.speakers():
            transform = decoder(list(utterances), output, si_output)
            transforms.write(speaker, transform.matrix)
            if transform.fallback:
                output.tally.fallbacks[speaker] = transform.fallback
                output.note(f"speaker {speaker}: no transform: {transform.fallback}")
            advance(len(split.spk2utt[speaker]))
    output.tally.cpu_seconds = time.process_time() - begin
    return output.tally


def _speaker_decoder(task: _Task) -> SpeakerDecoder:
    model, options = read_gmm(task.exp), task.options
    alignment_path, alignment_model = task.exp / "final.alimdl", model
    if alignment_path.exists():
        alignment_model = AcousticModel.read(alignment_path)
        if not np.array_equal(alignment_model.gmms.offsets, model.gmms.offsets):
            raise InputError(f"{alignment_path}: other mixtures than those of final.mdl")
    graph = Graph.read(task.graph)
    first = Recognizer(alignment_model, graph, task.num_threads, **options.search(first=True))
    second = Recognizer(model, graph, task.num_threads, determinize=False, **options.search())
    return SpeakerDecoder(
        model,
        alignment_model,
        first,
        second,
        task.silence,
        options.acwt,
        options.lattice_beam,
        options.fmllr,
    )


def _output(folder: Path, task: _Task, raw: bool = False) -> SplitOutput:
    words = {number: word for word, number in read_symbols(task.words).items()}
    return SplitOutput(folder, words, task.options.acwt, raw)


def _judge(tallies: list[Tally], decode_dir: Path, max_bad: float) -> Tally:
    """Adds up; lists what has no lattice, and fails if it is too much."""
    total = Tally()
    for tally in tallies:
        total += tally
    bad_list = decode_dir / "decode.bad"
    bad_list.unlink(missing_ok=True)
    problems = sorted(total.problems.items())
    if problems:
        with atomic_path(bad_list) as temporary:
            temporary.write_text("".join(f"{utt} {why}\n" for utt, why in problems))
    if len(problems) > max_bad * (len(problems) + total.utterances):
        raise InputError(
            f"{decode_dir}: {len(problems)} of {len(problems) + total.utterances} utterances "
            f"cannot be decoded, more than {100 * max_bad:g} %; {bad_list} lists them; the first: "
            f"{problems[0][0]}: {problems[0][1]}"
        )
    return total


def _publish(decode_dir: Path, work: Path, nj: int, total: Tally) -> None:
    """Moves the splits' files where Kaldi has them; num_jobs comes last."""
    _move(decode_dir, {i: work / str(i) for i in range(1, nj + 1)})
    if (work / "1" / "si").exists():
        si_dir = decode_dir.with_name(f"{decode_dir.name}.si")
        _move(si_dir, {i: work / str(i) / "si" for i in range(1, nj + 1)})
    with atomic_path(decode_dir / "decode.json") as temporary:
        temporary.write_text(json.dumps(total.summary(), indent=2) + "\n")


def _move(to: Path, folders: dict[int, Path]) -> None:
    (to / "log").mkdir(parents=True, exist_ok=True)
    (to / "num_jobs").unlink(missing_ok=True)
    for pattern in ("lat.*.gz", "trans.*", "raw.*.pack", "log/decode.*.log"):
        for old in to.glob(pattern):
            old.unlink()
    for i, folder in folders.items():
        names = {
            "lat.gz": f"lat.{i}.gz",
            "trans": f"trans.{i}",
            "raw.pack": f"raw.{i}.pack",
            "log": f"log/decode.{i}.log",
        }
        for name, new in names.items():
            if (folder / name).exists():
                os.replace(folder / name, to / new)
    with atomic_path(to / "num_jobs") as temporary:
        temporary.write_text(f"{len(folders)}\n")
