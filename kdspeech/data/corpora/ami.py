"""The AMI meetings (Carletta et al. 2005), individual headsets: their layout to data directories.

lhotse downloads the corpus, reads the annotations and cuts long segments at full stops and commas;
which words remain, and how they are written, follows Kaldi's recipe.
"""

import logging
import os
import re
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from kdspeech.data.corpora.audit import Audit
from kdspeech.data.corpora.dictionary import read_lexicon, write_dict, write_lines
from kdspeech.data.corpora.pronounce import pronounce
from kdspeech.data.datadir import DataDir
from kdspeech.io.atomic import atomic_dir, atomic_path
from kdspeech.io.errors import InputError

SAMPLE_RATE = 16000
ANNOTATIONS = "ami_public_manual_1.6.2"
MAX_WORDS = 30  # longer segments are cut at punctuation, as in Kaldi's recipe
SPLITS = ("train", "dev", "test")


def prepare(
    corpus: str | os.PathLike,
    data: str | os.PathLike,
    lexicon: str | os.PathLike | None = None,
    lm_text: str | os.PathLike | None = None,
    vocabulary: int = 50_000,
    partition: str = "full-corpus-asr",
) -> Audit:
    """Makes DATA/{train,dev,test}, DATA/local/dict and DATA/local/lm.txt.

    Utterances and speakers are named as in Kaldi: AMI_<meeting>_H0<n>_<speaker>_<start>_<end>
    with times in hundredths of a second; a person is another speaker in each meeting.

    Args:
        corpus: folder with <meeting>/audio/<meeting>.Headset-<n>.wav somewhere below it, and the
            annotations (a folder or .zip called ami_public_manual_1.6.2).
        data: folder for the data directories.
        lexicon: pronunciations that come before those of the CMU dictionary.
        lm_text: more text for the language model, written normalised to DATA/local/lm_more.txt;
            its most frequent words enter the lexicon.
        vocabulary: how many words of `lm_text` that may be.
        partition: the official split, by lhotse's name.
    Returns:
        The counts and the list of problems (also in DATA/problems.txt).
    Raises:
        InputError: no annotations, no audio, headsets missing of a meeting that has some, a set
            without speech, or what `pronounce` says.
    """
    corpus, data, audit = Path(corpus).absolute(), Path(data), Audit(SAMPLE_RATE)
    annotations = _find_annotations(corpus, data)
    meetings = _check_audio(corpus, annotations, audit)
    _check_partition(corpus, partition, meetings)
    manifests = _read(corpus, annotations, partition)
    sets = {name: _tables(manifests[name], audit) for name in SPLITS}
    more = _normalised_lines(lm_text) if lm_text else []
    words = _vocabulary(sets["train"]["text"].values(), more, vocabulary)
    found, spelled = pronounce(words, read_lexicon(lexicon) if lexicon else None)
    for word in spelled:
        audit.warn(f"pronounced by espeak-ng: {word}")
    audit.finish(corpus, data)
    _write(data, sets, found, more, audit)
    return audit


def download(folder: str | os.PathLike) -> Path:
    """Downloads the headset recordings and the annotations (about 70 GB) through lhotse.

    Files that are there whole are not fetched again.

    Raises:
        InputError: lhotse is not installed, or the server cannot be reached.
    """
    folder = Path(folder).absolute() / "ami"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _lhotse().download_ami(folder, mic="ihm")
    except (OSError, ValueError) as error:
        raise InputError(
            f"AMI cannot be downloaded: {error} (run again to go on from there, or fetch it by "
            f"other means to {folder})"
        ) from error
    return folder


def normalise(text: str) -> str:
    """A transcript as Kaldi's AMI recipe writes it.

    Upper case without punctuation; words joined by a hyphen come apart, but MM-HMM and UH-HUH
    stay one word; an abbreviation such as L_C_D_ becomes its letters, L. C. D.
    """
    text = re.sub(r"[.,?!:;\"()]", " ", text.upper()).replace("-", " ")
    text = re.sub(r"[^\w.' ]", " ", text.replace("_", ". "))
    text = " ".join(word for word in text.split() if word.strip("'."))
    return re.sub(r"\bMM HMM\b", "MM-HMM", re.sub(r"\bUH HUH\b", "UH-HUH", text))


def _lhotse():
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when lhotse is imported
    try:
        import lhotse.recipes.ami as module
    except ImportError as error:
        raise InputError(
            "AMI is read through lhotse, which is not installed: pip install 'kdspeech[ami]'"
        ) from error
    return module


def _find_annotations(corpus: Path, data: Path) -> Path:
    """The folder of the annotations; a .zip is unpacked to DATA/local/annotations."""
    for folder in (corpus / ANNOTATIONS, corpus):
        if (folder / "corpusResources/meetings.xml").is_file():
            return folder
    archive = corpus / f"{ANNOTATIONS}.zip"
    if not archive.is_file():
        raise InputError(
            f"{corpus}: has no {ANNOTATIONS} (folder or .zip); give AMI's folder, `embedded` or "
            "`download`"
        )
    try:
        with zipfile.ZipFile(archive) as file:
            ours = {name.partition("/")[0] for name in file.namelist()}
            with atomic_dir(data / "local/annotations", ours) as folder:
                file.extractall(folder)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{archive}: damaged ({error}); fetch it again") from error
    return data / "local/annotations"


