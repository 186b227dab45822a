"""Speech Commands and FSDD to data directories: sets, silence, and corpora with faults."""

import functools
import gzip
import hashlib
import http.server
import io
import re
import shutil
import tarfile
import threading

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from kdspeech.data import DataDir
from kdspeech.data.corpora import download, fsdd, speech_commands
from kdspeech.data.corpora.speech_commands import prepare, split_of_speaker
from kdspeech.graph import Lexicon
from kdspeech.io.errors import InputError


def tone(path, seconds=1.0, rate=16000, number=0):
    """A recording that no other number gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(number).integers(-3000, 3000, round(seconds * rate))
    soundfile.write(path, samples.astype(np.int16), rate, "PCM_16")
    return path


# One speaker for each set, by the rule.
SPEAKERS = {split_of_speaker(f"{i:08x}"): f"{i:08x}" for i in range(100, 200)}


@pytest.fixture
def corpus(tmp_path):
    """Three speakers, two words, two takes; 40 seconds and 25 seconds of noise; no lists."""
    root, number = tmp_path / "corpus", 0
    for speaker in SPEAKERS.values():
        for word in ("yes", "bird"):
            for take in range(2):
                number += 1
                tone(root / word / f"{speaker}_nohash_{take}.wav", 0.9, number=number)
    tone(root / "_background_noise_" / "hum.wav", 40, number=100)
    tone(root / "_background_noise_" / "the-tap 2.wav", 25.3, number=101)
    (root / "README.md").write_text("not audio")
    return root


def test_sets_by_the_rule(corpus, tmp_path):
    audit = prepare(corpus, tmp_path / "data")
    assert not audit.rejected and not audit.duplicates and not audit.warnings
    assert not (tmp_path / "data" / "problems.txt").exists()
    for split, speaker in SPEAKERS.items():
        data = DataDir(tmp_path / "data" / split)
        assert data.validate() == []
        words = {utt: text for utt, text in data.text.items() if text != "_silence_"}
        assert words == {f"{speaker}-{w}-{n}": w for w in ("yes", "bird") for n in range(2)}
        assert all(data.utt2spk[utt] == speaker for utt in words)
        assert all(len(data.samples(utt)) == 14400 for utt in words)


def test_silence_is_disjoint_in_time(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    spans = {}
    for split in ("train", "dev", "test"):
        data = DataDir(tmp_path / "data" / split)
        for utt, text in data.text.items():
            if text == "_silence_":
                piece = data.segments[utt]
                assert piece.end - piece.start == 1 and len(data.samples(utt)) == 16000
                assert data.utt2spk[utt] == piece.recording
                spans.setdefault((piece.recording, split), []).append((piece.start, piece.end))
    for recording in ("hum", "the_tap_2"):
        ends = {s: (min(a)[0], max(a)[1]) for (r, s), a in spans.items() if r == recording}
        order = [ends[s] for s in ("train", "dev", "test") if s in ends]
        assert all(a[1] <= b[0] for a, b in zip(order, order[1:], strict=False))


def test_amount_of_silence_and_overlap():
    noises = {"a": 60.0, "b": 60.0}
    pieces = speech_commands._silence_pieces
    assert len(pieces(noises, "train", 800)) == 100
    assert len(pieces(noises, "train", 10**6)) == 2 * ((48 - 1) * 4 + 1)
    for split in ("dev", "test"):
        assert len(pieces(noises, split, 8)) == 1
        every = pieces(noises, split, 10**6)
        assert len(every) == 12
        spans = sorted(every)
        assert all(x[0] != y[0] or x[2] <= y[1] for x, y in zip(spans, spans[1:], strict=False))
    assert pieces({"short": 3.0}, "dev", 100) == [] == pieces({}, "train", 100)


def test_noise_set_is_the_training_part(corpus, tmp_path):
    prepare(corpus, tmp_path / "data")
    noise = DataDir(tmp_path / "data" / "noise")
    assert noise.validate() == []
    spans = {s.recording: (s.start, s.end) for s in noise.segments.values()}
    assert spans == {"hum": (0, 32), "the_tap_2": (0, 20)}


def test_without_noise_there_is_no_silence(corpus, tmp_path):
    shutil.rmtree(corpus / "_background_noise_")
    audit = prepare(corpus, tmp_path / "data")
    assert "no noise recordings" in audit.warnings[0]
    assert not (tmp_path / "data" / "noise").exists()
    train = DataDir(tmp_path / "data" / "train")
    assert "segments" not in train and len(train) == 4 and train.validate() == []


def test_lists_are_followed(corpus, tmp_path):
    (corpus / "validation_list.txt").write_text(f"yes/{SPEAKERS['train']}_nohash_0.wav\n")
    (corpus / "testing_list.txt").write_text(
        f"bird/{SPEAKERS['test']}_nohash_1.flac\nyes/0badc0de_nohash_0.wav\n"
    )
    audit = prepare(corpus, tmp_path / "data")
    assert audit.counts["dev"]["words"] == audit.counts["test"]["words"] == 1
    assert audit.counts["train"]["words"] == 10
    problems = (tmp_path / "data" / "problems.txt").read_text()
    assert "testing_list.txt:2: no such clip yes/0badc0de_nohash_0.wav" in problems
    assert f"speaker {SPEAKERS['test']} is in more than one set: test, train" in problems


def test_one_list_alone_is_refused(corpus, tmp_path):
    (corpus / "testing_list.txt").write_text("")
    with pytest.raises(InputError, match=r"has no validation_list\.txt, but the other"):
        prepare(corpus, tmp_path / "data")


def test_a_clip_in_both_lists_is_refused(corpus, tmp_path):
    for name in speech_commands.LISTS.values():
        (corpus / name).write_text(f"yes/{SPEAKERS['train']}_nohash_0.wav\n")
    with pytest.raises(InputError, match=r"testing_list\.txt:1: .* was listed before"):
        prepare(corpus, tmp_path / "data")


def spoil(corpus, monkeypatch):
    """Adds one file of each fault, and lets them pass."""
    monkeypatch.setattr("kdspeech.data.corpora.audit.MAX_BAD_PERCENT", 90)
    good = corpus / "yes" / f"{SPEAKERS['train']}_nohash_0.wav"
    copy = corpus / "bird" / f"{SPEAKERS['train']}_nohash_7.wav"
    tone(corpus / "yes" / "00000001_nohash_0.wav", rate=8000, number=200)
    (corpus / "yes" / "00000002_nohash_0.wav").write_bytes(b"")
    (corpus / "yes" / "00000003_nohash_0.wav").write_text("a text file named .wav\n")
    (corpus / "yes" / "00000004_nohash_0.wav").write_bytes(good.read_bytes()[:500])
    tone(corpus / "yes" / "odd name.wav", number=201)
    tone(corpus / "yes" / f"{SPEAKERS['train']}_nohash_0.flac", number=202)
    stereo = np.zeros((16000, 2), np.int16)
    soundfile.write(corpus / "yes" / "00000005_nohash_0.wav", stereo, 16000)
    nan = np.full(16000, np.nan, np.float32)
    soundfile.write(corpus / "yes" / "00000006_nohash_0.wav", nan, 16000, "FLOAT")
    shutil.copy(good.with_name(f"{SPEAKERS['train']}_nohash_1.wav"), copy)


def test_faults_are_counted_and_named(corpus, tmp_path, monkeypatch):
    spoil(corpus, monkeypatch)
    audit = prepare(corpus, tmp_path / "data")
    assert audit.checked == 12 + 2 + 9 and len(audit.rejected) == 8
    problems = (tmp_path / "data" / "problems.txt").read_text()
    for name, words in {
        "00000001_nohash_0.wav": "sampling rate is 8000 Hz",
        "00000002_nohash_0.wav": "empty file",
        "00000003_nohash_0.wav": "not audio",
        "00000004_nohash_0.wav": "truncated",
        "00000005_nohash_0.wav": "2 channels",
        "00000006_nohash_0.wav": "NaN",
        "odd name.wav": "is not named",
        f"{SPEAKERS['train']}_nohash_0.wav": "has the same name as",
    }.items():
        assert re.search(rf"left out: .*{re.escape(name)}: .*{words}", problems), name
    assert re.search(r"duplicate: .*_nohash_.*, under another label", problems)
    train = DataDir(tmp_path / "data" / "train")
    assert f"{SPEAKERS['train']}-bird-7" in train.text  # kept, as in the published sets
    assert not any(utt.startswith("00000002") for utt in train.utterances)


def test_more_than_one_percent_is_an_error(corpus, tmp_path):
    (corpus / "yes" / "00000002_nohash_0.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 of 15 files .*00000002_nohash_0\.wav"):
        prepare(corpus, tmp_path / "data")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["problems.txt"]


def test_no_corpus_there(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        prepare(tmp_path / "none", tmp_path / "data")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="one folder per word"):
        prepare(tmp_path / "empty", tmp_path / "data")


def test_a_set_without_clips(corpus, tmp_path):
    for path in corpus.glob(f"*/{SPEAKERS['dev']}_*"):
        path.unlink()
    with pytest.raises(InputError, match="the dev set has no clip"):
        prepare(corpus, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@given(st.integers(1, 10**7))
def test_segment_times_give_the_samples_back(samples):
    assert int(float(speech_commands._seconds(samples)) * 16000) == samples


@pytest.mark.corpora
def test_the_rule_is_the_official_one(corpora):
    # The subset was cut from the official test archive: the rule puts each of its speakers there.
    clips = (corpora / "speech_commands_subset").glob("[a-z]*/*_nohash_*")
    speakers = {path.name.split("_nohash_")[0] for path in clips}
    assert len(speakers) == 217
    assert {split_of_speaker(speaker) for speaker in speakers} == {"test"}


@pytest.mark.corpora
def test_real_speech_commands(corpora, tmp_path):
    audit = prepare(corpora / "speech_commands_subset", tmp_path)
    assert [audit.counts[s]["words"] for s in ("train", "dev", "test")] == [2781, 478, 795]
    assert audit.counts["train"]["silence"] == 348 and audit.counts["dev"]["silence"] == 38
    assert len(audit.duplicates) == 94 and not audit.rejected and not audit.warnings
    for split in ("train", "dev", "test", "noise"):
        assert DataDir(tmp_path / split).validate() == []


# FSDD


@pytest.fixture
def digits(tmp_path):
    number = 0
    for digit in (0, 7):
        for speaker in ("ann", "bob"):
            for take in range(12):
                number += 1
                path = tmp_path / "fsdd" / f"{digit}_{speaker}_{take}.wav"
                tone(path, 0.4, 8000, number)
    return tmp_path / "fsdd"


def test_fsdd_splits_by_take(digits, tmp_path):
    audit = fsdd.prepare(digits, tmp_path / "data")
    assert audit.counts == {"train": {"words": 8}, "dev": {"words": 20}, "test": {"words": 20}}
    for split, takes in {
        "train": {10, 11},
        "dev": set(range(5, 10)),
        "test": set(range(5)),
    }.items():
        data = DataDir(tmp_path / "data" / split)
        assert data.validate() == [] and "segments" not in data
        assert {int(utt.rsplit("-", 1)[1]) for utt in data.utterances} == takes
        assert set(data.text.values()) == {"zero", "seven"}
    assert data.text["bob-seven-04"] == "seven" and data.utt2spk["bob-seven-04"] == "bob"
    assert not (tmp_path / "data" / "noise").exists()


def test_fsdd_other_dev_takes(digits, tmp_path):
    audit = fsdd.prepare(digits, tmp_path / "data", (10, 10))
    assert [audit.counts[s]["words"] for s in ("train", "dev", "test")] == [24, 4, 20]
    for takes in ((4, 9), (9, 5)):
        with pytest.raises(InputError, match="dev takes"):
            fsdd.prepare(digits, tmp_path / "data", takes)
    with pytest.raises(InputError, match="the train set has no recording"):
        fsdd.prepare(digits, tmp_path / "none", (5, 49))


def test_fsdd_faults(digits, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no <digit>_<speaker>_<take>"):
        fsdd.prepare(tmp_path / "nowhere", tmp_path / "data")
    monkeypatch.setattr("kdspeech.data.corpora.audit.MAX_BAD_PERCENT", 20)
    tone(digits / "3_ann_0.wav", rate=16000)
    tone(digits / "3_ann_00.wav", rate=8000)
    tone(digits / "0_ann_00.flac", rate=8000, number=5)
    tone(digits / "three_ann_0.wav", rate=8000)
    audit = fsdd.prepare(digits, tmp_path / "data")
    assert len(audit.rejected) == 3
    assert "3_ann_0.wav: sampling rate is 16000 Hz" in audit.rejected[0] + audit.rejected[1]


def test_fsdd_with_speakers_held_out(digits, tmp_path):
    audit = fsdd.prepare_asr(digits, tmp_path / "data", ["bob"])
    assert audit.counts == {"train": {"words": 24}, "test": {"words": 24}}
    assert not (tmp_path / "data/dev").exists()
    for split, speaker in {"train": "ann", "test": "bob"}.items():
        data = DataDir(tmp_path / "data" / split)
        assert data.validate() == [] and set(data.utt2spk.values()) == {speaker}
    lexicon = Lexicon.read(tmp_path / "data/local/dict")
    choice = (tmp_path / "data/local/one_of.txt").read_text().split()
    assert choice == fsdd.DIGITS and set(choice) < {entry.word for entry in lexicon.entries}


def test_fsdd_speakers_that_do_not_fit(digits, tmp_path):
    with pytest.raises(InputError, match="speaker bob: .* not both"):
        fsdd.prepare_asr(digits, tmp_path, ["ann", "bob"], ["bob"])
    with pytest.raises(InputError, match="the test set has no recording"):
        fsdd.prepare_asr(digits, tmp_path, ["carl"])
    with pytest.raises(InputError, match="the train set has no recording"):
        fsdd.prepare_asr(digits, tmp_path, ["ann"], ["bob"])


@pytest.mark.corpora
def test_real_fsdd(corpora, tmp_path):
    audit = fsdd.prepare(corpora / "fsdd", tmp_path)
    assert [audit.counts[s]["words"] for s in ("train", "dev", "test")] == [2400, 300, 300]
    assert not audit.rejected
    assert len(DataDir(tmp_path / "test").spk2utt) == 6


# Downloads, from a server in this process


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, with ranges; breaks off once where `cut` says so."""

    cut: int | None = None
    requests: list[str | None] = []

    def do_GET(self):
        data = (self.server.folder / self.path.lstrip("/")).read_bytes()
        wanted = self.headers.get("Range")
        type(self).requests.append(wanted)
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        if start >= len(data) and wanted:
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop, type(self).cut = type(self).cut, None
        self.wfile.write(data[start:stop])

    def log_message(self, *args):
        """Keeps the test's output clean."""


