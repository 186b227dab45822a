"""Tables of a keyword-spotting experiment."""

from collections.abc import Iterable
from statistics import fmean

import numpy as np

from kdspeech.report.accuracy import word_scores
from kdspeech.report.experiment import variant
from kdspeech.report.results import QUESTIONS, Comparison, Results, Row, headline_split
from kdspeech.report.table import Cell, Table

PROTOCOL_NAMES = {
    "best_energy": "best-energy crop",
    "center": "centre crop",
    "sliding": "sliding average",
    "full": "whole clip",
}


def accuracy_cell(row: Row | None, best: bool = False) -> Cell:
    """`89.2 ±0.4` and the 95 % interval; an empty cell where the system is not there."""
    if row is None:
        return Cell("")
    spread = f" ±{row.spread:.1f}" if row.spread is not None else ""
    return Cell(f"{row.value:.1f}{spread}", best, f"[{row.low:.1f}, {row.high:.1f}]")


def chain_table(results: Results, protocol: str) -> Table:
    """Table 2 of Lin & Wong (2019): chains grouped by steps, accuracy at each of their lengths."""
    shortest = results.lengths[-1:]
    lines = [
        ("none: " + label, {n: row for n, row in rows.items() if n in shortest}, 0)
        for label, rows, _ in _baselines(results, protocol)
    ]
    lines += [
        (_steps_label(row), _members(results, row, protocol), len(row.steps) - 1)
        for row in _chains(results)
    ]
    title = f"Table 2. Chains of distillation steps, {PROTOCOL_NAMES[protocol]}"
    return _length_table(results, title, lines)


def direct_table(results: Results, protocol: str) -> Table:
    """Table 1 of Lin & Wong (2019): one step to each length, and the baselines beside it."""
    lines = []
    for teacher in results.systems("teacher"):
        for labels in ("soft", "hard"):
            rows = {
                n: results.plain("distilled", labels, [*teacher.steps, n], protocol)
                for n in results.lengths
            }
            lines.append((f"{labels} labels", rows, 0))
    lines += _baselines(results, protocol)
    title = f"Table 1. Direct distillation and baselines, {PROTOCOL_NAMES[protocol]}"
    return _length_table(results, title, lines)


def _baselines(results: Results, protocol: str) -> list[tuple]:
    """No label distillation, in both readings: (label, {length: row}, group)."""
    clip = {n: results.plain("clip_label", "clip", [n], protocol) for n in results.lengths}
    lines = [("clip's own label", clip, 1)]
    for teacher in results.systems("teacher"):
        for view in results.views:
            rows = {n: results.truncated(teacher, view, n, protocol) for n in results.lengths}
            lines.append((f"{teacher.length_ms} ms network, {view}", rows, 1))
    return lines


def _length_table(results: Results, title: str, lines: list[tuple]) -> Table:
    """Lines are (label, {length: row or None}, group); those without any row are left out."""
    lengths = results.lengths
    found = [line for line in lines if any(line[1].values())]
    best = {n: max((r[n].value for _, r, _ in found if r.get(n)), default=None) for n in lengths}
    rows = [
        [Cell(label), *(_length_cell(rows.get(n), best[n]) for n in lengths)]
        for label, rows, _ in found
    ]
    groups = [group for *_, group in found]
    breaks = {i for i in range(1, len(groups)) if groups[i] != groups[i - 1]}
    header = ["distillation", *(f"C{n}" for n in lengths)]
    note = f"{_seeds_note(results)} {_views_note(results)}".rstrip()
    return Table(title, header, rows, note=note, breaks=frozenset(breaks))


def _views_note(results: Results) -> str:
    """What the views in use mean, for a network that is fed less than its own input."""
    meaning = {"native": "native: fed the crop as it is.", "pad": "pad: with zeros around it."}
    return " ".join(meaning[view] for view in results.views if view in meaning)


def _length_cell(row: Row | None, best: float | None) -> Cell:
    return accuracy_cell(row, best=row is not None and row.value == best)


def _chains(results: Results) -> list[Row]:
    """The chains that no longer chain continues: with two steps or more, or to the shortest."""
    rows = [row for row in results.systems("distilled") if not variant(row.system)]
    names = {(tuple(row.steps[:i]), row.labels) for row in rows for i in range(2, len(row.steps))}
    leaves = [row for row in rows if (tuple(row.steps), row.labels) not in names]
    shortest = min(results.lengths, default=0)
    leaves = [row for row in leaves if len(row.steps) > 2 or row.length_ms == shortest]
    return sorted(leaves, key=lambda row: (len(row.steps), row.steps, row.labels != "soft"))


