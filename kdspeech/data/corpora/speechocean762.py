"""speechocean762 (Zhang et al. 2021, OpenSLR 101): read English of Mandarin speakers, 16 kHz.

The corpus brings Kaldi data directories, a lexicon in ARPAbet with stress marks and, where it is
the cut this recipe is measured on, a development set and the sentences for the language model.
"""

import gzip
import os
import tarfile
import zlib
from pathlib import Path

from kdspeech.data.corpora.audit import Audit
from kdspeech.data.corpora.dictionary import read_lexicon, write_dict, write_lines
from kdspeech.data.corpora.download import fetch
from kdspeech.data.corpora.progress import track
from kdspeech.data.datadir import DataDir
from kdspeech.io.atomic import atomic_dir, atomic_path, check_apart
from kdspeech.io.errors import InputError

SAMPLE_RATE = 16000
URL = "https://www.openslr.org/resources/101/speechocean762.tar.gz"
LEXICON, LM_TEXT = "resource/lexicon.txt", "resource/lm_train_text.txt"
CHILDREN = "train_children"  # of the cut this recipe is measured on: more speech for networks
_TABLES = ("wav.scp", "text", "utt2spk", "spk2gender")


def prepare(corpus: str | os.PathLike, data: str | os.PathLike, dev_every: int = 8) -> Audit:
    """Makes DATA/{train,dev,test}, DATA/local/dict and DATA/local/lm.txt.

    Where the corpus has a folder train_children there is a DATA/train_children as well.

    The lexicon loses its stress marks and gains `<UNK>`. lm.txt holds the sentences of
    resource/lm_train_text.txt (those of the training set where there is no such file) and every
    word of the lexicon once, on a line of its own, so that each of them has a probability.

    Args:
        corpus: folder with WAVE/, train/, test/ and resource/lexicon.txt.
        data: folder for the data directories.
        dev_every: where the corpus has no dev/ (the original), every n-th training speaker
            becomes the development set.
    Returns:
        The counts and the list of problems (also in DATA/problems.txt).
    Raises:
        InputError: no such layout, a word of a transcript that the lexicon lacks, a set without
            speech, more than 1 % of the files unusable, or `data` is the corpus.
    """
    check_apart(data, [corpus])
    corpus, data, audit = Path(corpus).absolute(), Path(data), Audit(SAMPLE_RATE)
    lexicon = read_lexicon(corpus / LEXICON)
    sets = _read_sets(corpus, dev_every)
    for name, tables in sets.items():
        _check_words(tables["text"], lexicon, corpus / name)
        sets[name] = _usable(tables, audit)
    audit.finish(corpus, data)
    for name, tables in sets.items():
        if not tables["text"]:
            raise InputError(f"{corpus}: the {name} set has no recording")
        DataDir(tables=tables).write(data / name)
        speakers = len(set(tables["utt2spk"].values()))
        audit.counts[name] = {"utterances": len(tables["text"]), "speakers": speakers}
    write_dict(data / "local/dict", lexicon)
    with atomic_path(data / "local/lm.txt") as temporary:
        write_lines(temporary, [*_lm_sentences(corpus, sets["train"]["text"]), *sorted(lexicon)])
    return audit


def download(
    folder: str | os.PathLike, url: str = URL, sha256: str | None = None, progress: bool = True
) -> Path:
    """Downloads and unpacks the corpus (520 MB); what is already there is not fetched again.

    OpenSLR publishes no checksum of the archive: without `sha256` it is held only against its own
    CRC, and each recording is checked when the data directories are made.

    Returns:
        The corpus folder, `folder`/speechocean762.
    Raises:
        InputError: the server cannot be reached, or the archive is damaged, has the wrong checksum
            or holds another corpus.
    """
    corpus = Path(folder).absolute() / "speechocean762"
    if corpus.is_dir():
        return corpus
    archive = fetch(url, corpus.parent / url.rsplit("/", 1)[-1], sha256, progress)
    with atomic_dir(corpus, ours=[]) as temporary:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                # Python before 3.10.12 and 3.11.4 has no filters and passes this over.
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(temporary)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{archive}: damaged ({error}); remove it and run again") from error
        _lift(temporary, archive)
    return corpus


def _lift(folder: Path, archive: Path) -> None:
    """Moves what lies in the archive's only folder one level up."""
    inner = [path for path in folder.iterdir() if (path / "WAVE").is_dir()]
    if len(inner) != 1:
        raise InputError(f"{archive}: has no folder with WAVE/ in it; is it speechocean762?")
    for path in list(inner[0].iterdir()):
        os.rename(path, folder / path.name)
    inner[0].rmdir()


def _read_sets(corpus: Path, dev_every: int) -> dict[str, dict[str, dict[str, str]]]:
    for name in ("train", "test"):
        if not (corpus / name).is_dir():
            raise InputError(
                f"{corpus}: no folder {name} in it (give speechocean762, or `download`)"
            )
    names = ("train", "dev", "test", CHILDREN)
    sets = {name: _read_set(corpus / name) for name in names if (corpus / name).is_dir()}
    if "dev" not in sets:
        sets["train"], sets["dev"] = _split_speakers(sets["train"], dev_every)
    return sets


def _read_set(folder: Path) -> dict[str, dict[str, str]]:
    """The tables of a set; paths become absolute, utterances that a table lacks are an error."""
    source = DataDir(folder)
    tables = {name: dict(source.table(name)) for name in _TABLES if name in source}
    for name in ("wav.scp", "text", "utt2spk"):
        missing = sorted(set(source.utterances) ^ set(tables.get(name, {})))
        if missing:
            raise InputError(f"{folder / name}: does not list the same utterances: {missing[0]}")
    tables["wav.scp"] = {utt: source.resolve(path) for utt, path in tables["wav.scp"].items()}
    return tables


def _split_speakers(tables: dict, every: int) -> tuple[dict, dict]:
    """The tables without, and with only, every n-th speaker."""
    chosen = set(sorted(set(tables["utt2spk"].values()))[every - 1 :: every])
    parts = {}
    for wanted in (False, True):
        utts = {u for u, spk in tables["utt2spk"].items() if (spk in chosen) == wanted}
        parts[wanted] = _only(tables, utts)
    return parts[False], parts[True]


def _only(tables: dict, utts: set[str]) -> dict:
    speakers = {tables["utt2spk"][utt] for utt in utts}
    return {
        name: {key: v for key, v in table.items() if key in utts | speakers}
        for name, table in tables.items()
    }


def _check_words(text: dict[str, str], lexicon: dict, where: Path) -> None:
    for utt, line in text.items():
        unknown = [word for word in line.split() if word not in lexicon]
        if unknown:
            raise InputError(f"{where / 'text'}: {utt}: {unknown[0]} is not in {LEXICON} (add it)")


def _usable(tables: dict, audit: Audit) -> dict:
    """The tables without the utterances whose audio cannot be used."""
    utts = track(tables["wav.scp"], len(tables["wav.scp"]), "checking")
    good = {u for u in utts if audit.check(Path(tables["wav.scp"][u]), tables["text"][u])}
    return _only(tables, good)


def _lm_sentences(corpus: Path, text: dict[str, str]) -> list[str]:
    path = corpus / LM_TEXT
    if path.is_file():
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [text[utt] for utt in sorted(text)]
