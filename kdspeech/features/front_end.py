"""From a data directory's features to a model's: CMVN, then deltas or splicing and LDA."""

import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from kdspeech.features.options import check_options
from kdspeech.features.post import CmvnStats, add_deltas, apply_affine, splice
from kdspeech.io.ark import read_ark
from kdspeech.io.atomic import atomic_path
from kdspeech.io.errors import InputError
from kdspeech.io.kaldi import read_kaldi_matrix, write_kaldi_matrix


@dataclass(frozen=True)
class CmvnOptions:
    """Options of apply-cmvn (cmvn_opts)."""

    norm_means: bool = True
    norm_vars: bool = False


@dataclass(frozen=True)
class DeltaOptions:
    """Options of add-deltas (delta_opts)."""

    delta_order: int = 2
    delta_window: int = 2


@dataclass(frozen=True)
class SpliceOptions:
    """Options of splice-feats (splice_opts)."""

    left_context: int = 4
    right_context: int = 4


@dataclass(frozen=True)
class FrontEnd:
    """How a model's features come from those of a data directory.

    Attributes:
        cmvn, deltas, splicing: options of Kaldi's tools.
        matrix: LDA or LDA+MLLT (final.mat), applied to spliced frames; None for deltas.
    """

    cmvn: CmvnOptions = field(default_factory=CmvnOptions)
    deltas: DeltaOptions = field(default_factory=DeltaOptions)
    splicing: SpliceOptions = field(default_factory=SpliceOptions)
    matrix: np.ndarray | None = None

    def normalize(self, feats: np.ndarray, stats: CmvnStats) -> np.ndarray:
        """(frames, base dim): the features after CMVN."""
        return stats.apply(feats, **asdict(self.cmvn))

    def splice(self, base: np.ndarray) -> np.ndarray:
        """(frames, spliced dim) from normalized features of one utterance."""
        return splice(base, **asdict(self.splicing))

    def expand(self, base: np.ndarray) -> np.ndarray:
        """(frames, dim): the model's features from normalized ones of one utterance."""
        if self.matrix is None:
            return add_deltas(base, **asdict(self.deltas))
        return apply_affine(self.splice(base), self.matrix)

    @classmethod
    def read(cls, exp: str | os.PathLike) -> "FrontEnd":
        """Of the model in an experiment directory, by the files Kaldi keeps there: cmvn_opts,
        delta_opts, splice_opts (defaults where a file is not there) and final.mat.

        Raises:
            InputError: an option that is not known here; names the file.
        """
        exp = Path(exp)
        matrix = None
        if (exp / "final.mat").exists():
            matrix = read_kaldi_matrix(exp / "final.mat")
        return cls(
            _read_options(exp / "cmvn_opts", CmvnOptions),
            _read_options(exp / "delta_opts", DeltaOptions),
            _read_options(exp / "splice_opts", SpliceOptions),
            matrix,
        )

    def write(self, exp: str | os.PathLike) -> None:
        """Writes the files that `read` reads."""
        exp = Path(exp)
        _write_options(exp / "cmvn_opts", self.cmvn)
        if self.matrix is None:
            _write_options(exp / "delta_opts", self.deltas)
            return
        _write_options(exp / "splice_opts", self.splicing)
        write_kaldi_matrix(exp / "final.mat", self.matrix)


def read_transforms(folder: str | os.PathLike, speakers: Collection[str]) -> dict[str, np.ndarray]:
    """Speakers' fMLLR transforms (dim, dim + 1) from trans.1, trans.2, ... of a directory.

    Raises:
        InputError: there are none, or a speaker has none there.
    """
    folder, wanted = Path(folder), set(speakers)
    paths = sorted(folder.glob("trans.*"))
    if not paths:
        raise InputError(f"{folder}: has no transforms, trans.*")
    found = {spk: matrix for path in paths for spk, matrix in read_ark(path) if spk in wanted}
    missing = sorted(wanted - set(found))
    if missing:
        raise InputError(f"{folder}: trans.* have no transform of speaker {missing[0]}")
    return found


def parse_options(text: str, options_class, where: str):
    """An `options_class` from Kaldi's `--name=value --name=value`.

    Raises:
        InputError: an option it does not have, or no value of the right type; begins with `where`.
    """
    types = {f.name: f.type for f in fields(options_class)}
    given = {}
    for word in text.split():
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if not word.startswith("--") or not equals:
            raise InputError(f"{where}: {word!r} is not --name=value")
        given[name] = _value(value, types.get(name, str))
    try:
        return check_options(options_class, given)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _value(text: str, wanted: type):
    if wanted is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    return int(text) if wanted is int and text.lstrip("-").isdigit() else text


def _read_options(path: Path, options_class):
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return parse_options(text, options_class, os.fspath(path))


def _write_options(path: Path, options) -> None:
    """Only what differs from Kaldi's defaults, as its scripts do."""
    changed = {
        f.name: getattr(options, f.name)
        for f in fields(options)
        if getattr(options, f.name) != f.default
    }
    words = [f"--{name.replace('_', '-')}={str(value).lower()}" for name, value in changed.items()]
    with atomic_path(path) as temporary:
        temporary.write_text(" ".join(words) + "\n", encoding="utf-8")
