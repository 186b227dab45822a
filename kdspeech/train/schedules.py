"""Learning rate schedules: the rate as a factor of `lr`, a function of time in epochs."""

import math

from kdspeech.io.errors import InputError
from kdspeech.train.config import TrainConfig


def lr_factor(config: TrainConfig, time: float) -> float:
    """Learning rate / lr at `time`, counted in epochs (2.5: in the middle of the third).

    newbob has no factor of its own here (1): `newbob_drop` lowers it after an epoch.
    """
    if time < config.warmup_epochs and config.schedule != "one_cycle":
        return time / config.warmup_epochs
    return _SHAPES[config.schedule](config, time)


def check_schedule(config: TrainConfig, steps_per_epoch: int | None) -> None:
    """Refuses settings that contradict each other, and a schedule that lacks the epoch's length."""
    if config.schedule == "one_cycle" and config.warmup_epochs:
        raise InputError("schedule one_cycle has a rise of its own: set warmup_epochs to 0")
    if config.schedule == "step" and not config.step_epochs:
        raise InputError("schedule step needs step_epochs, e.g. [10, 20]")
    if config.warmup_epochs >= config.epochs:
        raise InputError(f"warmup_epochs {config.warmup_epochs} leaves nothing of {config.epochs}")
    moves = config.schedule in ("cosine", "one_cycle") or config.warmup_epochs > 0
    if moves and steps_per_epoch is None:
        raise InputError(
            f"schedule {config.schedule} (warmup_epochs {config.warmup_epochs}) changes at every "
            "step: return batches that have a len(), or pass steps_per_epoch"
        )


def newbob_drop(config: TrainConfig, value: float, best: float | None) -> bool:
    """Whether a dev metric that went from `best` to `value` gained too little to keep the rate."""
    if best is None:
        return False
    sign = 1 if config.keep_best_mode == "max" else -1
    return sign * (value - best) <= config.newbob_threshold * abs(best)


def _constant(config: TrainConfig, time: float) -> float:
    return 1.0


def _step(config: TrainConfig, time: float) -> float:
    return config.step_factor ** sum(time >= epoch for epoch in config.step_epochs)


def _cosine(config: TrainConfig, time: float) -> float:
    done = (time - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
    return _glide(1.0, config.final_factor, done)


def _one_cycle(config: TrainConfig, time: float) -> float:
    """Smith & Topin 2018, with cosine flanks and a fixed momentum."""
    top = config.one_cycle_rise * config.epochs
    if time < top:
        return _glide(config.one_cycle_start, 1.0, time / top)
    return _glide(1.0, config.final_factor, (time - top) / (config.epochs - top))


def _glide(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


_SHAPES = {
    "constant": _constant,
    "newbob": _constant,
    "step": _step,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}
