"""The console command `kds`.

A command group is one file in this folder with a Typer `app`, added by one line below. Commands
parse, call a library function and print; they import what is heavy inside the function, so that
`kds --help` stays quick.
"""

import typer
from rich.console import Console
from typer.core import TyperGroup

from kdspeech.cli import (
    acoustic,
    adapt,
    analyse,
    corpus,
    data,
    decode,
    distill,
    feats,
    gmm,
    graph,
    hmm,
    image,
    lattice,
    lm,
    models,
    options,
    pack,
    report,
    report_asr,
    score,
    sequence,
)
from kdspeech.io.errors import InputError


class _Group(TyperGroup):
    """Turns an error of the user's input or of the disk into one line and exit status 1."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except InputError as error:
            message = str(error)
        except BrokenPipeError:
            raise  # `kds ... | head`: the reader has enough, which click knows
        except OSError as error:
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        Console(stderr=True).print(
            f"kds: {message}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        raise typer.Exit(1)


app = typer.Typer(
    name="kds",
    cls=_Group,
    help="Kaldi-style recipes that turn a big speech model into a small one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.add_typer(corpus.app, name="corpus", help="Makes data directories from a corpus.")
app.add_typer(data.app, name="data", help="Looks at and changes Kaldi data directories.")
app.command()(pack.make_pack)
app.command()(models.models)
distill.app.command()(report.score)
app.add_typer(distill.app, name="distill", help="Trains teachers and distils them into students.")
app.add_typer(image.app, name="image", help="Networks on images: tables of a recipe.")
app.add_typer(feats.app)
app.add_typer(hmm.app)
app.add_typer(lm.app, name="lm", help="N-gram language models.")
app.command()(lm.arpa_to_fst)
app.command()(lm.words_to_fst)
app.command()(graph.prepare_lang)
app.command()(graph.make_graph)
app.add_typer(gmm.app)
app.add_typer(acoustic.app)
app.command()(adapt.adapt)
app.command()(sequence.train_sequence)
app.command()(options.options)
app.command()(decode.decode)
app.command()(score.score)
app.add_typer(lattice.app, name="lattice", help="Paths, pruning, rescoring and text of lattices.")
app.command()(report.report)
app.command()(analyse.analyse)
app.command()(report_asr.report_asr)


@app.callback()
def _kds() -> None:
    """Kaldi-style recipes that turn a big speech model into a small one."""


if __name__ == "__main__":
    app()
