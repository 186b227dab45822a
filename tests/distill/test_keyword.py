"""The distillation engine end to end, on clips of pure tones that anyone can tell apart."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from tones import job, write_recipe

from kdspeech.distill import Plan, Step, finish_step, run_steps, run_truncated
from kdspeech.distill.labels import label_source
from kdspeech.distill.scoring import posteriors
from kdspeech.io.errors import InputError


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Data, configuration file and folder of a tiny recipe."""
    return write_recipe(tmp_path_factory.mktemp("recipe"))


def weights(exp, name, seed=0):
    content = torch.load(Path(exp) / f"seed{seed}" / name / "best.pt", weights_only=True)
    return content["model"]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]), key


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    """A finished plan of three lengths."""
    exp = tmp_path_factory.mktemp("exp")
    run_steps(job(recipe, exp), Plan.parse("400,300,200").steps(), progress=False)
    return exp


def test_the_chain_learns_and_leaves_its_record(trained):
    folder = trained / "seed0" / "400-300-200"
    score = json.loads((folder / "score.json").read_text())
    assert score["kind"] == "distilled" and score["steps"] == [400, 300, 200]
    assert score["length_ms"] == 200 and score["labels"] == "soft"
    assert score["parameters"] > 0 and score["macs"] > 0 and score["latency_ms"] > 0
    arrays = np.load(folder / "posteriors.npz")
    labels = arrays["test/label"]
    for protocol in ("center", "best_energy", "sliding"):
        log_probs = arrays[f"test/{protocol}"]
        assert log_probs.shape == (len(labels), len(score["classes"]))
        np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, atol=1e-5)
    right = (arrays["test/best_energy"].argmax(1) == labels).mean()
    assert right > 0.6  # five classes; the chain has learnt something


def test_whole_clips_have_the_one_protocol(trained):
    arrays = np.load(trained / "seed0" / "400" / "posteriors.npz")
    assert {key for key in arrays if key.startswith("test/")} == {
        "test/utt", "test/label", "test/full",
    }  # fmt: skip


def test_finished_steps_are_not_run_again(recipe, trained):
    path = trained / "seed0" / "400-300" / "best.pt"
    before = path.stat().st_mtime_ns
    finish_step(job(recipe, trained), 0, Step((400, 300), "soft"))
    assert path.stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused(recipe, trained):
    with pytest.raises(InputError, match="temperature"):
        finish_step(job(recipe, trained, "distill.temperature=2"), 0, Step((400, 300), "soft"))


def test_processes_give_the_same_weights_as_one(recipe, trained, tmp_path):
    run_steps(job(recipe, tmp_path), Plan.parse("400,300").steps(), [0], nj=2, progress=False)
    assert_same(weights(tmp_path, "400-300"), weights(trained, "400-300"))


def test_seeds_differ(recipe, trained, tmp_path):
    run_steps(job(recipe, tmp_path), [Step((200,), "clip")], [0, 1], progress=False)
    a, b = (weights(tmp_path, "200", seed) for seed in (0, 1))
    assert not torch.equal(a["norm.mean"], b["norm.mean"])


@pytest.mark.parametrize("view", ["native", "pad", "context"])
def test_stored_labels_are_those_made_on_line(recipe, trained, tmp_path, view):
    (tmp_path / "seed0").mkdir(parents=True)
    (tmp_path / "seed0" / "400").symlink_to(trained / "seed0" / "400")
    step, options = Step((400, 200), "soft"), [f"distill.view={view}", "train.epochs=1"]
    stored = job(recipe, tmp_path, *options, "distill.store=true").run(0)
    stored.train(step)  # also from the store
    online = job(recipe, tmp_path, *options).run(0)
    sources = [label_source(run, step) for run in (stored, online)]
    for epoch in (0, 3):
        batches = [
            list(run._batches(step, s, epoch))
            for run, s in zip((stored, online), sources, strict=True)
        ]
        for a, b in zip(*batches, strict=True):
            assert torch.equal(a.features, b.features) and torch.equal(a.labels, b.labels)
            torch.testing.assert_close(a.targets, b.targets, atol=1e-2, rtol=1e-3)


