"""alignment.html: every reference beside its hypothesis, word by word, the errors in colour."""

import html
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from kdspeech.decode.score import operation
from kdspeech.decode.sweep import Setting, Sweep
from kdspeech.decode.wer import Errors, WerScore
from kdspeech.io.atomic import atomic_path
from kdspeech.report.markup import document, folded, paragraphs
from kdspeech.report.table import Cell, Table, to_html

MOST = 25
"""Rows of the tables of frequent errors."""

STYLE = """
.utterance { margin: 0.5rem 0; padding: 0.4rem 0.7rem; background: var(--card);
  border: 1px solid var(--grid); border-radius: 8px; }
.utterance h4 { margin: 0; font-size: 0.8rem; font-weight: 500; color: var(--muted);
  overflow-wrap: anywhere; }
.pairs { display: flex; flex-wrap: wrap; gap: 0.25rem 0.55rem; line-height: 1.35; }
.pairs span { display: flex; flex-direction: column; border-radius: 4px; }
.pairs b, .pairs i { font: inherit; }
.pairs .C { color: var(--muted); justify-content: center; }
.pairs .S, .pairs .I, .pairs .D { padding: 0 0.3rem; border-bottom: 3px solid; }
.pairs .S { border-color: var(--s1); } .pairs .S i { color: var(--s1); }
.pairs .I { border-color: var(--s2); } .pairs .I i { color: var(--s2); }
.pairs .D { border-color: var(--s3); }
.pairs .D b { color: var(--s3); text-decoration: line-through; }
"""


def save_alignment(sweep: Sweep, path: str | Path, title: str) -> None:
    """Writes the page of a sweep's chosen setting: whole or not at all, no script, no fetches."""
    score = sweep.score
    speakers = score.per_speaker(sweep.utt2spk)
    sections = [
        ("settings", "LM scale and insertion penalty", to_html(_settings_table(sweep))),
        ("speakers", "Speakers", to_html(_speaker_table(speakers))),
        ("errors", "Frequent errors", "".join(map(to_html, _error_tables(score)))),
        ("missing", "Utterances on one side only", _one_sided(score)),
        ("utterances", "Utterances", _legend() + "".join(_by_speaker(sweep, speakers))),
    ]
    page = document(title, paragraphs(_headline(sweep)), sections, STYLE)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _headline(sweep: Sweep) -> list[str]:
    low, high = sweep.score.interval()
    origin = f"taken from {sweep.tuned_on}" if sweep.tuned_on else "the best of this set"
    setting = f"LM scale {sweep.chosen.scale:g}, word insertion penalty {sweep.chosen.penalty}"
    return [
        f"{sweep.score.total}, 95 % between {low:.2f} and {high:.2f}",
        f"{setting}: {origin}. {sweep.score.total.ser:.1f} % of the sentences have an error.",
    ]


def _settings_table(sweep: Sweep) -> Table:
    scales = sorted({setting.scale for setting in sweep.scores})
    penalties = sorted({setting.penalty for setting in sweep.scores})
    rows = [
        [Cell(str(penalty)), *(_wer_cell(sweep, Setting(scale, penalty)) for scale in scales)]
        for penalty in penalties
    ]
    return Table(
        "WER in %: penalties down, LM scales across",
        ["penalty", *(f"{scale:g}" for scale in scales)],
        rows,
        note="Bold: the setting of this page.",
    )


def _wer_cell(sweep: Sweep, setting: Setting) -> Cell:
    if setting not in sweep.scores:
        return Cell("")
    return Cell(f"{sweep.scores[setting].wer:.2f}", best=setting == sweep.chosen)


def _speaker_table(speakers: dict[str, Errors]) -> Table:
    """The worst first."""
    worst = sorted(speakers.items(), key=lambda item: -item[1].wer)
    header = ["speaker", "WER %", "words", "sub", "del", "ins", "sentences", "with errors %"]
    rows = [[Cell(name), *map(Cell, _numbers(errors))] for name, errors in worst]
    return Table("Errors by speaker", header, rows)


def _numbers(errors: Errors) -> list[str]:
    counts = (errors.words, errors.sub, errors.deleted, errors.ins, errors.sentences)
    return [f"{errors.wer:.2f}", *map(str, counts), f"{errors.ser:.1f}"]


def _error_tables(score: WerScore) -> Iterator[Table]:
    counts = Counter(pair for row in range(len(score.refs)) for pair in score.alignment(row))
    for kind, title, header in (
        ("S", "Substitutions", ["spoken", "heard", "times"]),
        ("D", "Deletions", ["spoken", "times"]),
        ("I", "Insertions", ["heard", "times"]),
    ):
        chosen = ((p, n) for p, n in counts.items() if p[0] != p[1] and operation(*p) == kind)
        most = sorted(chosen, key=lambda item: (-item[1], item[0]))[:MOST]
        if most:
            rows = [[*map(Cell, filter(None, pair)), Cell(str(n))] for pair, n in most]
            yield Table(title, header, rows, labels=len(header) - 1)


def _one_sided(score: WerScore) -> str:
    sentences = []
    for what, names in (
        ("without a hypothesis; their words count as deleted", score.missing),
        ("without a reference; left out", score.unexpected),
    ):
        if names:
            sentences.append(f"{len(names)} {what}: {' '.join(names)}")
    return paragraphs(sentences)


def _legend() -> str:
    pairs = [("right", "right"), ("spoken", "heard"), ("deleted", ""), ("", "inserted")]
    return f'<p class="note">Reference above, hypothesis below.</p>{_pairs(pairs)}'


def _by_speaker(sweep: Sweep, speakers: dict[str, Errors]) -> Iterator[str]:
    rows: dict[str, list[int]] = {}
    for row, utterance in enumerate(sweep.score.utterances):
        rows.setdefault(sweep.utt2spk[utterance], []).append(row)
    for speaker, errors in speakers.items():
        content = "".join(_utterance(sweep.score, row) for row in rows[speaker])
        yield folded(f"{speaker}: {errors}", content, is_open=len(speakers) == 1)


def _utterance(score: WerScore, row: int) -> str:
    edits, words = int(score.counts[row].sum()), len(score.refs[row])
    counts = f"{_plural(edits, 'error')}, {_plural(words, 'word')}"
    head = html.escape(f"{score.utterances[row]}: {counts}")
    return f'<div class="utterance"><h4>{head}</h4>{_pairs(score.alignment(row))}</div>\n'


def _pairs(alignment: Iterable[tuple[str, str]]) -> str:
    """The aligned words; a run of right ones stands together, once."""
    spans = []
    for right, run in groupby(alignment, key=lambda pair: pair[0] == pair[1]):
        if right:
            words = html.escape(" ".join(ref for ref, _ in run))
            spans.append(f'<span class="C"><b>{words}</b></span>')
        else:
            spans += [_wrong(ref, hyp) for ref, hyp in run]
    return f'<div class="pairs">{"".join(spans)}</div>'


def _wrong(ref: str, hyp: str) -> str:
    above, below = (html.escape(word) or "&middot;" for word in (ref, hyp))
    return f'<span class="{operation(ref, hyp)}"><b>{above}</b><i>{below}</i></span>'


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
