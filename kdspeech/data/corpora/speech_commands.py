"""Google Speech Commands (Warden 2018, arXiv:1804.03209): its layout to Kaldi data directories.

What is a keyword and what is "unknown" is not decided here: `text` is the word that was spoken,
whichever words there are, and `_silence_` for pieces of the background noise.
"""

import hashlib
import math
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kdspeech.data.corpora.audit import Audit
from kdspeech.data.corpora.download import fetch
from kdspeech.data.corpora.progress import track
from kdspeech.data.datadir import DataDir
from kdspeech.io.errors import InputError

SAMPLE_RATE = 16000
NOISE_FOLDER = "_background_noise_"
SILENCE = "_silence_"
LISTS = {"dev": "validation_list.txt", "test": "testing_list.txt"}
SPLITS = ("train", "dev", "test")
URL = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
# As in torchaudio.datasets.speechcommands and in TensorFlow Datasets' list of checksums.
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_CLIP_NAME = re.compile(r"(?P<speaker>[^-_\s]+)_nohash_(?P<number>\d+)")
_MAX_WAVS_PER_CLASS = 2**27 - 1
_TRAIN_HOP, _PIECE = 0.25, 1.0  # seconds


@dataclass(frozen=True)
class Clip:
    """One recording of one word."""

    word: str
    speaker: str
    number: int
    path: Path

    @property
    def utterance(self) -> str:
        return f"{self.speaker}-{self.word}-{self.number}"


def split_of_speaker(speaker: str) -> str:
    """The set ("train", "dev" or "test") of a speaker by the corpus's own rule, 80/10/10 %.

    The first ten per cent of the range of the speaker's SHA-1, modulo 2^27, are for validation,
    the next ten for testing (`which_set` in TensorFlow's speech_commands/input_data.py and in
    the README of the corpus).
    """
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16)
    percent = (number % (_MAX_WAVS_PER_CLASS + 1)) * (100.0 / _MAX_WAVS_PER_CLASS)
    if percent < 10:
        return "dev"
    return "test" if percent < 20 else "train"


def prepare(corpus: str | os.PathLike, data: str | os.PathLike) -> Audit:
    """Makes DATA/train, DATA/dev, DATA/test and DATA/noise from a corpus in the official layout.

    The split is by the corpus's lists, or by `split_of_speaker` where there are none. Silence is
    one-second pieces of the noise recordings, given in `segments`: the first 80 % of each
    recording is for training, the next 10 % for development, the last for testing. Pieces do not
    overlap in dev and test; in train they may, by up to three quarters of a second. There are up
    to one for eight words, which makes 10 % of a set with as much unknown, as far as the noise
    reaches. A silence piece's speaker is its noise file. `noise` holds the training part of each
    noise recording, for augmentation; without noise files it and the silence are left out.

    Clips that cannot be used (damaged, another rate, an odd name) are left out; clips that occur
    twice are kept, as in the published sets. DATA/problems.txt lists both.

    Args:
        corpus: folder with one folder per word, files `<speaker>_nohash_<n>.wav` (or .flac, ...).
        data: folder for the data directories.
    Returns:
        The counts and the list of problems.
    Raises:
        InputError: no such layout, one list without the other, a set without clips, or more than
            1 % of the files unusable.
    """
    corpus = Path(corpus).absolute()
    audit = Audit(SAMPLE_RATE)
    clips = _find_clips(corpus, audit)
    split_of = _splits(corpus, clips, audit)
    lengths = {c: audit.check(c.path, c.word) for c in track(clips, len(clips), "checking")}
    sets = {name: [c for c in clips if lengths[c] and split_of[c] == name] for name in SPLITS}
    noises = _noise_lengths(corpus, audit)
    audit.finish(corpus, data)
    for name, members in sets.items():
        if not members:
            raise InputError(f"{corpus}: the {name} set has no clip")
    for name, members in sets.items():
        tables = _word_tables(members, lengths, bool(noises))
        pieces = _silence_pieces(noises, name, len(members))
        _add_pieces(tables, pieces, "silence")
        DataDir(tables=tables).write(Path(data) / name)
        audit.counts[name] = {"words": len(members), "silence": len(pieces)}
    if noises:
        tables = _word_tables([], {}, True)
        parts = [(p, *_part(seconds, "train")) for p, seconds in noises.items() if seconds > 1]
        _add_pieces(tables, parts, "noise")
        DataDir(tables=tables).write(Path(data) / "noise")
        audit.counts["noise"] = {"silence": len(parts)}
    return audit


