"""Symbol tables: words.txt and phones.txt, a symbol and its id a line."""

import os
from collections.abc import Iterable, Mapping

from kdspeech.io.errors import InputError
from kdspeech.io.tables import iter_table

EPSILON, DISAMBIG = "<eps>", "#0"


def read_symbols(path: str | os.PathLike) -> dict[str, int]:
    """Reads a symbol table. Raises InputError naming the line."""
    symbols: dict[str, int] = {}
    ids: set[int] = set()
    for number, symbol, value in iter_table(path):
        if not (value.isascii() and value.isdecimal()):
            raise InputError(f"{path}:{number}: the id of {symbol} is {value}, not a number")
        if symbol in symbols or int(value) in ids:
            again = symbol if symbol in symbols else f"id {value}"
            raise InputError(f"{path}:{number}: duplicate {again}")
        symbols[symbol] = int(value)
        ids.add(int(value))
    return symbols


def number_symbols(names: Iterable[str]) -> dict[str, int]:
    """Ids from 1 in this order, with epsilon as 0."""
    return {name: number for number, name in enumerate([EPSILON, *names])}


def write_symbols(path: str | os.PathLike, symbols: Mapping[str, int]) -> None:
    """Writes a symbol table in the mapping's order."""
    write_rows(path, symbols.items())


def write_rows(path: str | os.PathLike, rows: Iterable[Iterable]) -> None:
    """Writes a line per row, fields with a space between; for files in a new folder."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(" ".join(map(str, row)) + "\n" for row in rows)