def test_a_store_of_another_crop_law_is_refused_by_name(recipe, trained, tmp_path):
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "400").symlink_to(trained / "seed0" / "400")
    step, options = Step((400, 200), "soft"), ["distill.store=true", "train.epochs=1"]
    job(recipe, tmp_path, *options).run(0).train(step)
    (tmp_path / "seed0" / "400-200" / "last.pt").unlink()
    with pytest.raises(InputError, match=r"labels\.arrow: made with another crop law"):
        job(recipe, tmp_path, *options, "crops.shift_ms=30").run(0).train(step)


def test_hard_labels_and_own_labels_train(recipe, trained, tmp_path):
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "400").symlink_to(trained / "seed0" / "400")
    steps = [Step((400, 200), "hard"), Step((200,), "clip")]
    this = job(recipe, tmp_path, "train.epochs=1")
    for step in steps:
        this.run(0).train(step)
    assert (tmp_path / "seed0" / "400-200.hard" / "best.pt").exists()
    a, b = weights(tmp_path, "400-200.hard"), weights(tmp_path, "200")
    assert any(not torch.equal(a[key], b[key]) for key in a)


def test_truncated_teacher_is_scored_in_both_views(recipe, trained):
    # A whole clip is not cut short; two workers do what one process does.
    run_truncated(job(recipe, trained), Step((400,), "clip"), [400, 200], [0], nj=2)
    assert not (trained / "seed0" / "400.pad-400").exists()
    for view in ("native", "pad"):
        score = json.loads((trained / "seed0" / f"400.{view}-200" / "score.json").read_text())
        assert score["kind"] == "truncated" and score["length_ms"] == 200
        assert score["steps"] == [400, 200]


def test_sliding_posterior_is_the_mean_over_windows(recipe, trained):
    run = job(recipe, trained).run(0)
    step = Step((400, 300, 200), "soft")
    model, pack = run.trained_model(step), run.data.test
    got = posteriors(run, model, pack, np.arange(3), 200, "sliding")
    hop, length = 400, 1600
    for clip in range(3):
        starts = range(0, len(pack[clip]) - length + 1, hop)
        windows = np.stack([pack[clip][s : s + length] for s in starts]).astype(np.float32)
        mean = run.log_probs(model, windows).exp().mean(0)
        np.testing.assert_allclose(np.exp(got[clip]), mean, atol=1e-5)