def download(
    folder: str | os.PathLike, url: str = URL, sha256: str = SHA256, progress: bool = True
) -> Path:
    """Downloads and unpacks the corpus; what is already there is not fetched again.

    The archive is fetched with resume and checked, then unpacked by
    `torchaudio.datasets.SPEECHCOMMANDS` (its Python part; the binary is not needed).

    Args:
        folder: where the archive and the corpus go.
        url: of the archive, `<name>.tar.gz`.
        sha256: its checksum, hexadecimal.
        progress: show a bar.
    Returns:
        The corpus folder, `folder`/SpeechCommands/<name>.
    Raises:
        InputError: no torchaudio, the server cannot be reached, or a wrong checksum.
    """
    archive_name = url.rsplit("/", 1)[-1]
    if not archive_name.endswith(".tar.gz"):
        raise InputError(f"{url}: a .tar.gz archive is expected")
    corpus = Path(folder).absolute() / "SpeechCommands" / archive_name.removesuffix(".tar.gz")
    if corpus.is_dir():
        return corpus
    dataset = _torchaudio_dataset()
    archive = fetch(url, Path(folder) / archive_name, sha256, progress)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        os.symlink(archive.absolute(), Path(scratch) / archive_name)
        dataset(scratch, url=url, download=True)  # finds the archive and unpacks it
        corpus.parent.mkdir(exist_ok=True)
        os.rename(Path(scratch) / "SpeechCommands" / corpus.name, corpus)
    return corpus


def _torchaudio_dataset():
    try:
        from torchaudio.datasets import SPEECHCOMMANDS
    except (ImportError, OSError) as error:
        raise InputError(
            f"downloading Speech Commands needs torchaudio, which cannot be imported ({error}); "
            "pip install 'kdspeech[torchaudio]', or unpack the archive yourself and give its folder"
        ) from error
    return SPEECHCOMMANDS


def _find_clips(corpus: Path, audit: Audit) -> list[Clip]:
    if not corpus.is_dir():
        raise InputError(f"{corpus}: no such folder (give the corpus, or `download`)")
    clips: dict[str, Clip] = {}
    for path in _audio_files(corpus):
        match = _CLIP_NAME.fullmatch(path.name.split(".", 1)[0])
        if match is None:
            audit.reject(path, "is not named <speaker>_nohash_<number>")
            continue
        clip = Clip(path.parent.name, match["speaker"], int(match["number"]), path)
        if clip.utterance in clips:
            audit.reject(path, f"has the same name as {clips[clip.utterance].path}")
        else:
            clips[clip.utterance] = clip
    if not clips:
        raise InputError(
            f"{corpus}: no <word>/<speaker>_nohash_<number>.wav in it; "
            "Speech Commands has one folder per word"
        )
    return list(clips.values())


def _audio_files(corpus: Path) -> Iterator[Path]:
    for folder in sorted(corpus.iterdir()):
        if folder.is_dir() and folder.name[0] not in "_.":
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in AUDIO_SUFFIXES:
                    yield path


def _splits(corpus: Path, clips: list[Clip], audit: Audit) -> dict[Clip, str]:
    listed = {name: _read_list(corpus / file) for name, file in LISTS.items()}
    absent = [LISTS[name] for name, lines in listed.items() if lines is None]
    if len(absent) == 1:
        raise InputError(
            f"{corpus}: has no {absent[0]}, but the other list (restore it, or remove both to "
            "split by the SHA-1 of the speakers)"
        )
    if absent:
        return {clip: split_of_speaker(clip.speaker) for clip in clips}
    stems = {f"{clip.word}/{clip.path.name.split('.', 1)[0]}": clip for clip in clips}
    split_of = dict.fromkeys(clips, "train")
    for name, lines in listed.items():
        for number, line in enumerate(lines, 1):
            clip = stems.get(line.split(".", 1)[0])
            if clip is None:
                audit.warn(f"{corpus / LISTS[name]}:{number}: no such clip {line}")
            elif split_of[clip] != "train":
                raise InputError(f"{corpus / LISTS[name]}:{number}: {line} was listed before")
            else:
                split_of[clip] = name
    _warn_shared_speakers(split_of, audit)
    return split_of


