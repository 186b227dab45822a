"""`kds make-pack`: the waveforms of a data directory in one memory-mapped file."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import finite, numbers


def make_pack(
    source: Annotated[Path, typer.Argument(help="Kaldi data directory.", show_default=False)],
    target: Annotated[Path, typer.Argument(help="Pack to write.", show_default=False)],
    speeds: Annotated[
        str,
        typer.Option(help="Speed factors, e.g. 0.9,1,1.1: a copy of each utterance per factor."),
    ] = "1",
    sample_rate: Annotated[
        int | None, typer.Option(help="Rate of the pack in Hz; else the first utterance's.")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Bring utterances of other rates to it.")
    ] = False,
    allow_pipes: Annotated[
        bool, typer.Option("--allow-pipes", help="Let entries of wav.scp be shell commands.")
    ] = False,
    max_bad: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            callback=finite,
            help="Fail when more than this % of the audio is unusable.",
        ),
    ] = 1.0,
) -> None:
    """Pack all waveforms of a data directory into one memory-mapped file with an index.

    Utterances whose audio cannot be used are left out and listed in TARGET.bad.
    """
    from rich.progress import track

    from kdspeech.data import DataDir, pack_data_dir

    factors = numbers(speeds, "--speeds")
    data = DataDir(source, allow_pipes=allow_pipes)
    steps = iter(track(range(data.count()), f"pack {source}", transient=True))
    pack, bad = pack_data_dir(
        data, target, factors, sample_rate, resample, max_bad / 100, lambda: next(steps, None)
    )
    hours = pack.num_samples.sum() / pack.sample_rate / 3600
    say(f"{target}: {len(pack)} utterances, {hours:.2f} h")
    if bad:
        say(f"{len(bad)} utterances left out, see {target}.bad")
