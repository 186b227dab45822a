"""report.html and RESULTS.md of a speech recognition experiment."""

import html
from collections.abc import Sequence
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.report import asr_network_plots as network_plots
from kdspeech.report import asr_plots as plots
from kdspeech.report.asr import AsrExperiment, read_alignments
from kdspeech.report.asr_distillation import distillation_table
from kdspeech.report.asr_network_tables import adaptation_table, gates_table, networks_table
from kdspeech.report.asr_networks import SystemName
from kdspeech.report.asr_tables import cost_table, steps_table, summarise, wer_table
from kdspeech.report.claims import Claim, claims_table
from kdspeech.report.gates import load_gates
from kdspeech.report.markup import (
    document,
    figure_html,
    folded,
    grid,
    notes_section,
    paragraphs,
    preformatted,
)
from kdspeech.report.table import Table, to_html, to_markdown


def network_tables(experiment: AsrExperiment, claims: Sequence[Claim] = ()) -> list[Table]:
    """Those of the networks, their adaptation and the claims, for page and RESULTS.md; [] without.

    Raises:
        InputError: scoring files are gone that a comparison needs.
    """
    tables = [networks_table(experiment), distillation_table(experiment)]
    tables += [adaptation_table(experiment), claims_table(experiment, claims)]
    return [table for table in tables if table.rows]


def save_asr_page(
    experiment: AsrExperiment,
    path: str | Path,
    title: str,
    command: str,
    notes: str = "",
    networks: Sequence[Table] = (),
    frames: Path | None = None,
) -> None:
    """Writes the page: style, figures and tables inline, no script, nothing fetched.

    Args:
        experiment: what `read_asr` returns.
        path: the HTML file, written whole or not at all.
        title: of the page.
        command: how the experiment was made.
        notes: plain text or Markdown shown as it is under "Reading".
        networks: what `network_tables` returns.
        frames: a frame pack to measure the gates of highway networks on (see load_gates).
    """
    last = experiment.splits[-1]
    sections = [
        ("run", "What was run", _run_section(experiment, command)),
        ("networks", "Networks", _networks_section(experiment, networks)),
        ("tables", "Word error rates", _wer_section(experiment)),
        ("speakers", "Speakers", _speakers_section(experiment, last)),
        ("training", "Training", _training_section(experiment)),
        ("gates", "Gates", _gates_section(experiment, frames)),
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


def _networks_section(experiment: AsrExperiment, tables: Sequence[Table]) -> str:
    caption = "WER on {} against the number of parameters, a line per training. Of several systems "
    caption += f"of one training and size: the one best on {experiment.splits[0]}."
    figures = [
        figure_html(network_plots.wer_by_size(experiment, s), f"sizes-{s}", caption.format(s))
        for s in reversed(experiment.splits)
    ]
    order = sorted(
        experiment.network_systems, key=lambda s: experiment.mean(s, experiment.splits[0])
    )
    figures.append(_scales_figure(experiment, order, "network-scales"))
    return "".join(map(to_html, tables)) + grid(figures)


def _wer_section(experiment: AsrExperiment) -> str:
    tables = [wer_table(experiment, split) for split in reversed(experiment.splits)]
    figures = [
        figure_html(plots.wer_by_system(experiment), "systems", "WER with 95 % intervals."),
        _scales_figure(experiment, experiment.gaussian_systems, "scales"),
    ]
    return "".join(to_html(table) for table in tables if table.rows) + grid(figures)


def _scales_figure(experiment: AsrExperiment, systems: list[str], key: str) -> str:
    first = experiment.splits[0]
    caption = f"WER on {first} against the LM scale; the point is the scale that was taken."
    return figure_html(plots.wer_by_scale(experiment, first, systems), key, caption)


def _speakers_section(experiment: AsrExperiment, split: str) -> str:
    caption = f"WER of each speaker of {split}, sorted by {experiment.headline.system}."
    gains = "WER before adaptation less WER after it, of each network's best adaptation."
    return grid(
        [
            figure_html(plots.wer_by_speaker(experiment, split), "speakers", caption),
            figure_html(network_plots.gains_by_speaker(experiment, split), "gains", gains),
        ]
    )


def _training_section(experiment: AsrExperiment) -> str:
    caption = "Log-likelihood per frame of the aligned training speech, by pass."
    forms = dict.fromkeys(map(experiment.form, experiment.network_systems))
    figures = [figure_html(plots.training_curves(experiment), "curves", caption)]
    figures += [
        figure_html(
            network_plots.learning_curves(experiment, form),
            f"learning-{i}",
            f"{form}: what was measured on held-out speech after each epoch.",
        )
        for i, form in enumerate(forms)
    ]
    return grid(figures)


def _gates_section(experiment: AsrExperiment, frames: Path | None) -> str:
    """A figure for each size of highway networks, with the best system of each training."""
    by_model: dict[str, dict] = {}
    for (_, model), system in network_plots.leaders(experiment, experiment.splits[-1]).items():
        name = SystemName.parse(system)
        facts = experiment.networks[name.base]
        if facts.kind == "HDNN" and not name.adaptation:
            by_model.setdefault(model, {})[system] = load_gates(facts.folder, frames)
    caption = "{}: gates of each layer, mean and standard deviation over held-out frames and units."
    figures = [
        figure_html(network_plots.gates_by_layer(gates), f"gates-{model}", caption.format(model))
        for model, gates in by_model.items()
    ]
    table = gates_table({s: rows for gates in by_model.values() for s, rows in gates.items()})
    return grid(figures) + (folded(table.title, to_html(table)) if table.rows else "")


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
    experiment: AsrExperiment,
    title: str,
    command: str,
    notes: str = "",
    networks: Sequence[Table] = (),
) -> str:
    """RESULTS.md: the command that makes it, then the tables; `notes` under "Reading".

    Arguments as `save_asr_page`.
    """
    parts = [f"# {title}", "Made by", f"```\n{command}\n```"]
    parts += ["\n".join(f"- {sentence}" for sentence in summarise(experiment))]
    gaussian = [wer_table(experiment, split) for split in reversed(experiment.splits)]
    tables = [*networks, *gaussian, cost_table(experiment)]
    parts += [to_markdown(table) for table in tables if table.rows]
    if notes.strip():
        parts += ["## Reading", notes.strip()]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
