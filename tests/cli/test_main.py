"""What `kds` does around its commands."""

import os
import subprocess
import sys

SHOUT = """
from kdspeech.cli.main import app

@app.command()
def shout():
    for _ in range(10_000):
        print(100 * "x")

app(["shout"])
"""


def test_a_reader_that_has_enough_is_no_error():
    """As in `kds ... | head`: nobody reads the pipe any more."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", SHOUT], stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert done.stderr == b"" and done.returncode == 1