def _steps_label(row: Row) -> str:
    steps = len(row.steps) - 1
    hard = ", hard labels" if row.labels == "hard" else ""
    return f"{steps} step{'s' if steps > 1 else ''}{hard}"


def _members(results: Results, chain: Row, protocol: str) -> dict[int, Row | None]:
    ends = range(2, len(chain.steps) + 1)
    return {
        chain.steps[i - 1]: results.plain("distilled", chain.labels, chain.steps[:i], protocol)
        for i in ends
    }


def _seeds_note(results: Results) -> str:
    tests = [row for row in results.rows if row.split == "test"]
    seeds = sorted({row.seeds for row in tests})
    if seeds == [1]:
        return f"Accuracy in % on {tests[0].n} test clips, one seed, 95 % interval (Wilson)."
    count = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"Accuracy in % on {tests[0].n} test clips: mean of {count} seeds ± their standard "
        "deviation, 95 % interval over utterances and seeds."
    )


def systems_table(results: Results) -> Table:
    """Every system: what it is, what it costs, and each test protocol in its own column."""
    protocols = [p for p in (*results.protocols, "full") if _has(results, p)]
    protocols = list(dict.fromkeys(protocols))
    header = ["system", "kind", "labels", "input ms", "parameters", "MACs", "latency ms",
              "train s", "seeds"]  # fmt: skip
    rows = []
    for row in results.systems():
        cells = [Cell(row.system), Cell(row.kind.replace("_", " ")), Cell(row.labels)]
        cells += [Cell(text) for text in _cost_texts(row)]
        by_protocol = {r.protocol: r for r in results.rows
                       if r.system == row.system and r.split == "test"}  # fmt: skip
        rows.append(cells + [accuracy_cell(by_protocol.get(p)) for p in protocols])
    header += [PROTOCOL_NAMES[p] for p in protocols]
    return Table("All systems", header, rows, labels=3, note=_seeds_note(results))


def _has(results: Results, protocol: str) -> bool:
    return any(row.protocol == protocol for row in results.rows)


def _cost_texts(row: Row) -> list[str]:
    latency = "" if row.latency_ms is None else f"{row.latency_ms:.2f}"
    seconds = "" if row.seconds is None else f"{row.seconds:,.0f}"
    return [str(row.length_ms), f"{row.parameters:,}", millions(row.macs), latency, seconds,
            str(row.seeds)]  # fmt: skip


def millions(count: int) -> str:
    """3,210,000 as 3.21 M; below ten thousand the number itself."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"


def cost_table(results: Results) -> Table:
    """Multiply-adds and latency of one decision by input length."""
    rows = []
    by_length: dict[int, list[Row]] = {}
    for row in results.systems():
        if row.kind != "truncated":
            by_length.setdefault(row.length_ms, []).append(row)
    for length in sorted(by_length, reverse=True):
        group = by_length[length]
        known = [row.latency_ms for row in group if row.latency_ms is not None]
        latency = f"{np.median(known):.2f}" if known else ""
        rows.append([Cell(f"{length} ms"), Cell(f"{group[0].parameters:,}"),
                     Cell(millions(group[0].macs)), Cell(latency)])  # fmt: skip
    header = ["input", "parameters", "multiply-adds", "latency ms"]
    note = "Latency of one clip: the median over the systems of that length."
    return Table("Cost by input length", header, rows, note=note)


def comparison_table(results: Results, question: str, protocol: str | None = None) -> Table:
    """The paired comparisons of one question (a key of QUESTIONS), all protocols or one."""
    chosen = [c for c in results.comparisons if c.question == question]
    if protocol:
        chosen = [c for c in chosen if c.protocol in (protocol, "full")]
    return paired_table(chosen, QUESTIONS[question].capitalize(), with_protocol=protocol is None)


def paired_table(comparisons: list[Comparison], title: str, with_protocol: bool = True) -> Table:
    """Gain with interval, P(better), seeds and McNemar's p per seed of some comparisons."""
    header = ["system", "against", "protocol", "gain", "95 % interval", "P(better)",
              "seeds better", "McNemar p"]  # fmt: skip
    rows = [_comparison_cells(c) for c in comparisons]
    if not with_protocol:
        header = header[:2] + header[3:]
        rows = [cells[:2] + cells[3:] for cells in rows]
    note = (
        "Gain in percentage points on test, paired over utterances and seeds; bold where the "
        "95 % interval leaves out zero. McNemar: exact, of each seed."
    )
    return Table(title, header, rows, labels=3 if with_protocol else 2, note=note)


