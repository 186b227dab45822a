"""What a model costs: parameters, multiply-adds, time."""

import statistics
import time

import torch
from torch import nn


def num_parameters(model: nn.Module) -> int:
    """Number of trainable values (buffers such as running statistics are not counted)."""
    return sum(p.numel() for p in model.parameters())


def num_macs(model: nn.Module, input_shape: tuple[int, int]) -> int:
    """Multiply-adds of one forward pass over one clip.

    Counted are the products of convolutions (grouped and depthwise ones as well) and linear
    layers, padding included; biases, norms, activations, pooling and sums are not, as papers on
    keyword spotting do.

    Args:
      model: takes (batch, frames, dim).
      input_shape: (frames, dim).
    """
    macs = 0

    def count(module: nn.Module, _inputs: tuple, output: torch.Tensor) -> None:
        nonlocal macs
        # Every output value is a sum over the other axes of its row of the weight.
        macs += output.numel() * module.weight[0].numel()

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, kinds)]
    try:
        _run(model, input_shape)
    finally:
        for hook in hooks:
            hook.remove()
    return macs


def latency_ms(model: nn.Module, input_shape: tuple[int, int], repeats: int = 50) -> float:
    """Median milliseconds of a forward pass over one clip, on one CPU thread.

    Args:
      model: on the CPU, takes (batch, frames, dim).
      input_shape: (frames, dim).
      repeats: timed passes, after five untimed ones.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(5):
            _run(model, input_shape)
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            _run(model, input_shape)
            seconds.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(seconds)


def _run(model: nn.Module, input_shape: tuple[int, int]) -> None:
    training = model.training
    first = next(model.parameters())
    model.eval()
    try:
        with torch.inference_mode():
            model(torch.zeros(1, *input_shape, device=first.device, dtype=first.dtype))
    finally:
        model.train(training)
