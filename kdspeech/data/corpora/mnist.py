"""MNIST (LeCun, Cortes & Burges): 60,000 + 10,000 grey images of handwritten digits, 28 x 28."""

import os
from pathlib import Path

from kdspeech.data.corpora.download import fetch
from kdspeech.data.images import ImagePack, read_idx
from kdspeech.io.errors import InputError

URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
SHA256 = {  # of NAME.gz
    "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
SETS = {"train": "train", "test": "t10k"}
CLASSES = [str(digit) for digit in range(10)]


def prepare(corpus: str | os.PathLike, data: str | os.PathLike) -> dict[str, int]:
    """Makes the image packs DATA/train and DATA/test.

    Args:
        corpus: folder with the four idx files, gzipped or not.
        data: folder for the packs.
    Returns:
        The number of images of each.
    Raises:
        InputError: a file is missing, damaged, or does not belong to the other.
    """
    sizes = {}
    for name, prefix in SETS.items():
        images_path = _find(Path(corpus), f"{prefix}-images-idx3-ubyte")
        labels_path = _find(Path(corpus), f"{prefix}-labels-idx1-ubyte")
        images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
        if len(images) != len(labels):
            raise InputError(
                f"{labels_path}: {len(labels)} labels, but {images_path.name} has {len(images)} "
                "images"
            )
        sizes[name] = len(ImagePack.build(Path(data) / name, images, labels, CLASSES))
    return sizes


def download(folder: str | os.PathLike, url: str = URL, progress: bool = True) -> Path:
    """Fetches the four files into `folder`, resumed and checked; those that are there are kept.

    Raises:
        InputError: the server cannot be reached, or a checksum is wrong.
    """
    for name, checksum in SHA256.items():
        fetch(f"{url}/{name}.gz", Path(folder) / f"{name}.gz", checksum, progress)
    return Path(folder)


def _find(corpus: Path, name: str) -> Path:
    for path in (corpus / f"{name}.gz", corpus / name):
        if path.is_file():
            return path
    raise InputError(f"{corpus}: no {name}.gz in it (give the folder of MNIST, or `download`)")