def test_a_killed_sweep_goes_on_to_the_same_weights(recipe, trained, tmp_path):
    """SIGKILL in the middle of a student; the rerun ends with the bits of an unbroken run."""
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "400").symlink_to(trained / "seed0" / "400")
    script = (
        "import os, signal, sys\n"
        "from kdspeech.train import checkpoint\n"
        "from kdspeech.config import load_config\n"
        "from kdspeech.distill import *\n"
        "write = checkpoint.write\n"
        "def write_and_die(path, packed):\n"
        "    write(path, packed)\n"
        "    if path.name == 'last.pt': os.kill(os.getpid(), signal.SIGKILL)\n"
        "checkpoint.write = write_and_die\n"
        f"config = load_config(KeywordConfig, {str(recipe / 'kws.yaml')!r})\n"
        f"job = Job(config, {str(recipe / 'packs')!r}, {str(tmp_path)!r}, 'test')\n"
        "job.run(0).train(Step((400, 300), 'soft'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not (tmp_path / "seed0" / "400-300" / "score.json").exists()
    finish_step(job(recipe, tmp_path), 0, Step((400, 300), "soft"))
    assert_same(weights(tmp_path, "400-300"), weights(trained, "400-300"))


def kill_workers_after(checkpoint):
    """SIGKILLs the Dask workers of this process as soon as they have written a checkpoint."""
    while not checkpoint.exists():
        time.sleep(0.01)
    for child in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()


def test_workers_killed_in_the_middle_of_a_sweep_are_replaced(recipe, trained, tmp_path):
    folder = tmp_path / "seed0" / "400"
    killer = threading.Thread(target=kill_workers_after, args=[folder / "last.pt"], daemon=True)
    killer.start()
    steps = [*Plan.parse("400,300").steps(), Step((300,), "clip")]
    run_steps(job(recipe, tmp_path), steps, nj=2, progress=False)
    assert not killer.is_alive()
    assert "goes on after epoch" in (folder / "train.log").read_text()
    for step in steps:
        assert (tmp_path / "seed0" / step.name / "score.json").exists()
    assert_same(weights(tmp_path, "400-300"), weights(trained, "400-300"))


def test_two_processes_under_torchrun(recipe, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += ["-m", "kdspeech.cli.main", "distill", "progressive"]
    command += ["--config", str(recipe / "kws.yaml"), "--data", str(recipe / "packs")]
    command += ["--exp", str(tmp_path), "--plan", "400,200"]
    command += ["--set", "train.epochs=1", "--set", "distill.store=true"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("400", "400-200"):
        folder = tmp_path / "seed0" / name
        assert json.loads((folder / "score.json").read_text())["system"] == name
        assert len((folder / "train.log").read_text().splitlines()) == 2  # one process writes
        assert not list(folder.glob(".*"))


def test_torchrun_and_workers_at_once_are_refused(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="torchrun"):
        run_steps(job(recipe, tmp_path), Plan.parse("400").steps(), nj=2)


@pytest.mark.parametrize("change", ["sample_rate=16000", "features.conf=FOLDER/16k.conf"])
def test_another_sampling_rate_is_refused(recipe, tmp_path, change):
    (tmp_path / "16k.conf").write_text("--sample-frequency=16000\n")
    with pytest.raises(InputError, match="Hz, but the recipe's sample_rate is"):
        job(recipe, tmp_path, change.replace("FOLDER", str(tmp_path))).run(0)


def test_native_view_of_a_network_of_one_length_is_refused(recipe, tmp_path):
    this = job(recipe, tmp_path, "model={name: mlp}", "train.epochs=1")
    with pytest.raises(InputError, match="distill.view native: mlp takes clips of 400 ms alone"):
        run_steps(this, Plan.parse("400,200").steps(), progress=False)


def test_keyword_that_no_clip_carries(recipe, tmp_path):
    this = job(recipe, tmp_path, "task.words=[low, mid, high, absent]")
    with pytest.raises(InputError, match="absent"):
        this.run(0).train(Step((400,), "clip"))


def test_the_first_teacher_may_be_another_network(recipe, tmp_path):
    own = "teacher={model: {name: res8, options: {maps: 12}}, epochs: 2}"
    this = job(recipe, tmp_path, own, "train.epochs=1")
    run_steps(this, Plan.parse("400,200").steps(), progress=False)
    scores = [
        json.loads((tmp_path / "seed0" / n / "score.json").read_text()) for n in ("400", "400-200")
    ]
    assert scores[0]["parameters"] > scores[1]["parameters"]
    rows = [(tmp_path / "seed0" / n / "metrics.jsonl").read_text() for n in ("400", "400-200")]
    assert [text.count("\n") for text in rows] == [2, 1]


def test_the_first_teacher_may_be_an_ensemble(recipe, trained, tmp_path):
    this = job(recipe, tmp_path, "teacher.members=2", "train.epochs=1")
    run_steps(this, Plan.parse("400,200").steps(), progress=False)
    size = {
        (exp, name): json.loads((exp / "seed0" / name / "score.json").read_text())["parameters"]
        for exp, name in [(trained, "400"), (tmp_path, "400"), (tmp_path, "400-200")]
    }
    assert size[tmp_path, "400"] == 2 * size[trained, "400"] == 2 * size[tmp_path, "400-200"]


def test_a_temperature_of_the_students_leaves_their_teacher_alone(recipe, trained):
    before = (trained / "seed0" / "400" / "best.pt").stat().st_mtime_ns
    finish_step(job(recipe, trained, "distill.temperature=3"), 0, Step((400,), "clip"))
    assert (trained / "seed0" / "400" / "best.pt").stat().st_mtime_ns == before


def test_scores_are_made_again_only_when_what_they_depend_on_changed(recipe, trained):
    path = trained / "seed0" / "400-300" / "score.json"
    before = path.stat().st_mtime_ns
    finish_step(job(recipe, trained), 0, Step((400, 300), "soft"))
    assert path.stat().st_mtime_ns == before
    finish_step(job(recipe, trained, "sliding_hop_ms=25"), 0, Step((400, 300), "soft"))
    assert path.stat().st_mtime_ns > before
