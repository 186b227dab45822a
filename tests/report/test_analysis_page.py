import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import studies
from test_page import Page, check_self_contained

from kdspeech.io.errors import InputError
from kdspeech.report.analysis import (
    Network,
    Study,
    agreement,
    analyse,
    best_temperature,
    plots,
    save_analysis,
    save_json,
    tables,
)
from kdspeech.report.analysis.page import summary


@pytest.fixture(scope="module")
def text(analysis_page):
    return analysis_page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_stands_alone(text, page):
    check_self_contained(text, page)


def test_every_section_is_there(page):
    sections = {"networks", "soft", "agreement", "apart", "confusion", "changes", "calibration",
                "embedding"}  # fmt: skip
    assert sections <= set(page.ids)
    assert {"Networks", "Softness by temperature", "Agreement", "Calibration"} <= set(page.captions)


def test_names_are_escaped(text):
    assert "yes &lt;b&gt;" in text and "yes <b>" not in text
    assert "kds analyse &lt;here&gt;" in text


def test_players_play_the_clip_and_the_crop(findings, page):
    sounds = [link for link in page.links if link.startswith("data:audio/flac;base64,")]
    fixed, broken = findings.changes.changes[:2]
    assert len(sounds) == 2 * (5 + min(5, len(fixed)) + min(5, len(broken)))
    whole, crop = (
        soundfile.read(io.BytesIO(base64.b64decode(s.partition(",")[2])), dtype="int16")
        for s in sounds[:2]
    )
    assert whole[1] == 8000 and len(whole[0]) == 800
    np.testing.assert_array_equal(crop[0], whole[0][:350])


def test_phone_and_both_schemes(text):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "@media (prefers-color-scheme: dark)" in text


def test_json_holds_every_number(study, findings, tmp_path):
    save_json(study, findings, tmp_path / "a.json", "kds analyse")
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert found["command"] == "kds analyse" and found["samples"][3] == "clip-3"
    assert [n["name"] for n in found["networks"]] == ["1000", "1000-500", "500"]
    assert [n["temperature"] for n in found["networks"][0]["soft_targets"]] == [1, 4]
    pair = found["pairs"][0]
    assert (pair["first"], pair["second"]) == ("1000", "1000-500")
    assert len(pair["agreement"]["kl"]) == 60
    answers = np.array(found["answers"]["1000"])
    assert found["networks"][0]["accuracy"] == pytest.approx(
        100 * np.mean(answers == found["labels"]), abs=1e-3
    )
    assert None in found["networks"][0]["reliability"]["accuracy"]  # of an empty bin


def test_changes_over_the_seeds(study, findings):
    found = findings.changes
    right = [[z.argmax(1) == study.labels for z in (n.logits, *n.repeats)] for n in
             (study.before, study.student)]  # fmt: skip
    fixed = [np.sum(now & ~was) for was, now in zip(*right, strict=True)]
    assert (found.before, found.after, found.seeds) == ("500", "1000-500", 2)
    assert found.mean_fixed == np.mean(fixed)
    a, b = right[0]
    assert found.chance == (np.sum(a & ~b) + np.sum(b & ~a)) / 2


def test_numbers_over_the_seeds(study, findings):
    teacher, student, _ = findings.seeds
    assert teacher.same.tolist() == [1, 1] and student.name == "1000-500"
    other = [network.repeats[0] for network in study.networks[:2]]
    assert student.kl[1] == agreement(*other, study.labels).kl.mean()
    assert student.accuracy[0] == pytest.approx(findings.networks[1].accuracy)
    assert student.temperature[1] == best_temperature(other[1], study.labels)
    assert len(tables.seeds_table(findings).rows) == 3


def test_summary_says_it_in_words(study, findings):
    first, second, third = summary(study, findings)
    assert first.startswith("1000-500 answers as 1000 does on ")
    assert "Against 500 it has" in second and "by chance" in second
    assert third.count("ECE") == 3


def test_pictures_instead_of_sounds_and_no_embedding(tmp_path):
    study = studies.made_up(n=30, embed=False, audio=False, repeats=0)
    path = tmp_path / "a.html"
    save_analysis(study, analyse(study, [1]), path, most=2)
    page = Page(path.read_text(encoding="utf-8"))
    assert "audio" not in page.tags and "embedding" not in page.ids
    assert sum(link.startswith("data:image/png") for link in page.links) >= 2


def test_two_networks_that_are_the_same():
    study = studies.made_up(n=30, embed=False)
    twin = replace(study.reference, name="twin")
    same = replace(study, networks=(study.reference, twin), baseline=0, exhibit=None)
    found = analyse(same)
    assert found.pairs[0].agreement.kl.max() == 0 and len(found.changes.changes.fixed) == 0
    assert "100.0 % of 30 test clips, 0.000 nats from it." in summary(same, found)[0]
    assert plots.changes_by_class(same, found) is None


@pytest.mark.parametrize(
    "change,message",
    [
        ({"networks": ()}, "give two or more"),
        ({"baseline": 1}, "is the student itself"),
        ({"samples": ("a",)}, "1 names for 60 samples"),
        ({"classes": ("a", "b")}, r"1000: logits \(60, 4\), expected \(60, 2\)"),
    ],
)
def test_studies_that_do_not_fit(study, change, message):
    with pytest.raises(InputError, match=message):
        replace(study, **change)


def test_a_network_given_twice():
    labels = np.array([0, 1])
    twice = (Network("a", np.eye(2)), Network("a", np.eye(2)))
    with pytest.raises(InputError, match="each once"):
        Study(("x", "y"), labels, ("1", "2"), twice)
