"""Readers of idx files and CIFAR batches, packs of images, MNIST's preparation."""

import gzip
import hashlib
import pickle
import struct
import tarfile

import numpy as np
import pytest

from kdspeech.data.corpora import cifar10, mnist
from kdspeech.data.images import ImagePack, jittered, read_cifar_batch, read_idx
from kdspeech.io.errors import InputError

PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


def idx(values, magic=None):
    head = magic or bytes([0, 0, 8, values.ndim])
    return head + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


def write_mnist(folder, train=4, test=3, labels=None):
    """Random images of 28 x 28 in MNIST's four files; labels 0, 1, ... in turn."""
    folder.mkdir(exist_ok=True)
    for prefix, count in (("train", train), ("t10k", test)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        digits = np.arange(labels or count, dtype=np.uint8) % 10
        for name, values in (("images-idx3", images), ("labels-idx1", digits)):
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_file_is_read_as_it_stands(tmp_path, packed):
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(idx(PIXELS)) if packed else idx(PIXELS))
    assert np.array_equal(read_idx(path, 3), PIXELS)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "begins with nothing"),
        (idx(PIXELS, b"\x00\x00\x0d\x03"), "begins with 00000d03, not with 00000803"),
        (idx(np.zeros(4, np.uint8)), "begins with 00000801"),
        (idx(PIXELS)[:10], "cut short within its header"),
        (idx(PIXELS)[:-1], "23 bytes of values, 24 expected"),
        (idx(PIXELS) + b"x", "25 bytes of values, 24 expected"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3i", -1, 2, 3), "expected for"),
    ],
)
def test_a_bad_idx_file_is_refused(tmp_path, content, says):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as error:
        read_idx(path, 3)
    assert str(path) in str(error.value)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_idx(tmp_path / "none", 3)
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx(PIXELS))[:-9])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_idx(path, 3)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(InputError, match="damaged or cut short"):
        read_idx(path, 3)


def test_mnist_becomes_two_packs(tmp_path):
    sizes = mnist.prepare(write_mnist(tmp_path / "mnist"), tmp_path / "data")
    assert sizes == {"train": 4, "test": 3}
    pack = ImagePack(tmp_path / "data" / "train")
    assert isinstance(pack.images, np.memmap) and pack.images.shape == (4, 28, 28)
    assert pack.labels.tolist() == [0, 1, 2, 3] and pack.classes == mnist.CLASSES
    again = ImagePack.build(tmp_path / "again", np.asarray(pack.images), pack.labels, pack.classes)
    other = ImagePack.build(tmp_path / "o", 255 - pack.images, pack.labels, pack.classes)
    assert again.fingerprint == pack.fingerprint != other.fingerprint


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(InputError, match="5 labels, but train-images.* has 4 images"):
        mnist.prepare(write_mnist(tmp_path / "a", labels=5), tmp_path / "data")
    folder = write_mnist(tmp_path / "b")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="no t10k-labels-idx1-ubyte.gz in it"):
        mnist.prepare(folder, tmp_path / "data")


def test_a_download_is_checked(tmp_path):
    source = write_mnist(tmp_path / "source")
    with pytest.raises(InputError, match="SHA-256"):
        mnist.download(tmp_path / "corpus", source.as_uri(), progress=False)
    assert not list((tmp_path / "corpus").iterdir())


def test_a_pack_says_what_is_wrong_with_it(tmp_path):
    with pytest.raises(InputError, match="run stage 0"):
        ImagePack(tmp_path / "none")
    for labels, says in (([0, 1, 2], "4 images, but 3 labels"), ([0, 1, 2, 5], "0 to 5, but 3")):
        with pytest.raises(InputError, match=says):
            ImagePack.build(tmp_path / "pack", PIXELS, np.array(labels), ["a", "b", "c"])
    with pytest.raises(InputError, match="not uint8, or none"):
        ImagePack.build(tmp_path / "pack", PIXELS.astype(float), np.zeros(4), ["a"])
    assert not (tmp_path / "pack").exists()
    pack = ImagePack.build(tmp_path / "pack", PIXELS, np.array([0, 1, 2, 2]), ["a", "b", "c"])
    content = (pack.path / "images.npy").read_bytes()
    (pack.path / "images.npy").write_bytes(content[:-1])
    with pytest.raises(InputError, match="cut short"):
        ImagePack(pack.path)


def cifar_batch(**more):
    """Two images as CIFAR has them: 1024 red, 1024 green, 1024 blue values."""
    data = np.repeat(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), 1024, axis=1)
    data[0, 1] = 9  # first image, red, row 0, column 1
    return {b"batch_label": b"x", b"labels": [7, 8], b"data": data, b"filenames": [b"a"], **more}


