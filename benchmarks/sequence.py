"""How many lattice arcs a second the sequence losses take, beside the same sums in plain torch.

    OMP_NUM_THREADS=1 python benchmarks/sequence.py [--frames 200] [--width 30 300] [--repeat 3]

Lattices are random: `width` states in each frame, of four arcs each, all with a transition id.
Both ways give the value and its gradient by the scores; they are compared before they are timed.
"torch, by frames" is the forward pass in the log semiring with all arcs of a frame at once and
autograd for the gradient; "torch, by states" the same, state by state, as the recursion is
written in the papers, on the first lattice alone. CPU seconds of this process, medians, the ways
taking turns; a turn is as many calls as last a while, after one that is not timed.
"""

import argparse
import time
from types import SimpleNamespace

import numpy as np
import torch

from kdspeech.decode import Lattice, TidTables
from kdspeech.losses import mmi_loss, sequence_kd_loss, smbr_loss

SCALE = 0.1


def make_lattice(frames: int, width: int, num_pdfs: int, random) -> Lattice:
    """From a start state through `width` states in each frame; those of the last are final."""
    states = 1 + frames * width
    sources = 1 + (frames - 1) * width
    arcs = np.zeros(4 * sources, dtype=[(n, "i4") for n in ("tid", "word", "next")])
    frame = (np.arange(sources) + width - 1) // width
    first = np.repeat(1 + frame * width, 4)
    arcs["tid"] = random.integers(1, num_pdfs + 1, len(arcs))
    arcs["next"] = first + random.integers(0, width, len(arcs))
    costs = random.random((len(arcs), 2)) * 4
    rows = [(*a.tolist(), *c) for a, c in zip(arcs, costs, strict=True)]
    finals = [(np.inf, np.inf)] * (states - width) + [(0.0, 0.0)] * width
    return Lattice.from_arrays(np.minimum(np.arange(states + 1), sources) * 4, rows, finals)


class TorchLattice:
    """The same sums written with torch. Tid i has pdf i - 1; every arc is one frame long."""

    def __init__(self, lattice: Lattice, width: int, reference: np.ndarray):
        arcs = lattice.arcs
        sources = np.repeat(np.arange(lattice.num_states), np.diff(lattice.offsets))
        times = lattice.state_times()[sources]
        keep = times >= 0
        self.num_states = lattice.num_states
        self.pdfs = torch.tensor(arcs["ilabel"][keep].astype(np.int64) - 1)
        self.nexts = torch.tensor(arcs["nextstate"][keep].astype(np.int64))
        self.graph = torch.tensor(-arcs["graph_cost"][keep].astype(np.float64))
        self.sources, self.times = torch.tensor(sources[keep]), torch.tensor(times[keep]).long()
        self.right = (self.pdfs == torch.tensor(reference - 1)[self.times]).double()
        self.first = [0, *range(1, lattice.num_states, width)]  # state of each frame
        self.width = width
        self.counts = torch.bincount(self.times).tolist()
        self.incoming = [[] for _ in range(self.num_states)]
        for arc, state in enumerate(self.nexts.tolist()):
            self.incoming[state].append(arc)

    def arc_scores(self, scores):
        return self.graph + SCALE * scores[self.times, self.pdfs].double()

    def log_likelihood(self, arc_scores):
        """Of all paths, frame by frame."""
        alpha = torch.zeros(1, dtype=torch.float64)
        parts = (x.split(self.counts) for x in (arc_scores, self.sources, self.nexts))
        for t, (arcs, sources, nexts) in enumerate(zip(*parts, strict=True)):
            into, nexts = alpha[sources - self.first[t]] + arcs, nexts - self.first[t + 1]
            peak = torch.full((self.width,), -1e30, dtype=torch.float64)
            peak = peak.scatter_reduce(0, nexts, into.detach(), "amax")
            sums = torch.full((self.width,), 1e-300, dtype=torch.float64)
            alpha = sums.index_add(0, nexts, (into - peak[nexts]).exp()).log() + peak
        return alpha.logsumexp(0)

    def log_likelihood_by_states(self, arc_scores):
        alpha = [torch.zeros((), dtype=torch.float64)]
        arcs, sources = arc_scores.unbind(), self.sources.tolist()
        nothing = torch.full((), -1e30, dtype=torch.float64)
        for state in range(1, self.num_states):
            into = [alpha[sources[arc]] + arcs[arc] for arc in self.incoming[state]]
            alpha.append(torch.stack(into).logsumexp(0) if into else nothing)
        return torch.stack(alpha[-self.width :]).logsumexp(0)

    def mmi(self, scores, reference, by_states=False):
        total = self.log_likelihood_by_states if by_states else self.log_likelihood
        numerator = SCALE * scores[torch.arange(len(scores)), reference - 1].double().sum()
        return total(self.arc_scores(scores)) - numerator

    def smbr(self, scores):
        """The derivative of the log-likelihood by a weight of the right frames, at zero."""
        weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
        total = self.log_likelihood(self.arc_scores(scores) + weight * self.right)
        return -torch.autograd.grad(total, weight, create_graph=True)[0]

    def kd(self, scores, teacher):
        """Expected log probability of the paths; posteriors of the teacher by autograd."""
        target = self.arc_scores(teacher).detach().requires_grad_()
        (posteriors,) = torch.autograd.grad(self.log_likelihood(target), target)
        arc_scores = self.arc_scores(scores)
        return self.log_likelihood(arc_scores) - posteriors @ arc_scores


