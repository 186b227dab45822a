"""The embedded meetings, and AMI's layout to data directories."""

import hashlib
import re
import shutil
import xml.etree.ElementTree as ET
import zipfile

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from kdspeech.cli.main import app
from kdspeech.data import DataDir
from kdspeech.data.corpora import ami, meetings
from kdspeech.io.errors import InputError

SIZE = {"meetings": (1, 1, 1), "turns": 6}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ami") / "corpus"
    assert meetings.make_meetings(folder, **SIZE, seed=3) == 3
    return folder


@pytest.fixture
def copy(corpus, tmp_path):
    return shutil.copytree(corpus, tmp_path / "copy")


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory):
    data = tmp_path_factory.mktemp("prepared")
    return data, ami.prepare(corpus, data)


@pytest.mark.parametrize(
    "said, written",
    [
        ("Okay .", "OKAY"),
        ("Mm-hmm . Uh-huh , yeah", "MM-HMM UH-HUH YEAH"),
        ("the L_C_D_ screen of the T_V_ 's", "THE L. C. D. SCREEN OF THE T. V. 'S"),
        ("X_M_L", "X. M. L"),
        ("anti-trust um ,I 'cause it's", "ANTI TRUST UM I 'CAUSE IT'S"),
        ("- . ?", ""),
    ],
)
def test_words_are_written_as_kaldi_writes_them(said, written):
    assert ami.normalise(said) == written


def test_layout_and_channels(corpus):
    names = sorted(p.name for p in corpus.rglob("*.wav"))
    assert names[:4] == [f"ES2002a.Headset-{n}.wav" for n in range(4)]
    assert {n.split(".")[0] for n in names} == {"ES2002a", "ES2004a", "ES2011a"}
    lengths = {soundfile.info(p).frames for p in corpus.rglob("ES2002a*.wav")}
    assert len(lengths) == 1


def test_the_owner_of_a_headset_is_the_loudest_on_it(prepared):
    """Where nobody else talks, the others' headsets hear a person 6 dB below his own at least."""
    alone = 0
    for name in ("train", "dev", "test"):
        data = DataDir(prepared[0] / name)
        spans = [(s.recording, s.start, s.end) for s in data.segments.values()]
        for recording, start, end in spans:
            if not any(r != recording and a < end and start < b for r, a, b in spans):
                power = _powers(data.wav_scp[recording], start, end)
                assert power.pop(int(recording[-1])) > max(power.values()) + 6
                alone += 1
    assert alone > 2


def _powers(path, start, end):
    """Headset -> power in dB of this stretch of time."""
    found = {}
    for n in range(4):
        name = re.sub(r"-\d\.wav$", f"-{n}.wav", path)
        samples, _ = soundfile.read(name, start=int(start * 16000), stop=int(end * 16000))
        found[n] = 10 * np.log10(np.mean(samples**2) + 1e-12)
    return found


def test_the_same_seed_gives_the_same_bytes(corpus, tmp_path):
    def digest(folder):
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        return [hashlib.sha1(p.read_bytes()).hexdigest() for p in files]

    meetings.make_meetings(tmp_path / "again", **SIZE, seed=3, nj=2)
    assert digest(tmp_path / "again") == digest(corpus)
    meetings.make_meetings(tmp_path / "other", **SIZE, seed=4)
    assert digest(tmp_path / "other") != digest(corpus)


def test_somebody_overlaps_and_nobody_overlaps_himself(tmp_path):
    meetings.make_meetings(tmp_path / "c", meetings=(1, 1, 1), turns=30)
    spans = []
    for path in (tmp_path / "c").rglob("ES2002a*.segments.xml"):
        own = [
            (float(s.attrib["transcriber_start"]), float(s.attrib["transcriber_end"]), path.name)
            for s in ET.parse(path).getroot()
        ]
        assert all(end <= start for (_, end, _), (start, _, _) in zip(own, own[1:], strict=False))
        spans += own
    spans.sort()
    assert sum(b[0] < a[1] for a, b in zip(spans, spans[1:], strict=False)) >= 3


def test_data_directories_are_named_as_in_kaldi(prepared):
    folder, audit = prepared
    for name in ("train", "dev", "test"):
        data = DataDir(folder / name)
        assert data.validate() == []
        assert all(
            re.fullmatch(r"AMI_ES20\d\d[a-d]_H0\d_[FM]EE\d{3}_\d{7}_\d{7}", utt)
            for utt in data.utterances
        )
        assert all(utt.startswith(spk + "_") for utt, spk in data.utt2spk.items())
    assert not set(DataDir(folder / "train").spk2utt) & set(DataDir(folder / "test").spk2utt)
    assert audit.counts["train"]["words outside the lexicon"] == 0