def test_a_cifar_batch_is_read(tmp_path):
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(cifar_batch(), protocol=2))
    images, labels = read_cifar_batch(path)
    assert images.shape == (2, 32, 32, 3) and labels.tolist() == [7, 8]
    assert images[0, 0, :2].tolist() == [[1, 2, 3], [9, 2, 3]]
    assert images[1, 31, 31].tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"rubbish", "cut short"),
        (pickle.dumps(cifar_batch())[:-9], "cut short"),
        (pickle.dumps([1]), "holds a list"),
        (pickle.dumps({b"data": [1], b"labels": [1]}), "no CIFAR-10 batch"),
        (pickle.dumps(cifar_batch(labels=[1]) | {b"labels": [1]}), "2 images, but 1 labels"),
    ],
)
def test_a_bad_cifar_batch_is_refused(tmp_path, content, says):
    path = tmp_path / "b"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says) as error:
        read_cifar_batch(path)
    assert str(path) in str(error.value)


class Runs:
    def __reduce__(self):
        return (print, ("this pickle ran code",))


def test_a_pickle_runs_no_code(tmp_path, capsys):
    path = tmp_path / "b"
    path.write_bytes(pickle.dumps(cifar_batch(evil=Runs())))
    with pytest.raises(InputError, match="asks for builtins.print"):
        read_cifar_batch(path)
    assert "ran code" not in capsys.readouterr().out


def test_moved_images_are_crops_of_the_padded_ones():
    images = np.arange(1, 1 + 50 * 9, dtype=np.uint16).astype(np.uint8).reshape(50, 3, 3) | 1
    moved = jittered(images, 1, True, np.random.default_rng(0))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    seen = set()
    for image, around in zip(moved, padded, strict=True):
        crops = {
            (top, left, flip): around[top : top + 3, left : left + 3][:, :: -1 if flip else 1]
            for top in range(3)
            for left in range(3)
            for flip in (False, True)
        }
        found = [place for place, crop in crops.items() if np.array_equal(crop, image)]
        assert found
        seen.add(found[0])
    assert len(seen) > 12
    assert np.array_equal(jittered(images, 0, False, np.random.default_rng(0)), images)
    colours = np.stack([images] * 3, axis=-1)
    same = jittered(colours, 1, True, np.random.default_rng(0))
    assert np.array_equal(same[..., 2], moved)


def test_cifar_from_its_archive(tmp_path):
    batches = cifar10.make_embedded(tmp_path / "made", per_batch=4, test=3)
    again = cifar10.make_embedded(tmp_path / "again", per_batch=4, test=3)
    for path in batches.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, "../elsewhere/cifar-10-batches-py")
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(InputError, match="SHA-256"):
        cifar10.download(tmp_path / "got", archive.as_uri(), progress=False)
    got = cifar10.download(tmp_path / "got", archive.as_uri(), checksum, progress=False)
    sizes = cifar10.prepare(got.parent, tmp_path / "data")
    assert sizes == {"train": 20, "test": 3}
    pack = ImagePack(tmp_path / "data" / "train")
    assert pack.images.shape == (20, 32, 32, 3) and pack.classes == cifar10.CLASSES
    images, labels = read_cifar_batch(batches / "data_batch_3")
    assert np.array_equal(pack.images[8:12], images) and np.array_equal(pack.labels[8:12], labels)
    assert cifar10.make_embedded(tmp_path / "made", per_batch=2, test=2) == batches
    with pytest.raises(InputError, match="holds something else than an embedded corpus"):
        cifar10.make_embedded(tmp_path / "got")
    with pytest.raises(InputError, match="is the embedded set"):
        cifar10.download(tmp_path / "made", archive.as_uri(), checksum, progress=False)
    assert len(read_cifar_batch(got / "test_batch")[0]) == 3


def test_a_wrong_cifar_archive_is_refused(tmp_path):
    batches = cifar10.make_embedded(tmp_path / "made", per_batch=2, test=2)
    (batches / "test_batch").unlink()
    archive = tmp_path / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(batches, "cifar-10-batches-py")
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(InputError, match="has no test_batch"):
        cifar10.download(tmp_path / "got", archive.as_uri(), checksum, progress=False)
    assert not (tmp_path / "got" / cifar10.FOLDER).exists()
    with pytest.raises(InputError, match="no such file"):
        cifar10.prepare(batches, tmp_path / "data")
    with pytest.raises(InputError, match="no data_batch_1 in it"):
        cifar10.prepare(tmp_path / "got", tmp_path / "data")
