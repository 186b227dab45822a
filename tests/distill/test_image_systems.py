"""Systems of an image recipe and its search, on stripes that anyone can tell apart."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.config import load_config
from kdspeech.data.images import ImagePack
from kdspeech.distill import ImageConfig, ImageJob, run_search, run_steps
from kdspeech.io.errors import InputError
from kdspeech.losses import kd_loss
from kdspeech.report.images import image_markdown, image_rows, image_tables

CONF = """
images: {shape: [8, 8], classes: [rows, columns, none]}
model: {name: mlp, options: {hidden: [8]}}
train: {epochs: 3, batch_size: 32, lr: 0.05, weight_decay: 0, schedule: constant, num_threads: 1,
        tensorboard: false, accelerator: cpu}
systems:
  teacher:
    {model: {name: mlp, options: {hidden: [16, 16]}}, table: t, row: teacher, published: 99.5}
  student: {table: t, row: student, column: alone}
  kd: {teachers: [teacher], distill: {temperature: 4, alpha: 0.5}, table: t, row: student}
  unlabelled: {teachers: [teacher, student], distill: {temperature: 2}, fraction: 0.5}
  wild: {train: {lr: 1.0e+8, epochs: 1}, table: t, row: wild, published: diverges}
iterate: {plan: [{children: [{by: width, factor: 0.5}], times: 2}], max_drop: 100}
"""


def stripes(count, seed):
    """Images of 8 x 8 with bright rows, bright columns, or neither, and noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (count, 8, 8), np.uint8)
    labels = rng.integers(0, 3, count)
    images[labels == 0, ::2] += 100
    images[labels == 1, :, ::2] += 100
    return images, labels


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for seed, (split, count) in enumerate({"train": 256, "test": 64}.items()):
        classes = ["rows", "columns", "none"]
        ImagePack.build(folder / "data" / split, *stripes(count, seed), classes)
    (folder / "tables.yaml").write_text(CONF)
    return folder


def job(recipe, exp, *overrides):
    config = load_config(ImageConfig, recipe / "tables.yaml", list(overrides))
    return ImageJob(config, str(recipe / "data"), str(exp), "test")


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    this = job(recipe, tmp_path_factory.mktemp("exp"))
    run_steps(this, this.config.systems_of(), [0, 1], progress=False)
    return this


def score(this, name, seed=0):
    return json.loads((this.run(seed).folder / name / "score.json").read_text())


def test_systems_are_trained_and_stand_in_their_tables(trained):
    rows = image_rows(trained.config, trained.exp)
    assert [row.system for row in rows] == ["teacher", "student", "kd", "unlabelled", "wild"]
    by_name = {row.system: row for row in rows}
    assert by_name["teacher"].value > 90 and by_name["teacher"].seeds == [0, 1]
    assert by_name["teacher"].value == pytest.approx(np.mean(by_name["teacher"].per_seed))
    assert by_name["wild"].value is None and by_name["wild"].diverged == [0, 1]
    (table,) = image_tables(trained.config, rows)
    assert [row[0].text for row in table.rows] == ["teacher", "student", "student", "wild"]
    gap = by_name["teacher"].value - 99.5
    text = image_markdown([table], "Title", ["run.sh"])
    assert f"| 99.50 | {gap:+.2f} |" in text and "| diverges |" in text


def test_a_system_that_diverged_is_not_begun_again(trained):
    log = trained.run(0).folder / "wild" / "train.log"
    stamp = log.stat().st_mtime_ns
    (wild,) = trained.config.systems_of(["wild"])
    trained.finish(0, wild)
    assert log.stat().st_mtime_ns == stamp
    assert "So it ended before" in score(trained, "wild")["diverged"]


def test_without_a_dev_set_the_last_epoch_is_kept(trained):
    run = trained.run(0)
    best = torch.load(run.folder / "student" / "best.pt", weights_only=True)
    assert best["epoch"] == 3
    with np.load(run.folder / "student" / "posteriors.npz") as arrays:
        assert set(arrays) == {"test/utt", "test/label", "test/full"}
        assert arrays["test/full"].shape == (64, 3)


def test_labels_once_are_labels_on_line(trained):
    """Images that nothing moves: what was kept of them is what the teachers say of a batch."""
    run, systems = trained.run(0), {s.name: s for s in trained.config.systems_of()}
    which = np.array([3, 200, 7])
    pixels = torch.from_numpy(run.pack.images[which].astype(np.float32) / 255)
    for name in ("kd", "unlabelled"):
        once, _ = run.labeller(systems[name])(which, pixels)
        teachers = [run.trained_model(t) for t in systems[name].teachers]
        posteriors = [t(pixels).softmax(1) for t in teachers]
        assert torch.allclose(once.exp(), sum(posteriors) / len(posteriors), atol=1e-6)


def test_the_loss_of_a_system_is_its_own(trained, monkeypatch):
    run, systems = trained.run(0), {s.name: s for s in trained.config.systems_of()}
    batch = next(iter(run._batches(run.train_part, run.labeller(systems["kd"]), 0, 32)))
    from kdspeech.distill.student import student_loss

    plan = trained.config.training_of(systems["kd"])
    model = run.new_model(systems["kd"])
    loss, _ = student_loss(plan.loss, model, True)(model, batch)
    expected = kd_loss(model(batch.features), batch.targets, batch.labels, 4, 0.5)
    assert torch.equal(loss, expected)
    assert len(run.chosen(0.5)) == 128 and set(run.chosen(0.5)) != set(trained.run(1).chosen(0.5))


