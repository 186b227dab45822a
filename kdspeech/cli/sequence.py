"""`kds train-sequence`: networks trained further with criteria over lattices."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say


def train_sequence(
    frames: Annotated[
        Path, typer.Argument(help="Frame pack, by `kds make-frames`.", show_default=False)
    ],
    ali_dir: Annotated[
        Path, typer.Argument(help="Alignments: the references.", show_default=False)
    ],
    lat_dir: Annotated[
        str,
        typer.Argument(
            help="Lattices of the same data, by `kds decode --raw`; '-': made at each step.",
            show_default=False,
        ),
    ],
    init_exp: Annotated[Path, typer.Argument(help="Network to begin with.", show_default=False)],
    exp: Annotated[Path, typer.Argument(help="Directory to make.", show_default=False)],
    config: Annotated[
        Path,
        typer.Option(
            help="Criterion and training, such as conf/sequence.yaml.", show_default=False
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the file; may be repeated."),
    ] = None,
    lang: Annotated[
        Path | None,
        typer.Option(help="Lang or graph directory: which phones are silence.", show_default=False),
    ] = None,
    graph: Annotated[
        Path | None,
        typer.Option(help="Graph directory, where lattices are made here.", show_default=False),
    ] = None,
) -> None:
    """Trains a network further with MMI, sMBR, MPFE or sequence-level distillation; goes on where
    it was stopped."""
    from kdspeech.acoustic import SequenceConfig, train_sequence
    from kdspeech.config import load_config
    from kdspeech.decode.jobs import read_silence
    from kdspeech.io.errors import InputError

    settings = load_config(SequenceConfig, config, overrides)
    lang = lang or graph
    if lang is None and settings.criterion in ("bmmi", "smbr", "mpfe"):
        raise InputError(f"{settings.criterion} has to know the silence phones: give --lang")
    silence = read_silence(lang) if lang else ()
    lattices = None if lat_dir == "-" else lat_dir
    result = train_sequence(
        frames, ali_dir, lattices, init_exp, exp, settings, graph, silence, progress=True
    )
    best = result["history"][result["best_epoch"] - 1]
    say(
        f"{exp}: best epoch {result['best_epoch']} of {result['epochs']}: cv {settings.criterion} "
        f"per frame {result['initial']['criterion']:.4f} -> {best['dev_criterion']:.4f}, frames "
        f"right {result['initial']['accuracy']:.2f} -> {best['dev_accuracy']:.2f} %"
    )
    if result["left_out"]:
        say(f"{len(result['left_out'])} utterances left out, see {exp}/left_out")