def value_and_gradient(loss, scores):
    scores = scores.clone().requires_grad_()
    value = loss(scores)
    value.backward()
    return value.item(), scores.grad


def seconds_of(call, least: float = 0.2) -> float:
    """CPU seconds of a call, by as many as take `least`."""
    call()
    begin, calls = time.process_time(), 0
    while calls == 0 or time.process_time() - begin < least:
        call()
        calls += 1
    return (time.process_time() - begin) / calls


def medians(calls: dict, repeat: int) -> dict[str, float]:
    times = {name: [] for name in calls}
    for _ in range(repeat):
        for name, call in calls.items():
            times[name].append(seconds_of(call))
    return {name: float(np.median(t)) for name, t in times.items()}


def rows(lattice, tables, plain, reference, teacher, by_states: bool) -> dict:
    """Of each criterion: ours and those in torch."""
    args, options = (lattice, tables, reference), {"acoustic_scale": SCALE, "reduction": "sum"}
    target = torch.tensor(reference)
    mmi = {"by frames": lambda x: plain.mmi(x, target)}
    if by_states:
        mmi["by states"] = lambda x: plain.mmi(x, target, by_states=True)
    return {
        "MMI": (lambda x: mmi_loss(x, *args, drop_frames=False, **options), mmi),
        "sMBR": (lambda x: smbr_loss(x, *args, **options), {"by frames": plain.smbr}),
        "sequence KD": (
            lambda x: sequence_kd_loss(x, lattice, teacher, tables, **options),
            {"by frames": lambda x: plain.kd(x, teacher)},
        ),
    }


def compare(frames: int, width: int, num_pdfs: int, repeat: int, by_states: bool) -> None:
    """Prints a row for each criterion."""
    random = np.random.default_rng(0)
    tids = np.arange(num_pdfs + 1, dtype=np.int32)
    tables = TidTables(SimpleNamespace(tid_to_pdf=tids - 1, tid_to_phone=tids))
    lattice = make_lattice(frames, width, num_pdfs, random)
    reference = lattice.best_path().tids.astype(np.int64)
    scores, teacher = torch.tensor(random.normal(size=(2, frames, num_pdfs))).float()
    plain = TorchLattice(lattice, width, reference)
    arcs = lattice.num_arcs
    cases = rows(lattice, tables, plain, reference, teacher, by_states)
    for name, (ours, others) in cases.items():
        expected = value_and_gradient(ours, scores)
        for other in others.values():
            value, gradient = value_and_gradient(other, scores)
            assert abs(value - expected[0]) < 1e-3 * max(1, abs(value)), (value, expected[0])
            torch.testing.assert_close(gradient, expected[1], atol=1e-5, rtol=1e-3)
        calls = {"ours": ours, **others}
        seconds = medians(
            {key: lambda f=f: value_and_gradient(f, scores) for key, f in calls.items()}, repeat
        )
        speed = [arcs / seconds[k] / 1e6 if k in seconds else None for k in ORDER]
        ratio = [s and speed[0] / s for s in speed[1:]]
        cells = [f"{s:.3g}" if s else "-" for s in speed] + [
            f"{r:.3g}x" if r else "-" for r in ratio
        ]
        print(f"| {arcs} | {name} | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--width", type=int, nargs="+", default=[30, 300], help="states in a frame")
    parser.add_argument("--pdfs", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{args.frames} frames, {args.pdfs} pdfs; million arcs a second\n")
    print("| arcs | | ours | by frames | by states | ours / by frames | ours / by states |")
    print("|---|---|---|---|---|---|---|")
    for number, width in enumerate(args.width):
        compare(args.frames, width, args.pdfs, args.repeat, by_states=number == 0)


ORDER = ("ours", "by frames", "by states")

if __name__ == "__main__":
    main()
