"""`kds import-kaldi`: takes over a system that Kaldi has trained."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say

app = typer.Typer()


@app.command("import-kaldi")
def import_kaldi(
    exp: Annotated[Path, typer.Argument(help="Kaldi's directory, such as exp/tri4a_ali.")],
    out: Annotated[
        Path | None, typer.Argument(help="Directory to make; only checks if not given.")
    ] = None,
    lang: Annotated[
        Path | None, typer.Option(help="Lang directory the system was made with, to check.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data directory that was aligned, to check.")
    ] = None,
) -> None:
    """Checks a GMM system trained by Kaldi and copies what the later stages need.

    final.mdl, tree, final.mat, ali.*.gz, trans.* and the option files must be whole and fit.
    """
    from kdspeech.hmm.import_kaldi import import_kaldi

    found = import_kaldi(exp, out, lang, data)
    for name, fact in found.facts.items():
        say(f"{name}: {fact}")
    say(f"{out}: {len(found.files)} files" if out else f"{exp}: can be used")
