"""What the workers do with a split's features and alignments; SplitJobs calls these functions.

Each takes the split's folder first, which holds its data directory and its FrameStore.
"""

from collections.abc import Iterator
from pathlib import Path

from kdspeech.data.datadir import DataDir
from kdspeech.features.front_end import FrontEnd
from kdspeech.features.post import CmvnStats
from kdspeech.gmm.store import FrameStore
from kdspeech.hmm import DecisionTree, TransitionModel
from kdspeech.hmm.convert import AlignmentConverter
from kdspeech.io.alignments import iter_alignments, write_alignments
from kdspeech.io.ark import Scp
from kdspeech.io.errors import InputError

Problems = dict[str, str]
"""Utterance -> why it is not used."""


def prepare(folder: Path, front_end: FrontEnd) -> Problems:
    """Makes the store with the features after CMVN, "base"."""
    problems: Problems = {}
    FrameStore.create(folder, _base_features(DataDir(folder / "data"), front_end, problems))
    return problems


def _base_features(data: DataDir, front_end: FrontEnd, problems: Problems) -> Iterator[tuple]:
    feats, cmvn = (Scp(data.path / f"{name}.scp") for name in ("feats", "cmvn"))
    last, stats = None, None
    for utt, speaker in data.utt2spk.items():
        if speaker != last:
            last, stats = speaker, _cmvn(cmvn, speaker)
        if utt not in feats:
            continue  # Session.prepare names it
        if not data.text.get(utt, "").split():
            problems[utt] = "has no transcript"
        else:
            try:
                yield utt, speaker, front_end.normalize(feats[utt], stats)
            except InputError as error:  # no frames, NaN
                problems[utt] = str(error)


def _cmvn(cmvn: Scp, speaker: str) -> CmvnStats:
    if speaker not in cmvn:
        raise InputError(f"{cmvn.path}: has no speaker {speaker} (run `kds compute-cmvn` again)")
    return CmvnStats.from_matrix(cmvn[speaker])


def expand(folder: Path, front_end: FrontEnd) -> None:
    """Makes the model's features, "feats", from "base"."""
    store = FrameStore(folder)
    base = store.array("base")
    parts = (front_end.expand(base[store.frames(i)]) for i in range(len(store)))
    store.write_array("feats", parts)


def load_alignments(folder: Path, ali_dir: Path, transitions: TransitionModel) -> Problems:
    """Takes the split's alignments from a directory; `transitions` is its model's.

    They stay as "loaded" too, for convert_alignments, which may have to run again.
    """
    store = FrameStore(folder)
    numbers = {utt: i for i, utt in enumerate(store.utterances)}
    problems = dict.fromkeys(store.utterances, f"has no alignment in {ali_dir}")
    with store.new_alignment("loaded") as tids:
        for utt, found in iter_alignments(ali_dir):
            if utt not in numbers:
                continue
            frames = store.frames(numbers[utt])
            if len(found) != frames.stop - frames.start:
                problems[utt] = f"{len(tids[frames])} frames, its alignment has {len(found)}"
                continue
            tids[frames] = transitions.checked(found, f"{ali_dir}: {utt}")
            problems.pop(utt, None)
    with store.new_alignment() as tids:
        tids[:] = store.alignment("loaded")
    return problems


def convert_alignments(
    folder: Path, old: TransitionModel, new: TransitionModel, tree: DecisionTree
) -> None:
    """Makes of the alignments that were loaded those of another model with the same phones."""
    store = FrameStore(folder)
    convert, before = AlignmentConverter(old, new, tree), store.alignment("loaded")
    with store.new_alignment() as tids:
        for i in store.aligned(before):
            frames = store.frames(i)
            tids[frames] = convert(before[frames], store.utterances[i])


def save_alignments(folder: Path, out: Path) -> None:
    """Writes ali.N.gz of the split in folder N."""
    store = FrameStore(folder)
    tids = store.alignment()
    pairs = ((store.utterances[i], tids[store.frames(i)]) for i in store.aligned(tids))
    write_alignments(out / f"ali.{folder.name}.gz", pairs)
