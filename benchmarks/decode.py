"""How fast is the decoder beside kaldi-decoder's, on the same graph and the same scores?

    OMP_NUM_THREADS=1 python benchmarks/decode.py
    OMP_NUM_THREADS=1 python benchmarks/decode.py --exp exp/tri3b --data data/test \
        --plot docs/img/decode_beam.png

Without --exp the graph is made up (synthetic_graph.py) and so are the scores. Scores are computed
before the clock starts. Times are CPU seconds of the calling thread, the best of the rounds, the
decoders taking turns; only "two threads" is by the clock. A real-time factor of 0.01 is a second
of CPU for 100 seconds of speech. kaldi-decoder reads scores by column, as we do: its graph is given
the columns as labels. Its LatticeSimpleDecoder has no limit of active states.
"""

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import kaldi_decoder
import kaldialign
import numpy as np
from decode_peers import decodable, to_kaldifst, words_and_cost
from rich.console import Console
from rich.table import Table
from synthetic_graph import Lexicon, make_graph, speak, tid_to_pdf

from kdspeech.decode import Graph, LatticeDecoder

SCALE, LATTICE_BEAM, MAX_ACTIVE, MIN_ACTIVE = 0.083333, 6.0, 7000, 20
BEAMS = (7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
WIDEST = 20.0  # what search errors are counted against
UNLIMITED = 2**31 - 1
FRAMES_A_SECOND = 100


@dataclass
class Task:
    """What is decoded: utterances are (words, log-likelihoods)."""

    name: str
    graph: Graph
    tid_to_pdf: np.ndarray
    utterances: list[tuple[list[int], np.ndarray]]

    @property
    def seconds(self) -> float:
        return sum(len(loglikes) for _, loglikes in self.utterances) / FRAMES_A_SECOND

    def head(self, count: int) -> "Task":
        return Task(self.name, self.graph, self.tid_to_pdf, self.utterances[:count])


@dataclass
class Result:
    """Words and cost of each utterance, and the CPU seconds of them all."""

    words: list[list[int]]
    costs: list[float]
    cpu: float

    def wer(self, task: Task) -> float:
        pairs = zip((words for words, _ in task.utterances), self.words, strict=True)
        errors = sum(kaldialign.edit_distance(ref, hyp)["total"] for ref, hyp in pairs)
        return 100 * errors / sum(len(words) for words, _ in task.utterances)

    def rtf(self, task: Task) -> float:
        return self.cpu / task.seconds


def made_up(count: int) -> Task:
    lexicon = Lexicon(num_words=5000, num_pdfs=1000, seed=0)
    graph = make_graph(lexicon, successors=20)
    utterances = [speak(lexicon, 10, margin=5.0, noise=3.0) for _ in range(count)]
    pairs = [(words.tolist(), loglikes) for words, loglikes in utterances]
    return Task("made-up bigrams of 5000 words", graph, tid_to_pdf(lexicon.num_pdfs), pairs)


def real(exp: Path, data: Path, count: int) -> Task:
    """Every so many utterances of a data directory, scored without adaptation."""
    from kdspeech.data import DataDir
    from kdspeech.decode.recognize import SplitFeatures
    from kdspeech.features.front_end import FrontEnd
    from kdspeech.features.gaussians import log_likelihoods
    from kdspeech.graph.symbols import read_symbols
    from kdspeech.hmm import AcousticModel

    alimdl = exp / "final.alimdl"
    model = AcousticModel.read(alimdl if alimdl.exists() else exp / "final.mdl")
    words, data_dir = read_symbols(exp / "graph" / "words.txt"), DataDir(data)
    wanted = set(sorted(data_dir.utterances)[:: max(1, len(data_dir) // count)][:count])
    pairs = []
    for _, utterances in SplitFeatures(data_dir, FrontEnd.read(exp), {}).speakers():
        for utt, feats in utterances:
            if utt in wanted:
                reference = [words.get(word, -1) for word in data_dir.text[utt].split()]
                pairs.append((reference, log_likelihoods(feats, model.gmms)))
    graph = Graph.read(exp / "graph" / "HCLG.fst")
    return Task(f"{exp.name} on {data.name}", graph, model.transitions.tid_to_pdf, pairs)


def ours(task: Task, beam: float, max_active: int = MAX_ACTIVE, **options) -> Callable[[], Result]:
    decoder = LatticeDecoder(
        task.graph,
        task.tid_to_pdf,
        beam=beam,
        lattice_beam=LATTICE_BEAM,
        max_active=max_active,
        min_active=MIN_ACTIVE,
        acoustic_scale=SCALE,
        **options,
    )

    def run() -> Result:
        begin = time.thread_time()
        decoded = [decoder.decode(loglikes) for _, loglikes in task.utterances]
        cpu = time.thread_time() - begin
        costs = [found.graph_cost + SCALE * found.acoustic_cost for found in decoded]
        return Result([found.words.tolist() for found in decoded], costs, cpu)

    return run


def peer(task: Task, fst, decoder) -> Callable[[], Result]:
    scores = [decodable(loglikes, SCALE) for _, loglikes in task.utterances]

    def run() -> Result:
        paths, cpu = [], 0.0
        for score in scores:
            begin = time.thread_time()
            decoder.decode(score)
            best = decoder.get_best_path()
            cpu += time.thread_time() - begin
            paths.append(words_and_cost(best))
        return Result(*map(list, zip(*paths, strict=True)), cpu)

    return run


def faster_decoder(task: Task, fst, beam: float) -> Callable[[], Result]:
    options = kaldi_decoder.FasterDecoderOptions()
    options.beam, options.max_active, options.min_active = beam, MAX_ACTIVE, MIN_ACTIVE
    return peer(task, fst, kaldi_decoder.FasterDecoder(fst, options))


def simple_lattice_decoder(task: Task, fst, beam: float) -> Callable[[], Result]:
    options = kaldi_decoder.LatticeSimpleDecoderConfig()
    options.beam, options.lattice_beam = beam, LATTICE_BEAM
    return peer(task, fst, kaldi_decoder.LatticeSimpleDecoder(fst, options))


def in_turns(calls: list[Callable[[], Result]], rounds: int) -> list[Result]:
    """The quickest of each call's rounds."""
    results = [[call() for call in calls] for _ in range(rounds)]
    return [min(column, key=lambda r: r.cpu) for column in zip(*results, strict=True)]


def compare_best_paths(console: Console, task: Task, fst, rounds: int) -> None:
    table = Table("beam", "kdspeech RTF", "WER %", "FasterDecoder RTF", "WER %", "times as fast")
    for beam in (9, 11, 13, 15):
        calls = [ours(task, beam, best_only=True), faster_decoder(task, fst, beam)]
        mine, theirs = in_turns(calls, rounds)
        table.add_row(
            str(beam),
            *(f"{x:.4f}" if i % 2 == 0 else f"{x:.2f}" for i, x in enumerate(
                (mine.rtf(task), mine.wer(task), theirs.rtf(task), theirs.wer(task)))),
            f"{theirs.cpu / mine.cpu:.1f}",
        )  # fmt: skip
    table.title = f"best path alone, max-active {MAX_ACTIVE} (aim: 2 times)"
    console.print(table)


def compare_lattices(console: Console, task: Task, fst, beam: float) -> None:
    calls = {
        f"max-active {MAX_ACTIVE}": ours(task, beam),
        "no limit of active states": ours(task, beam, UNLIMITED),
        "LatticeSimpleDecoder": simple_lattice_decoder(task, fst, beam),
    }
    *mine, theirs = in_turns(list(calls.values()), 1)
    table = Table("lattices", "RTF", "WER %", "times as fast")
    table.title = f"lattices, beam {beam:g}, lattice-beam {LATTICE_BEAM:g} (aim: 10 times)"
    for name, result in zip(calls, [*mine, theirs], strict=True):
        ratio = f"{theirs.cpu / result.cpu:.1f}"
        table.add_row(name, f"{result.rtf(task):.4f}", f"{result.wer(task):.2f}", ratio)
    console.print(table)


def compare_threads(console: Console, task: Task, rounds: int) -> None:
    decoder = LatticeDecoder(
        task.graph, task.tid_to_pdf, 13.0, LATTICE_BEAM, MAX_ACTIVE, acoustic_scale=SCALE
    )
    scores = [loglikes for _, loglikes in task.utterances]
    ratios = []
    for _ in range(rounds):
        times = []
        for threads in (1, 2):
            begin = time.perf_counter()
            decoder.decode_batch(scores, threads)
            times.append(time.perf_counter() - begin)
        ratios.append(times[0] / times[1])
    console.print(f"two threads: {np.median(ratios):.2f} times as fast as one (aim: 1.8)")


def sweep_beams(console: Console, task: Task, plot: Path | None) -> None:
    exact = ours(task, WIDEST, UNLIMITED, best_only=True)()
    table = Table("beam", "RTF, best path", "RTF, lattices", "search errors %", "WER %")
    rows = []
    for beam in BEAMS:
        best, lattices = in_turns([ours(task, beam, best_only=True), ours(task, beam)], 2)
        worse = np.mean(np.array(best.costs) > np.array(exact.costs) + 1e-2)
        rows.append((beam, best.rtf(task), lattices.rtf(task), 100 * worse, best.wer(task)))
        factors, percents = rows[-1][1:3], rows[-1][3:]
        table.add_row(str(beam), *(f"{x:.4f}" for x in factors), *(f"{x:.2f}" for x in percents))
    table.title = (
        f"search errors against beam {WIDEST:g} without a limit (WER {exact.wer(task):.2f})"
    )
    console.print(table)
    if plot:
        draw(np.array(rows), task, plot)


def draw(rows: np.ndarray, task: Task, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.semilogy(rows[:, 0], rows[:, 2], "o-", label="with lattices")
    left.semilogy(rows[:, 0], rows[:, 1], "s-", label="best path alone")
    left.set(xlabel="beam", ylabel="real-time factor, one thread", title=task.name)
    left.legend()
    right.plot(rows[:, 0], rows[:, 3], "o-", label="utterances with a search error")
    right.plot(rows[:, 0], rows[:, 4], "s-", label="WER")
    right.set(xlabel="beam", ylabel="%", title=f"{len(task.utterances)} utterances")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exp", type=Path, help="a model's directory, with graph/")
    parser.add_argument("--data", type=Path, help="a data directory with features")
    parser.add_argument("--utterances", type=int, default=60)
    parser.add_argument("--lattice-utterances", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    console = Console(width=100)
    task = real(args.exp, args.data, args.utterances) if args.exp else made_up(args.utterances)
    fst = to_kaldifst(task.graph, task.tid_to_pdf)
    console.print(
        f"{task.name}: {task.graph.num_states} states, {task.graph.num_arcs} arcs; "
        f"{len(task.utterances)} utterances, {task.seconds:.0f} s; {platform.processor()}"
    )
    compare_best_paths(console, task, fst, args.rounds)
    compare_lattices(console, task.head(args.lattice_utterances), fst, beam=13.0)
    compare_threads(console, task, args.rounds)
    sweep_beams(console, task, args.plot)


if __name__ == "__main__":
    main()
