"""docs/extending.md runs as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kdspeech.data import DataDir
from kdspeech.losses.terms import OUTPUT_LOSSES, LossTerm
from kdspeech.models import MODELS, SHRINK

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "distill"))
from tones import write_recipe  # noqa: E402

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe's folder with conf/kws.yaml and data/packs; what is registered goes again."""
    write_recipe(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "data").mkdir()
    shutil.move(tmp_path / "kws.yaml", tmp_path / "conf" / "kws.yaml")
    shutil.move(tmp_path / "packs", tmp_path / "data" / "packs")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for names, name in ((OUTPUT_LOSSES, "logit_mse"), (MODELS, "gru"), (SHRINK, "gru")):
        names.pop(name, None)


def test_the_loss_and_the_family_of_the_page(recipe, capsys):
    names = {}
    for block in blocks("python"):
        exec(block, names)
    assert "torch.Size([1, 12]) ('gru', {'units': 16})" in capsys.readouterr().out
    family = names["family"]
    assert [node["name"] for node in family["nodes"]] == ["400", "400.w50", "400.d50"]
    assert {row["what"] for row in family["baselines"]} == {"from scratch", "one step"}
    metrics = (recipe / "exp/gru/seed0/400.w50/metrics.jsonl").read_text()
    assert "train_logit_mse" in metrics and "train_kd" in metrics
    assert LossTerm(name="logit_mse", options={"clip": 5.0})
    with pytest.raises(ValueError, match="logit_mse has no option 'teacher'; it has clip"):
        LossTerm(name="logit_mse", options={"teacher": 1.0})


def test_the_corpus_of_the_page(tmp_path):
    wave = np.random.default_rng(0).normal(0, 1000, 800).astype(np.int16)
    for split in ("train", "dev", "test"):
        for word in ("on", "off"):
            folder = tmp_path / "corpus" / split / word
            folder.mkdir(parents=True)
            for take in ("zoe_0", "abe_10"):
                soundfile.write(folder / f"{take}.wav", wave, 8000)
    (script,) = blocks("bash")
    (tmp_path / "prepare.sh").write_text(script)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "prepare.sh", "corpus", "data"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)
    data = DataDir(tmp_path / "data" / "train")
    assert list(data.text.items())[0] == ("abe-off-10", "off") and len(data.text) == 4
    assert list(data.spk2utt) == ["abe", "zoe"]
    assert [len(samples) for _, samples, _ in data.iter_audio()] == [800] * 4
