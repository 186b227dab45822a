"""Kaldi's text tables: one "key value" a line, sorted by key in the C locale's order.

A table's keys are sorted as bytes; Python's order of code points is the same order for UTF-8.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError


def iter_table(
    path: str | os.PathLike, empty_values: bool = False
) -> Iterator[tuple[int, str, str]]:
    """Yields (line number from 1, key, value) as the lines come, without judging their order.

    Args:
        path: the table.
        empty_values: let a line hold a key alone (an empty transcript in `text`).
    Raises:
        InputError: no such file, a line with no key or value, or no UTF-8; names file:line.
    """
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                yield number, *_split_line(raw, path, number, empty_values)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _split_line(raw: bytes, path, number: int, empty_values: bool) -> tuple[str, str]:
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}:{number}: not UTF-8 text: {error.reason}") from error
    key, *rest = line.split(None, 1)[:2] or ("",)
    if not key:
        raise InputError(f"{path}:{number}: empty line (remove it)")
    if line[0] in " \t":
        raise InputError(f"{path}:{number}: begins with a space (remove it)")
    if not rest and not empty_values:
        raise InputError(f"{path}:{number}: {key} has no value")
    return key, rest[0].rstrip() if rest else ""


def read_table(
    path: str | os.PathLike, empty_values: bool = False, need_sorted: bool = False
) -> dict[str, str]:
    """Reads a whole table, in the file's order.

    Raises:
        InputError: as `iter_table`; a key that came before; with `need_sorted`, a key that should
            stand before the one above it.
    """
    table: dict[str, str] = {}
    previous = ""
    for number, key, value in iter_table(path, empty_values):
        if key in table:
            raise InputError(f"{path}:{number}: duplicate key {key}")
        if need_sorted and key < previous:
            raise InputError(unsorted_message(path, number, key, previous))
        table[key] = value
        previous = key
    return table


def unsorted_message(path, number: int, key: str, previous: str) -> str:
    """What to say of a key that should stand before the line above."""
    return (
        f"{path}:{number}: not sorted: {key} after {previous} "
        "(sort with LC_ALL=C, or run `kds data fix`)"
    )


def write_table(path: str | os.PathLike, rows: Mapping[str, str] | Iterable[tuple]) -> Path:
    """Writes a table sorted by key, whole or not at all.

    Args:
        path: the file to write.
        rows: a mapping, or (key, value) pairs; values are written with str().
    """
    pairs = rows.items() if isinstance(rows, Mapping) else rows
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(table_lines(pairs))
    return Path(path)


def table_lines(pairs: Iterable[tuple]) -> Iterator[str]:
    """The lines of a table, sorted by key."""
    for key, value in sorted(pairs, key=lambda pair: pair[0]):
        value = str(value)
        yield f"{key} {value}\n" if value else f"{key}\n"
