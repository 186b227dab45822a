"""Makes experiment directories whose accuracies are known, in the layout of `kds distill`."""

import json
from pathlib import Path

import numpy as np

CLASSES = ("_silence_", "_unknown_", "yes", "no", "up", "down", "left", "right", "on", "off",
           "stop", "go")  # fmt: skip
TEACHER_MS = 1000


def describe(node: str, seed: int, classes=CLASSES, teacher: int = TEACHER_MS) -> dict:
    """The score.json of a node, from its name."""
    body, _, suffix = node.partition(".")
    steps = [int(step) for step in body.split("-")]
    kind = "distilled" if len(steps) > 1 else "teacher"
    labels = "hard" if suffix == "hard" else "soft" if kind == "distilled" else "clip"
    length = steps[-1]
    if suffix.startswith(("native", "pad")):
        kind, length = "truncated", int(suffix.split("-")[1])
        steps.append(length)
    elif len(steps) == 1 and length < teacher:
        kind = "clip_label"
    return {
        "system": node,
        "kind": kind,
        "labels": labels,
        "steps": steps,
        "length_ms": length,
        "seed": seed,
        "classes": list(classes),
        "parameters": 110307,
        "macs": 31000 * length,
        "latency_ms": 0.004 * length,
        "seconds": 60.0 + seed,
        "command": f"kds distill run --plan {body} --seed {seed}",
        "corpus": "synthetic",
    }


def write_node(directory: Path, node: str, seed: int, accuracy: dict[str, float], n: int = 240,
               epochs: int = 8, classes=CLASSES, teacher: int = TEACHER_MS) -> Path:  # fmt: skip
    """Writes one finished node whose answers under each protocol are right as often as asked.

    How hard an utterance is depends on the utterance alone: systems agree as real ones do.
    """
    path = directory / f"seed{seed}" / node
    path.mkdir(parents=True)
    arrays = {}
    for split, offset in (("dev", 100), ("test", 0)):
        rng = np.random.default_rng(offset)
        labels = rng.integers(0, len(classes), n)
        hardness = rng.random(n)
        arrays[f"{split}/utt"] = np.array([f"{split}-{i:04d}" for i in range(n)])
        arrays[f"{split}/label"] = labels
        own = np.random.default_rng([offset, seed, *node.encode()])
        for protocol, percent in accuracy.items():
            noisy = hardness + 0.1 * own.standard_normal(n)
            right = np.argsort(np.argsort(noisy)) < round(n * percent / 100)
            answers = np.where(right, labels, (labels + own.integers(1, len(classes), n))
                               % len(classes))  # fmt: skip
            scores = own.normal(0, 0.3, (n, len(classes)))
            scores[np.arange(n), answers] += 4
            scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
            arrays[f"{split}/{protocol}"] = scores.astype(np.float32)
    np.savez(path / "posteriors.npz", **arrays)
    (path / "score.json").write_text(json.dumps(describe(node, seed, classes, teacher)))
    if "native" not in node:
        write_metrics(path, max(accuracy.values()), epochs, seed)
        (path / "config.yaml").write_text("train: {}\nversions:\n  git: 0123456789abcdef\n")
    return path


def write_metrics(path: Path, final: float, epochs: int, seed: int) -> None:
    """A learning curve that ends near `final` %."""
    rng = np.random.default_rng(seed)
    lines = []
    for epoch in range(epochs):
        rest = np.exp(-4 * (epoch + 1) / epochs)
        dev = final * (1 - 0.6 * rest) + rng.normal(0, 0.5)
        lines.append({"epoch": epoch, "train_loss": 2.3 * rest + 0.15, "dev_accuracy": dev,
                      "lr": 0.1, "seconds": 3.0})  # fmt: skip
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_crops(directory: Path, count: int = 3, rate: int = 16000, classes=CLASSES) -> None:
    """Chirps with a crop of half their length and a made-up soft label."""
    time = np.arange(rate) / rate
    rng = np.random.default_rng(0)
    waves = [
        9000 * np.sin(2 * np.pi * (300 * (i + 1) * time + 700 * time**2)) * np.hanning(rate)
        + rng.normal(0, 60, rate)
        for i in range(count)
    ]
    logits = rng.normal(0, 1.5, (count, len(classes)))
    np.savez(
        directory / "crops.npz",
        wave=np.array(waves).astype(np.int16),
        start=np.linspace(-800, rate // 2 - 1000, count).astype(np.int64),
        length=rate // 2,
        teacher=(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32),
        label=logits.argmax(axis=1),
        utt=np.array([f"train-{i:04d}" for i in range(count)]),
        sample_rate=rate,
    )


def protocols(best_energy: float) -> dict[str, float]:
    """The three protocols of a short network, around its best-energy accuracy."""
    return {"center": best_energy - 9, "best_energy": best_energy, "sliding": best_energy - 2}


def paper_sweep(directory: Path, seeds=(0, 1, 2), n: int = 240, lengths=(900, 800, 700, 600, 500),
                teacher: int = TEACHER_MS) -> Path:  # fmt: skip
    """An experiment with every kind of system of the paper's two tables."""

    def write(node: str, seed: int, accuracy: dict[str, float]) -> None:
        write_node(directory, node, seed, accuracy, n, teacher=teacher)

    chains = [(teacher, length) for length in lengths]
    chains += [(teacher, length, lengths[-1]) for length in lengths[:-1]]
    chains += [(teacher, *lengths[-3:-1]), (teacher, *lengths[-3:])]
    for seed in seeds:
        write(str(teacher), seed, {"full": 93.0 + 0.4 * seed})
        for chain in chains:
            final = 88.0 + 4.0 * chain[-1] / teacher - 0.5 * len(chain) + 0.3 * seed
            write("-".join(map(str, chain)), seed, protocols(final))
        for length in lengths:
            base = 85.5 + 5.0 * length / teacher + 0.5 * seed
            write(f"{teacher}-{length}.hard", seed, protocols(base))
            write(str(length), seed, protocols(base - 1.5))
            cut = protocols(80 * length / teacher)
            write(f"{teacher}.native-{length}", seed, cut)
    write_crops(directory)
    return directory
