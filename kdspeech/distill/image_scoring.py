"""Scoring a network on images: `posteriors.npz` and `score.json`, as clips have them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdspeech.distill.family import Node
from kdspeech.distill.image_config import System
from kdspeech.distill.plans import Step
from kdspeech.io.atomic import atomic_path
from kdspeech.io.hashing import fingerprint
from kdspeech.models import latency_ms, num_macs, num_parameters
from kdspeech.train import read_metrics

if TYPE_CHECKING:
    from kdspeech.distill.images import ImageRun


def score_images(run: "ImageRun", node: System | Step | Node, command: str) -> None:
    """Writes both files into a trained network's folder, if need be."""
    folder = run.folder / node.name
    weights = fingerprint((folder / "best.pt").read_bytes())
    scored_from = fingerprint(repr((weights, [p.fingerprint for p, _ in run.splits.values()])))
    if _scored_from(folder) == scored_from:
        return
    model, arrays = run.trained_model(node), {}
    for split, (pack, which) in run.splits.items():
        arrays[f"{split}/utt"] = np.array([f"{pack.path.name}-{i:05d}" for i in which])
        arrays[f"{split}/label"] = pack.labels[which]
        arrays[f"{split}/full"] = run.log_probs(model, pack.images[which]).numpy()
    with atomic_path(folder / "posteriors.npz") as part:
        np.savez_compressed(part, **arrays)
    shape = run.config.input_shape(run.config.first_length)
    costs = {"macs": num_macs(model, shape), "latency_ms": latency_ms(model, shape)}
    _write_score(run, node, {**costs, "scored_from": scored_from}, command)


def note_divergence(run: "ImageRun", node: System, error: str, command: str) -> None:
    """Leaves a `score.json` that says so."""
    _write_score(run, node, {"diverged": error}, command)


def _write_score(run: "ImageRun", node: System | Step | Node, more: dict, command: str) -> None:
    metrics = run.folder / node.name / "metrics.jsonl"
    rows = read_metrics(metrics) if metrics.exists() else []  # none: diverged at once
    side = run.config.first_length
    score = {
        "system": node.name,
        "kind": "distilled" if node.teachers else "clip_label",
        "labels": "soft" if node.teachers else "clip",
        "steps": [side],
        "length_ms": side,  # in pixels; named as in every experiment
        "seed": run.seed,
        "classes": run.config.classes,
        "parameters": num_parameters(run.build(node)),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "command": command,
        "corpus": run.pack.fingerprint,
        **more,
    }
    with atomic_path(run.folder / node.name / "score.json") as part:
        part.write_text(json.dumps(score, indent=1) + "\n", encoding="utf-8")


def _scored_from(folder: Path) -> str | None:
    path = folder / "score.json"
    return json.loads(path.read_text()).get("scored_from") if path.exists() else None
