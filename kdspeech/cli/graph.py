"""`kds prepare-lang` and `kds make-graph`: the language side of a recogniser."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import finite


def prepare_lang(
    dict_dir: Annotated[
        Path, typer.Argument(metavar="DICT", help="Directory with lexicon.txt and phone lists.")
    ],
    lang_dir: Annotated[Path, typer.Argument(metavar="LANG", help="Made, or replaced.")],
    oov: Annotated[str, typer.Option(help="The word that unknown words are taken for.")] = "<UNK>",
    position_dependent_phones: Annotated[
        bool, typer.Option(help="Tell phones apart by their place in the word.")
    ] = False,
    sil_prob: Annotated[
        float, typer.Option(callback=finite, help="Probability of silence between words.")
    ] = 0.5,
    share_silence_phones: Annotated[
        bool, typer.Option(help="All phones of silence share their pdfs.")
    ] = False,
    num_sil_states: Annotated[int, typer.Option(min=1, help="States of a phone of silence.")] = 5,
    num_nonsil_states: Annotated[int, typer.Option(min=1, help="States of other phones.")] = 3,
) -> None:
    """Make a lang directory from a dictionary directory, as Kaldi's prepare_lang.sh."""
    from kdspeech.graph.lang import Lang
    from kdspeech.graph.prepare_lang import prepare_lang

    prepare_lang(
        dict_dir,
        lang_dir,
        oov,
        position_dependent_phones,
        sil_prob,
        share_silence_phones,
        num_sil_states,
        num_nonsil_states,
    )
    lang = Lang.read(lang_dir)
    num_phones = len(lang.silence_phones) + len(lang.nonsilence_phones)
    say(f"{lang_dir}: {len(lang.words)} words, {num_phones} phones")


def make_graph(
    lang_dir: Annotated[
        Path, typer.Argument(metavar="LANG", help="With L_disambig.fst and G.fst.")
    ],
    model_dir: Annotated[Path, typer.Argument(metavar="MODEL", help="With final.mdl and tree.")],
    graph_dir: Annotated[Path, typer.Argument(metavar="GRAPH", help="Made, or replaced.")],
    transition_scale: Annotated[
        float, typer.Option(min=0, callback=finite, help="Of log probabilities between states.")
    ] = 1.0,
    self_loop_scale: Annotated[
        float,
        typer.Option(
            min=0,
            callback=finite,
            help="Of log probabilities of staying in a state and leaving it.",
        ),
    ] = 0.1,
) -> None:
    """Make the graph HCLG of a model and a grammar, as Kaldi's mkgraph.sh."""
    from kdspeech.graph.make_graph import make_graph

    graph = make_graph(lang_dir, model_dir, graph_dir, transition_scale, self_loop_scale)
    say(f"{graph_dir}/HCLG.fst: {graph.num_states} states, {len(graph.arcs)} arcs")
