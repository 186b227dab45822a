"""Images: readers of MNIST's idx files and CIFAR's python batches, and packs of them.

Images are uint8, (n, rows, columns), or (n, rows, columns, 3) where they have colours.
A pack is a folder with `images.npy`, which is mapped into memory, `labels.npy` and `pack.json`.
"""

import gzip
import io
import json
import os
import pickle
import zlib
from pathlib import Path

import numpy as np

from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError
from kdspeech.io.hashing import fingerprint

IDX_UINT8 = 0x08
CIFAR_SHAPE = (3, 32, 32)


class ImagePack:
    """A pack opened for reading.

    Args:
        path: the pack's folder.
    Attributes:
        images: uint8, memory-mapped, (n, rows, columns) or (n, rows, columns, 3).
        labels: int64, (n,), numbers of `classes`.
        classes: their names.
        fingerprint: of images and labels.
    Raises:
        InputError: no pack at `path`, or one that is cut short.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            about = json.loads((self.path / "pack.json").read_text(encoding="utf-8"))
            self.images = np.load(self.path / "images.npy", mmap_mode="r")
            self.labels = np.load(self.path / "labels.npy").astype(np.int64)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{self.path}: no image pack there, or one that is cut short ({error}; run stage 0)"
            ) from None
        self.classes: list[str] = about["classes"]
        self.fingerprint: str = about["fingerprint"]

    @classmethod
    def build(
        cls, path: str | os.PathLike, images: np.ndarray, labels: np.ndarray, classes: list[str]
    ) -> "ImagePack":
        """Writes a pack, whole or not at all, and opens it.

        Raises:
            InputError: no images, not as many labels, a label that is no class, or a folder with
                other files.
        """
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) == 0:
            raise InputError(f"{path}: images {images.dtype} {images.shape}: not uint8, or none")
        if len(images) != len(labels):
            raise InputError(f"{path}: {len(images)} images, but {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= len(classes):
            raise InputError(
                f"{path}: labels from {labels.min()} to {labels.max()}, but {len(classes)} classes"
            )
        labels = labels.astype(np.int64)
        mark = fingerprint(repr(images.shape).encode() + images.tobytes() + labels.tobytes())
        with atomic_dir(path, ours=["images.npy", "labels.npy", "pack.json"]) as folder:
            np.save(folder / "images.npy", images)
            np.save(folder / "labels.npy", labels)
            about = {"classes": classes, "fingerprint": mark}
            (folder / "pack.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
        return cls(path)

    def __len__(self) -> int:
        return len(self.labels)


def read_idx(path: str | os.PathLike, axes: int) -> np.ndarray:
    """Reads a file of unsigned bytes in MNIST's idx format, gzipped where its name ends in .gz.

    The format: two zero bytes, the type (8: unsigned byte), the number of axes, the length of each
    axis as a big-endian int32, the values.

    Args:
        path: the file.
        axes: how many it must have: 3 of images, 1 of labels.
    Returns:
        uint8, as long as the file says.
    Raises:
        InputError: no such file, another magic number, or more or fewer bytes than the header says.
    """
    content = _read(Path(path))
    magic = bytes([0, 0, IDX_UINT8, axes])
    if content[:4] != magic:
        raise InputError(
            f"{path}: begins with {content[:4].hex() or 'nothing'}, not with {magic.hex()} as an "
            f"idx file of {axes} axes (is it another file, or not unpacked?)"
        )
    start = 4 + 4 * axes
    if len(content) < start:
        raise InputError(f"{path}: cut short within its header")
    shape = np.frombuffer(content, ">i4", axes, offset=4).tolist()
    expected = int(np.prod(shape, dtype=np.int64))
    if min(shape) < 0 or len(content) - start != expected:
        raise InputError(
            f"{path}: {len(content) - start} bytes of values, {expected} expected for {shape} "
            "(cut short? fetch it again)"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: damaged or cut short ({error}; fetch it again)") from None


def read_cifar_batch(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Reads one of CIFAR-10's python batches: a pickled dict of `data` and `labels`.

    Only arrays and plain values are unpickled: a file that asks for anything else runs no code.

    Returns:
        Images uint8 (n, 32, 32, 3) and labels int64 (n,).
    Raises:
        InputError: no such file, or no batch.
    """
    batch = read_cifar_pickle(path)
    data, labels = batch.get("data"), batch.get("labels")
    size = int(np.prod(CIFAR_SHAPE))
    fits = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape[1:] == (size,)
    if not fits or not isinstance(labels, list):
        raise InputError(f"{path}: no CIFAR-10 batch (uint8 `data` of rows of {size}, `labels`)")
    if len(data) != len(labels):
        raise InputError(f"{path}: {len(data)} images, but {len(labels)} labels")
    images = data.reshape(-1, *CIFAR_SHAPE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.int64)


def read_cifar_pickle(path: str | os.PathLike) -> dict:
    """A dict of plain values and arrays that Python 2 pickled, with str keys."""
    try:
        content = _Plain(io.BytesIO(Path(path).read_bytes()), encoding="bytes").load()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # whatever a damaged pickle makes of the unpickler
        raise InputError(f"{path}: no pickle of plain values, or cut short ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds a {type(content).__name__}, not a dict")
    return {_text(key): value for key, value in content.items()}


class _Plain(pickle.Unpickler):
    """Refuses everything but numpy's arrays."""

    def find_class(self, module: str, name: str):
        arrays = module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype")
        if arrays or (module, name) == ("_codecs", "encode"):  # bytes, as protocol 2 has them
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _text(key: bytes | str) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else key


def jittered(
    images: np.ndarray, pad: int, flip: bool, generator: np.random.Generator
) -> np.ndarray:
    """Each image moved by up to `pad` pixels both ways, black where it was not, and mirrored with
    probability 0.5 if `flip`: crops of a padded image (He et al. 2016, section 4.2).

    Shape: (n, rows, columns, ...) -> the same.
    """
    count, rows, columns = images.shape[:3]
    widths = ((0, 0), (pad, pad), (pad, pad)) + ((0, 0),) * (images.ndim - 3)
    top, left = generator.integers(0, 2 * pad + 1, size=(2, count, 1))
    at_row, at_column = top + np.arange(rows), left + np.arange(columns)
    if flip:
        mirrored = generator.random(count) < 0.5
        at_column[mirrored] = at_column[mirrored, ::-1]
    at_image = np.arange(count)[:, None, None]
    return np.pad(images, widths)[at_image, at_row[:, :, None], at_column[:, None, :]]
