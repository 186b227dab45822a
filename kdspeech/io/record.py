"""What every run leaves in its directory: config.yaml and metrics.jsonl."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import yaml

import kdspeech
from kdspeech.io.atomic import atomic_path


def git_revision() -> str:
    """Commit of the code that runs, with "+" when it was changed since; "unknown" outside git."""
    git = ["git", "-C", str(Path(kdspeech.__file__).parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        changes = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("+" if changes.stdout.strip() else "")


def write_config(path: Path, settings: dict) -> None:
    """Writes the resolved settings and the versions that run, as YAML."""
    versions = {
        "git": git_revision(),
        "kdspeech": kdspeech.__version__,
        "torch": version("torch"),
        "python": sys.version.split()[0],
    }
    with atomic_path(path) as temporary:
        text = yaml.safe_dump({**settings, "versions": versions}, sort_keys=False)
        temporary.write_text(text, encoding="utf-8")


def write_metrics(path: Path, history: list[dict]) -> None:
    """Writes metrics.jsonl whole: one line per finished epoch or pass, none twice, none cut."""
    with atomic_path(path) as temporary:
        lines = "".join(json.dumps(row) + "\n" for row in history)
        temporary.write_text(lines, encoding="utf-8")


def read_metrics(path: str | Path) -> list[dict]:
    """The rows of a metrics.jsonl."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
