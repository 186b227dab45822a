"""Arrays on their way into the C++ core and back: numpy or torch, checked, float32."""

import numbers
import sys

import numpy as np

from kdspeech.io.errors import InputError


def is_tensor(value) -> bool:
    """Whether `value` is a torch tensor (torch is not imported for the question)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(value, name: str) -> np.ndarray:
    """`value` as a numpy array, without a copy where possible.

    Raises InputError for a tensor on another device than the CPU and for what is no array of
    real numbers.
    """
    if is_tensor(value):
        if value.device.type != "cpu":
            raise InputError(f"{name}: is on {value.device}; move it to the CPU (`.cpu()`) first")
        value = value.detach().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name}: holds {array.dtype}, not real numbers")
    return array


def like(result: np.ndarray, original):
    """`result` as a torch tensor if `original` is one."""
    return sys.modules["torch"].from_numpy(result) if is_tensor(original) else result


def feature_matrix(features, name: str = "features", dim: int | None = None) -> np.ndarray:
    """`features` as a C-contiguous float32 array of (frames, dim).

    Raises InputError if it is not two-dimensional, has no frames or no columns, has not `dim`
    columns (where given), or holds a NaN or an infinity.
    """
    array = to_numpy(features, name)
    if array.ndim != 2:
        raise InputError(f"{name}: shape {array.shape} is not (frames, dim)")
    frames, columns = array.shape
    if frames == 0:
        raise InputError(f"{name}: no frames; leave out utterances shorter than one frame")
    if columns == 0 or columns != (dim or columns):
        wanted = dim if dim else "at least 1"
        raise InputError(f"{name}: {columns} columns, must be {wanted}")
    array = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(array)
    if not finite.all():
        frame, column = np.argwhere(~finite)[0]
        raise InputError(f"{name}: {array[frame, column]} in frame {frame}, column {column}")
    return array


def wave(samples, name: str = "samples") -> np.ndarray:
    """`samples` as a contiguous float32 array in int16 range, shape (samples,).

    Raises InputError if it is not one-dimensional, empty, neither int16 nor floating, or holds a
    NaN, an infinity or a value beyond 1e6.
    """
    array = to_numpy(samples, name)
    if array.ndim != 1:
        raise InputError(f"{name}: shape {array.shape} is not (samples,); pick one channel")
    if array.dtype.kind != "f" and array.dtype != np.int16:
        raise InputError(f"{name}: {array.dtype} must be int16, or float in int16 range")
    if array.size == 0:
        raise InputError(f"{name}: no samples")
    bad = np.flatnonzero(~(np.abs(array.astype(np.float32)) <= 1e6))
    if bad.size:
        raise InputError(f"{name}: sample {bad[0]} is {array[bad[0]]}, not in int16 range")
    return np.ascontiguousarray(array, dtype=np.float32)


def whole_number(value, name: str, low: int, high: int = 1000) -> int:
    """`value` as an int, low <= value <= high; raises InputError that names it otherwise."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or value != value // 1 or not low <= value <= high:
        raise InputError(f"{name} = {value}: must be a whole number from {low} to {high}")
    return int(value)
