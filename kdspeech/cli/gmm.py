"""`kds train-mono`, `train-deltas`, `train-lda-mllt`, `train-sat`, `align`, `align-fmllr`.

Options have the names and defaults of the classes in kdspeech.gmm.options, which they fill.
"""

import logging
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.acoustic import model_reader
from kdspeech.cli.console import say
from kdspeech.cli.numbers import finite, positive

app = typer.Typer()


class UpdateType(str, Enum):
    """Kinds of fMLLR."""

    full = "full"
    diag = "diag"
    offset = "offset"
    none = "none"


Data = Annotated[
    Path, typer.Argument(help="Data directory with features and text.", show_default=False)
]
Lang = Annotated[Path, typer.Argument(help="Lang directory.", show_default=False)]
Ali = Annotated[
    Path, typer.Argument(help="Alignments to start from, with their model.", show_default=False)
]
Src = Annotated[Path, typer.Argument(help="Directory of the model.", show_default=False)]
Exp = Annotated[Path, typer.Argument(help="Directory to make.", show_default=False)]

Nj = Annotated[int, typer.Option(min=1, help="Splits of the data, a process each.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Dask cluster to work on: tcp://host:port, or slurm, sge, pbs, lsf, oar, htcondor."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")]
Leaves = Annotated[int, typer.Option(min=1, help="Leaves of the tree at most.")]
Gauss = Annotated[int, typer.Option(min=1, help="Gaussians to grow to.")]
Iters = Annotated[int, typer.Option(min=1, help="Passes, of which the last makes the model.")]
Growing = Annotated[int, typer.Option(min=1, help="Last pass that adds Gaussians.")]
Passes = Annotated[str, typer.Option(help="Passes that begin with a new alignment.")]
MlltPasses = Annotated[str, typer.Option(help="Passes that begin with a new MLLT.")]
FmllrPasses = Annotated[str, typer.Option(help="Passes that begin with new transforms.")]
Power = Annotated[
    float,
    typer.Option(min=0, callback=finite, help="A pdf's Gaussians go by its frames to this power."),
]
Cluster = Annotated[
    float,
    typer.Option(
        callback=finite, help="Merge leaves that lose at most this; negative: the least split."
    ),
]
Beam = Annotated[float, typer.Option(callback=positive, help="Beam of alignments.")]
Retry = Annotated[
    float,
    typer.Option(min=0, callback=finite, help="Beam where the first finds nothing; 0: give up."),
]
Boost = Annotated[
    float, typer.Option(callback=positive, help="Factor on the likelihood of optional silence.")
]
Careful = Annotated[bool, typer.Option(help="Let utterances fail that are through too early.")]
Kaldi = Annotated[str, typer.Option(help="As in Kaldi: '--name=value --name=value'.")]
Dim = Annotated[int, typer.Option(min=1, help="Dimension after LDA.")]
SilenceWeight = Annotated[
    float, typer.Option(min=0, max=1, callback=finite, help="Of silence, for fMLLR.")
]
MinCount = Annotated[
    float,
    typer.Option(min=0, callback=finite, help="Speakers with so few frames are not adapted."),
]
Update = Annotated[UpdateType, typer.Option(help="Kind of transform.")]

_MONO_PASSES = "1 2 3 4 5 6 7 8 9 10 12 14 16 18 20 23 26 29 32 35 38"


@app.command("train-mono")
def train_mono(
    ctx: typer.Context,
    data_dir: Data,
    lang_dir: Lang,
    exp: Exp,
    tot_gauss: Gauss = 1000,
    num_iters: Iters = 40,
    max_iter_inc: Growing = 30,
    realign_iters: Passes = _MONO_PASSES,
    power: Power = 0.25,
    beam: Beam = 10.0,
    retry_beam: Retry = 40.0,
    boost_silence: Boost = 1.0,
    careful: Careful = False,
    cmvn_opts: Kaldi = "",
    delta_opts: Kaldi = "",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    seed: Seed = 0,
) -> None:
    """Trains monophones from a flat start, as Kaldi's steps/train_mono.sh."""
    from kdspeech import gmm

    options = _fill(gmm.MonoOptions, ctx.params)
    jobs, front_end = _fill(gmm.Jobs, ctx.params), _front_end(ctx.params)
    _run(exp, gmm.train_mono, data_dir, lang_dir, exp, options, front_end, jobs)


@app.command("train-deltas")
def train_deltas(
    ctx: typer.Context,
    data_dir: Data,
    lang_dir: Lang,
    ali_dir: Ali,
    exp: Exp,
    num_leaves: Leaves = 2000,
    tot_gauss: Gauss = 10000,
    num_iters: Iters = 35,
    max_iter_inc: Growing = 25,
    realign_iters: Passes = "10 20 30",
    power: Power = 0.25,
    cluster_thresh: Cluster = -1.0,
    beam: Beam = 10.0,
    retry_beam: Retry = 40.0,
    boost_silence: Boost = 1.0,
    careful: Careful = False,
    cmvn_opts: Kaldi = "",
    delta_opts: Kaldi = "",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    seed: Seed = 0,
) -> None:
    """Trains triphones on deltas, as Kaldi's steps/train_deltas.sh."""
    from kdspeech import gmm

    options = _fill(gmm.TriphoneOptions, ctx.params)
    jobs, front_end = _fill(gmm.Jobs, ctx.params), _front_end(ctx.params)
    _run(exp, gmm.train_deltas, data_dir, lang_dir, ali_dir, exp, options, front_end, jobs)


@app.command("train-lda-mllt")
def train_lda_mllt(
    ctx: typer.Context,
    data_dir: Data,
    lang_dir: Lang,
    ali_dir: Ali,
    exp: Exp,
    num_leaves: Leaves = 2000,
    tot_gauss: Gauss = 10000,
    num_iters: Iters = 35,
    max_iter_inc: Growing = 25,
    realign_iters: Passes = "10 20 30",
    mllt_iters: MlltPasses = "2 4 6 12",
    dim: Dim = 40,
    power: Power = 0.25,
    cluster_thresh: Cluster = -1.0,
    beam: Beam = 10.0,
    retry_beam: Retry = 40.0,
    boost_silence: Boost = 1.0,
    careful: Careful = False,
    cmvn_opts: Kaldi = "",
    splice_opts: Kaldi = "",
    nj: Nj = 1,
    scheduler: Scheduler = None,
    seed: Seed = 0,
) -> None:
    """Trains triphones on LDA+MLLT features, as Kaldi's steps/train_lda_mllt.sh."""
    from kdspeech import gmm

    options = _fill(gmm.LdaMlltOptions, ctx.params)
    jobs, front_end = _fill(gmm.Jobs, ctx.params), _front_end(ctx.params)
    _run(exp, gmm.train_lda_mllt, data_dir, lang_dir, ali_dir, exp, options, front_end, jobs)


@app.command("train-sat")
def train_sat(
    ctx: typer.Context,
    data_dir: Data,
    lang_dir: Lang,
    ali_dir: Ali,
    exp: Exp,
    num_leaves: Leaves = 2000,
    tot_gauss: Gauss = 10000,
    num_iters: Iters = 35,
    max_iter_inc: Growing = 25,
    realign_iters: Passes = "10 20 30",
    fmllr_iters: FmllrPasses = "2 4 6 12",
    silence_weight: SilenceWeight = 0.0,
    fmllr_update_type: Update = UpdateType.full,
    fmllr_min_count: MinCount = 500.0,
    power: Power = 0.2,
    cluster_thresh: Cluster = -1.0,
    beam: Beam = 10.0,
    retry_beam: Retry = 40.0,
    boost_silence: Boost = 1.0,
    careful: Careful = False,
    nj: Nj = 1,
    scheduler: Scheduler = None,
    seed: Seed = 0,
) -> None:
    """Trains triphones on features adapted to each speaker, as Kaldi's steps/train_sat.sh."""
    from kdspeech import gmm

    options, jobs = _fill(gmm.SatOptions, ctx.params), _fill(gmm.Jobs, ctx.params)
    _run(exp, gmm.train_sat, data_dir, lang_dir, ali_dir, exp, options, jobs)


@app.command("align")
def align(
    ctx: typer.Context,
    data_dir: Data,
    lang_dir: Lang,
    src_dir: Src,
    ali_dir: Exp,
    beam: Beam = 10.0,
    retry_beam: Retry = 40.0,
    boost_silence: Boost = 1.0,
    careful: Careful = False,
    transform_dir: Annotated[
        Path | None,
        typer.Option(help="Adapt features by this directory's trans.*.", show_default=False),
    ] = None,
    adapted: Annotated[
        Path | None,
        typer.Option(help="Speakers' weights, by `kds adapt`.", show_default=False),
    ] = None,
    nj: Nj = 1,
    scheduler: Scheduler = None,
) -> None:
    """Aligns data with a network, or with a Gaussian model as Kaldi's steps/align_si.sh."""
    from kdspeech import gmm

    options, jobs = _fill(gmm.AlignOptions, ctx.params), _fill(gmm.Jobs, ctx.params)
    settings = {"adapted": str(adapted)} if adapted else {}
    more = transform_dir, model_reader(src_dir, adapted), settings
    _run(ali_dir, gmm.align, data_dir, lang_dir, src_dir, ali_dir, options, jobs, *more)


@app.command("align-fmllr")
def align_fmllr(
    ctx: typer.Context,
    data_dir: Data,
    lang_dir: Lang,
    src_dir: Src,
    ali_dir: Exp,
    fmllr_update_type: Update = UpdateType.full,
    fmllr_min_count: MinCount = 500.0,
    beam: Beam = 10.0,
    retry_beam: Retry = 40.0,
    boost_silence: Boost = 1.0,
    careful: Careful = False,
    nj: Nj = 1,
    scheduler: Scheduler = None,
) -> None:
    """Aligns data with a speaker-adapted model, as Kaldi's steps/align_fmllr.sh."""
    from kdspeech import gmm

    options, jobs = _fill(gmm.AlignOptions, ctx.params), _fill(gmm.Jobs, ctx.params)
    fmllr = fmllr_update_type.value, fmllr_min_count
    _run(ali_dir, gmm.align_fmllr, data_dir, lang_dir, src_dir, ali_dir, options, *fmllr, jobs)


def _fill(options_class, given: dict):
    """An object of a class from kdspeech.gmm.options with what the command line gives."""
    values = {f.name: given[f.name] for f in fields(options_class) if f.name in given}
    for name, value in values.items():
        if name.endswith("_iters") and name != "num_iters":
            values[name] = _numbers(name, value)
        elif isinstance(value, Enum):
            values[name] = value.value
    if "align" in {f.name for f in fields(options_class)}:
        from kdspeech.gmm.options import AlignOptions

        values["align"] = _fill(AlignOptions, given)
    return options_class(**values)


def _numbers(name: str, text: str) -> tuple[int, ...]:
    if not all(word.isdecimal() for word in text.split()):
        option = "--" + name.replace("_", "-")
        raise typer.BadParameter(f"{option}: not whole numbers with spaces between: {text!r}")
    return tuple(int(word) for word in text.split())


def _front_end(given: dict):
    from kdspeech.features import front_end as parts

    classes = {
        "cmvn": parts.CmvnOptions,
        "deltas": parts.DeltaOptions,
        "splicing": parts.SpliceOptions,
    }
    options = {"cmvn": "cmvn_opts", "deltas": "delta_opts", "splicing": "splice_opts"}
    values = {
        name: parts.parse_options(given.get(option, ""), classes[name], option)
        for name, option in options.items()
    }
    return parts.FrontEnd(**values)


def _run(exp: Path, function, *arguments) -> None:
    """Runs a stage; its log goes to the terminal too."""
    logger = logging.getLogger("kdspeech")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    try:
        report = function(*arguments)
    finally:
        logger.removeHandler(handler)
    aligned, failed = report.alignment.aligned, len(report.alignment.failed)
    say(f"{exp}: {aligned} utterances aligned, {failed} not (see {exp}/log/failed)")
    if report.num_pdfs:
        say(f"{exp}/final.mdl: {report.num_pdfs} pdfs, {report.num_gaussians} Gaussians")
    if report.fallbacks:
        say(f"{len(report.fallbacks)} speakers have the unit transform (see {exp}/log/train.log)")
