"""The one training loop."""

import atexit
import contextlib
import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from kdspeech.io.errors import InputError
from kdspeech.io.record import write_config, write_metrics
from kdspeech.progress import progress_bar
from kdspeech.train import checkpoint, record
from kdspeech.train.config import TrainConfig
from kdspeech.train.divergence import (
    DIVERGED,
    DivergedError,
    check_not_diverged,
    note_divergence,
)
from kdspeech.train.precision import multiplies_bf16
from kdspeech.train.record import log
from kdspeech.train.schedules import check_schedule, lr_factor, newbob_drop


@dataclass
class _State:
    """Where a run is; saved in last.pt."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished steps of the whole run
    epoch_step: int = 0  # finished steps of the running epoch
    sums: dict[str, float] = field(default_factory=dict)  # of the running epoch's metrics
    seconds: float = 0.0  # spent in the running epoch
    best: float | None = None
    best_epoch: int = 0
    drops: int = 0  # of newbob
    stopped: bool = False
    history: list[dict] = field(default_factory=list)


@dataclass
class _Run:
    """The objects of a run."""

    fabric: Fabric
    config: TrainConfig
    directory: Path
    settings: dict
    model: nn.Module  # the plain module
    wrapped: nn.Module  # Fabric's, which casts and averages gradients over processes
    optimizer: torch.optim.Optimizer
    average: nn.Module | None  # running mean of the weights
    state: _State
    move_bar: Callable[[float, str], None]
    write_events: Callable[[dict], None]
    pending: memoryview | None = None  # a last.pt whose next loss is not known yet

    @property
    def kept(self) -> nn.Module:
        """The module that is evaluated and kept as best."""
        return self.model if self.average is None else self.average


def fit(
    model: nn.Module,
    train_batches: Callable[[int], Iterable[Any]],
    loss_fn: Callable[[nn.Module, Any], tuple[Tensor, dict]],
    dev_fn: Callable[[nn.Module], dict],
    config: TrainConfig,
    directory: str | Path,
    *,
    identity: dict | None = None,
    steps_per_epoch: int | None = None,
    progress: bool = False,
) -> dict:
    """Trains `model` and leaves it with the best weights, in eval mode.

    Written to `directory`: last.pt (at each epoch's end), best.pt, metrics.jsonl, config.yaml,
    train.log and TensorBoard events. If last.pt is there, the run goes on from it and, on a CPU
    with the same number of threads, ends with the same bits as a run that was never stopped. A run
    that diverges leaves diverged.json, and with the same settings diverges at once from then on.
    No last.pt or best.pt holds weights that are not finite; one of within an epoch is written when
    the loss of the step after it is known to be finite.

    Under torchrun every process calls `fit`; gradients and metrics are averaged over them, rank 0
    writes. `train_batches` then gives this process's part of each batch (see `shard`).

    Args:
      model: trained in place (moved to the device of `config.accelerator`).
      train_batches: the batches of epoch 0, 1, ...; the same ones whenever it is called for an
        epoch, which exact resume rests on. Tensors in them are moved to the device.
      loss_fn: (model, batch) -> (scalar loss, dict of scalars to average over the epoch).
      dev_fn: model in eval mode without gradients, float32 -> dict of numbers, which must hold
        `config.keep_best`. Every process calls it and the numbers are averaged.
      config: see TrainConfig.
      directory: of this run alone.
      identity: plain values that a resumed run must have in common besides `config`: names or
        hashes of data, teacher, model.
      steps_per_epoch: needed where the batches have no len() and the rate changes every step.
      progress: show a bar on the terminal.

    Returns:
      dict with `best` (its keep_best), `best_epoch` (from 1), `epochs`, `steps` and `history`, the
      rows of metrics.jsonl: epoch, step, lr, seconds, train_*, dev_*.

    Raises:
      DivergedError: the loss or the weights are not finite, now or when these settings were tried
        before.
      InputError: last.pt is of a run with other settings, another process trains in the directory,
        or `config` does not fit the data or the machine.
    """
    directory = Path(directory)
    fabric = _make_fabric(config)
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    checkpoint.seed_all(config.seed + fabric.global_rank)
    settings = {
        "train": config.model_dump(mode="json"),
        "identity": json.loads(json.dumps(identity or {})),  # as it will be read back
        "processes": fabric.world_size,
    }
    average = copy.deepcopy(model).eval() if config.ema else None
    optimizer = make_optimizer(model, config)
    wrapped, optimizer = fabric.setup(model, optimizer)
    if average is not None:
        average.to(fabric.device)
    with contextlib.ExitStack() as stack:
        run = _Run(
            *(fabric, config, directory, settings, model, wrapped, optimizer, average),
            *(_State(), _ignore, _ignore),
        )
        _resume(run)
        _open_records(run, stack, progress)
        while run.state.epoch < config.epochs and not run.state.stopped:
            _train_epoch(run, train_batches, loss_fn, steps_per_epoch)
            _finish_epoch(run, _evaluate(run, dev_fn))
    checkpoint.load_weights(model.eval(), directory / "best.pt")
    state = run.state
    return {
        "best": state.best,
        "best_epoch": state.best_epoch,
        "epochs": state.epoch,
        "steps": state.step,
        "history": state.history,
    }


def shard(batch: Any, rank: int | None = None, world_size: int | None = None) -> Any:
    """This process's part of a global batch (anything that can be sliced), in order.

    Rank and number of processes are torchrun's unless given; without torchrun the batch is
    returned whole. Parts are equal where the batch divides; else the first ones have one more.

    Raises:
      InputError: fewer items than processes.
    """
    rank = int(os.environ.get("RANK", 0)) if rank is None else rank
    world_size = int(os.environ.get("WORLD_SIZE", 1)) if world_size is None else world_size
    if len(batch) < world_size:
        raise InputError(f"a batch of {len(batch)} cannot be shared by {world_size} processes")
    size, more = divmod(len(batch), world_size)
    start = rank * size + min(rank, more)
    return batch[start : start + size + (rank < more)]


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer; values of one dimension (biases, norms) decay only if the config says so."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    plain = [p for p in parameters if p.dim() < 2 and not config.decay_bias_and_norm]
    kept = {id(p) for p in plain}
    groups = [
        {"params": [p for p in parameters if id(p) not in kept]},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    options = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.fused:
        options["fused"] = True
    if config.optimizer == "sgd":
        nesterov = config.nesterov and config.momentum > 0
        return torch.optim.SGD(groups, momentum=config.momentum, nesterov=nesterov, **options)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, **options)


def _make_fabric(config: TrainConfig) -> Fabric:
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    # Its note that autocast is on would be one line for every step of a plan.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=local,
            num_nodes=world_size // local,
            strategy="ddp" if world_size > 1 else "auto",
            precision="bf16-mixed" if config.bf16 else "32-true",
        )
    except RuntimeError as error:  # no such accelerator here
        raise InputError(f"accelerator {config.accelerator}: {error}") from error
    joined = torch.distributed.is_initialized()
    fabric.launch()
    if torch.distributed.is_initialized() and not joined:
        # Left to the interpreter's end, gloo's threads may still run and abort the process.
        atexit.register(torch.distributed.destroy_process_group)
    return fabric


def _ignore(*_: Any) -> None:
    """What `move_bar` and `write_events` are when nobody looks."""


def _open_records(run: _Run, stack: contextlib.ExitStack, progress: bool) -> None:
    if not run.fabric.is_global_zero:
        return
    run.directory.mkdir(parents=True, exist_ok=True)
    stack.enter_context(record.log_to(run.directory / "train.log"))
    for leftover in run.directory.glob(".*.tmp.*"):  # of a run killed while it wrote
        leftover.unlink()
    state, config = run.state, run.config
    if state.step == 0:
        (run.directory / DIVERGED).unlink(missing_ok=True)  # of other settings
        write_config(run.directory / "config.yaml", run.settings)
        kind = "bfloat16" if config.bf16 else "float32"
        log.info("%d epochs to train, products in %s", config.epochs, kind)
        if config.bf16 and not multiplies_bf16(run.fabric.device):
            log.warning("bfloat16 is emulated here and slow; with precision: auto it is left out")
    else:
        log.info("goes on after epoch %d, step %d", state.epoch, state.step)
        write_metrics(run.directory / "metrics.jsonl", state.history)
    if config.tensorboard and state.epoch < config.epochs:
        run.write_events = stack.enter_context(record.event_writer(run.directory, state.step))
    if progress:
        bar = progress_bar(run.directory.name, config.epochs, state.epoch)
        run.move_bar = stack.enter_context(bar).move


def _train_epoch(
    run: _Run, train_batches: Callable, loss_fn: Callable, steps_per_epoch: int | None
) -> None:
    state, config = run.state, run.config
    batches = train_batches(state.epoch)
    steps = len(batches) if hasattr(batches, "__len__") else steps_per_epoch
    check_schedule(config, steps)
    run.wrapped.train()
    started = time.perf_counter() - state.seconds
    for batch in islice(batches, state.epoch_step, None):
        # The rate is that of the step's middle, so that neither the first nor the last is 0.
        done = (state.epoch_step + 0.5) / steps if steps else 0.0
        _train_step(run, batch, loss_fn, state.epoch + done)
        state.step += 1
        state.epoch_step += 1
        state.seconds = time.perf_counter() - started
        if steps:
            run.move_bar(state.epoch + state.epoch_step / steps, _describe(state))
        if config.checkpoint_steps and state.step % config.checkpoint_steps == 0:
            _check_weights(run)
            run.pending = _pack_last(run)
    if state.epoch_step == 0:
        raise InputError(f"{run.directory}: epoch {state.epoch + 1} has no training batch")
    _check_weights(run)


def _train_step(run: _Run, batch: Any, loss_fn: Callable, epochs: float) -> None:
    state, config = run.state, run.config
    rate = config.lr * lr_factor(config, epochs) * config.newbob_factor**state.drops
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    loss, metrics = loss_fn(run.wrapped, run.fabric.to_device(batch))
    value = loss.item()
    if not math.isfinite(value):
        raise _diverged(run, f"the loss is {value}", state.epoch_step + 1)
    _write_pending(run)
    run.fabric.backward(loss)
    if config.grad_clip:
        run.fabric.clip_gradients(run.wrapped, run.optimizer, max_norm=config.grad_clip)
    run.optimizer.step()
    run.optimizer.zero_grad()
    if run.average is not None:
        update_average(run.average, run.model, config.ema, state.step)
    for key, number in {"loss": value, **metrics}.items():
        state.sums[key] = state.sums.get(key, 0.0) + float(number)


def _check_weights(run: _Run) -> None:
    """Refuses weights that a gradient has spoilt whose loss was finite. Only before something is
    written: the loss of each step shows nearly all of it, and this reads every weight."""
    if not all(weights.isfinite().all() for weights in run.model.parameters()):
        raise _diverged(run, "the weights are not finite", run.state.epoch_step)


def _diverged(run: _Run, what: str, step: int) -> DivergedError:
    """The error, which the directory remembers from now on."""
    rate = run.optimizer.param_groups[0]["lr"]
    error = DivergedError(
        f"{run.directory}: {what} in epoch {run.state.epoch + 1}, step {step} (rate {rate:g}); "
        "lower lr, set grad_clip or warmup_epochs. Checkpoints of before are kept"
    )
    note_divergence(run.directory, error, run.settings)
    return error


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """average <- d average + (1 - d) model for weights and running statistics, with
    d = min(decay, (1 + step) / (10 + step)) so that the random start is soon forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(_tensors(average), _tensors(model), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _evaluate(run: _Run, dev_fn: Callable) -> dict:
    """The row of metrics.jsonl for the epoch that has just ended."""
    state = run.state
    start = time.perf_counter()
    run.kept.eval()
    with torch.no_grad():
        dev = {key: float(value) for key, value in dev_fn(run.kept).items()}
    if run.config.keep_best not in dev:
        raise InputError(
            f"keep_best is {run.config.keep_best!r}, but the dev metrics are {', '.join(dev)}"
        )
    if not math.isfinite(dev[run.config.keep_best]):
        raise InputError(f"{run.directory}: dev {run.config.keep_best} is not finite")
    state.seconds += time.perf_counter() - start
    train = {key: value / state.epoch_step for key, value in state.sums.items()}
    return {
        "epoch": state.epoch + 1,
        "step": state.step,
        "lr": run.optimizer.param_groups[0]["lr"],
        "seconds": round(state.seconds, 3),
        **_mean_over_processes(run.fabric, {f"train_{key}": v for key, v in train.items()}),
        **_mean_over_processes(run.fabric, {f"dev_{key}": v for key, v in dev.items()}),
    }


def _mean_over_processes(fabric: Fabric, values: dict[str, float]) -> dict[str, float]:
    if fabric.world_size == 1:
        return values
    numbers = torch.tensor(list(values.values()), dtype=torch.float64, device=fabric.device)
    mean = fabric.all_reduce(numbers, reduce_op="mean")
    return dict(zip(values, mean.tolist(), strict=True))


def _finish_epoch(run: _Run, row: dict) -> None:
    """Keeps the best, lowers newbob's rate, writes everything down; last.pt comes last, so that
    a run killed before it does this epoch's end again."""
    state, config = run.state, run.config
    value = row[f"dev_{config.keep_best}"]
    sign = 1 if config.keep_best_mode == "max" else -1
    drop = config.schedule == "newbob" and newbob_drop(config, value, state.best)
    if state.best is None or sign * value > sign * state.best:
        state.best, state.best_epoch = value, row["epoch"]
        _save_best(run)
    if drop:
        _go_back(run)
    state.history.append(row)
    state.epoch += 1
    state.epoch_step, state.sums, state.seconds = 0, {}, 0.0
    if run.fabric.is_global_zero:
        write_metrics(run.directory / "metrics.jsonl", state.history)
    run.write_events(row)
    log.info(" ".join(f"{key} {_short(number)}" for key, number in row.items()))
    run.move_bar(state.epoch, _describe(state))
    _save_last(run)


def _go_back(run: _Run) -> None:
    """newbob: a smaller rate, from the best weights on, without the optimizer's memory."""
    state = run.state
    state.drops += 1
    state.stopped = state.drops > run.config.newbob_drops
    run.fabric.barrier()
    checkpoint.load_weights(run.model, run.directory / "best.pt")
    if run.average is not None:
        checkpoint.load_weights(run.average, run.directory / "best.pt")
    run.optimizer.state.clear()


def _save_best(run: _Run) -> None:
    if run.fabric.is_global_zero:
        state = run.state
        content = {
            "model": run.kept.state_dict(),
            "epoch": state.best_epoch,
            run.config.keep_best: state.best,
        }
        checkpoint.save(run.directory / "best.pt", {**content, "settings": run.settings})
    run.fabric.barrier()


def _save_last(run: _Run) -> None:
    run.pending = _pack_last(run)
    _write_pending(run)


def _pack_last(run: _Run) -> memoryview | None:
    """The run as it is now; None where another process writes."""
    random_states = [checkpoint.rng_state()]
    if run.fabric.world_size > 1:
        random_states = [None] * run.fabric.world_size
        torch.distributed.all_gather_object(random_states, checkpoint.rng_state())
    if not run.fabric.is_global_zero:
        return None
    return checkpoint.pack(
        {
            "settings": run.settings,
            "state": asdict(run.state),
            "model": run.model.state_dict(),
            "average": run.average.state_dict() if run.average is not None else None,
            "optimizer": run.optimizer.state_dict(),
            "random": random_states,
        }
    )


def _write_pending(run: _Run) -> None:
    if run.pending is not None:
        checkpoint.write(run.directory / "last.pt", run.pending)
        run.pending = None


def _resume(run: _Run) -> None:
    check_not_diverged(run.directory, run.settings)
    path = run.directory / "last.pt"
    if not path.exists():
        return
    content = checkpoint.load(path)
    checkpoint.check_same_run(path, content["settings"], run.settings)
    checkpoint.set_weights(run.model, content["model"], path)
    if run.average is not None:
        checkpoint.set_weights(run.average, content["average"], path)
    run.optimizer.load_state_dict(content["optimizer"])
    run.state = _State(**content["state"])
    checkpoint.set_rng_state(content["random"][run.fabric.global_rank])


def _describe(state: _State) -> str:
    text = f"epoch {state.epoch + (state.epoch_step > 0)}"
    if state.epoch_step:
        text += f" loss {state.sums['loss'] / state.epoch_step:.3f}"
    return text if state.best is None else f"{text} best {_short(state.best)}"


def _short(number: float) -> str:
    return f"{number:.5g}"
