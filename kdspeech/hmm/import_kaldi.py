"""Checks a directory that Kaldi's training or alignment scripts made, and adopts it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kdspeech.data import DataDir
from kdspeech.features.front_end import FrontEnd
from kdspeech.hmm.model import AcousticModel
from kdspeech.hmm.topology import HmmTopology
from kdspeech.hmm.transitions import TransitionModel
from kdspeech.hmm.tree import DecisionTree
from kdspeech.io.alignments import alignment_files, iter_alignments
from kdspeech.io.ark import Scp, read_ark
from kdspeech.io.atomic import atomic_dir
from kdspeech.io.errors import InputError
from kdspeech.io.tables import read_table

_OPTIONAL = (
    "final.alimdl",
    "final.mat",
    "full.mat",
    "final.occs",
    "phones.txt",
    "num_jobs",
    "cmvn_opts",
    "splice_opts",
    "delta_opts",
)
_MAX_PROBLEMS = 20


@dataclass
class KaldiExperiment:
    """What was found in a directory.

    Attributes:
        path: the directory.
        files: the files that matter here.
        facts: what each kind of file holds, one line each.
        problems: what is wrong; empty if the directory can be used.
    """

    path: Path
    files: list[Path] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def import_kaldi(
    exp: str | os.PathLike,
    out: str | os.PathLike | None = None,
    lang: str | os.PathLike | None = None,
    data: str | os.PathLike | None = None,
) -> KaldiExperiment:
    """Checks a Kaldi experiment directory of a GMM system and copies what is used from it.

    Model, tree, alignments (ali.*.gz), speaker transforms (trans.*), LDA matrix and option files
    must be whole and fit each other.

    Args:
        exp: such as exp/tri4a or exp/tri4a_ali.
        out: directory to make, whole or not at all; an older one is replaced if it holds nothing
            else. None only checks.
        lang: lang directory the system was made with; its topology and phones must be the model's.
        data: data directory that was aligned; its features must have the model's dimension and
            the alignments' lengths, its speakers the transforms.
    Raises:
        InputError: lists everything that is wrong; `out` holds other files.
    """
    found = check_kaldi(exp, lang, data)
    if found.problems:
        shown = found.problems[:_MAX_PROBLEMS]
        more = len(found.problems) - len(shown)
        raise InputError("\n".join([*shown, *([f"... and {more} more"] if more else [])]))
    if out is not None:
        _copy(found, Path(out))
    return found


def check_kaldi(
    exp: str | os.PathLike,
    lang: str | os.PathLike | None = None,
    data: str | os.PathLike | None = None,
) -> KaldiExperiment:
    """Looks at everything in a Kaldi experiment directory; problems are listed, not raised."""
    found = KaldiExperiment(Path(exp))
    if not found.path.is_dir():
        found.problems.append(f"{exp}: no such directory")
        return found
    found.files += [found.path / n for n in _OPTIONAL if (found.path / n).exists()]
    model = _try(found, lambda: _check_model(found))
    front_end = _try(found, lambda: _check_front_end(found, model))
    if model is not None:
        _try(found, lambda: _check_phones(found, model.transitions, lang))
        _try(found, lambda: _check_second_model(found, model))
        lengths = _try(found, lambda: _check_alignments(found, model.transitions))
        speakers = _try(found, lambda: _check_transforms(found, model.gmms.dim))
        if data is not None and front_end is not None:
            _try(found, lambda: _check_dimension(found, Path(data), front_end, model.gmms.dim))
            _try(found, lambda: _check_utterances(found, DataDir(data), lengths, speakers))
    return found


def _try(found: KaldiExperiment, check: Callable):
    try:
        return check()
    except InputError as error:
        found.problems.append(str(error))
        return None


def _check_model(found: KaldiExperiment) -> AcousticModel:
    model = AcousticModel.read(found.path / "final.mdl")
    transitions = model.transitions
    found.facts["final.mdl"] = (
        f"{len(transitions.topology.phones)} phones, {transitions.num_tids} transition ids, "
        f"{model.gmms.num_pdfs} pdfs, {model.gmms.num_gaussians} Gaussians, "
        f"dimension {model.gmms.dim}"
    )
    tree = DecisionTree.read(found.path / "tree")
    found.facts["tree"] = f"{tree.num_pdfs} pdfs, {tree.context_width} phones of context"
    found.files += [found.path / "final.mdl", found.path / "tree"]
    if tree.num_pdfs != model.gmms.num_pdfs:
        found.problems.append(
            f"{found.path}: the tree has {tree.num_pdfs} pdfs, final.mdl {model.gmms.num_pdfs}"
        )
    elif transitions.topology.is_hmm():
        made = TransitionModel.from_tree(tree, transitions.topology)
        if not np.array_equal(made.tuples, transitions.tuples):
            found.problems.append(f"{found.path}: final.mdl was not made with this tree")
    return model


def _check_second_model(found: KaldiExperiment, model: AcousticModel) -> None:
    path = found.path / "final.alimdl"
    if not path.exists():
        return
    second = AcousticModel.read(path)
    found.facts["final.alimdl"] = f"{second.gmms.num_gaussians} Gaussians"
    if not np.array_equal(second.transitions.tuples, model.transitions.tuples):
        raise InputError(f"{path}: its transition states are not those of final.mdl")
    if second.gmms.dim != model.gmms.dim:
        raise InputError(f"{path}: dimension {second.gmms.dim}, final.mdl has {model.gmms.dim}")


def _check_front_end(found: KaldiExperiment, model: AcousticModel | None) -> FrontEnd:
    front_end = FrontEnd.read(found.path)
    norm = "means" + (" and variances" if front_end.cmvn.norm_vars else "")
    found.facts["cmvn"] = norm if front_end.cmvn.norm_means else "none"
    if front_end.matrix is None:
        found.facts["features"] = f"deltas of order {front_end.deltas.delta_order}"
        if model is not None and model.gmms.dim % (front_end.deltas.delta_order + 1):
            raise InputError(
                f"{found.path}: dimension {model.gmms.dim} is not that of deltas, and there is "
                "no final.mat"
            )
        return front_end
    rows, columns = front_end.matrix.shape
    context = 1 + front_end.splicing.left_context + front_end.splicing.right_context
    found.facts["features"] = f"{context} frames spliced, final.mat {rows} x {columns}"
    if model is not None and rows != model.gmms.dim:
        raise InputError(
            f"{found.path}/final.mat: {rows} rows, final.mdl has dimension {model.gmms.dim}"
        )
    if columns % context > 1 or not np.all(np.isfinite(front_end.matrix)):
        raise InputError(
            f"{found.path}/final.mat: {columns} columns are not {context} spliced frames "
            "(look at splice_opts), or not all of them are numbers"
        )
    return front_end


def _check_phones(found: KaldiExperiment, transitions: TransitionModel, lang) -> None:
    phones = {}
    for folder in filter(None, (found.path, lang and Path(lang))):
        if (folder / "phones.txt").exists():
            phones[folder] = read_table(folder / "phones.txt")
            missing = set(transitions.topology.phones) - _ids(phones[folder], folder)
            if missing:
                raise InputError(f"{folder}/phones.txt: has no phone {min(missing)} of final.mdl")
    if lang is None:
        return
    if HmmTopology.read(Path(lang) / "topo") != transitions.topology:
        raise InputError(f"{lang}/topo: is not the topology of {found.path}/final.mdl")
    without = [_no_disambiguation(table) for table in phones.values()]
    if any(table != without[0] for table in without):
        raise InputError(f"{lang}/phones.txt: has other phones than {found.path}/phones.txt")


def _ids(phones: dict[str, str], folder: Path) -> set[int]:
    try:
        return {int(value) for value in phones.values()}
    except ValueError as error:
        raise InputError(f"{folder}/phones.txt: a phone whose id is no number ({error})") from error


def _no_disambiguation(phones: dict[str, str]) -> dict[str, str]:
    return {phone: number for phone, number in phones.items() if not phone.startswith("#")}


def _check_alignments(found: KaldiExperiment, transitions: TransitionModel) -> dict[str, int]:
    """The number of frames of each aligned utterance."""
    if not any(found.path.glob("ali.*")):
        return {}
    files, lengths, cut = alignment_files(found.path), {}, 0
    for name, tids in iter_alignments(found.path):
        if name in lengths:
            raise InputError(f"{found.path}: {name} has two alignments")
        lengths[name] = len(tids)
        transitions.checked(tids, f"{found.path}/ali.*: {name}")
        cut += bool(len(tids)) and not transitions.phone_ends(tids)[1]
    found.files += files
    found.facts["ali"] = (
        f"{len(files)} files, {len(lengths)} utterances, {sum(lengths.values())} frames"
        + (f"; {cut} are not of whole phones" if cut else "")
    )
    return lengths


def _check_transforms(found: KaldiExperiment, dim: int) -> set[str]:
    """The speakers that have a transform."""
    files = sorted(path for path in found.path.glob("trans.*") if path.suffix[1:].isdigit())
    speakers: set[str] = set()
    for key, matrix in _transforms(files):
        where = f"{found.path}/trans.*: {key}"
        if key in speakers:
            raise InputError(f"{where}: comes twice")
        if matrix.shape not in ((dim, dim + 1), (dim, dim)):
            raise InputError(
                f"{where}: shape {matrix.shape}, {dim} x {dim + 1} expected for final.mdl"
            )
        if not np.all(np.isfinite(matrix)):
            raise InputError(f"{where}: holds NaN or infinity")
        speakers.add(key)
    if files:
        found.files += files
        found.facts["trans"] = f"{len(files)} files, {len(speakers)} speakers"
    return speakers


def _transforms(files: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    for file in files:
        yield from read_ark(file)


def _check_dimension(found: KaldiExperiment, data: Path, front_end: FrontEnd, dim: int) -> None:
    with closing(Scp(data / "feats.scp")) as feats:
        base = next(iter(feats.values()), np.empty((0, 0))).shape[1]
    if front_end.matrix is None:
        wanted = {dim // (front_end.deltas.delta_order + 1)}
    else:
        columns = front_end.matrix.shape[1]
        context = 1 + front_end.splicing.left_context + front_end.splicing.right_context
        wanted = {width // context for width in (columns, columns - 1) if width % context == 0}
    if base not in wanted:
        raise InputError(
            f"{data}/feats.scp: features of dimension {base}; {found.path} was made with "
            f"{' or '.join(map(str, sorted(wanted)))}"
        )


def _check_utterances(found: KaldiExperiment, data: DataDir, lengths, speakers) -> None:
    lengths, frames, known = lengths or {}, data.table("utt2num_frames"), data.utt2spk
    for name, length in lengths.items():
        if name not in known:
            raise InputError(f"{data.path}: has no utterance {name}, which {found.path} aligns")
        if frames.get(name, str(length)) != str(length):
            raise InputError(
                f"{data.path}/utt2num_frames: {name} has {frames[name]} frames, its alignment "
                f"in {found.path} has {length}"
            )
    without = {known[name] for name in lengths} - speakers if speakers else set()
    if without:
        raise InputError(f"{found.path}/trans.*: no transform for speaker {min(without)}")
    found.facts["data"] = f"{len(lengths)} of {len(known)} utterances are aligned"


def _copy(found: KaldiExperiment, out: Path) -> None:
    ours = ("import.json", "final.mdl", "tree", "ali.*", "trans.*", *_OPTIONAL)
    with atomic_dir(out, ours, [found.path]) as temporary:
        for file in found.files:
            shutil.copyfile(file, temporary / file.name)
        record = {"source": str(found.path.resolve()), **found.facts}
        (temporary / "import.json").write_text(json.dumps(record, indent=2) + "\n")
