"""Checkpoints: last.pt, from which a run goes on exactly, and best.pt, the weights to use."""

import io
import pickle
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.train.config import FREE_ON_RESUME, NEWER_IDENTITY, TrainConfig


def save(path: Path, content: dict) -> None:
    """Writes tensors and plain values; the file is the old or the new one, never half of it.

    Raises:
      OSError: the disk is full or refuses; it names `path`.
    """
    write(path, pack(content))


def pack(content: dict) -> memoryview:
    """The bytes of a checkpoint: the content as it is now, whatever becomes of its tensors."""
    buffer = io.BytesIO()  # torch.save on a full disk itself says no more than "unexpected pos"
    torch.save(content, buffer)
    return buffer.getbuffer()


def write(path: Path, packed: memoryview) -> None:
    """Writes what `pack` returned, as `save` does."""
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(packed)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def load(path: Path) -> dict:
    """Reads what `save` wrote, on the CPU. Nothing in the file is executed.

    Raises:
      InputError: no such file, or not a checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint (has the training ended?)") from None
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint of kdspeech ({_first_line(error)})") from error


def load_weights(model: nn.Module, path: str | Path, without: str | None = None) -> dict:
    """Sets a model's weights from best.pt or last.pt; returns the file's other content.

    Args:
      model: the network.
      path: the file.
      without: a submodule that training needed and the model does not have.

    Raises:
      InputError: no such file, or one of another model.
    """
    content = load(Path(path))
    if "model" not in content:
        raise InputError(f"{path}: not a checkpoint of kdspeech (it holds no model)")
    weights = content.pop("model")
    if without:
        weights = {k: value for k, value in weights.items() if not k.startswith(f"{without}.")}
    set_weights(model, weights, path)
    return content


def set_weights(model: nn.Module, weights: dict, path: str | Path) -> None:
    """load_state_dict with an error that names the file."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{path} holds another model than {type(model).__name__} as configured: {error}"
        ) from None


def rng_state() -> dict:
    """The state of the random generators of python, numpy, torch and the current CUDA device."""
    numpy_state = np.random.get_state(legacy=False)
    inner = numpy_state["state"]
    state = {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**inner, "key": inner["key"].tolist()}},
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict) -> None:
    """Puts back what `rng_state` returned."""
    random.setstate(state["python"])
    inner = state["numpy"]["state"]
    key = np.array(inner["key"], dtype=np.uint32)
    np.random.set_state({**state["numpy"], "state": {**inner, "key": key}})
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def seed_all(seed: int) -> None:
    """Seeds python's, numpy's and torch's global generators (any device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def check_same_run(path: Path, saved: dict, now: dict) -> None:
    """Raises InputError naming each setting in which a checkpoint's run is not this one."""
    different = differences(saved, now)
    if different:
        raise InputError(
            f"{path} is of a run with other settings: {'; '.join(different)} "
            "(set them back to go on, or choose a new directory)"
        )


def differences(saved: dict, now: dict) -> list[str]:
    """In words, each setting in which a saved run is not this one; those without effect are free.

    An option of training that is newer than the saved run had its default's effect; a part of the
    identity that is newer is not compared.
    """
    defaults = {"train": TrainConfig().model_dump(mode="json")}
    saved, now = _flatten(defaults) | _flatten(saved), _flatten(now)
    free = {f"train.{key}" for key in FREE_ON_RESUME}
    free |= {key for name in NEWER_IDENTITY if (key := f"identity.{name}") not in saved}
    return [
        f"{key} was {saved.get(key, 'not set')}, is {now.get(key, 'not set')}"
        for key in sorted(saved.keys() | now.keys())
        if key not in free and saved.get(key) != now.get(key)
    ]


def _flatten(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
