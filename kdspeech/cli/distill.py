"""`kds distill`: keyword-spotting networks by progressive label distillation."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.numbers import finite

app = typer.Typer(
    no_args_is_help=True, help="Train teachers and distil them into smaller-input students."
)

Config = Annotated[Path, typer.Option("--config", help="The recipe, conf/*.yaml.")]
Data = Annotated[Path, typer.Option("--data", help="Folder with the packs train, dev, test.")]
Exp = Annotated[Path, typer.Option("--exp", help="Folder for the results.")]
Seeds = Annotated[str, typer.Option(help="Seeds, comma-separated: one run each.")]
Nj = Annotated[int, typer.Option(help="Worker processes on this machine, one thread each.", min=1)]
Scheduler = Annotated[
    str | None, typer.Option(help="A Dask scheduler (tcp://...) or a job queue (slurm, sge, pbs).")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="section.key=value over the recipe; may be repeated."),
]
LabelKind = Annotated[str, typer.Option(help="What a student learns: soft or hard labels.")]


@app.command()
def teacher(
    config: Config,
    data: Data,
    exp: Exp,
    seeds: Seeds = "0",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    overrides: Set = None,
) -> None:
    """Train the plan's first network, on whole clips with their own labels."""
    from kdspeech.distill import Plan, run_steps

    job = _job(config, data, exp, overrides)
    steps = Plan.parse(job.config.plan).steps()[:1]
    run_steps(job, steps, parse_seeds(seeds), nj, scheduler)


@app.command()
def progressive(
    config: Config,
    data: Data,
    exp: Exp,
    plan: Annotated[
        str | None, typer.Option(help="Input lengths in ms, e.g. 1000,800,500; else the recipe's.")
    ] = None,
    labels: LabelKind = "soft",
    seeds: Seeds = "0",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    overrides: Set = None,
) -> None:
    """Distil along a plan of input lengths; direct distillation is the plan of two lengths."""
    from kdspeech.distill import Plan, run_steps, write_examples

    job = _job(config, data, exp, overrides)
    steps = Plan.parse(plan or job.config.plan).steps(_labels(labels))
    run_steps(job, steps, parse_seeds(seeds), nj, scheduler)
    write_examples(job, steps, parse_seeds(seeds)[0])


@app.command()
def baselines(
    config: Config,
    data: Data,
    exp: Exp,
    lengths: Annotated[
        str | None, typer.Option(help="Input lengths in ms; else the last of the recipe's plan.")
    ] = None,
    seeds: Seeds = "0",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    overrides: Set = None,
) -> None:
    """No distillation, read both ways: the clip's own label on crops, and the teacher cut short.

    The second feeds the first network of the plan with crops, as they are and zero-padded to its
    own input; it must be trained already.
    """
    from kdspeech.distill import Plan, Step, run_steps, run_truncated

    job = _job(config, data, exp, overrides)
    plan = Plan.parse(job.config.plan)
    ends = _numbers("--lengths", lengths, 1, plan.lengths[0]) if lengths else [plan.lengths[-1]]
    run_steps(job, [Step((ms,), "clip") for ms in ends], parse_seeds(seeds), nj, scheduler)
    run_truncated(job, plan.steps()[0], ends, parse_seeds(seeds), nj, scheduler)


@app.command()
def sweep(
    config: Config,
    data: Data,
    exp: Exp,
    seeds: Seeds = "0",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    overrides: Set = None,
) -> None:
    """Every chain and direct distillation of the recipe, and all baselines; steps are shared.

    The recipe's `chains` and `direct` say which; without them those of Lin & Wong 2019.
    Finished steps are kept, interrupted ones go on.
    """
    from kdspeech.distill import (
        PAPER_CHAINS,
        PAPER_DIRECT,
        Plan,
        run_steps,
        run_truncated,
        write_examples,
    )
    from kdspeech.distill import sweep_steps as all_steps

    job = _job(config, data, exp, overrides)
    chains, direct = job.config.chains, job.config.direct
    if not chains and not direct:
        chains, direct = PAPER_CHAINS, PAPER_DIRECT
    steps = all_steps(job.config.plan, chains, direct, job.config.hard)
    run_steps(job, steps, parse_seeds(seeds), nj, scheduler)
    ends = sorted({step.length for step in steps if step.teacher}, reverse=True)
    run_truncated(
        job, Plan.parse(job.config.plan).steps()[0], ends, parse_seeds(seeds), nj, scheduler
    )
    write_examples(job, steps, parse_seeds(seeds)[0])


@app.command()
def iterate(
    config: Config,
    data: Data,
    exp: Exp,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Points of dev accuracy that may be lost; else the recipe's.",
            min=0,
            callback=finite,
        ),
    ] = None,
    max_params: Annotated[int | None, typer.Option(help="Budget: parameters.", min=1)] = None,
    max_macs: Annotated[int | None, typer.Option(help="Budget: multiply-adds.", min=1)] = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(help="Budget: ms for a clip on one thread here.", min=0, callback=finite),
    ] = None,
    max_size_kb: Annotated[
        float | None,
        typer.Option(help="Budget: weights in float32, 1024 bytes.", min=0, callback=finite),
    ] = None,
    seeds: Seeds = "0",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    overrides: Set = None,
) -> None:
    """Make a network smaller generation by generation, by the recipe's `iterate` section.

    Without a budget it ends where dev accuracy is surely more than --max-drop below the root;
    with one (all that are given) it returns the best network within. Finished networks are kept.
    Writes EXP/family.json, family.md, family.svg and pareto.svg.
    """
    from kdspeech.distill import Limits, run_search
    from kdspeech.io.errors import InputError
    from kdspeech.report.family import print_family, save_family

    limits = Limits(
        parameters=max_params, macs=max_macs, latency_ms=max_latency_ms, size_kb=max_size_kb
    )
    job = _any_job(config, data, exp, overrides)
    family = run_search(job, limits, max_drop, parse_seeds(seeds), nj, scheduler)
    save_family(family, exp)
    print_family(family)
    if family["best"] is None:
        raise InputError(family["outcome"])
    typer.echo(family["outcome"])


def _job(config: Path, data: Path, exp: Path, overrides: list[str] | None):
    from kdspeech.config import load_config
    from kdspeech.distill import Job, KeywordConfig

    command = shlex.join(["kds", *sys.argv[1:]])
    return Job(load_config(KeywordConfig, config, overrides), str(data), str(exp), command)


def _any_job(config: Path, data: Path, exp: Path, overrides: list[str] | None):
    """Of a recipe for images where it has a section `images`, else for clips."""
    from kdspeech.config import has_section, load_config
    from kdspeech.distill import ImageConfig, ImageJob

    if not has_section(config, "images"):
        return _job(config, data, exp, overrides)
    command = shlex.join(["kds", *sys.argv[1:]])
    return ImageJob(load_config(ImageConfig, config, overrides), str(data), str(exp), command)


def parse_seeds(text: str) -> list[int]:
    return _numbers("--seeds", text, 0, 2**32)


def _numbers(option: str, text: str, low: int, high: int) -> list[int]:
    from kdspeech.io.errors import InputError

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: write numbers, comma-separated") from None
    for number in numbers:
        if not low <= number <= high:
            raise InputError(f"{option} {text}: {number} is not within {low} and {high}")
    return numbers


def _labels(text: str) -> str:
    from kdspeech.io.errors import InputError

    if text not in ("soft", "hard"):
        raise InputError(f"--labels {text}: soft or hard")
    return text
