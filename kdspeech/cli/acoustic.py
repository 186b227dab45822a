"""`kds make-frames`, `kds train-dnn`: networks on the alignments of a Gaussian system."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import finite, positive

app = typer.Typer()


@app.command("make-frames")
def make_frames(
    data_dir: Annotated[
        Path, typer.Argument(help="Data directory with features.", show_default=False)
    ],
    transform_dir: Annotated[
        str,
        typer.Argument(
            help="Alignment or decoding with the speakers' trans.*; '-': no transforms.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Frame pack to make.", show_default=False)],
    front_end: Annotated[
        Path | None,
        typer.Option(help="Model directory.", show_default="TRANSFORM_DIR or the one above"),
    ] = None,
    cmvn_opts: Annotated[str, typer.Option(help="With '-': '--norm-vars=true'.")] = "",
    delta_opts: Annotated[
        str, typer.Option(help="With '-' and no --front-end: '--delta-order=2'.")
    ] = "--delta-order=0",
    max_bad: Annotated[
        float,
        typer.Option(
            min=0, max=100, callback=finite, help="Fail when more than this % are left out."
        ),
    ] = 1.0,
) -> None:
    """Packs features for networks: adapted by the speakers' transforms, or with CMVN alone."""
    from kdspeech.acoustic.frames import make_frames
    from kdspeech.features import front_end as parts

    plain = transform_dir == "-"
    chosen = parts.FrontEnd.read(front_end) if front_end else None
    if plain and chosen is None:
        chosen = parts.FrontEnd(
            parts.parse_options(cmvn_opts, parts.CmvnOptions, "--cmvn-opts"),
            parts.parse_options(delta_opts, parts.DeltaOptions, "--delta-opts"),
        )
    pack = make_frames(data_dir, None if plain else transform_dir, out, chosen, max_bad / 100)
    say(f"{out}: {len(pack)} utterances, {pack.offsets[-1]} frames of {pack.dim} values")


@app.command("train-dnn")
def train_dnn(
    frames: Annotated[
        Path, typer.Argument(help="Frame pack, by `kds make-frames`.", show_default=False)
    ],
    ali_dir: Annotated[
        Path, typer.Argument(help="Alignments with final.mdl and tree.", show_default=False)
    ],
    exp: Annotated[Path, typer.Argument(help="Directory to make.", show_default=False)],
    config: Annotated[
        Path, typer.Option(help="Network and training, such as conf/dnn.yaml.", show_default=False)
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value over the file; may be repeated."),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Start from this network's weights.", show_default=False)
    ] = None,
) -> None:
    """Trains a DNN or highway DNN, with teachers if `distill` names some; goes on where it was
    stopped."""
    from kdspeech.acoustic import DnnConfig, train_dnn
    from kdspeech.config import load_config

    settings = load_config(DnnConfig, config, overrides)
    result = train_dnn(frames, ali_dir, exp, settings, progress=True, init=init)
    best = result["history"][result["best_epoch"] - 1]
    say(
        f"{exp}: {settings.network.model}, best epoch {result['best_epoch']} of "
        f"{result['epochs']}: cv loss {best['dev_loss']:.4f}, {best['dev_accuracy']:.2f} % of "
        "the frames right"
    )
    if result["left_out"]:
        say(f"{len(result['left_out'])} utterances left out, see {exp}/left_out")


@app.command("make-soft-labels")
def make_soft_labels(
    frames: Annotated[Path, typer.Argument(help="Frame pack of the students.", show_default=False)],
    teachers: Annotated[
        list[Path], typer.Argument(help="Networks' directories.", show_default=False)
    ],
    store: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    top_k: Annotated[int, typer.Option(min=1, help="Pdfs kept per frame.")] = 20,
    weights: Annotated[
        str, typer.Option(help="Of the teachers, comma-separated.", show_default="all the same")
    ] = "",
    temperature: Annotated[
        float, typer.Option(callback=positive, help="Of the teachers' softmax.")
    ] = 1.0,
    teacher_frames: Annotated[
        str,
        typer.Option(
            help="A pack per teacher, comma-separated; '-': FRAMES.", show_default="FRAMES"
        ),
    ] = "",
) -> None:
    """Writes teachers' posteriors of every frame, for `train-dnn --set distill.store=STORE`."""
    from kdspeech.acoustic import DistillConfig, make_soft_labels
    from kdspeech.config import check_config

    values = {
        "teachers": [str(path) for path in teachers],
        "weights": weights.split(",") if weights else [],
        "frames": [None if p == "-" else p for p in teacher_frames.split(",") if p],
        "temperature": temperature,
    }
    labels = make_soft_labels(frames, check_config(DistillConfig, values, "options"), store, top_k)
    size = store.stat().st_size
    say(
        f"{store}: {labels.num_frames} frames, {labels.top_k} of {labels.num_classes} pdfs each, "
        f"{size} bytes, {size / labels.num_frames:.1f} per frame"
    )


def model_reader(exp: Path, adapted: Path | None = None):
    """What reads the model of a directory; torch is loaded for a network alone.

    `adapted`: the folder with the speakers' differences to it.
    """
    if adapted:
        from functools import partial

        from kdspeech.adapt import AdaptedNetwork

        return partial(AdaptedNetwork, folder=adapted)
    if (exp / "final.pt").exists():
        from kdspeech.acoustic import read_model

        return read_model
    from kdspeech.hmm import read_gmm

    return read_gmm
