"""The image recipes' run.sh from stage 0 to RESULTS.md, on tiny sets in the real formats."""

import gzip
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["train.epochs=1", "train.num_threads=1"]


def run(recipe, *arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(ROOT / "egs" / recipe / "run.sh"), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )


def sets(*settings):
    return [part for setting in settings for part in ("--set", setting)]


def write_mnist(folder, train=120, test=50):
    folder.mkdir()
    for prefix, count in (("train", train), ("t10k", test)):
        rng = np.random.default_rng(count)
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 50, (count, 28, 28)).astype(np.uint8)
        images[np.arange(count), :, 2 * labels + 3] = 255
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
            content = gzip.compress(head + values.tobytes())
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(content)
    return folder


def test_mnist(tmp_path):
    corpus = write_mnist(tmp_path / "mnist")
    small = sets(*SMALL, "systems.teacher-1e-2.train={}", "images.dev=40")
    plan = sets("train.warmup_epochs=0", "iterate.plan=[{}]", "iterate.baselines=false")
    folders = ["--data", tmp_path / "data", "--exp", tmp_path / "exp"]
    results = tmp_path / "RESULTS.md"
    done = run(
        *("mnist", "--corpus", corpus, *folders, *small, *plan),
        *("--systems", "kd-1e-2,unlabelled-1e-1", "--results", results, "--nj", 1),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "exp/tables/results.json").read_text())["rows"]
    assert [row["system"] for row in rows] == ["teacher-1e-2", "kd-1e-2", "unlabelled-1e-1"]
    text = results.read_text()
    assert "egs/mnist/run.sh --corpus" in text and "| student + KD | rate 0.01 |" in text
    assert "## Iterative distillation" in text and "28.w70" in text
    assert len(list((tmp_path / "exp/iterate/seed0").glob("28*/score.json"))) == 2


def test_mnist_with_every_loss(tmp_path):
    corpus = write_mnist(tmp_path / "mnist", train=300)
    small = sets(*SMALL, "systems.teacher.train.epochs=1", "train.warmup_epochs=0", "images.dev=20")
    folders = ["--data", tmp_path / "data", "--exp", tmp_path / "exp", "--nj", 1]
    done = run(
        *("mnist", "--corpus", corpus, "--conf", "conf/losses.yaml", *folders, *small),
        *("--stop-stage", 1),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    scored = [path.parent.name for path in sorted(tmp_path.glob("exp/tables/seed0/*/score.json"))]
    systems = "attention decoupled hint kd kd-only own smoothed teacher"
    assert scored == systems.split()


def test_cifar_on_the_embedded_set(tmp_path):
    small = sets("train.epochs=1", "train.num_threads=1", "images.dev=0")
    folders = ["--data", tmp_path / "data", "--exp", tmp_path / "exp", "--nj", 1]
    results = tmp_path / "RESULTS.md"
    some = ["--systems", "cnn-part-kd", "--results", results]
    done = run("cifar10", "--corpus", "embedded", *folders, *small, *some)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "exp/tables/results.json").read_text())["rows"]
    assert [row["system"] for row in rows] == ["resnet18", "cnn-part-kd"]
    assert "nothing about CIFAR-10" in results.read_text()


def test_help_lists_the_stages_and_bad_input_ends_the_recipe(tmp_path):
    done = run("mnist", "--help")
    assert done.returncode == 0
    for number in range(4):
        assert f"\n  {number}  " in done.stdout
    (tmp_path / "empty").mkdir()
    done = run("mnist", "--corpus", tmp_path / "empty", "--data", tmp_path / "data")
    assert done.returncode != 0 and "no train-images-idx3-ubyte.gz in it" in done.stderr
    assert not (tmp_path / "data").exists()
