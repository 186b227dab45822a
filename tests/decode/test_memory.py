"""A graph of two million arcs decodes in under 200 MB besides the graph itself."""

import subprocess
import sys

import numpy as np

from kdspeech.decode import Graph

NUM_STATES, NUM_PDFS = 700_000, 1000

DECODE = """
import sys
import numpy as np
from kdspeech.decode import Graph, LatticeDecoder

graph, num_pdfs = Graph.read(sys.argv[1]), int(sys.argv[2])
decoder = LatticeDecoder(graph, np.arange(-1, num_pdfs), beam=15, lattice_beam=8)
loglikes = np.random.default_rng(0).normal(-60, 20, (300, num_pdfs)).astype(np.float32)
found = decoder.decode(loglikes)
assert len(found.tids) == 300 and found.lattice.num_arcs > 300
if sys.platform == "linux":  # getrusage would count what the parent took before it started this
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(lines["VmHWM"].split()[0]) * 1024)
else:  # macOS: bytes
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def big_graph() -> Graph:
    """Every state has a loop and two ways on, one of them to anywhere."""
    rng = np.random.default_rng(0)
    states = np.arange(NUM_STATES)
    nexts = [states, (states + 1) % NUM_STATES, rng.integers(0, NUM_STATES, NUM_STATES)]
    tids = rng.integers(1, NUM_PDFS + 1, 3 * NUM_STATES)
    words = np.where(rng.random(3 * NUM_STATES) < 0.1, 1 + np.arange(3 * NUM_STATES) % 5000, 0)
    costs = rng.exponential(1.5, 3 * NUM_STATES)
    finals = np.where(states % 50 == 0, 1.0, np.inf)
    return Graph.from_arrays(np.tile(states, 3), np.concatenate(nexts), tids, words, costs, finals)


def test_two_million_arcs(tmp_path):
    path = tmp_path / "graph"
    big_graph().write(path)
    command = [sys.executable, "-c", DECODE, str(path), str(NUM_PDFS)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak - path.stat().st_size < 200e6
