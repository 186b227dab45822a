"""The README's Python runs as it is written; its links and those of docs/ lead to what is there."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("egs/*/*.md"))]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """What the snippets read: a configuration and a data directory of two clips."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mfcc.conf").write_text("--use-energy=false\n")
    (tmp_path / "data" / "train").mkdir(parents=True)
    utts = ["anna-yes-0", "bert-no-1"]
    wave = np.random.default_rng(0).normal(0, 1000, 16000).astype(np.int16)
    for utt in utts:
        soundfile.write(f"{utt}.wav", wave, 16000)
    lines = "".join(f"{utt} {utt}.wav\n" for utt in utts)
    (tmp_path / "data" / "train" / "wav.scp").write_text(lines)
    return wave


def test_the_library_snippet(data):
    snippet = re.search(r"## As a library\n\n```python\n(.*?)```", README.read_text(), re.S)
    names = {"samples": data, "a": data, "b": data, "c": data, "x": torch.zeros(4, 5)}
    names |= {"student": torch.nn.Linear(5, 3), "teacher": torch.nn.Linear(5, 3)}
    names |= {"labels": torch.zeros(4, dtype=torch.long)}
    exec(snippet.group(1), names)
    assert names["feats"].shape[1] == 13 and names["feats"].dtype == np.float32
    assert len(names["batch"]) == 3
    assert names["bad"] == {} and names["crops"].shape == (2, 8000)
    assert names["loss"].isfinite()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    inside = [target for target in targets if "://" not in target]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_paths_of_the_readme_are_there():
    named = re.findall(r"`((?:egs|docs|kdspeech|csrc|tests|benchmarks|conf)/[\w./-]+)`",
                       README.read_text(encoding="utf-8"))  # fmt: skip
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
