"""The Free Spoken Digit Dataset (Jackson et al., version 1.0.10) to Kaldi data directories.

3,000 spoken digits, six speakers, 8 kHz. The official split is by take, with all speakers in all
sets; for acoustic models whole speakers are held out. There are no noise recordings and so no
silence.
"""

import gzip
import os
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from kdspeech.data.corpora.audit import Audit
from kdspeech.data.corpora.dictionary import write_dict, write_lines
from kdspeech.data.corpora.download import fetch
from kdspeech.data.corpora.progress import track
from kdspeech.data.datadir import DataDir
from kdspeech.io.atomic import atomic_dir, atomic_path
from kdspeech.io.errors import InputError

SAMPLE_RATE = 8000
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz"
PRONUNCIATIONS = {  # the CMU dictionary's
    **{"zero": ["Z IH R OW", "Z IY R OW"], "one": ["W AH N", "HH W AH N"], "two": ["T UW"]},
    **{"three": ["TH R IY"], "four": ["F AO R"], "five": ["F AY V"], "six": ["S IH K S"]},
    **{"seven": ["S EH V AH N"], "eight": ["EY T"], "nine": ["N AY N"]},
}
TEST_TAKES = 5  # the official split: takes 0 to 4 are for testing, 5 to 49 for training
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[A-Za-z0-9]+)_(?P<take>\d+)\.(wav|flac)")


def prepare(
    corpus: str | os.PathLike, data: str | os.PathLike, dev_takes: tuple[int, int] = (5, 9)
) -> Audit:
    """Makes DATA/train, DATA/dev and DATA/test; `text` is the digit as a word.

    Takes 0 to 4 are the test set, as in the corpus's README. It has no development set: one is
    cut from its training takes, 5 to 9 of every speaker and digit unless told otherwise.

    Args:
        corpus: folder with `{digit}_{speaker}_{take}.wav` (or .flac), or one above `recordings/`.
        data: folder for the data directories.
        dev_takes: first and last take of the development set.
    Returns:
        The counts and the list of problems (also in DATA/problems.txt).
    Raises:
        InputError: no such layout, development takes among the test takes, a set without clips,
            or more than 1 % of the files unusable.
    """
    first, last = dev_takes
    if not TEST_TAKES <= first <= last:
        raise InputError(f"dev takes {first}-{last}: must be a range within the training takes 5-")

    def by_take(speaker: str, take: int) -> str:
        return "test" if take < TEST_TAKES else "dev" if first <= take <= last else "train"

    return _prepare(corpus, data, ("train", "dev", "test"), by_take)


def prepare_asr(
    corpus: str | os.PathLike,
    data: str | os.PathLike,
    test_speakers: Sequence[str],
    dev_speakers: Sequence[str] = (),
) -> Audit:
    """Makes data directories for acoustic models: no speaker is in two of them.

    Besides DATA/train, DATA/test and, where there are speakers for it, DATA/dev, there are
    DATA/local/dict, the ten digits as the CMU dictionary pronounces them, and
    DATA/local/one_of.txt, the digits, of which an utterance is one.

    Args:
        corpus, data: as `prepare`.
        test_speakers, dev_speakers: all takes of these are for testing and development.
    Returns:
        As `prepare`.
    Raises:
        InputError: as `prepare`, or a speaker in two sets.
    """
    shared = sorted(set(test_speakers) & set(dev_speakers))
    if shared:
        raise InputError(f"speaker {shared[0]}: for development or for testing, not both")
    sets = {speaker: "test" for speaker in test_speakers}
    sets |= {speaker: "dev" for speaker in dev_speakers}
    names = ("train", "dev", "test") if dev_speakers else ("train", "test")
    audit = _prepare(corpus, data, names, lambda speaker, take: sets.get(speaker, "train"))
    lexicon = {word: [tuple(p.split()) for p in PRONUNCIATIONS[word]] for word in DIGITS}
    write_dict(Path(data) / "local/dict", lexicon)
    with atomic_path(Path(data) / "local/one_of.txt") as temporary:
        write_lines(temporary, DIGITS)
    return audit


def _prepare(
    corpus: str | os.PathLike,
    data: str | os.PathLike,
    names: Sequence[str],
    set_of: Callable[[str, int], str],
) -> Audit:
    """Checks the recordings and puts each into the set that its speaker and take give it."""
    corpus, audit = _recordings(Path(corpus).absolute()), Audit(SAMPLE_RATE)
    sets = {name: {"wav.scp": {}, "text": {}, "utt2spk": {}} for name in names}
    paths = [p for p in sorted(corpus.iterdir()) if p.suffix in (".wav", ".flac")]
    for path in track(paths, len(paths), "checking"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            audit.reject(path, "is not named <digit>_<speaker>_<take>")
            continue
        take, word = int(match["take"]), DIGITS[int(match["digit"])]
        name = set_of(match["speaker"], take)
        utterance = f"{match['speaker']}-{word}-{take:02d}"
        if utterance in sets[name]["text"]:
            audit.reject(path, f"has the same name as {sets[name]['wav.scp'][utterance]}")
        elif audit.check(path, word):
            sets[name]["wav.scp"][utterance] = os.fspath(path)
            sets[name]["text"][utterance] = word
            sets[name]["utt2spk"][utterance] = match["speaker"]
    audit.finish(corpus, data)
    for name, tables in sets.items():
        if not tables["text"]:
            raise InputError(f"{corpus}: the {name} set has no recording")
    for name, tables in sets.items():
        DataDir(tables=tables).write(Path(data) / name)
        audit.counts[name] = {"words": len(tables["text"])}
    return audit


def download(
    folder: str | os.PathLike, url: str = URL, sha256: str | None = None, progress: bool = True
) -> Path:
    """Downloads and unpacks the recordings; what is already there is not fetched again.

    The corpus publishes no checksum of its archive: without `sha256` the archive is held only
    against its own CRC, and each recording is checked when the data directories are made.

    Args:
        folder: where the archive and the corpus go.
        url: of the archive, a .tar.gz with a folder `recordings`.
        sha256: its checksum, hexadecimal, if you know it.
        progress: show a bar.
    Returns:
        The folder of the recordings, `folder`/recordings.
    Raises:
        InputError: the server cannot be reached, or the archive is damaged or has the wrong
            checksum or no recordings.
    """
    recordings = Path(folder).absolute() / "recordings"
    if recordings.is_dir():
        return recordings
    archive = fetch(url, recordings.parent / url.rsplit("/", 1)[-1], sha256, progress)
    with atomic_dir(recordings, ours=[]) as temporary:
        try:
            _unpack(archive, temporary)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{archive}: damaged ({error}); remove it and run again") from error
        if not any(temporary.iterdir()):
            raise InputError(f"{archive}: has no folder `recordings` with .wav files")
    return recordings


def _unpack(archive: Path, folder: Path) -> None:
    """Only the recordings, and under their own names whatever path the archive gives them."""
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if member.isfile() and "recordings" in parts[:-1] and _NAME.fullmatch(parts[-1]):
                with open(folder / parts[-1], "wb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)


def _recordings(corpus: Path) -> Path:
    """The folder that holds the files: the one given, or `recordings` in it."""
    for folder in (corpus, corpus / "recordings"):
        if folder.is_dir() and any(_NAME.fullmatch(p.name) for p in folder.iterdir()):
            return folder
    raise InputError(
        f"{corpus}: no <digit>_<speaker>_<take>.wav in it (give the corpus, or `download`)"
    )
