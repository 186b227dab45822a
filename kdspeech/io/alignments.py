"""Alignments as Kaldi stores them: archives of transition ids, ali.1.gz, ali.2.gz, ..."""

import gzip
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import read_bytes

_KEY = re.compile(rb"\s*(\S+)[ \t]?")
_ITEM = np.dtype([("size", "i1"), ("value", "<i4")])


def alignment_files(path: str | os.PathLike) -> list[Path]:
    """The archives of a directory (ali.*.gz in the order of their numbers), or the file itself.

    Raises:
        InputError: there are none, or fewer than the directory's num_jobs says.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    numbered = {}
    for file in path.glob("ali.*"):
        if found := re.fullmatch(r"ali\.(\d+)(\.gz|\.ark|)", file.name):
            numbered[int(found[1])] = file
    if not numbered:
        raise InputError(f"{path}: no ali.*.gz there")
    _check_num_jobs(path, len(numbered))
    return [numbered[number] for number in sorted(numbered)]


def _check_num_jobs(path: Path, found: int) -> None:
    if (path / "num_jobs").is_file():
        words = (path / "num_jobs").read_text().split()
        if words and words[0].isdigit() and int(words[0]) != found:
            raise InputError(f"{path}: num_jobs says {words[0]}, there are {found} ali.*.gz")


def iter_alignments(path: str | os.PathLike) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (utterance, int32 (frames,)) of a directory's ali.*.gz, or of one archive.

    Archives may be binary or text, gzip'ed or not.

    Raises:
        InputError: no archive there, or a damaged one; names the file and the utterance.
    """
    for file in alignment_files(path):
        yield from _iter_archive(read_bytes(file), file)


def read_alignments(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """All alignments of a directory or archive: utterance to int32 (frames,).

    Raises:
        InputError: as `iter_alignments`; an utterance that comes twice.
    """
    alignments: dict[str, np.ndarray] = {}
    for utterance, tids in iter_alignments(path):
        if utterance in alignments:
            raise InputError(f"{path}: {utterance} comes twice")
        alignments[utterance] = tids
    return alignments


def write_alignments(
    path: str | os.PathLike, alignments: Mapping[str, np.ndarray] | Iterable, binary: bool = True
) -> None:
    """Writes one archive (gzip'ed if the name ends in .gz), whole or not at all.

    Args:
        path: the archive, such as exp/mono/ali.1.gz.
        alignments: utterance to integers, or pairs of them.
        binary: Kaldi's binary form; False writes text.
    """
    pairs = alignments.items() if isinstance(alignments, Mapping) else alignments
    encode = _encode_binary if binary else _encode_text
    data = b"".join(utt.encode() + b" " + encode(np.asarray(tids)) for utt, tids in pairs)
    with atomic_path(path) as temporary:
        # No time in the header: the same alignments give the same file.
        packed = gzip.compress(data, 6, mtime=0) if os.fspath(path).endswith(".gz") else data
        temporary.write_bytes(packed)


def _encode_binary(tids: np.ndarray) -> bytes:
    items = np.empty(len(tids), dtype=_ITEM)
    items["size"], items["value"] = 4, tids
    return b"\0B" + struct.pack("<Bi", 4, len(tids)) + items.tobytes()


def _encode_text(tids: np.ndarray) -> bytes:
    return b"".join(b"%d " % tid for tid in tids.tolist()) + b"\n"


def _iter_archive(data: bytes, path) -> Iterator[tuple[str, np.ndarray]]:
    position, previous = 0, "its start"
    while data[position : position + 1000].strip():
        found = _KEY.match(data, position, position + 1000)
        try:
            key = found[1].decode()
            tids, position = _value(data, found.end())
        except (UnicodeDecodeError, ValueError, OverflowError) as error:
            raise InputError(
                f"{path}: after {previous}: truncated or no archive of alignments ({error})"
            ) from error
        yield key, tids
        previous = key


def _value(data: bytes, position: int) -> tuple[np.ndarray, int]:
    """The integers at a position and the position after them."""
    if data[position : position + 2] != b"\0B":
        end = data.find(b"\n", position)
        end = len(data) if end < 0 else end
        return np.array(data[position:end].split(), dtype=np.int32), end + 1
    if data[position + 2 : position + 3] != b"\x04" or len(data) < position + 7:
        raise ValueError("no vector of 32-bit integers")
    count = struct.unpack_from("<i", data, position + 3)[0]
    end = position + 7 + count * _ITEM.itemsize
    if count < 0 or end > len(data):
        raise ValueError(f"{count} integers are promised")
    items = np.frombuffer(data, _ITEM, count, position + 7)
    if np.any(items["size"] != 4):
        raise ValueError("an integer of another size")
    return items["value"].astype(np.int32), end
