"""How fast networks are trained on frames, beside the bare matrix products of the same shapes.

    python benchmarks/train_acoustic.py [--device cpu] [--threads 1] [--batch 256] [--rounds 9]

A step is that of `kds train-dnn`: frames from a pack on the disk through FrameBatches, forward,
loss, backward, SGD with momentum, metrics. The bare products are the three of each linear layer
(forward, gradient of the input, gradient of the weights; the first layer's input needs none), by
torch.mm into memory that is there already. "share" is their time by that of the step. The two take
turns; medians. One CPU thread (the default) is timed by its CPU seconds; else the clock is the
wall's, and waits for a GPU.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from kdspeech.acoustic import DnnTrainConfig, FrameBatches
from kdspeech.acoustic.train import ce_loss
from kdspeech.data.frames import FramePack
from kdspeech.models import build_acoustic_model, num_parameters
from kdspeech.train.loop import make_optimizer

DIM, CONTEXT, PDFS = 40, 7, 3972  # SYSTEMS: AMI's fMLLR, +-7 frames, tied states
_STEPS = 3  # of each kind in a round


def make_pack(folder: str) -> FramePack:
    """Half an hour of made-up frames."""
    rng = np.random.default_rng(0)
    parts = ((f"u{i}", "s", rng.standard_normal((900, DIM), np.float32)) for i in range(200))
    return FramePack.build(folder, parts)


def training_step(name: str, pack: FramePack, batch: int, device: str) -> tuple[Callable, int]:
    """A function that does one step, and the network's parameters."""
    torch.manual_seed(0)
    model = build_acoustic_model(name, PDFS, (2 * CONTEXT + 1) * DIM).to(device)
    optimizer = make_optimizer(model, DnnTrainConfig())
    batches = FrameBatches(pack, np.arange(len(pack)), CONTEXT, batch)
    pdfs = torch.randint(PDFS, (int(pack.offsets[-1]),))
    stream = (b for epoch in range(10**6) for b in batches(epoch))

    def step() -> None:
        inputs, positions = next(stream)
        labels = pdfs[positions]
        loss, metrics = ce_loss(model, (inputs.to(device), labels.to(device)))
        loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        float(metrics["accuracy"])

    return step, num_parameters(model)


def layer_shapes(name: str) -> list[tuple[int, int]]:
    """(inputs, outputs) of each linear layer of a step, the gates once for each layer they gate."""
    kind, hidden, layers = name.split("-")
    hidden, layers = int(hidden[1:]), int(layers[1:])
    gates = [(hidden, 2 * hidden)] * (layers - 1) if kind == "HDNN" else []
    inner = [(hidden, hidden)] * (layers - 1)
    return [((2 * CONTEXT + 1) * DIM, hidden), *inner, *gates, (hidden, PDFS)]


def bare_products(shapes: list[tuple[int, int]], batch: int, device: str) -> Callable:
    """A function that does a step's products."""
    calls = []
    for number, (rows, columns) in enumerate(shapes):
        x, w, g = (torch.rand(s, device=device) for s in
                   ((batch, rows), (columns, rows), (batch, columns)))  # fmt: skip
        pairs = [(x, w.T), (g.T, x)] + ([(g, w)] if number else [])
        calls += [(a, b, a.new_empty(a.shape[0], b.shape[1])) for a, b in pairs]

    def products() -> None:
        for a, b, out in calls:
            torch.mm(a, b, out=out)

    return products


def seconds(function: Callable, device: str) -> float:
    """Per call: CPU seconds of one thread, which other load changes little; else wall seconds."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.time
    begin = clock()
    for _ in range(_STEPS):
        function()
    if device != "cpu":
        torch.cuda.synchronize()
    return (clock() - begin) / _STEPS


def measure(name: str, pack: FramePack, options: argparse.Namespace) -> list[str]:
    """A row of the table."""
    step, parameters = training_step(name, pack, options.batch, options.device)
    shapes = layer_shapes(name)
    products = bare_products(shapes, options.batch, options.device)
    times = [(seconds(step, options.device), seconds(products, options.device))
             for _ in range(options.rounds + 1)][1:]  # fmt: skip
    whole, bare = (statistics.median(column) for column in zip(*times, strict=True))
    share = statistics.median(b / w for w, b in times)
    flops = 2 * options.batch * (3 * sum(a * b for a, b in shapes) - shapes[0][0] * shapes[0][1])
    rate = [f"{options.batch / t:,.0f}" for t in (whole, bare)]
    return [name, f"{parameters:,}", *rate, f"{flops / bare / 1e9:,.0f}", f"{100 * share:.0f} %"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("models", nargs="*", default=["HDNN-H512-L10", "HDNN-H128-L10"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cpu = options.device == "cpu"
    where = f"{options.threads} CPU threads" if cpu else torch.cuda.get_device_name()
    table = Table(title=f"frames per second, batches of {options.batch}, {where}")
    for column in ("network", "parameters", "training", "products", "GFLOP/s", "share"):
        table.add_column(column, justify="left" if column == "network" else "right")
    with tempfile.TemporaryDirectory() as folder:
        pack = make_pack(f"{folder}/pack")
        for name in options.models:
            table.add_row(*measure(name, pack, options))
    Console().print(table)


if __name__ == "__main__":
    main()
