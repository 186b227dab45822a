"""Lattices for the tests are made where those of `tests/decode` are."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "decode"))
