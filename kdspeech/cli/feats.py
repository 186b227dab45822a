"""`kds make-feats`, `kds compute-cmvn`, `kds compute-vad`: features of a data directory."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import finite

app = typer.Typer()


class Kind(str, Enum):
    """Kinds of features."""

    mfcc = "mfcc"
    fbank = "fbank"
    plp = "plp"
    pitch = "pitch"


class Compress(str, Enum):
    """Kaldi's compression methods that are offered."""

    none = "none"
    speech_feature = "speech-feature"
    two_byte_auto = "two-byte-auto"


DataPath = Annotated[Path, typer.Argument(help="Kaldi data directory.", show_default=False)]
ArkDir = Annotated[
    Path | None,
    typer.Argument(help="Where the archives go.", show_default="DATA_DIR/data"),
]


@app.command("make-feats")
def make_feats(
    kind: Annotated[Kind, typer.Argument(help="Which features.", show_default=False)],
    data_dir: DataPath,
    ark_dir: ArkDir = None,
    config: Annotated[
        Path | None, typer.Option(help="Kaldi option file, such as conf/mfcc.conf.")
    ] = None,
    nj: Annotated[int, typer.Option(min=1, help="Number of jobs.")] = 1,
    num_threads: Annotated[int, typer.Option(min=1, help="Threads of each job.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Dask cluster to work on: tcp://host:port, or slurm, sge, pbs, lsf, oar, htcondor."
        ),
    ] = None,
    allow_pipes: Annotated[
        bool, typer.Option("--allow-pipes", help="Let entries of wav.scp be shell commands.")
    ] = False,
    resample: Annotated[
        bool, typer.Option("--resample", help="Convert audio of another sampling rate.")
    ] = False,
    channel: Annotated[
        int | None, typer.Option(min=0, help="Channel to take of files with several, from 0.")
    ] = None,
    max_bad: Annotated[
        float,
        typer.Option(
            min=0,
            max=100,
            callback=finite,
            help="Fail when more than this % of the audio is unusable.",
        ),
    ] = 1.0,
    compress: Annotated[
        Compress, typer.Option(help="Compression of the archives, by Kaldi's names.")
    ] = Compress.none,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the dither.")] = 0,
) -> None:
    """Computes features to ark/scp: writes feats.scp and utt2num_frames to DATA_DIR.

    Utterances whose audio cannot be used are left out and listed in DATA_DIR/feats.bad.
    """
    from kdspeech.features import jobs

    result = jobs.make_feats(
        kind.value,
        data_dir,
        ark_dir,
        config=config,
        nj=nj,
        num_threads=num_threads,
        scheduler=scheduler,
        allow_pipes=allow_pipes,
        audio=jobs.AudioRules(resample, channel),
        max_bad=max_bad / 100,
        compress=None if compress is Compress.none else compress.value,
        seed=seed,
    )
    say(f"{result.scp}: {result.written} utterances")
    if result.bad:
        say(
            f"{result.bad} utterances left out, see {result.bad_list}; "
            f"`kds data fix {data_dir}` drops them from the other tables"
        )


@app.command("compute-cmvn")
def compute_cmvn(
    data_dir: DataPath,
    ark_dir: ArkDir = None,
    per_utt: Annotated[
        bool, typer.Option("--per-utt", help="Statistics of each utterance, not each speaker.")
    ] = False,
) -> None:
    """Computes CMVN statistics per speaker: writes cmvn.scp to DATA_DIR."""
    from kdspeech.features import jobs

    result = jobs.compute_cmvn(data_dir, ark_dir, per_utt)
    say(f"{result.scp}: {result.written} {'utterances' if per_utt else 'speakers'}")


@app.command("compute-vad")
def compute_vad(
    data_dir: DataPath,
    ark_dir: ArkDir = None,
    config: Annotated[
        Path | None, typer.Option(help="Kaldi option file, such as conf/vad.conf.")
    ] = None,
) -> None:
    """Computes energy-based voice activity: writes vad.scp to DATA_DIR."""
    from kdspeech.features import jobs

    result = jobs.compute_vad(data_dir, ark_dir, config)
    say(f"{result.scp}: {result.written} utterances")
