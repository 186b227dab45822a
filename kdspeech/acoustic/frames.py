"""Frame packs of the features a network takes, and where these came from."""

import os
from pathlib import Path

from kdspeech.config import Config, load_config, save_config
from kdspeech.data.datadir import DataDir
from kdspeech.data.frames import FramePack
from kdspeech.decode.recognize import SplitFeatures
from kdspeech.features.front_end import FrontEnd, read_transforms
from kdspeech.io.errors import InputError

_SOURCE = "source.yaml"
_FRONT_END_FILES = ("cmvn_opts", "delta_opts", "splice_opts", "final.mat")


class FrameSource(Config):
    """Where a pack's features came from; kept in the pack, beside the files of the front end.

    Attributes:
        data_dir: of the features.
        transform_dir: of the speakers' transforms, empty where there are none.
        left_out: utterances that could not be used, and why.
    """

    data_dir: str
    transform_dir: str = ""
    left_out: dict[str, str] = {}

    @classmethod
    def read(cls, pack: str | os.PathLike) -> "FrameSource":
        """InputError where the folder is no pack that make_frames made."""
        return load_config(cls, Path(pack) / _SOURCE)


def make_frames(
    data_dir: str | os.PathLike,
    transform_dir: str | os.PathLike | None,
    out: str | os.PathLike,
    front_end: FrontEnd | None = None,
    max_bad: float = 0.01,
) -> FramePack:
    """Packs the features of a data directory for networks.

    Args:
        data_dir: with feats.scp, cmvn.scp and utt2spk.
        transform_dir: with the speakers' transforms, trans.*: an alignment's or a decoding's
            directory; None: features without transforms.
        out: the pack to make.
        front_end: from the features of `data_dir` to those that are transformed; else that of
            `transform_dir`, or of the directory above (that of a decoding's model).
        max_bad: the largest part of the utterances that may be left out.
    Raises:
        InputError: a file that is missing or damaged, a speaker without transform, too many
            utterances that cannot be used.
    """
    data = DataDir(data_dir)
    front_end = front_end or find_front_end(transform_dir)
    transforms = read_transforms(transform_dir, data.spk2utt) if transform_dir else None
    left_out: dict[str, str] = {}
    features = SplitFeatures(data, front_end, left_out, transforms)

    def utterances():
        for speaker, found in features.speakers():
            for utt, feats in found:
                yield utt, speaker, feats
        _judge(left_out, data, max_bad)

    def write_source(folder: Path) -> None:
        front_end.write(folder)
        where = os.fspath(transform_dir) if transform_dir else ""
        source = FrameSource(data_dir=str(data.path), transform_dir=where, left_out=left_out)
        (folder / _SOURCE).write_text(save_config(source), encoding="utf-8")

    return FramePack.build(out, utterances(), write_source)


def find_front_end(transform_dir: str | os.PathLike | None) -> FrontEnd:
    """The front end beside transforms, or that of the directory above.

    Raises:
        InputError: there is none.
    """
    if transform_dir is None:
        raise InputError("features without transforms: say which front end makes them")
    folder = Path(transform_dir).absolute()
    for place in (folder, folder.parent):
        if any((place / name).exists() for name in _FRONT_END_FILES):
            return FrontEnd.read(place)
    raise InputError(
        f"{folder}: no front end there or in the directory above ({', '.join(_FRONT_END_FILES)})"
    )


def _judge(left_out: dict[str, str], data: DataDir, max_bad: float) -> None:
    total = len(data.utt2spk)
    if len(left_out) > max_bad * total:
        utt, why = next(iter(left_out.items()))
        raise InputError(
            f"{data.path}: {len(left_out)} of {total} utterances cannot be used, more than "
            f"{100 * max_bad:g} %; the first: {utt}: {why}"
        )
