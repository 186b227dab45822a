"""`kds adapt`: a network for each speaker."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say


def adapt(
    frames: Annotated[Path, typer.Argument(help="Frame pack of the speakers.", show_default=False)],
    targets: Annotated[
        str,
        typer.Argument(
            help="Decoding with lat.*.gz, or alignments; '-': the loss needs none.",
            show_default=False,
        ),
    ],
    exp: Annotated[Path, typer.Argument(help="Directory of the network.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    config: Annotated[
        Path, typer.Option(help="What to update and how: conf/adapt.yaml.", show_default=False)
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the file; may be repeated."),
    ] = None,
    nj: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Dask cluster to work on: tcp://host:port, or slurm, sge, pbs, lsf, oar, htcondor."
        ),
    ] = None,
) -> None:
    """Adapts a network to each speaker; OUT holds what `kds decode --adapted OUT` takes."""
    from kdspeech.adapt import AdaptConfig, adapt
    from kdspeech.config import load_config

    settings = load_config(AdaptConfig, config, overrides)
    rows = adapt(frames, targets, exp, out, settings, nj, scheduler)
    done = [row for row in rows.values() if not row["skipped"]]
    say(f"{out}: {len(done)} of {len(rows)} speakers adapted ({', '.join(settings.update)})")
    if done:
        count = sum(row["frames"] for row in done)
        losses = [
            sum(row["frames"] * row[key] for row in done) / count
            for key in ("loss_before", "loss_after")
        ]
        size = max(row["bytes"] for row in done)
        say(f"loss {losses[0]:.4f} before, {losses[1]:.4f} after; {size} bytes a speaker")
    for speaker, row in rows.items():
        if row["skipped"]:
            say(f"speaker {speaker} is not adapted: {row['skipped']}")
