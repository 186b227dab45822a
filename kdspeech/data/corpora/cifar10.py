"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images of ten things, 32 x 32, from the
official python batches; and an embedded set in that format."""

import gzip
import os
import pickle
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from kdspeech.data.corpora.download import fetch
from kdspeech.data.corpora.generated import MADE_BY, README, check_place
from kdspeech.data.images import ImagePack, read_cifar_batch, read_cifar_pickle
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
FOLDER = "cifar-10-batches-py"
META = "batches.meta"
SETS = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
CLASSES = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]


def prepare(corpus: str | os.PathLike, data: str | os.PathLike) -> dict[str, int]:
    """Makes the image packs DATA/train and DATA/test.

    Args:
        corpus: folder with the six python batches and `batches.meta`, or the one above it.
        data: folder for the packs.
    Returns:
        The number of images of each.
    Raises:
        InputError: a file is missing or damaged.
    """
    corpus = _batches(Path(corpus))
    classes = _classes(corpus / META)
    sizes = {}
    for name, batches in SETS.items():
        images, labels = zip(*(read_cifar_batch(corpus / b) for b in batches), strict=True)
        pack = (np.concatenate(images), np.concatenate(labels), classes)
        sizes[name] = len(ImagePack.build(Path(data) / name, *pack))
    return sizes


def download(
    folder: str | os.PathLike, url: str = URL, sha256: str = SHA256, progress: bool = True
) -> Path:
    """Fetches the archive into `folder`, resumed and checked, and unpacks the batches.

    Raises:
        InputError: the server cannot be reached, the checksum is wrong, or it is no such archive;
            the embedded set stands where the real one would.
    """
    batches = Path(folder) / FOLDER
    if (batches / README).exists():
        raise InputError(f"{batches}: is the embedded set; remove it, or choose another folder")
    if batches.is_dir():
        return batches
    archive = fetch(url, Path(folder) / url.rsplit("/", 1)[-1], sha256, progress)
    with atomic_dir(batches, ours=[]) as part:
        try:
            _unpack(archive, part)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{archive}: damaged ({error}); remove it and run again") from error
    return batches


def make_embedded(
    folder: str | os.PathLike, per_batch: int = 200, test: int = 200, seed: int = 0
) -> Path:
    """Writes a set in CIFAR-10's format that needs no download: stripes whose direction, width and
    colour tell the ten classes apart, somewhere in noise.

    It shows that a recipe runs; its numbers say nothing about CIFAR-10. The same seed gives the
    same bytes.

    Args:
        folder: where `cifar-10-batches-py` is made.
        per_batch, test: images of each of the five training batches and of the test batch.
    Raises:
        InputError: the real corpus, or something else, stands there.
    """
    batches = Path(folder) / FOLDER
    names = [*SETS["train"], *SETS["test"]]
    check_place(batches)
    with atomic_dir(batches, [*names, META, README]) as part:
        for number, name in enumerate(names):
            count = test if name in SETS["test"] else per_batch
            images, labels = _stripes(count, np.random.default_rng([seed, number]))
            rows = images.transpose(0, 3, 1, 2).reshape(count, -1)
            _dump(part / name, {b"data": rows, b"labels": labels.tolist()})
        _dump(part / META, {b"label_names": [name.encode() for name in CLASSES]})
        readme = f"Synthetic images in the format of CIFAR-10, {MADE_BY} cifar10 embedded`\n"
        (part / README).write_text(readme)
    return batches


def _stripes(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (count, 32, 32, 3) and labels (count,)."""
    labels = rng.integers(0, len(CLASSES), count)
    angle = np.pi * (labels % 5) / 5 + rng.normal(0, 0.15, count)
    width = np.where(labels < 5, 5.0, 9.0) * rng.uniform(0.9, 1.1, count)
    y, x = np.mgrid[:32, :32]
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    wave = np.sin(2 * np.pi * along / width[:, None, None] + phase)
    colour = rng.uniform(20, 80, (count, 1, 1, 3))
    images = 128 + wave[..., None] * colour + rng.normal(0, 25, (count, 32, 32, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def _dump(path: Path, content: dict) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def _unpack(archive: Path, folder: Path) -> None:
    """Only the batches, under their own names whatever path the archive gives them."""
    wanted = {META, *(name for names in SETS.values() for name in names)}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            if member.isfile() and name in wanted:
                with open(folder / name, "wb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)
                wanted.discard(name)
    if wanted:
        raise InputError(f"{archive}: has no {', '.join(sorted(wanted))}")


def _batches(corpus: Path) -> Path:
    for folder in (corpus, corpus / FOLDER):
        if (folder / "data_batch_1").is_file():
            return folder
    raise InputError(
        f"{corpus}: no data_batch_1 in it (give the folder of CIFAR-10's python batches, "
        "`download` or `embedded`)"
    )


def _classes(path: Path) -> list[str]:
    names = read_cifar_pickle(path).get("label_names")
    if not isinstance(names, list) or not names:
        raise InputError(f"{path}: no `label_names` in it")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
