"""The roots of the decision tree: which phones share one, Kaldi's roots.int."""

import os
from dataclasses import dataclass

from kdspeech.io.errors import InputError


@dataclass
class Root:
    """A line of roots.int: phones that share a tree (`shared`), which may be split (`split`)."""

    phones: list[int]
    shared: bool = True
    split: bool = True


def read_roots(path: str | os.PathLike) -> list[Root]:
    """Reads roots.int: `shared|not-shared split|not-split phone phone ...` a line.

    Raises:
        InputError: a line that is not so; names file:line.
    """
    roots = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            sharing, splitting, *phones = [*line.split(), "", ""]
            phones = [phone for phone in phones if phone]
            if (
                sharing not in ("shared", "not-shared")
                or splitting not in ("split", "not-split")
                or not phones
                or not all(phone.isdigit() for phone in phones)
            ):
                raise InputError(
                    f"{path}:{number}: not `shared|not-shared split|not-split phones`: {line!r}"
                )
            ids = sorted(int(phone) for phone in phones)
            roots.append(Root(ids, sharing == "shared", splitting == "split"))
    return roots
