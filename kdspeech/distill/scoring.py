"""Scoring a trained step: its posteriors on dev and test under every protocol.

Protocols for clips longer than the network's input: `center` and `best_energy` (the window of
the largest energy) show one crop; `sliding` averages the posteriors of windows all over the clip.
A network that takes whole clips has the one protocol `full`.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdspeech.data.pack import WavePack
from kdspeech.distill.family import Node
from kdspeech.distill.keyword import KeywordRun
from kdspeech.distill.labels import CHUNK
from kdspeech.distill.plans import Step
from kdspeech.io.atomic import atomic_path
from kdspeech.io.hashing import fingerprint
from kdspeech.models import latency_ms, num_macs, num_parameters
from kdspeech.train import read_metrics

PROTOCOLS = ("center", "best_energy", "sliding")


def score_step(run: KeywordRun, step: Step | Node, command: str) -> None:
    """Writes `posteriors.npz` and `score.json` into a trained step's folder, if need be."""
    model = run.trained_model(step)
    folder = run.folder / step.name
    kind = "distilled" if step.teachers else "clip_label"
    if run.config.is_first(step):
        kind = "teacher"
    seconds = sum(row["seconds"] for row in read_metrics(folder / "metrics.jsonl"))
    _write(run, folder, model, step, step.length, step.length, kind, seconds, command)


def score_truncated(run: KeywordRun, step: Step, ms: int, view: str, command: str) -> None:
    """Scores a network on crops shorter than its input, without any training for them.

    Args:
        run: the recipe's run.
        step: a finished step; results go to a folder `<step>.<view>-<ms>` beside its own.
        ms: length of the crops.
        view: "native" or "pad", how the network is shown them (see `views`).
        command: for the record.
    """
    folder = run.folder / f"{step.name}.{view}-{ms}"
    shown = step.length if view == "pad" else ms
    _write(run, folder, run.trained_model(step), step, ms, shown, "truncated", 0.0, command)


def _write(
    run: KeywordRun,
    folder: Path,
    model: nn.Module,
    step: Step | Node,
    ms: int,
    shown_ms: int,
    kind: str,
    seconds: float,
    command: str,
) -> None:
    scored_from = _scored_from(run, step)
    if _is_scored(folder, scored_from):
        return
    arrays = {}
    for split, pack in run.data.splits().items():
        clips, labels = run.config.task.select(pack)
        arrays[f"{split}/utt"] = np.array([pack.utts[clip] for clip in clips])
        arrays[f"{split}/label"] = labels
        for protocol in ("full",) if ms >= run.config.clip_ms else PROTOCOLS:
            arrays[f"{split}/{protocol}"] = posteriors(
                run, model, pack, clips, ms, protocol, shown_ms
            )
    shape = (run.computer.num_frames(run.samples(shown_ms)), run.computer.dim)
    score = {
        "system": folder.name,
        "kind": kind,
        "labels": step.labels,
        "steps": list(step.lengths) if kind != "truncated" else [*step.lengths, ms],
        "length_ms": ms,
        "seed": run.seed,
        "classes": run.config.task.classes,
        "parameters": num_parameters(model),
        "macs": num_macs(model, shape),
        "latency_ms": latency_ms(model, shape),
        "seconds": round(seconds, 1),
        "command": command,
        "corpus": run.data.train.fingerprint,
        "scored_from": scored_from,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "posteriors.npz") as part:
        np.savez_compressed(part, **arrays)
    with atomic_path(folder / "score.json") as part:
        part.write_text(json.dumps(score, indent=1) + "\n", encoding="utf-8")


def _scored_from(run: KeywordRun, step: Step | Node) -> str:
    """What a step's scores depend on: its weights, the data and how they are looked at."""
    weights = fingerprint((run.folder / step.name / "best.pt").read_bytes())
    packs = [pack.fingerprint for pack in run.data.splits().values()]
    config = run.config.model_dump_json(include={"task", "features", "sliding_hop_ms", "plan"})
    return fingerprint(repr((weights, packs, config)))


def _is_scored(folder: Path, scored_from: str) -> bool:
    path = folder / "score.json"
    return path.exists() and json.loads(path.read_text()).get("scored_from") == scored_from


def posteriors(
    run: KeywordRun,
    model: nn.Module,
    pack: WavePack,
    clips: np.ndarray,
    ms: int,
    protocol: str,
    shown_ms: int | None = None,
) -> np.ndarray:
    """Natural-log posteriors of clips under a protocol, float32 (n, classes).

    Crops of `ms` are zero-padded to `shown_ms` where that is longer.
    """
    law = run.test_law(ms, "center" if protocol == "full" else protocol)
    pad = run.samples(shown_ms or ms) - run.samples(ms)
    widths = ((0, 0), (pad // 2, pad - pad // 2))
    chunks = []
    for part in np.array_split(clips, max(1, len(clips) // CHUNK)):
        plan = pack.plan(part, law)
        waves = np.pad(pack.crops(part, law), widths)
        chunks.append(_mean_per_clip(run.log_probs(model, waves), np.diff(plan.offsets)))
    return torch.cat(chunks).numpy()


def _mean_per_clip(log_probs: torch.Tensor, counts: np.ndarray) -> torch.Tensor:
    """Log of the mean posterior of each clip's windows."""
    parts = log_probs.split(counts.tolist())
    return torch.stack([part.logsumexp(0) - np.log(len(part)) for part in parts])
