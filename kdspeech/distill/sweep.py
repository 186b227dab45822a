"""Running many steps: plans, baselines and whole sweeps, over seeds and worker processes."""

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from kdspeech.distill.config import KeywordConfig
from kdspeech.distill.family import Node
from kdspeech.distill.keyword import KeywordData, KeywordRun
from kdspeech.distill.plans import Labels, Plan, Step
from kdspeech.distill.scoring import score_step, score_truncated
from kdspeech.io.errors import InputError
from kdspeech.parallel import open_client
from kdspeech.progress import progress_bar

POLL_SECONDS = 1.0
RETRIES = 3  # of a step whose worker died; it goes on from its last checkpoint


@dataclass(frozen=True)
class Job:
    """What all steps of a sweep share; goes to the workers, so it holds paths, not data.

    Args:
        config: the recipe.
        data: folder with the packs train, dev, test and perhaps noise.
        exp: results go to `exp/seed<k>/<step>/`.
        command: what the user ran, for the record.
        home: the folder that relative paths start from.
    """

    config: KeywordConfig
    data: str
    exp: str
    command: str
    home: str = field(default_factory=os.getcwd)

    def run(self, seed: int) -> KeywordRun:
        folder = Path(self.exp) / f"seed{seed}"
        return KeywordRun(self.config, KeywordData.open(self.data), folder, seed)

    def finish(self, seed: int, step: Step | Node, progress: bool = False) -> None:
        """Trains and scores a step; see `finish_step`."""
        run = self.run(seed)
        run.train(step, progress=progress)
        score_step(run, step, self.command)

    def metrics(self, seed: int, step: Step | Node) -> Path:
        return Path(self.exp) / f"seed{seed}" / step.name / "metrics.jsonl"


def finish_step(
    job: Job, seed: int, step: Step | Node, *_teacher: str, progress: bool = False
) -> str:
    """Trains and scores a step unless that is done; goes on with one that was interrupted.

    `_teacher` makes a cluster's scheduler wait for the steps that this one learns from.
    """
    job.finish(seed, step, progress)
    return step.name


def run_steps(
    job: Job,
    steps: Iterable[Step | Node],
    seeds: Sequence[int] = (0,),
    nj: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> None:
    """Trains and scores steps (and the teachers they need) for every seed.

    Args:
        job: what they share.
        steps: teachers before their students, as `plans` gives them, or nodes of a `family`; a
            teacher that is not among them must be trained.
        seeds: one run each.
        nj: worker processes on this machine, one torch thread each; 1 stays in this process.
        scheduler: address of a running Dask scheduler instead.
        progress: show a bar.
    """
    if (nj > 1 or scheduler) and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise InputError("under torchrun its processes share each step: leave out nj and scheduler")
    tasks = [(seed, step) for step in dict.fromkeys(steps) for seed in dict.fromkeys(seeds)]
    if nj == 1 and scheduler is None:
        for seed, step in tasks:
            finish_step(job, seed, step, progress=progress)
        return
    with open_client(nj, scheduler, RETRIES) as client:
        futures = {}
        for order, (seed, step) in enumerate(tasks):
            teachers = [futures[seed, t] for t in step.teachers if (seed, t) in futures]
            key = f"seed{seed}-{step.name}-{time.time_ns()}"
            futures[seed, step] = client.submit(
                _finish_on_worker, job, seed, step, *teachers, key=key, priority=-order
            )
        _watch(job, futures, progress)


def run_truncated(
    job: Job,
    step: Step,
    lengths: Iterable[int],
    seeds: Sequence[int],
    nj: int = 1,
    scheduler: str | None = None,
    progress: bool = True,
) -> None:
    """Scores a finished network on shorter crops, zero-padded and, if it can, as they are.

    Args: as for `run_steps`; `lengths` in ms, those of whole clips are left out.
    """
    tasks = [(seed, ms) for seed in seeds for ms in lengths if ms < step.length]
    with contextlib.ExitStack() as stack:
        if nj == 1 and scheduler is None:
            done = (_cut_short(job, step, task) for task in tasks)
        else:
            client = stack.enter_context(open_client(nj, scheduler, RETRIES))
            futures = client.map(partial(_cut_short, job, step), tasks, pure=False)
            done = (future.result() for future in futures)
        bar = progress_bar(f"{step.name} cut short", len(tasks))
        move = stack.enter_context(bar).move if progress else _ignore
        for count, (seed, ms) in enumerate(done, 1):
            move(count, f"seed {seed}: {ms} ms")


def _cut_short(job: Job, step: Step, task: tuple[int, int]) -> tuple[int, int]:
    os.chdir(job.home)
    seed, ms = task
    run = job.run(seed)
    any_length = getattr(run.trained_model(step), "any_length", False)
    for view in ("native", "pad") if any_length else ("pad",):
        score_truncated(run, step, ms, view, job.command)
    return task


def progressive(
    config: KeywordConfig,
    data: str | Path,
    exp: str | Path,
    plan: str | Plan | None = None,
    labels: Labels = "soft",
    seeds: Sequence[int] = (0,),
    nj: int = 1,
    command: str = "kdspeech.distill.progressive",
) -> None:
    """Progressive label distillation along one plan (Lin & Wong 2019).

    Args:
        config: the recipe, e.g. `load_config(KeywordConfig, "conf/kws.yaml")`.
        data: folder with the packs.
        exp: folder for the results.
        plan: lengths in ms such as "1000,800,500"; the configuration's unless given.
        labels: "soft" or "hard".
        seeds: one run each.
        nj: worker processes.
        command: for the record.
    """
    plan = plan if isinstance(plan, Plan) else Plan.parse(plan or config.plan)
    job = Job(config, str(data), str(exp), command)
    run_steps(job, plan.steps(labels), seeds, nj)


def _finish_on_worker(job: Job, seed: int, step: Step | Node, *teacher: str) -> str:
    os.chdir(job.home)
    torch.set_num_threads(1)
    return finish_step(job, seed, step, *teacher)


def _watch(job: Job, futures: dict, progress: bool) -> None:
    """Shows how far the steps are until all are done; the first error ends the sweep."""
    with contextlib.ExitStack() as stack:
        bar = progress_bar("steps", len(futures))
        move = stack.enter_context(bar).move if progress else _ignore
        while True:
            for future in futures.values():
                if future.status == "error":
                    _raise(future)
            done = [_share_done(job, *key, future) for key, future in futures.items()]
            active = [
                f"seed {seed}: {step.name}"
                for (seed, step), share in zip(futures, done, strict=True)
                if 0 < share < 1
            ]
            count = sum(share == 1 for share in done)
            move(sum(done), f"{count} of {len(done)} done; {', '.join(active)}")
            if all(future.status == "finished" for future in futures.values()):
                return
            time.sleep(POLL_SECONDS)


def _ignore(_done: float, _text: str) -> None:
    """What moves the bar when there is none."""


def _share_done(job: Job, seed: int, step: Step | Node, future) -> float:
    if future.status == "finished":
        return 1.0
    path = job.metrics(seed, step)
    epochs = path.read_bytes().count(b"\n") if path.exists() else 0
    return min(epochs / job.config.epochs_of(step), 0.99)


def _raise(future) -> None:
    from distributed import KilledWorker

    try:
        future.result()
    except KilledWorker as error:
        raise InputError(
            f"the workers of {error.task} died again and again (killed, or out of memory; "
            "try a smaller --nj); finished steps are kept"
        ) from error