def _comparison_cells(c: Comparison) -> list[Cell]:
    clear = c.low > 0 or c.high < 0
    return [
        Cell(c.system),
        Cell(c.against),
        Cell(PROTOCOL_NAMES[c.protocol]),
        Cell(f"{c.gain:+.1f}", clear),
        Cell(f"[{c.low:+.1f}, {c.high:+.1f}]"),
        Cell(probability(c.p_better)),
        Cell(f"{c.seeds_better}/{c.seeds}"),
        Cell(", ".join("<1e-4" if p < 1e-4 else f"{p:.2g}" for p in c.mcnemar)),
    ]


def probability(p: float) -> str:
    """Three decimals, and never a certainty that 10,000 replicates cannot give."""
    if p > 0.999:
        return "> 0.999"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def words_table(confusion: np.ndarray, classes: Iterable[str], title: str) -> Table:
    """Precision, recall and F1 of every word."""
    rows = []
    scores = word_scores(np.asarray(confusion), list(classes))
    for score in scores:
        numbers = [Cell(_one_decimal(x)) for x in (score.precision, score.recall, score.f1)]
        rows.append([Cell(score.word), Cell(str(score.count)), *numbers, Cell(score.taken_for)])
    header = ["word", "clips", "precision", "recall", "F1", "most often taken for"]
    return Table(title, header, rows, note="In %; clips counted over all seeds.")


def _one_decimal(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}"


def confusion_table(confusion: np.ndarray, classes: Iterable[str], title: str) -> Table:
    """The confusion matrix as counts: rows spoken, columns answered, zeros left blank."""
    classes = list(classes)
    rows = [
        [Cell(word), *(Cell(str(count) if count else "", i == j) for j, count in enumerate(line))]
        for i, (word, line) in enumerate(zip(classes, np.asarray(confusion), strict=True))
    ]
    return Table(title, ["spoken", *classes], rows, note="Columns: the answer. Sum over seeds.")


def summarise(results: Results, protocol: str) -> list[str]:
    """Sentences: the headline with its gains, then what all comparisons of a question say."""
    chosen = [c for c in results.comparisons if c.protocol in (protocol, "full")]
    sentences = headline_sentences(results, protocol)
    sentences += [
        f"{c.system} against {c.against} ({QUESTIONS[c.question]}): {gain_text(c)}."
        for c in chosen
        if c.system == results.headline and c.question in ("distillation", "progressive")
    ]
    for question in ("distillation", "progressive", "soft"):
        single = [c for c in chosen if c.question == question and not is_mean(c)]
        if single:
            sentences.append(_count_sentence(QUESTIONS[question], single))
    return sentences + [
        f"Progressive, {c.system} at {c.length_ms} ms against {c.against}: {gain_text(c)}."
        for c in chosen
        if is_mean(c)
    ]


def is_mean(c: Comparison) -> bool:
    """Whether the comparison is of all chains together."""
    return c.system.startswith("mean of")


def headline_sentences(results: Results, protocol: str) -> list[str]:
    """What the chosen system reaches, beside the teacher; [] if it has no such protocol."""
    row = results.row(results.headline, protocol)
    if row is None:
        return []
    sentence = f"{row.system} ({row.length_ms} ms of audio) reaches {_value_text(row)}"
    teachers = [results.row(t.system, protocol) for t in results.systems("teacher")]
    for teacher in [t for t in teachers if t and t.system != row.system]:
        sentence += f"; the {teacher.length_ms} ms teacher {_value_text(teacher)}"
    split = headline_split(results.rows)
    chosen = split if split == "dev" else f"{split} itself, for want of dev"
    return [sentence + f" ({PROTOCOL_NAMES[row.protocol]}; system chosen on {chosen})."]


def _value_text(row: Row) -> str:
    return f"{row.value:.1f} % [{row.low:.1f}, {row.high:.1f}]"


def gain_text(c: Comparison) -> str:
    """A comparison in words: gain, interval, P(better), seeds."""
    return (
        f"{c.gain:+.1f} points [{c.low:+.1f}, {c.high:+.1f}], "
        f"P(better) {probability(c.p_better)}, better in {c.seeds_better} of {c.seeds} "
        f"seed{'s' if c.seeds > 1 else ''}"
    )


def _count_sentence(text: str, chosen: list[Comparison]) -> str:
    better = sum(c.low > 0 for c in chosen)
    worse = sum(c.high < 0 for c in chosen)
    return (
        f"{text.capitalize()}: {len(chosen)} comparison{'s' if len(chosen) > 1 else ''}, "
        f"{better} clearly better, {worse} clearly worse (95 % interval without zero), "
        f"mean gain {fmean(c.gain for c in chosen):+.1f} points."
    )
