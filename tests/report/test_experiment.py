import json

import numpy as np
import pytest
import synthetic

from kdspeech.io.errors import InputError
from kdspeech.report.experiment import (
    dates,
    read_crops,
    read_experiment,
    read_metrics,
    revisions,
    variant,
)


@pytest.fixture
def small(tmp_path):
    """Two systems, one seed, few utterances: a folder to spoil."""
    synthetic.write_node(tmp_path, "1000", 0, {"full": 90}, n=40)
    synthetic.write_node(tmp_path, "1000-500", 0, synthetic.protocols(80), n=40)
    return tmp_path


def spoil(directory, node="1000-500", **arrays):
    """Rewrites arrays of a node's posteriors; None takes one away."""
    path = directory / "seed0" / node / "posteriors.npz"
    held = dict(np.load(path))
    for key, value in arrays.items():
        key = key.replace("__", "/")
        held.pop(key, None)
        if value is not None:
            held[key] = value
    np.savez(path, **held)
    return path


@pytest.mark.parametrize(
    "name,expected",
    [
        ("1000", ""),
        ("1000-500", ""),
        ("1000-500.hard", ""),
        ("500.clip", ""),
        ("1000.pad-500", "pad"),
        ("1000-800.native-500", "native"),
        ("1000-500.hard.big", "big"),
        ("500.energy", "energy"),
    ],
)
def test_variant(name, expected):
    assert variant(name) == expected


def test_reads_all_and_lists_what_still_runs(experiment):
    assert experiment.seeds == [0, 1, 2]
    assert next(iter(experiment.runs)) == "1000"
    assert {len(runs) for runs in experiment.runs.values()} == {3}
    assert experiment.unfinished == ["seed2/1000-900-700"]
    assert experiment.classes == synthetic.CLASSES


def test_utterances_may_come_in_any_order(small):
    path = small / "seed0" / "1000-500" / "posteriors.npz"
    held = dict(np.load(path))
    order = np.random.default_rng(0).permutation(40)
    np.savez(path, **{k: v[order] if k.startswith("test/") else v for k, v in held.items()})
    answers = read_experiment(small).runs["1000-500"][0].answers["test"]
    expected = held["test/center"].argmax(axis=1)
    assert np.array_equal(answers.predictions["center"], expected)


def test_no_experiment_here(tmp_path):
    with pytest.raises(InputError, match="not an experiment"):
        read_experiment(tmp_path)


def test_nothing_finished(tmp_path):
    (tmp_path / "seed0" / "1000").mkdir(parents=True)
    with pytest.raises(InputError, match="none of its 1 systems is finished"):
        read_experiment(tmp_path)


@pytest.mark.parametrize(
    "arrays,message",
    [
        ({"test__center": np.zeros((40, 11), np.float32)}, r"test/center has shape \(40, 11\)"),
        ({"test__center": np.zeros((39, 12), np.float32)}, r"expected \(40, 12\)"),
        ({"test__center": np.full((40, 12), np.nan, np.float32)}, "holds NaN"),
        ({"test__label": np.full(40, 12)}, "labels in 0..11"),
        ({"test__label": np.zeros(7, int)}, "test/label has shape"),
        ({"test__label": None}, "no array `test/label`"),
        ({"test__utt": None}, "no array `test/utt`"),
        ({"test__utt": np.array(["same"] * 40)}, "an utterance is there twice"),
        ({"test__utt": np.array([f"other-{i:04d}" for i in range(40)])}, "on the same data"),
        ({f"dev__{p}": None for p in ("center", "best_energy", "sliding")}, "dev: no protocol"),
    ],
)
def test_bad_posteriors_are_named(small, arrays, message):
    path = spoil(small, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_experiment(small)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"plain text"])
def test_npz_that_is_none(small, content):
    path = small / "seed0" / "1000-500" / "posteriors.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable npz"):
        read_experiment(small)


def test_missing_posteriors(small):
    (small / "seed0" / "1000-500" / "posteriors.npz").unlink()
    with pytest.raises(InputError, match="posteriors.npz: no such file"):
        read_experiment(small)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"kind": "pupil"}, "score.json: kind"),
        ({"seed": 4}, "seed is 4 but the folder is seed0"),
        ({"system": "x"}, "system is x but the folder is 1000-500"),
        ({"classes": ["a", "b"]}, "posteriors.npz"),
        ({"length_ms": 0}, "length_ms"),
    ],
)
def test_bad_score_is_named(small, change, message):
    path = small / "seed0" / "1000-500" / "score.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_experiment(small)


def test_score_that_is_no_json(small):
    (small / "seed0" / "1000-500" / "score.json").write_text("{")
    with pytest.raises(InputError, match="score.json: Invalid JSON"):
        read_experiment(small)


def test_other_classes_in_one_system(small):
    path = small / "seed0" / "1000-500" / "score.json"
    score = json.loads(path.read_text())
    path.write_text(json.dumps(score | {"classes": score["classes"][::-1]}))
    with pytest.raises(InputError, match="its classes differ"):
        read_experiment(small)


def test_metrics_keep_the_last_of_an_epoch_run_twice(small):
    run = read_experiment(small).runs["1000"][0]
    path = run.directory / "metrics.jsonl"
    path.write_text('{"epoch": 1, "x": 1}\n{"epoch": 0}\n{"epoch": 1, "x": 2}\n')
    assert read_metrics(run) == [{"epoch": 0}, {"epoch": 1, "x": 2}]
    path.unlink()
    assert read_metrics(run) == []


@pytest.mark.parametrize("line", ["{", "[1]", '{"loss": 1}', "3"])
def test_bad_metrics_name_the_line(small, line):
    run = read_experiment(small).runs["1000"][0]
    (run.directory / "metrics.jsonl").write_text('{"epoch": 0}\n' + line + "\n")
    with pytest.raises(InputError, match="metrics.jsonl:2: not a JSON object"):
        read_metrics(run)


def test_crops(experiment, small):
    crops = read_crops(experiment)
    assert crops.waves.shape == (3, 16000) and crops.length == 8000
    assert read_crops(read_experiment(small)) is None


def test_bad_crops(small):
    np.savez(small / "crops.npz", wave=np.zeros((1, 100), np.int16))
    with pytest.raises(InputError, match="crops.npz: no array `start`"):
        read_crops(read_experiment(small))
    synthetic.write_crops(small, classes=synthetic.CLASSES[:5])
    with pytest.raises(InputError, match="teacher has shape"):
        read_crops(read_experiment(small))


def test_revisions_come_from_the_trainings(small):
    assert revisions(read_experiment(small)) == ["0123456789abcdef"]
    (small / "seed0" / "1000" / "config.yaml").unlink()
    assert revisions(read_experiment(small)) == ["0123456789abcdef"]
    (small / "seed0" / "1000-500" / "config.yaml").write_text("just words")
    with pytest.raises(InputError, match="config.yaml: not the `key: value` lines"):
        revisions(read_experiment(small))


def test_dates_are_days(small):
    first, last = dates(read_experiment(small))
    assert first <= last and len(first) == len("2020-01-02")
