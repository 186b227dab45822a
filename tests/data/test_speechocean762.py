"""speechocean762's layout to data directories, dictionary and LM text."""

import tarfile

import pytest
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.data import DataDir
from kdspeech.data.corpora import speechocean762
from kdspeech.io.errors import InputError
from tests.make_corpus import write_corpus

LEXICON = "ONE\tW AH1 N\nONE\tW AH0 N\nTWO\tT UW1\nTWO\tT AH0\nWORD\tW ER0 D\n" + "".join(
    f"{digit}\tD IH{digit % 3} G\n" for digit in range(10)
)


@pytest.fixture
def corpus(tmp_path):
    """Nine training speakers and one for testing, WAVE/SPEAKER*, no dev set."""
    folder = tmp_path / "speechocean762"
    for name, speakers in (("train", 9), ("test", 1)):
        write_corpus(folder / name, num_speakers=speakers, num_utterances=2)
        for wav in sorted((folder / name).glob("*.wav")):
            to = folder / "WAVE" / f"SPEAKER{name}{wav.name[1]}" / wav.name
            to.parent.mkdir(parents=True, exist_ok=True)
            wav.rename(to)
        scp = folder / name / "wav.scp"
        lines = [line.split()[0] for line in scp.read_text().splitlines()]
        scp.write_text("".join(f"{u} WAVE/SPEAKER{name}{u[1]}/{u}.wav\n" for u in lines))
    (folder / "resource").mkdir()
    (folder / "resource/lexicon.txt").write_text(LEXICON)
    return folder


def test_the_original_gets_a_development_set_of_whole_speakers(corpus, tmp_path):
    audit = speechocean762.prepare(corpus, tmp_path / "data", dev_every=3)
    assert {n: c["speakers"] for n, c in audit.counts.items()} == {"train": 6, "dev": 3, "test": 1}
    dev, train = (DataDir(tmp_path / "data" / name) for name in ("dev", "train"))
    assert set(dev.spk2utt) == {"s3", "s6", "s9"} and not set(dev.spk2utt) & set(train.spk2utt)
    assert train.validate() == [] and len(train.samples("s1-1")) == 4800


def test_a_dev_set_that_is_there_is_taken(corpus, tmp_path):
    (corpus / "test").rename(corpus / "dev")
    write_corpus(corpus / "test", num_speakers=2)
    audit = speechocean762.prepare(corpus, tmp_path / "data")
    assert {n: c["speakers"] for n, c in audit.counts.items()} == {"train": 9, "dev": 1, "test": 2}


def test_the_dictionary_has_no_stress_and_no_pronunciation_twice(corpus, tmp_path):
    speechocean762.prepare(corpus, tmp_path / "data")
    folder = tmp_path / "data/local/dict"
    lexicon = (folder / "lexicon.txt").read_text().splitlines()
    assert lexicon[0] == "<UNK> SPN"
    assert [line for line in lexicon if line[:3] in ("ONE", "TWO")] == [
        "ONE W AH N",
        "TWO T AH",
        "TWO T UW",
    ]
    phones = (folder / "nonsilence_phones.txt").read_text().split()
    assert phones == sorted(["W", "AH", "N", "T", "UW", "ER", "D", "IH", "G"])
    assert (folder / "silence_phones.txt").read_text().split() == ["SIL", "SPN"]
    assert (folder / "optional_silence.txt").read_text().split() == ["SIL"]
    assert (folder / "extra_questions.txt").read_text().splitlines()[0] == "SIL SPN"


def test_lm_text_is_the_sentences_and_every_word_once(corpus, tmp_path):
    (corpus / "resource/lm_train_text.txt").write_text("ONE TWO\nTWO WORD\n")
    speechocean762.prepare(corpus, tmp_path / "data")
    lines = (tmp_path / "data/local/lm.txt").read_text().splitlines()
    assert lines[:2] == ["ONE TWO", "TWO WORD"]
    assert lines[2:] == sorted(["ONE", "TWO", "WORD", *"0123456789"])


def test_a_word_that_the_lexicon_lacks_is_named(corpus, tmp_path):
    text = corpus / "train/text"
    text.write_text(text.read_text().replace("s1-1 WORD", "s1-1 GARBLE"))
    with pytest.raises(InputError, match=r"train/text: s1-1: GARBLE is not in resource/lexicon"):
        speechocean762.prepare(corpus, tmp_path / "data")
    assert not (tmp_path / "data/train").exists()


def test_a_damaged_lexicon_names_the_line(corpus, tmp_path):
    (corpus / "resource/lexicon.txt").write_text("ONE W AH1 N\nTWO\n")
    with pytest.raises(InputError, match=r"lexicon.txt:2: a line is a word and its phones"):
        speechocean762.prepare(corpus, tmp_path / "data")


def test_no_such_layout(tmp_path):
    done = CliRunner().invoke(app, ["corpus", "speechocean762", str(tmp_path), str(tmp_path / "d")])
    assert done.exit_code == 1 and "lexicon.txt" in done.output


def test_download_unpacks_and_is_not_repeated(corpus, tmp_path):
    archive = tmp_path / "speechocean762.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(corpus, "speechocean762")
    folder = speechocean762.download(tmp_path / "to", archive.as_uri(), progress=False)
    assert (folder / "WAVE").is_dir() and (folder / "resource/lexicon.txt").is_file()
    archive.unlink()
    assert speechocean762.download(tmp_path / "to", archive.as_uri(), progress=False) == folder


def test_a_damaged_archive_leaves_nothing(tmp_path):
    archive = tmp_path / "speechocean762.tar.gz"
    archive.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(InputError, match="damaged"):
        speechocean762.download(tmp_path / "to", archive.as_uri(), progress=False)
    assert not (tmp_path / "to/speechocean762").exists()