def _check_audio(corpus: Path, annotations: Path, audit: Audit) -> set[str]:
    """The meetings with audio: all their headsets, since lhotse numbers the ones that it finds."""
    present = {path.name for path in corpus.rglob("*.Headset-?.wav")}
    if not present:
        raise InputError(
            f"{corpus}: no <meeting>/audio/<meeting>.Headset-<n>.wav below it (the annotations "
            "alone are there; `download` fetches the recordings)"
        )
    complete = set()
    for meeting, names in _headsets(annotations).items():
        missing = [name for name in names if name not in present]
        if not missing:
            complete.add(meeting)
        elif len(missing) < len(names):
            raise InputError(
                f"{corpus}: {meeting} lacks {', '.join(missing)} (fetch it, or remove the others)"
            )
    without = len(_headsets(annotations)) - len(complete)
    if without:
        audit.warn(f"{without} meetings have no audio and are left out")
    return complete


def _check_partition(corpus: Path, partition: str, meetings: set[str]) -> None:
    partitions = _lhotse().PARTITIONS
    if partition not in partitions:
        raise InputError(f"--partition {partition}: there are {', '.join(partitions)}")
    for name in SPLITS:
        if not meetings & set(partitions[partition][name]):
            raise InputError(f"{corpus}: the {name} set of {partition} has no meeting with audio")


def _headsets(annotations: Path) -> dict[str, list[str]]:
    """Meeting -> the names of its headset files."""
    path = annotations / "corpusResources/meetings.xml"
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise InputError(f"{path}: damaged: {error}") from error
    return {
        meeting.attrib["observation"]: [
            f"{meeting.attrib['observation']}.Headset-{speaker.attrib['channel']}.wav"
            for speaker in meeting
        ]
        for meeting in root
    }


def _read(corpus: Path, annotations: Path, partition: str) -> dict:
    """lhotse's manifests; its hundreds of warnings on odd annotations are not shown."""
    module, level = _lhotse(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return module.prepare_ami(
            corpus,
            annotations,
            mic="ihm",
            partition=partition,
            normalize_text="none",
            max_words_per_segment=MAX_WORDS,
        )
    except (ET.ParseError, KeyError, IndexError) as error:
        raise InputError(f"{annotations}: damaged annotations: {error!r}") from error
    finally:
        logging.disable(level)


def _tables(manifest: dict, audit: Audit) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {
        name: {} for name in ("wav.scp", "segments", "text", "utt2spk", "spk2gender")
    }
    paths = {
        (recording.id, source.channels[0]): source.source
        for recording in manifest["recordings"]
        for source in recording.sources
    }
    for part in manifest["supervisions"]:
        audit.checked += 1
        if words := normalise(part.text):
            _add(tables, part, words, paths)
    return tables


def _add(tables: dict, part, words: str, paths: dict) -> None:
    """Adds one of lhotse's supervisions as an utterance; a doubled one is taken once."""
    recording = f"AMI_{part.recording_id}_H0{part.channel}"
    speaker = f"{recording}_{part.speaker}"
    start, end = round(100 * part.start), round(100 * part.end)
    utterance = f"{speaker}_{start:07d}_{end:07d}"
    if end <= start:
        return
    tables["wav.scp"][recording] = paths[part.recording_id, part.channel]
    tables["segments"][utterance] = f"{recording} {start / 100:.2f} {end / 100:.2f}"
    tables["text"][utterance] = words
    tables["utt2spk"][utterance] = speaker
    tables["spk2gender"][speaker] = part.gender.lower()


def _normalised_lines(path: str | os.PathLike) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return [line for line in map(normalise, file) if line]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason}") from error


def _vocabulary(text: Iterable[str], more: list[str], most: int) -> set[str]:
    """All words of the transcripts and the most frequent ones of the other text."""
    words = {word for line in text for word in line.split()}
    counts = Counter(word for line in more for word in line.split())
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return words | set(ranked[:most])


def _write(data: Path, sets: dict, lexicon: dict, more: list[str], audit: Audit) -> None:
    for name, tables in sets.items():
        DataDir(tables=tables).write(data / name)
        words = [word for line in tables["text"].values() for word in line.split()]
        audit.counts[name] = Counter(
            {
                "utterances": len(tables["text"]),
                "speakers": len(tables["spk2gender"]),
                "words": len(words),
                "words outside the lexicon": sum(word not in lexicon for word in words),
            }
        )
    write_dict(data / "local/dict", lexicon)
    lines = [line for _, line in sorted(sets["train"]["text"].items())]
    with atomic_path(data / "local/lm.txt") as temporary:
        write_lines(temporary, lines)
    (data / "local/lm_more.txt").unlink(missing_ok=True)
    if more:
        with atomic_path(data / "local/lm_more.txt") as temporary:
            write_lines(temporary, more)
