"""`kds models`: what the package's networks cost."""

from typing import Annotated

import typer

# The sizes that the papers report, as (name, options).
SIZES = [
    ("res8", {"maps": 19}),
    ("res8", {}),
    ("res15", {"maps": 19}),
    ("res15", {}),
    ("bc_resnet", {"width": 1}),
    ("bc_resnet", {"width": 2}),
    ("bc_resnet", {"width": 3}),
    ("bc_resnet", {"width": 8}),
    ("tc_resnet", {}),
    ("ds_cnn", {"size": "S"}),
    ("ds_cnn", {"size": "M"}),
    ("ds_cnn", {"size": "L"}),
    ("resnet", {}),
    ("mlp", {}),
    ("vgg", {}),
]


def models(
    frames: Annotated[int, typer.Option(help="Frames of the input.", min=1)] = 101,
    dim: Annotated[int, typer.Option(help="Features per frame.", min=1)] = 40,
    classes: Annotated[int, typer.Option(help="Classes.", min=2)] = 12,
    latency: Annotated[bool, typer.Option("--latency", help="Also time one input here.")] = False,
) -> None:
    """Parameters, multiply-adds and latency of every model in its usual sizes."""
    from rich.console import Console
    from rich.table import Table

    from kdspeech.models import build_model, latency_ms, num_macs, num_parameters

    table = Table("model", "options", title=f"{frames} frames x {dim}, {classes} classes")
    for column in ("parameters", "multiply-adds", *(["ms, one thread"] if latency else [])):
        table.add_column(column, justify="right")
    for name, options in SIZES:
        model = build_model(name, classes, dim, frames, **options).eval()
        shape = (frames, dim)
        row = [f"{num_parameters(model):,}", f"{num_macs(model, shape):,}"]
        row += [f"{latency_ms(model, shape):.2f}"] if latency else []
        table.add_row(name, " ".join(f"{k}={v}" for k, v in options.items()), *row)
    Console().print(table)
