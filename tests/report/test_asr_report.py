"""Page and RESULTS.md of a speech recognition experiment, from the files that scoring leaves."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.decode.score import write_sweep
from kdspeech.decode.sweep import GIVEN, Setting, Sweep
from kdspeech.decode.wer import score_wer
from kdspeech.io.errors import InputError
from kdspeech.report.asr import read_alignments, read_asr, read_speakers, read_sweep
from kdspeech.report.asr_plots import training_curves, wer_by_scale, wer_by_speaker
from kdspeech.report.asr_tables import cost_table, summarise, wer_table
from kdspeech.report.wer import add_row, make_row

TEXT = {"s1-a": "one two three", "s1-b": "four five", "s2-a": "six seven eight nine"}
SPEAKERS = {utt: utt[:2] for utt in TEXT}
# Errors of each system: hypotheses at LM scales 7 and 8.
HEARD = {
    "mono": ({"s1-a": "one", "s1-b": "four", "s2-a": "six"}, {"s1-a": "one two", "s2-a": "six"}),
    "tri3b.si": ({**TEXT, "s1-a": "one too three"}, {**TEXT, "s1-a": "one"}),
    "tri3b": ({**TEXT, "s1-b": "for five <now>"}, {**TEXT, "s1-b": "four"}),
}


@pytest.fixture
def exp(tmp_path):
    """Three scored systems; mono and tri3b with times and passes of their training."""
    folder = tmp_path / "exp"
    for split in ("dev", "test"):
        for system, heard in HEARD.items():
            name, dot, suffix = system.partition(".")
            decode = folder / name / f"decode_{split}{dot}{suffix}"
            decode.mkdir(parents=True)
            scores = {Setting(7.0 + i, 0.5): score_wer(TEXT, hyps) for i, hyps in enumerate(heard)}
            chosen = Setting(8.0, 0.5) if split == "test" else Setting(7.0, 0.5)
            sweep = Sweep(scores, chosen, SPEAKERS, "dev" if split == "test" else None)
            write_sweep(sweep, decode)
            add_row(make_row(sweep, system, split, f"kds score {system}"), folder / "results.json")
    passes = [{"iteration": i, "log_likelihood": -90 + i, "gaussians": 10 * i} for i in range(3)]
    for system in ("mono", "tri3b"):
        lines = "".join(json.dumps(row) + "\n" for row in passes)
        (folder / system / "metrics.jsonl").write_text(lines)
    (folder / "times").mkdir()
    killed = "50.5 1 30\nrun.sh: line 7: 4711 Killed\n"
    (folder / "times/train_mono").write_text(killed + "50 1.5 30\n")
    (folder / "times/align_mono").write_text("5 1 4\n")
    (folder / "times/decode_tri3b_test").write_text("20 4 30\n")
    data = tmp_path / "data/test"
    data.mkdir(parents=True)
    (data / "utt2num_frames").write_text("s1-a 500\ns1-b 700\n")
    (tmp_path / "kaldi.yaml").write_text(
        "toolkit: Kaldi\nsystems:\n  tri3b: {test: 30, train_seconds: 90, decode_seconds: 40}\n"
    )
    return folder


@pytest.fixture
def experiment(exp):
    return read_asr(exp, exp.parent / "data", exp.parent / "kaldi.yaml")


def column(table, name):
    return [row[table.header.index(name)].text for row in table.rows]


def test_wer_table_stands_beside_the_reference(experiment):
    table = wer_table(experiment, "test")
    assert column(table, "system") == ["mono", "tri3b.si", "tri3b"]
    assert column(table, "WER") == ["66.67", "22.22", "11.11"]
    assert [row[1].best for row in table.rows] == [False, False, True]
    assert column(table, "best here") == ["66.67", "11.11", "11.11"]
    assert column(table, "Kaldi, best") == ["", "", "30.00"]
    assert column(table, "difference") == ["", "", "-18.89"]
    assert "9 words in 3 utterances" in table.note
    assert "without a lattice count as deleted (mono 1)" in table.note


def test_a_setting_that_was_given_is_no_choice_of_dev(experiment):
    assert "chosen on dev" in wer_table(experiment, "test").note
    rows = [replace(row, tuned_on=GIVEN) for row in experiment.rows]
    assert "fixed beforehand" in wer_table(replace(experiment, rows=rows), "test").note


def test_headline_is_the_best_on_dev_shown_on_test(experiment):
    # On dev tri3b.si has one error at its setting and tri3b two.
    row = experiment.headline
    assert (row.system, row.split, row.value) == ("tri3b.si", "test", pytest.approx(22.2222))
    assert summarise(experiment)[0].startswith("tri3b.si, chosen on dev: 22.22 % WER on test")


def test_a_headline_that_was_chosen_on_test_says_so(experiment):
    rows = [row for row in experiment.rows if row.split == "test"]
    alone = replace(experiment, rows=rows)
    assert alone.headline.system == "tri3b"
    sentence = summarise(alone)[0]
    assert sentence.startswith("tri3b, chosen on test itself, for want of dev: 11.11 % WER on test")
    # There is a dev, but of another system.
    rows += [row for row in experiment.rows if (row.system, row.split) == ("mono", "dev")]
    rows = [row for row in rows if (row.system, row.split) != ("mono", "test")]
    other = replace(experiment, rows=rows)
    assert other.headline.system == "tri3b" and summarise(other)[0] == sentence


def test_figures_say_how_many_systems_they_leave_out(exp, experiment):
    for system in ("bare", *(f"tri{i}" for i in range(4, 9))):
        for split in ("dev", "test"):
            folder = exp / system / f"decode_{split}"
            shutil.copytree(exp / f"tri3b/decode_{split}", folder)
            if system == "bare":  # it takes no line's place
                shutil.rmtree(folder / "scoring_kaldi")
                for path in folder.glob("wer_*"):
                    path.unlink()
            rows = [r for r in experiment.rows if (r.system, r.split) == ("tri3b", split)]
            add_row(replace(rows[0], system=system), exp / "results.json")
        if system != "bare":
            shutil.copy(exp / "mono/metrics.jsonl", exp / system)
    many = read_asr(exp)
    figures = [
        (wer_by_scale(many, "dev", many.gaussian_systems), 8, 12),  # lines and points
        (wer_by_speaker(many, "test"), 8, 6),
        (training_curves(many), 7, 6),
    ]
    for figure, count, lines in figures:
        assert figure.axes[0].get_title("left") == f"the first 6 of {count} are shown"
        assert len(figure.axes[0].lines) == lines
    few = wer_by_scale(experiment, "dev", experiment.gaussian_systems).axes[0]
    assert few.get_title("left") == "" and len(few.lines) == 6


def test_costs_are_cpu_seconds(experiment):
    table = cost_table(experiment)
    assert column(table, "system") == ["mono", "tri3b"]
    assert column(table, "training CPU s") == ["103", ""]
    assert column(table, "decoding test CPU s") == ["", "24"]
    assert column(table, "CPU s per second of speech") == ["", "2.00"]
    assert column(table, "aligning CPU s") == ["6", ""]
    assert [row[6].text for row in table.rows] == ["", "40"]


def test_scoring_files_are_read(exp):
    folder = exp / "tri3b/decode_test"
    assert read_sweep(folder) == {(7.0, 0.5): 22.22, (8.0, 0.5): 11.11}
    assert read_speakers(folder) == {"s1": (1, 5), "s2": (0, 4)}
    lines = read_alignments(folder)["s1-b"]
    assert [line.split() for line in lines] == [
        ["ref", "four", "five"],
        ["hyp", "four", "***"],
        ["op", "C", "D"],
    ]
    assert read_speakers(exp) == {} and read_alignments(exp) == {}


def report(exp, *options):
    base = ["report-asr", str(exp), "--data", str(exp.parent / "data"), "--command", "run.sh <x>"]
    return CliRunner().invoke(app, [*base, *options])


def test_the_page_is_self_contained_and_escaped(exp):
    reference = ["--reference", str(exp.parent / "kaldi.yaml")]
    done = report(exp, "--title", "A & B", *reference)
    assert done.exit_code == 0, done.output
    assert done.output.strip().splitlines()[-1] == str(exp / "report.html")
    page = (exp / "report.html").read_text()
    assert "A &amp; B" in page and "run.sh &lt;x&gt;" in page and "<now>" not in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page) and "<script" not in page
    for section in ("tables", "speakers", "training", "cost", "alignments"):
        assert f'<section id="{section}">' in page
    assert page.count("<svg") == 4


def test_results_md_has_the_command_the_tables_and_the_notes(exp):
    notes = exp.parent / "notes.md"
    notes.write_text("Few words.\n")
    done = report(exp, "--results-md", str(exp.parent / "R.md"), "--notes", str(notes))
    assert done.exit_code == 0, done.output
    text = (exp.parent / "R.md").read_text()
    assert "```\nrun.sh <x>\n```" in text
    assert "| tri3b | **11.11** [" in text and text.index("WER on test") < text.index("WER on dev")
    assert text.endswith("## Reading\n\nFew words.\n")


def test_a_bare_experiment_still_has_a_page(exp):
    for path in [*exp.glob("*/metrics.jsonl"), *exp.glob("times/*")]:
        path.unlink()
    assert CliRunner().invoke(app, ["report-asr", str(exp)]).exit_code == 0
    page = (exp / "report.html").read_text()
    assert '<section id="training">' not in page and '<section id="cost">' not in page


def test_a_system_whose_directory_was_removed_is_left_out_and_named(exp, caplog):
    shutil.rmtree(exp / "mono")
    rows = (exp / "results.json").read_text()
    assert report(exp).exit_code == 0
    assert "left out, without a decoding directory: mono\n" in caplog.text
    assert read_asr(exp).systems == ["tri3b.si", "tri3b"]
    assert (exp / "results.json").read_text() == rows
    for split in ("dev", "test"):  # one pass of a system that stays
        shutil.rmtree(exp / f"tri3b/decode_{split}.si")
    assert read_asr(exp).systems == ["tri3b"]
    shutil.rmtree(exp / "tri3b")
    with pytest.raises(InputError, match=r"results\.json: has no row of a system that"):
        read_asr(exp)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("results.json", '{"rows": []}', "has no row"),
        ("results.json", "{", "no table of word error rates"),
        ("times/train_mono", "1 2", "not the three times"),
        ("mono/metrics.jsonl", "{", "damaged"),
        ("../kaldi.yaml", "systems: [1]", "not `toolkit:` and `systems:`"),
    ],
)
def test_damaged_files_are_named(exp, name, content, message):
    (exp / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_asr(exp, None, exp / "../kaldi.yaml")
    assert name.rsplit("/", 1)[-1] in str(error.value)
