"""Sums of symmetric matrices, and what statistics that are sums share."""

import numpy as np

from kdspeech.io.errors import InputError


def triangle(n: int) -> int:
    """Elements of the lower triangle of an n x n matrix."""
    return n * (n + 1) // 2


def symmetric(packed: np.ndarray) -> np.ndarray:
    """Lower triangles, row by row in the last axis, as whole symmetric matrices."""
    n = int((2 * packed.shape[-1]) ** 0.5)
    rows, columns = np.tril_indices(n)
    full = np.empty((*packed.shape[:-1], n, n))
    full[..., rows, columns] = full[..., columns, rows] = packed
    return full


def add_fields(mine, theirs, names) -> None:
    """Adds the named sums of `theirs` to those of `mine`."""
    for name in names:
        a, b = np.shape(getattr(mine, name)), np.shape(getattr(theirs, name))
        if a != b:
            raise InputError(f"{type(mine).__name__}: {name} of shape {a} and of {b}")
    for name in names:
        setattr(mine, name, getattr(mine, name) + getattr(theirs, name))