def test_a_finished_run_is_kept_and_another_refused(recipe, trained):
    before = score(trained, "kd")
    times = [(p, p.stat().st_mtime_ns) for p in sorted(trained.run(0).folder.glob("*/best.pt"))]
    run_steps(trained, trained.config.systems_of(["kd"]), [0], progress=False)
    assert [(p, p.stat().st_mtime_ns) for p, _ in times] == times
    assert score(trained, "kd") == before
    other = job(recipe, trained.exp, "systems.kd.distill.temperature=5")
    with pytest.raises(InputError, match="loss.temperature was 4"):
        run_steps(other, other.config.systems_of(["kd"]), [0], progress=False)


def test_a_killed_training_ends_with_the_same_bits(recipe, trained, tmp_path, monkeypatch):
    from kdspeech.distill import images

    this = job(recipe, tmp_path)
    batches = images.ImageRun._batches

    def killed(self, chosen, labels_of, epoch, size):
        if epoch == 2:
            raise KeyboardInterrupt
        return batches(self, chosen, labels_of, epoch, size)

    monkeypatch.setattr(images.ImageRun, "_batches", killed)
    with pytest.raises(KeyboardInterrupt):
        this.finish(0, this.config.systems_of(["student"])[0])
    monkeypatch.undo()
    this.finish(0, this.config.systems_of(["student"])[0])
    name = "student/best.pt"
    weights = [torch.load(j.run(0).folder / name, weights_only=True) for j in (this, trained)]
    assert all(
        torch.equal(a, b) for a, b in zip(*(w["model"].values() for w in weights), strict=True)
    )


def test_moved_images_are_labelled_as_they_come(recipe, tmp_path):
    this = job(recipe, tmp_path, "images.pad=1", "images.flip=true", "train.epochs=1")
    this.finish(0, this.config.systems_of(["teacher"])[0])
    run, kd = this.run(0), this.config.systems_of(["kd"])[1]
    first, again, later = (
        next(iter(run._batches(run.train_part, run.labeller(kd), epoch, 32))) for epoch in (0, 0, 1)
    )
    assert torch.equal(first.features, again.features)
    assert not torch.equal(first.features, later.features)
    teacher = run.trained_model(kd.teachers[0])
    assert torch.allclose(first.targets, teacher(first.features).log_softmax(1), atol=1e-5)
    this.finish(0, kd)
    assert (run.folder / "kd" / "score.json").exists()


def test_a_search_makes_it_smaller(recipe, tmp_path):
    data, exp = recipe / "data", tmp_path
    arguments = ["distill", "iterate", "--config", recipe / "tables.yaml", "--data", data]
    arguments += ["--exp", exp, "--set", "images.dev=64", "--set", "train.epochs=2"]
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    family = json.loads((exp / "family.json").read_text())
    hidden = [node["model"]["options"]["hidden"] for node in family["nodes"]]
    assert hidden == [[8], [4], [2]] and family["unit"] == "px" and family["best"] == "8.w50.w50"
    assert [row["what"] for row in family["baselines"]] == ["from scratch", "one step"]
    assert "| px |" in (exp / "family.md").read_text()
    with np.load(exp / "seed0" / "8.w50" / "posteriors.npz") as arrays:
        assert arrays["dev/full"].shape == (64, 3)


def test_hints_reach_a_student(recipe, tmp_path):
    losses = "[{name: kd}, {name: hint, weight: 10, student: layers.0, teacher: layers.0}]"
    this = job(recipe, tmp_path, f"systems.kd.distill.losses={losses}", "train.epochs=1")
    run_steps(this, this.config.systems_of(["kd"]), progress=False)
    rows = (this.run(0).folder / "kd" / "metrics.jsonl").read_text().splitlines()
    assert {"train_kd", "train_hint"} <= json.loads(rows[0]).keys()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("systems.kd.teachers=[nobody]", "no system 'nobody'; there are teacher, student"),
        ("systems.teacher.teachers=[kd]", "kd -> teacher -> kd teach in a circle"),
        ("systems.kd.train={rate: 1}", "systems.kd.train: rate: unknown key"),
        ("images.shape=[9, 8]", r"images of \[8, 8\] in 3 classes, .* are of \[9, 8\]"),
        ("images.classes=[a, b]", "in 3 classes, but the recipe's are of .* in 2"),
        ("images.dev=256", "256 images, images.dev takes 256"),
        ("systems.kd.fraction=0", "systems.kd.fraction"),
        ("iterate.plan=[{children: [{by: length}]}]", "no shorter input"),
        ("model.name=vggg", "no model 'vggg'"),
    ],
)
def test_bad_settings_are_named(recipe, tmp_path, setting, says):
    with pytest.raises(InputError, match=says):
        this = job(recipe, tmp_path, setting)
        for system in this.config.systems_of(["kd", "student"]):
            this.config.training_of(system)
            this.run(0).new_model(system)


def test_a_budget_that_no_network_meets(recipe, tmp_path):
    from kdspeech.distill import Limits

    with pytest.raises(
        InputError, match=r"mlp hidden=\[2\] for 8 px: parameters 139 \(at most 10\)"
    ):
        run_search(job(recipe, tmp_path), Limits(parameters=10), progress=False)
