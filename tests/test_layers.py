"""Imports run downwards in the list of docs/design.md."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
LAYERS = re.findall(r"^(\w+)  ", PAGE.split("```")[1], re.M)


def imported(path):
    """Names of the layers of kdspeech that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "kdspeech":
            modules = [f"kdspeech.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        yield from (m.split(".")[1] for m in modules if m.startswith("kdspeech."))


def test_every_part_has_a_layer():
    parts = {p.name.removesuffix(".py") for p in (ROOT / "kdspeech").glob("[a-z]*")
             if p.is_dir() or p.suffix == ".py"}  # fmt: skip
    assert parts == set(LAYERS)


def test_imports_run_downwards():
    upward = []
    for path in sorted((ROOT / "kdspeech").rglob("*.py")):
        own = path.relative_to(ROOT / "kdspeech").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for other in imported(path):
            if other in LAYERS and LAYERS.index(other) < LAYERS.index(own):
                upward.append(f"{path.relative_to(ROOT)} imports {other}")
    assert upward == []
