"""`kds lm` and `kds arpa-to-fst`: n-gram language models."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say

app = typer.Typer(no_args_is_help=True)

Keyed = Annotated[
    bool, typer.Option(help="Lines begin with an utterance id, as in data/train/text.")
]


@app.command()
def estimate(
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT...", help="A sentence a line.")],
    arpa: Annotated[Path, typer.Argument(metavar="ARPA", help="Written; .gz compresses.")],
    order: Annotated[int, typer.Option(help="Longest n-grams.", min=1)] = 3,
    keyed: Keyed = False,
) -> None:
    """Estimate an interpolated modified Kneser-Ney model, as KenLM's lmplz does."""
    from kdspeech.graph.ngram import NgramLM
    from kdspeech.graph.text import read_sentences

    lm = NgramLM.estimate(read_sentences(texts, keyed), order)
    lm.write_arpa(arpa)
    say(f"{arpa}: {_sizes(lm)}")


@app.command()
def perplexity(
    arpa: Annotated[Path, typer.Argument(metavar="ARPA")],
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT...", help="A sentence a line.")],
    keyed: Keyed = False,
) -> None:
    """Print the perplexity of a text; unknown words are left out, counted, and told apart."""
    from kdspeech.graph.ngram import NgramLM
    from kdspeech.graph.text import read_sentences

    found = NgramLM.read_arpa(arpa).perplexity(read_sentences(texts, keyed))
    say(
        f"perplexity {found.perplexity:.2f} ({found.perplexity_with_oovs:.2f} with unknown words "
        f"as <unk>), {found.sentences} sentences, {found.words} words, {found.oovs} unknown"
    )


def arpa_to_fst(
    arpa: Annotated[Path, typer.Argument(metavar="ARPA", help="A language model, also .gz.")],
    words: Annotated[Path, typer.Argument(metavar="WORDS", help="words.txt of the graph.")],
    fst: Annotated[Path, typer.Argument(metavar="G.FST", help="Written, for OpenFst.")],
    disambig_symbol: Annotated[
        str, typer.Option(help="The symbol on backoff arcs; empty: <s> and </s> stay words.")
    ] = "#0",
) -> None:
    """Make G.fst from an ARPA model, as Kaldi's arpa2fst; says which words WORDS lacks."""
    from kdspeech.graph.grammar import make_grammar, read_words, skipped_words
    from kdspeech.graph.ngram import NgramLM
    from kdspeech.io.atomic import atomic_path

    lm, symbols = NgramLM.read_arpa(arpa), read_words(words)
    grammar = make_grammar(lm, symbols, disambig_symbol)
    with atomic_path(fst) as temporary:
        grammar.write(str(temporary))
    complaint = skipped_words(lm, symbols)
    if complaint:
        say(complaint)
    say(f"{fst}: {grammar.num_states} states")


def _sizes(lm) -> str:
    return ", ".join(f"{len(table)} {n}-grams" for n, table in enumerate(lm.tables, 1))
