import numpy as np
import pytest
from pydantic import ValidationError

from kdspeech.data.keywords import KeywordTask
from kdspeech.data.pack import WavePack
from kdspeech.io.errors import InputError


@pytest.fixture
def pack(tmp_path):
    counts = {"yes": 40, "no": 40, "tree": 30, "bird": 30, "_silence_": 50}
    wave = np.zeros(10, np.int16)
    clips = (
        (f"{text}-{n}", wave, text, "s") for text, count in counts.items() for n in range(count)
    )
    return WavePack.build(tmp_path / "pack", clips, 16000)


def test_classes_and_labels(pack):
    task = KeywordTask(words=["yes", "no"])
    assert task.classes == ["_silence_", "_unknown_", "yes", "no"]
    labels = task.labels(pack)
    for text, label in {"_silence_": 0, "tree": 1, "bird": 1, "yes": 2, "no": 3}.items():
        assert set(labels[np.array(pack.texts) == text]) == {label}


def test_shares_are_of_the_whole_set(pack):
    clips, labels = KeywordTask(words=["yes", "no"]).select(pack)
    assert len(clips) == 100 and (np.diff(clips) > 0).all()
    assert np.bincount(labels).tolist() == [10, 10, 40, 40]


def test_all_of_a_filler_is_used_where_there_is_less(pack):
    task = KeywordTask(words=["yes", "no"], unknown_percent=45, silence_percent=0)
    clips, labels = task.select(pack)
    assert task.classes == ["_unknown_", "yes", "no"]
    assert np.bincount(labels).tolist() == [60, 40, 40]


def test_fillers_can_be_left_out(pack):
    task = KeywordTask(words=["yes", "no"], unknown_percent=0, silence_percent=0)
    clips, labels = task.select(pack)
    assert {pack.texts[clip] for clip in clips} == {"yes", "no"}
    assert set(labels) == {0, 1}
    assert (task.labels(pack)[~np.isin(np.arange(len(pack)), clips)] == -1).all()


def test_seeds_draw_other_fillers_and_the_same_keywords(pack):
    task = KeywordTask(words=["yes", "no"])
    (a, la), (b, lb), (again, _) = task.select(pack, 0), task.select(pack, 1), task.select(pack, 0)
    np.testing.assert_array_equal(a, again)
    np.testing.assert_array_equal(a[la > 1], b[lb > 1])
    assert set(a[la == 1]) != set(b[lb == 1])


def test_absent_keyword_is_named(pack):
    with pytest.raises(InputError, match="maybe"):
        KeywordTask(words=["yes", "maybe"]).select(pack)


@pytest.mark.parametrize("fields", [{"words": []}, {"words": ["a"], "unknown_percent": 60}])
def test_senseless_tasks_are_refused(fields):
    with pytest.raises(ValidationError):
        KeywordTask(**fields)


def test_a_fraction_is_of_each_class_and_fixed_by_the_seed(pack):
    task = KeywordTask(words=["yes", "no"])
    part = task.part(pack, 0.1)
    assert np.bincount(task.labels(pack)[part]).tolist() == [5, 6, 4, 4]
    np.testing.assert_array_equal(part, task.part(pack, 0.1))
    assert set(part) < set(task.part(pack, 0.2))  # a larger one holds the smaller one
    assert set(part) != set(task.part(pack, 0.1, seed=1))
    assert len(task.part(pack, 0.001)) == 4  # one of each class at least


def test_a_set_from_a_fraction_has_its_shares_too(pack):
    task = KeywordTask(words=["yes", "no"])
    part = task.part(pack, 0.5)
    clips, labels = task.select(pack, among=part)
    assert set(clips) <= set(part)
    assert np.bincount(labels).tolist() == [5, 5, 20, 20]
