"""`kds lm`, `kds arpa-to-fst` and `kds words-to-fst`: language models and grammars."""

from pathlib import Path
from typing import Annotated

import typer

from kdspeech.cli.console import say
from kdspeech.cli.numbers import finite

app = typer.Typer(no_args_is_help=True)

Keyed = Annotated[
    bool, typer.Option(help="Lines begin with an utterance id, as in data/train/text.")
]


@app.command()
def estimate(
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT...", help="A sentence a line.")],
    arpa: Annotated[Path, typer.Argument(metavar="ARPA", help="Written; .gz compresses.")],
    order: Annotated[int, typer.Option(help="Longest n-grams.", min=1)] = 3,
    words: Annotated[
        Path | None,
        typer.Option(help="The vocabulary, a word a line (words.txt); without: the text's words."),
    ] = None,
    keyed: Keyed = False,
) -> None:
    """Estimate an interpolated modified Kneser-Ney model, as KenLM's lmplz does."""
    from kdspeech.graph.ngram import NgramLM
    from kdspeech.graph.text import read_sentences, read_vocabulary

    vocabulary = read_vocabulary(words) if words else None
    _save(NgramLM.estimate(read_sentences(texts, keyed), order, vocabulary), arpa)


@app.command()
def perplexity(
    arpa: Annotated[Path, typer.Argument(metavar="ARPA", help="A language model, also .gz.")],
    texts: Annotated[list[Path], typer.Argument(metavar="TEXT...", help="A sentence a line.")],
    keyed: Keyed = False,
) -> None:
    """Print the perplexity of a text; unknown words are left out, counted, and told apart."""
    from kdspeech.graph.ngram import NgramLM
    from kdspeech.graph.text import read_sentences
    from kdspeech.io.errors import InputError

    found = NgramLM.read_arpa(arpa).perplexity(read_sentences(texts, keyed))
    if not found.sentences:
        raise InputError(f"{', '.join(map(str, texts))}: no sentence in it")
    say(
        f"perplexity {found.perplexity:.2f} ({found.perplexity_with_oovs:.2f} with unknown words "
        f"as <unk>), {found.sentences} sentences, {found.words} words, {found.oovs} unknown"
    )


@app.command()
def prune(
    arpa: Annotated[Path, typer.Argument(metavar="ARPA", help="A language model, also .gz.")],
    pruned: Annotated[Path, typer.Argument(metavar="PRUNED", help="Written, an ARPA file.")],
    threshold: Annotated[
        float,
        typer.Option(
            min=0,
            callback=finite,
            help="Relative rise of the perplexity that an n-gram is not worth.",
        ),
    ] = 1e-7,
) -> None:
    """Drop the n-grams that matter least, by relative entropy (Stolcke 1998)."""
    from kdspeech.graph.ngram import NgramLM

    _save(NgramLM.read_arpa(arpa).prune(threshold), pruned)


@app.command()
def interpolate(
    first: Annotated[Path, typer.Argument(metavar="ARPA1", help="A language model, also .gz.")],
    second: Annotated[Path, typer.Argument(metavar="ARPA2", help="Another one.")],
    mixed: Annotated[Path, typer.Argument(metavar="MIXED", help="Written, an ARPA file.")],
    weight: Annotated[
        float | None, typer.Option(callback=finite, help="Weight of ARPA1, between 0 and 1.")
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(help="Or a text: the weight is what makes it likeliest.")
    ] = None,
    keyed: Keyed = False,
) -> None:
    """Mix two models into one."""
    from kdspeech.graph.ngram import NgramLM
    from kdspeech.graph.text import read_sentences
    from kdspeech.io.errors import InputError

    if (weight is None) == (dev is None):
        raise InputError("give --weight or --dev, one of them")
    one, other = NgramLM.read_arpa(first), NgramLM.read_arpa(second)
    if dev:
        weight = one.best_weight(other, read_sentences([dev], keyed))
        say(f"weight of {first}: {weight:.4f}")
    _save(one.interpolate(other, weight), mixed)


def arpa_to_fst(
    arpa: Annotated[Path, typer.Argument(metavar="ARPA", help="A language model, also .gz.")],
    words: Annotated[Path, typer.Argument(metavar="WORDS", help="words.txt of the graph.")],
    fst: Annotated[Path, typer.Argument(metavar="G.FST", help="Written, for OpenFst.")],
    disambig_symbol: Annotated[
        str, typer.Option(help="The symbol on backoff arcs; empty: <s> and </s> stay words.")
    ] = "#0",
) -> None:
    """Make G.fst from an ARPA model, as Kaldi's arpa2fst; says which words WORDS lacks."""
    from kdspeech.graph.grammar import make_grammar, skipped_words
    from kdspeech.graph.ngram import NgramLM
    from kdspeech.graph.symbols import read_symbols

    lm, symbols = NgramLM.read_arpa(arpa), read_symbols(words)
    grammar = make_grammar(lm, symbols, disambig_symbol)
    grammar.write(fst)
    complaint = skipped_words(lm, symbols)
    if complaint:
        say(complaint)
    say(f"{fst}: {grammar.num_states} states")


def words_to_fst(
    choice: Annotated[Path, typer.Argument(metavar="CHOICE", help="The words, one a line.")],
    words: Annotated[Path, typer.Argument(metavar="WORDS", help="words.txt of the graph.")],
    fst: Annotated[Path, typer.Argument(metavar="G.FST", help="Written, for OpenFst.")],
) -> None:
    """Make G.fst for utterances of one word, any of CHOICE with the same probability."""
    from kdspeech.graph.grammar import one_word_grammar
    from kdspeech.graph.text import read_vocabulary

    grammar = one_word_grammar(read_vocabulary(choice), words)
    grammar.write(fst)
    say(f"{fst}: one of {len(grammar.arcs)} words")


def _save(lm, arpa: Path) -> None:
    lm.write_arpa(arpa)
    sizes = ", ".join(f"{len(table)} {n}-grams" for n, table in enumerate(lm.tables, 1))
    say(f"{arpa}: {sizes}")
