"""`kds decode`: lattices of a data directory."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.acoustic import model_reader
from kdspeech.cli.console import say
from kdspeech.cli.gmm import Update, UpdateType
from kdspeech.cli.numbers import finite, positive


def decode(
    graph_dir: Annotated[
        Path, typer.Argument(help="Directory with HCLG.fst and words.txt.", show_default=False)
    ],
    data_dir: Annotated[Path, typer.Argument(help="Kaldi data directory.", show_default=False)],
    decode_dir: Annotated[
        Path, typer.Argument(help="Directory for the lattices.", show_default=False)
    ],
    fmllr: Annotated[
        bool, typer.Option("--fmllr", help="Two passes, adapting features to speakers.")
    ] = False,
    exp: Annotated[
        Path | None,
        typer.Option(help="Directory of the model.", show_default="DECODE_DIR's parent"),
    ] = None,
    acwt: Annotated[float, typer.Option(callback=positive, help="Acoustic scale.")] = 0.083333,
    beam: Annotated[float, typer.Option(callback=finite, help="Beam of the search.")] = 13.0,
    lattice_beam: Annotated[
        float, typer.Option(callback=finite, help="Beam of the lattices.")
    ] = 6.0,
    max_active: Annotated[int, typer.Option(help="Most states of a frame.")] = 7000,
    min_active: Annotated[int, typer.Option(help="Fewest states of a frame.")] = 200,
    first_beam: Annotated[
        float, typer.Option(callback=finite, help="Beam of the first pass.")
    ] = 10.0,
    first_max_active: Annotated[int, typer.Option(help="Most states in the first pass.")] = 2000,
    silence_weight: Annotated[
        float,
        typer.Option(
            min=0, max=1, callback=finite, help="Weight of silence in estimating transforms."
        ),
    ] = 0.01,
    fmllr_update_type: Update = UpdateType.full,
    fmllr_min_count: Annotated[
        float,
        typer.Option(min=0, callback=finite, help="Speakers with fewer frames get no transform."),
    ] = 500.0,
    nj: Annotated[int, typer.Option(min=1, help="Number of jobs.")] = 1,
    num_threads: Annotated[int, typer.Option(min=1, help="Threads of each job.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Dask cluster to work on: tcp://host:port, or slurm, sge, pbs, lsf, oar, htcondor."
        ),
    ] = None,
    max_bad: Annotated[
        float,
        typer.Option(
            min=0, max=100, callback=finite, help="Fail when more than this % have no lattice."
        ),
    ] = 1.0,
    raw: Annotated[
        bool, typer.Option("--raw", help="Keep state-level lattices too, in raw.JOB.pack.")
    ] = False,
    transform_dir: Annotated[
        Path | None,
        typer.Option(help="Adapt features by this decoding's trans.*.", show_default=False),
    ] = None,
    adapted: Annotated[
        Path | None,
        typer.Option(help="Speakers' weights, by `kds adapt`.", show_default=False),
    ] = None,
) -> None:
    """Decodes to lattices: writes lat.JOB.gz, logs and decode.json to DECODE_DIR."""
    from kdspeech.decode import jobs
    from kdspeech.decode.two_pass import FmllrOptions

    if fmllr and adapted:
        raise typer.BadParameter("--adapted is for networks, --fmllr for Gaussians")
    tally = jobs.decode(
        graph_dir,
        data_dir,
        decode_dir,
        exp,
        fmllr,
        jobs.DecodeOptions(
            acwt, beam, lattice_beam, max_active, min_active, first_beam, first_max_active,
            FmllrOptions(silence_weight, fmllr_update_type.value, fmllr_min_count),
        ),
        nj,
        num_threads,
        scheduler,
        max_bad / 100,
        raw,
        transform_dir,
        model_reader(exp or decode_dir.absolute().parent, adapted),
    )  # fmt: skip
    _say_tally(decode_dir, tally)


def _say_tally(decode_dir: Path, tally) -> None:
    say(
        f"{decode_dir}: {tally.utterances} utterances, log-likelihood per frame "
        f"{tally.log_like / max(1, tally.frames):.3f}, real-time factor "
        f"{tally.real_time_factor:.4f} (CPU)"
    )
    if tally.partial:
        say(f"{tally.partial} utterances end in no final state of the graph")
    if tally.problems:
        say(f"{len(tally.problems)} utterances without lattice, see {decode_dir}/decode.bad")
    for speaker, reason in tally.fallbacks.items():
        say(f"speaker {speaker} is not adapted: {reason}")
