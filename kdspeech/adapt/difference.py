"""A speaker's difference to a network's weights, and the folder of all speakers' differences."""

import json
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from kdspeech.adapt.config import AdaptConfig
from kdspeech.config import Config, load_config, save_config
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.models.highway import DNN

ABOUT, REPORT = "adapt.yaml", "speakers.json"


class About(Config):
    """adapt.yaml: what the differences belong to.

    Attributes:
        base: the network's directory, as it was named.
        network: its fingerprint (see network_id).
        parameters: name and shape of each updated tensor; a difference is all of them, one after
            the other.
        settings: AdaptConfig.
    """

    base: str
    network: str
    parameters: dict[str, tuple[int, ...]]
    settings: AdaptConfig


def updated_parameters(model: DNN, groups: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """The parameters of some groups by their names, in the model's order.

    "all" are the groups that it has as it comes, "lhuc" is one that it gets here (see
    DNN.add_lhuc).

    Raises:
        InputError: a group that the network does not have.
    """
    own = list(model.groups())
    if "lhuc" in groups:
        model.add_lhuc()
    known = model.groups()
    wanted = set()
    for name in groups:
        if name != "all" and name not in known:
            raise InputError(f"update: no group {name!r}: {', '.join([*own, 'lhuc', 'all'])}")
        parts = own if name == "all" else [name]
        wanted |= {id(p) for part in parts for p in known[part]}
    return {name: p for name, p in model.named_parameters() if id(p) in wanted}


def flat(parameters: dict[str, nn.Parameter]) -> Tensor:
    """A copy of all values, float32 (values,)."""
    return torch.cat([p.detach().reshape(-1) for p in parameters.values()])


@torch.no_grad()
def set_flat(parameters: dict[str, nn.Parameter], values: Tensor) -> None:
    """Puts values back where `flat` took them from."""
    sizes = [p.numel() for p in parameters.values()]
    for p, part in zip(parameters.values(), values.split(sizes), strict=True):
        p.copy_(part.view_as(p))


def difference_path(folder: str | os.PathLike, speaker: str) -> Path:
    """Where a speaker's difference is."""
    return Path(folder) / "speakers" / f"{quote(speaker, safe='')}.npy"


def write_difference(folder: str | os.PathLike, speaker: str, values: np.ndarray) -> int:
    """Writes a difference, float16 (values,); returns the file's bytes."""
    path = difference_path(folder, speaker)
    with atomic_path(path) as temporary:
        np.save(temporary, values.astype(np.float16))
    return path.stat().st_size


def read_difference(folder: str | os.PathLike, speaker: str, size: int) -> np.ndarray | None:
    """A speaker's difference, float16 (size,); None: there is none.

    Raises:
        InputError: a damaged file, or one of another size.
    """
    path = difference_path(folder, speaker)
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a speaker's difference ({error})") from error
    if values.dtype != np.float16 or values.shape != (size,) or not np.isfinite(values).all():
        raise InputError(f"{path}: damaged: {values.dtype} {values.shape}, {size} float16 expected")
    return values


def write_about(folder: Path, about: About, speakers: dict[str, dict]) -> None:
    """Writes adapt.yaml and speakers.json."""
    (folder / ABOUT).write_text(save_config(about), encoding="utf-8")
    (folder / REPORT).write_text(json.dumps(speakers, indent=1) + "\n", encoding="utf-8")


def read_about(folder: str | os.PathLike) -> tuple[About, dict[str, dict]]:
    """What `write_about` wrote.

    Raises:
        InputError: `kds adapt` did not make the folder.
    """
    about = load_config(About, Path(folder) / ABOUT)
    path = Path(folder) / REPORT
    try:
        return about, json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run `kds adapt` again") from error
