"""RESULTS.md of a recipe, rendered from results.json: never typed by hand."""

from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.report.results import QUESTIONS, Results
from kdspeech.report.table import Table, to_markdown
from kdspeech.report.tables import (
    PROTOCOL_NAMES,
    chain_table,
    comparison_table,
    cost_table,
    direct_table,
    summarise,
    systems_table,
    words_table,
)


def render_markdown(results: Results, title: str, commands: list[str], notes: str = "") -> str:
    """RESULTS.md: the commands that make it, tables with spread, claims with P(better), notes.

    `notes` is text in Markdown and is put under "Reading".
    """
    parts = [f"# {title}", "Made by", "```\n" + "\n".join(commands) + "\n```", _record(results)]
    for protocol in results.protocols:
        parts.append(f"## Test protocol: {PROTOCOL_NAMES[protocol]}")
        parts += [f"- {sentence}" for sentence in summarise(results, protocol)]
        tables = [direct_table(results, protocol), chain_table(results, protocol)]
        parts += [to_markdown(table) for table in tables if table.rows]
    parts += ["## All systems, each protocol in its column", to_markdown(systems_table(results))]
    parts += [to_markdown(cost_table(results)), "## Claims, paired on test", _how_compared()]
    parts += [to_markdown(table) for table in claim_tables(results)]
    parts += ["## Words"] + [to_markdown(table) for table in word_tables(results)]
    if notes.strip():
        parts += ["## Reading", notes.strip()]
    return "\n\n".join(_joined(parts)) + "\n"


def save_markdown(text: str, path: str | Path) -> None:
    """Writes the text, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def claim_tables(results: Results) -> list[Table]:
    """One table per question that was compared."""
    tables = [comparison_table(results, question) for question in QUESTIONS]
    return [table for table in tables if table.rows]


def word_tables(results: Results) -> list[Table]:
    """Per-word tables of the headline and of the teacher."""
    return [
        words_table(words.confusion, results.classes, words_title(results, words.system))
        for words in results.words
    ]


def words_title(results: Results, system: str) -> str:
    """`1000-500, best-energy crop`: the protocol that was really used."""
    row = results.row(system, results.protocol)
    return f"{system}, {PROTOCOL_NAMES[row.protocol]}"


def record(results: Results) -> dict[str, str]:
    """What was run, as far as the experiment recorded it."""
    tests = [row for row in results.rows if row.split == "test"]
    seeds = sorted({row.seeds for row in tests})
    facts = {
        "date": results.date,
        "git revision": results.revision,
        "corpus fingerprint": results.corpus,
        "systems": str(len(results.systems())),
        "seeds": str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} per system",
        "test clips": str(tests[0].n),
        "classes": ", ".join(results.classes),
        "still running, left out": ", ".join(results.unfinished),
    }
    return {key: value for key, value in facts.items() if value}


def _record(results: Results) -> str:
    return "\n".join(f"- {key}: {value}" for key, value in record(results).items())


def _how_compared() -> str:
    return (
        "Intervals and P(better) are a bootstrap over utterances and seeds (10,000 replicates), "
        "both systems on the same draws; P(better) is the share of replicates in which the first "
        "is ahead. They are not corrected for the number of comparisons: of twenty that mean "
        "nothing, one is expected to leave out zero."
    )


def _joined(parts: list[str]) -> list[str]:
    """Bullets that follow each other become one block, so that Markdown sees one list."""
    out: list[str] = []
    for part in parts:
        if part.startswith("- ") and out and out[-1].startswith("- "):
            out[-1] += "\n" + part
        else:
            out.append(part.rstrip("\n"))
    return out