def test_dictionary_and_text(prepared):
    folder, _ = prepared
    words = {line.split()[0] for line in (folder / "local/dict/lexicon.txt").open()}
    text = (folder / "local/lm.txt").read_text().split()
    assert set(text) <= words and "<UNK>" in words
    assert not (folder / "local/lm_more.txt").exists()


def test_other_text_adds_its_most_frequent_words(corpus, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text("Elephants, elephants walk.\n\nElephants don't walk_\n")
    ami.prepare(corpus, tmp_path / "data", lm_text=more, vocabulary=2)
    lexicon = (tmp_path / "data/local/dict/lexicon.txt").read_text().splitlines()
    words = {line.split()[0] for line in lexicon}
    assert "ELEPHANTS" in words and "DON'T" in words and "WALK" not in words
    lines = (tmp_path / "data/local/lm_more.txt").read_text().splitlines()
    assert lines[0] == "ELEPHANTS ELEPHANTS WALK" and len(lines) == 2


def test_long_segments_are_cut_at_commas(copy, tmp_path):
    path = copy / ami.ANNOTATIONS / "words/ES2004a.A.words.xml"
    words = [f"<w starttime='{i / 10}' endtime='{(i + 1) / 10}'>okay</w>" for i in range(50)]
    words[25] = "<w starttime='2.5' endtime='2.5' punc='true'>,</w>"
    path.write_text(f"<root>{''.join(words)}</root>")
    path = copy / ami.ANNOTATIONS / "segments/ES2004a.A.segments.xml"
    path.write_text("<r><segment transcriber_start='0' transcriber_end='6'/></r>")
    ami.prepare(copy, tmp_path / "data")
    text = [t for u, t in DataDir(tmp_path / "data/test").text.items() if "_H00_" in u]
    assert [len(line.split()) for line in text] == [25, 24]


def test_zipped_annotations(copy, prepared, tmp_path):
    with zipfile.ZipFile(copy / f"{ami.ANNOTATIONS}.zip", "w") as archive:
        for path in (copy / ami.ANNOTATIONS).rglob("*.xml"):
            archive.write(path, path.relative_to(copy / ami.ANNOTATIONS))
    shutil.rmtree(copy / ami.ANNOTATIONS)
    ami.prepare(copy, tmp_path / "data")
    assert (tmp_path / "data/test/text").read_text() == (prepared[0] / "test/text").read_text()


def test_a_missing_headset_is_named(copy, tmp_path):
    next(copy.rglob("ES2004a.Headset-1.wav")).unlink()
    with pytest.raises(InputError, match=r"ES2004a lacks ES2004a.Headset-1.wav"):
        ami.prepare(copy, tmp_path / "data")


def test_a_set_without_audio_is_named(copy, tmp_path):
    shutil.rmtree(copy / "amicorpus/ES2004a")
    with pytest.raises(InputError, match="the test set of full-corpus-asr has no meeting"):
        ami.prepare(copy, tmp_path / "data")


def test_annotations_without_audio(copy, tmp_path):
    shutil.rmtree(copy / "amicorpus")
    with pytest.raises(InputError, match=r"no <meeting>/audio/<meeting>.Headset-<n>.wav"):
        ami.prepare(copy, tmp_path / "data")


def test_damaged_annotations_are_named(copy, tmp_path):
    (copy / ami.ANNOTATIONS / "words/ES2004a.A.words.xml").write_text("<root><w")
    with pytest.raises(InputError, match=f"{ami.ANNOTATIONS}: damaged"):
        ami.prepare(copy, tmp_path / "data")


def test_no_annotations_and_wrong_sizes(tmp_path):
    done = CliRunner().invoke(app, ["corpus", "ami", str(tmp_path), str(tmp_path / "d")])
    assert done.exit_code == 1 and ami.ANNOTATIONS in done.output
    embed = ["corpus", "embed", "--layout", "ami", str(tmp_path / "c")]
    for wrong in (["--meetings", "8,1"], ["--meetings", "0,1,1"], ["--takes", "3"]):
        done = CliRunner().invoke(app, [*embed, *wrong])
        assert done.exit_code == 1 and wrong[0].strip("-") in done.output
    assert not (tmp_path / "c").exists()