@pytest.fixture
def server(tmp_path):
    Server.cut, Server.requests = None, []
    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server)) as running:
        running.folder = folder
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def pack(folder, archive, prefix=""):
    """A .tar.gz of a folder; its SHA-256."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=prefix or ".")
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def test_download_resumes_and_checks(server, tmp_path):
    data = np.random.default_rng(0).bytes(700_000)
    (server.folder / "a.bin").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    target = tmp_path / "down" / "a.bin"
    Server.cut = 300_000
    with pytest.raises(InputError, match="run again to go on from there"):
        download.fetch(f"{server.url}/a.bin", target, digest, progress=False)
    part = target.with_name("a.bin.part")
    assert not target.exists() and 0 < part.stat().st_size <= 300_000
    have = part.stat().st_size
    assert download.fetch(f"{server.url}/a.bin", target, digest, progress=False) == target
    assert target.read_bytes() == data and not part.exists()
    assert Server.requests == [None, f"bytes={have}-"]
    download.fetch(f"{server.url}/a.bin", target, digest, progress=False)
    assert len(Server.requests) == 2  # what is there is not fetched again


def test_download_that_was_killed_at_its_end(server, tmp_path):
    (server.folder / "a.bin").write_bytes(b"whole")
    (tmp_path / "a.bin.part").write_bytes(b"whole")
    digest = hashlib.sha256(b"whole").hexdigest()
    download.fetch(f"{server.url}/a.bin", tmp_path / "a.bin", digest, progress=False)
    assert (tmp_path / "a.bin").read_bytes() == b"whole"


def test_wrong_checksum(server, tmp_path):
    (server.folder / "a.bin").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"a\.bin: SHA-256 is .*, 00ff expected"):
        download.fetch(f"{server.url}/a.bin", tmp_path / "a.bin", "00ff", progress=False)
    assert not list(tmp_path.glob("a.bin*"))
    (tmp_path / "a.bin").write_bytes(b"mine")
    with pytest.raises(InputError, match="remove it and run again"):
        download.fetch(f"{server.url}/a.bin", tmp_path / "a.bin", "00ff", progress=False)
    assert (tmp_path / "a.bin").read_bytes() == b"mine"


def test_no_server(tmp_path):
    with pytest.raises(InputError, match="fetch it by other means"):
        download.fetch("http://127.0.0.1:1/a.bin", tmp_path / "a.bin", "00", progress=False)


def test_download_speech_commands(corpus, server, tmp_path):
    name = "speech_commands_tiny.tar.gz"
    digest = pack(corpus, server.folder / name)
    where = tmp_path / "down"
    found = speech_commands.download(where, f"{server.url}/{name}", digest, progress=False)
    assert found == where / "SpeechCommands" / "speech_commands_tiny"
    assert prepare(found, tmp_path / "data").counts["test"]["words"] == 4
    assert sorted(p.name for p in where.iterdir()) == ["SpeechCommands", name]
    assert speech_commands.download(where, f"{server.url}/{name}", digest, progress=False) == found
    assert len(Server.requests) == 1


def test_download_speech_commands_damaged(corpus, server, tmp_path):
    name = "tiny.tar.gz"
    pack(corpus, server.folder / name)
    with pytest.raises(InputError, match="SHA-256"):
        speech_commands.download(tmp_path / "d", f"{server.url}/{name}", "00ff", progress=False)
    assert not list((tmp_path / "d").iterdir())


def test_download_fsdd(digits, server, tmp_path):
    pack(digits, server.folder / "v1.tar.gz", "free-spoken-digit-dataset-1/recordings")
    found = fsdd.download(tmp_path / "d", f"{server.url}/v1.tar.gz", progress=False)
    assert fsdd.prepare(found, tmp_path / "data").counts["dev"]["words"] == 20
    assert fsdd.prepare(found.parent, tmp_path / "data").checked == 48


def test_download_fsdd_writes_only_recordings(server, tmp_path):
    with tarfile.open(server.folder / "bad.tar.gz", "w:gz") as tar:
        for name in ("../../0_eve_0.wav", "x/recordings/../../1_eve_0.wav", "x/recordings/a.sh"):
            info = tarfile.TarInfo(name)
            info.size = 4
            tar.addfile(info, io.BytesIO(b"evil"))
    found = fsdd.download(tmp_path / "d", f"{server.url}/bad.tar.gz", progress=False)
    assert [p.name for p in found.iterdir()] == ["1_eve_0.wav"]
    assert not list(tmp_path.glob("*.wav"))


def test_download_fsdd_damaged(server, tmp_path):
    (server.folder / "bad.tar.gz").write_bytes(gzip.compress(b"no tar file" * 100)[:-9])
    with pytest.raises(InputError, match=r"bad\.tar\.gz: damaged"):
        fsdd.download(tmp_path / "d", f"{server.url}/bad.tar.gz", progress=False)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["bad.tar.gz"]
