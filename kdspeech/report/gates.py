"""How far the gates of highway networks are open, layer by layer."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from kdspeech.acoustic import Network
from kdspeech.data.frames import FramePack
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.models import HighwayDNN

log = logging.getLogger(__name__)

GATES = "gates.json"
MAX_FRAMES = 5000  # the mean of a layer's thousands of values needs no more


@dataclass(frozen=True)
class GateOpening:
    """Mean and standard deviation of T and C in a layer, over frames and units.

    `layer` is 2 or more, the first hidden layer being 1, which has no gates.
    """

    layer: int
    transform: float
    transform_sd: float
    carry: float
    carry_sd: float


@torch.no_grad()
def gate_openings(
    network: Network, pack: FramePack, max_frames: int = MAX_FRAMES
) -> list[GateOpening]:
    """T and C of a highway network on frames drawn from a pack; [] for a network without gates.

    Args:
        network: Network.
        pack: frames of the kind it was trained on.
        max_frames: how many are drawn, always the same ones.
    Raises:
        InputError: frames of another dimension.
    """
    if not isinstance(network.model, HighwayDNN):
        return []
    if pack.dim != network.dim:
        raise InputError(f"{pack.path}: {pack.dim} values a frame, the network takes {network.dim}")
    model, found = network.model.eval(), []
    h = model.layer(0, model.norm(_draw(pack, network.config.context, max_frames)))
    for index in range(1, len(model.hidden)):
        transform, carry = model.open_gates(h)
        values = [f(gate).item() for gate in (transform, carry) for f in (torch.mean, _deviation)]
        found.append(GateOpening(index + 1, *values))
        h = model.layer(index, h)
    return found


def _deviation(values: torch.Tensor) -> torch.Tensor:
    return values.std(correction=0)


def _draw(pack: FramePack, context: int, most: int) -> torch.Tensor:
    """Spliced frames, float32 (at most `most`, inputs)."""
    block = next(pack.blocks(np.arange(len(pack)), context, seed=0))
    rows = np.random.default_rng(0).permutation(len(block))[:most]
    return torch.from_numpy(block.spliced(np.sort(rows)))


def load_gates(exp: Path, frames: Path | None) -> list[GateOpening]:
    """The gates of the network in `exp`, from its gates.json or, with frames, measured and left
    there.

    Args:
        exp: the network's directory.
        frames: a frame pack; None to take only what is there.
    Returns:
        [] where nothing is known: no frames, no gates, or frames of another kind (a warning).
    """
    path = exp / GATES
    if path.is_file() and path.stat().st_mtime >= (exp / "final.pt").stat().st_mtime:
        try:
            return [GateOpening(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error}); remove it") from None
    if frames is None:
        return []
    try:
        found = gate_openings(Network.read(exp), FramePack(frames))
    except InputError as error:
        log.warning("no gates of %s: %s", exp, error)
        return []
    with atomic_path(path) as temporary:
        rows = ",\n ".join(json.dumps(asdict(row)) for row in found)
        temporary.write_text(f"[{rows}]\n", encoding="utf-8")
    return found