def _read_list(path: Path) -> list[str] | None:
    return path.read_text(encoding="utf-8").split() if path.is_file() else None


def _warn_shared_speakers(split_of: dict[Clip, str], audit: Audit) -> None:
    sets = defaultdict(set)
    for clip, name in split_of.items():
        sets[clip.speaker].add(name)
    for speaker, names in sorted(sets.items()):
        if len(names) > 1:
            audit.warn(f"speaker {speaker} is in more than one set: {', '.join(sorted(names))}")


def _word_tables(clips: list[Clip], lengths: dict[Clip, int], segmented: bool) -> dict:
    """The tables of a data directory, without silence; with `segments` where asked for."""
    tables = {"wav.scp": {}, "text": {}, "utt2spk": {}, "segments": {}}
    for clip in clips:
        tables["wav.scp"][clip.utterance] = os.fspath(clip.path)
        tables["text"][clip.utterance] = clip.word
        tables["utt2spk"][clip.utterance] = clip.speaker
        end = _seconds(lengths[clip])
        tables["segments"][clip.utterance] = f"{clip.utterance} 0.00 {end}"
    if not segmented:
        del tables["segments"]
    return tables


def _seconds(samples: int) -> str:
    """A time in microseconds that gives this number of samples again as int(time * rate)."""
    micro = samples * 1_000_000 // SAMPLE_RATE
    while int(float(f"{micro / 1e6:.6f}") * SAMPLE_RATE) < samples:
        micro += 1
    return f"{micro / 1e6:.6f}".rstrip("0") + "0"


def _add_pieces(tables: dict, pieces: list[tuple[Path, float, float]], kind: str) -> None:
    """Adds segments (noise file, start, end) to the tables, as utterances of text `_silence_`."""
    for i, (path, start, end) in enumerate(pieces):
        name = _noise_name(path)
        utterance = f"{name}-{kind}-{i:05d}"
        tables["wav.scp"][name] = os.fspath(path)
        tables["segments"][utterance] = f"{name} {start:.2f} {end:.2f}"
        tables["text"][utterance] = SILENCE
        tables["utt2spk"][utterance] = name


def _noise_name(path: Path) -> str:
    return re.sub(r"\W", "_", path.stem, flags=re.ASCII)


def _noise_lengths(corpus: Path, audit: Audit) -> dict[Path, float]:
    """Noise file -> seconds."""
    folder, found, names = corpus / NOISE_FOLDER, {}, {}
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in (p for p in paths if p.suffix.lower() in AUDIO_SUFFIXES):
        other = names.setdefault(_noise_name(path), path)
        if other != path:
            audit.reject(path, f"has the same name as {other}")
        elif samples := audit.check(path, NOISE_FOLDER):
            found[path] = samples / SAMPLE_RATE
    if not found:
        audit.warn(f"{folder}: no noise recordings: the sets have no silence, and no noise set")
    return found


def _part(seconds: float, split: str) -> tuple[float, float]:
    """The part of a noise recording that belongs to a set, (start, end) in whole quarter seconds.

    Quarters are exact in binary, so that every piece has the same number of samples.
    """
    start, end = {"train": (0, 0.8), "dev": (0.8, 0.9), "test": (0.9, 1)}[split]
    return math.ceil(4 * seconds * start) / 4, math.floor(4 * seconds * end) / 4


def _silence_pieces(
    noises: dict[Path, float], split: str, words: int
) -> list[tuple[Path, float, float]]:
    """Up to words / 8 pieces of one second, (file, start, end), spread evenly over the noise."""
    hop = _TRAIN_HOP if split == "train" else _PIECE
    pieces = []
    for path, seconds in noises.items():
        start, end = _part(seconds, split)
        count = math.floor((end - start - _PIECE) / hop) + 1
        pieces += [(path, start + i * hop, start + i * hop + _PIECE) for i in range(count)]
    wanted = min(len(pieces), math.ceil(words / 8))
    return [pieces[i * len(pieces) // wanted] for i in range(wanted)]
