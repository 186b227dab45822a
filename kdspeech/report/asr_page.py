"""report.html and RESULTS.md of a speech recognition experiment."""

import html
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.report import asr_plots as plots
from kdspeech.report.asr import AsrExperiment, read_alignments
from kdspeech.report.asr_network_tables import networks_table
from kdspeech.report.asr_tables import cost_table, steps_table, summarise, wer_table
from kdspeech.report.markup import (
    document,
    figure_html,
    folded,
    grid,
    notes_section,
    paragraphs,
    preformatted,
)
from kdspeech.report.table import to_html, to_markdown


def save_asr_page(
    experiment: AsrExperiment, path: str | Path, title: str, command: str, notes: str = ""
) -> None:
    """Writes the page: style, figures and tables inline, no script, nothing fetched.

    Args:
        experiment: what `read_asr` returns.
        path: the HTML file, written whole or not at all.
        title: of the page.
        command: how the experiment was made.
        notes: plain text or Markdown shown as it is under "Reading".
    """
    last = experiment.splits[-1]
    sections = [
        ("run", "What was run", _run_section(experiment, command)),
        ("networks", "Networks", _networks_section(experiment)),
        ("tables", "Word error rates", _wer_section(experiment)),
        ("speakers", "Speakers", _speakers_section(experiment, last)),
        ("training", "Training", _training_section(experiment)),
        ("cost", "Cost", _cost_section(experiment)),
        ("alignments", f"What was said and heard: {last}", _alignment_section(experiment)),
        ("notes", "Reading", notes_section(notes)),
    ]
    with atomic_path(path) as temporary:
        page = document(title, paragraphs(summarise(experiment)), sections)
        temporary.write_text(page, encoding="utf-8")


def _run_section(experiment: AsrExperiment, command: str) -> str:
    made = "\n".join(dict.fromkeys(row.command for row in experiment.rows if row.command))
    return preformatted(command) + folded("Commands that scored", preformatted(made))


def _networks_section(experiment: AsrExperiment) -> str:
    return to_html(networks_table(experiment)) if experiment.networks else ""


def _wer_section(experiment: AsrExperiment) -> str:
    tables = [wer_table(experiment, split) for split in reversed(experiment.splits)]
    first = experiment.splits[0]
    figures = [
        figure_html(plots.wer_by_system(experiment), "systems", "WER with 95 % intervals."),
        figure_html(
            plots.wer_by_scale(experiment, first),
            "scales",
            f"WER on {first} against the LM scale; the point is the scale that was taken.",
        ),
    ]
    return "".join(to_html(table) for table in tables if table.rows) + grid(figures)


def _speakers_section(experiment: AsrExperiment, split: str) -> str:
    caption = f"WER of each speaker of {split}, sorted by {experiment.headline.system}."
    return grid([figure_html(plots.wer_by_speaker(experiment, split), "speakers", caption)])


def _training_section(experiment: AsrExperiment) -> str:
    caption = "Log-likelihood per frame of the aligned training speech, by pass."
    return grid([figure_html(plots.training_curves(experiment), "curves", caption)])


def _cost_section(experiment: AsrExperiment) -> str:
    costs, steps = cost_table(experiment), steps_table(experiment)
    parts = [to_html(costs)] if costs.rows else []
    parts += [folded(steps.title, to_html(steps))] if steps.rows else []
    return "".join(parts)


def _alignment_section(experiment: AsrExperiment, most: int = 200) -> str:
    """Reference, hypothesis and operations of the headline, word under word; errors marked."""
    row = experiment.headline
    found = list(read_alignments(experiment.folder(row.system, row.split)).items())
    if not found:
        return ""
    shown = "\n\n".join("\n".join([utterance, *lines]) for utterance, lines in found[:most])
    summary = f"{row.system}, {min(most, len(found))} of {len(found)} utterances"
    return folded(summary, f'<pre style="white-space:pre">{html.escape(shown)}</pre>')


def render_asr_markdown(
    experiment: AsrExperiment, title: str, command: str, notes: str = ""
) -> str:
    """RESULTS.md: the command that makes it, then the tables; `notes` under "Reading"."""
    parts = [f"# {title}", "Made by", f"```\n{command}\n```"]
    parts += ["\n".join(f"- {sentence}" for sentence in summarise(experiment))]
    tables = [networks_table(experiment)] if experiment.networks else []
    tables += [wer_table(experiment, split) for split in reversed(experiment.splits)]
    tables.append(cost_table(experiment))
    parts += [to_markdown(table) for table in tables if table.rows]
    if notes.strip():
        parts += ["## Reading", notes.strip()]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
