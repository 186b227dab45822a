"""Feature jobs over data directories."""

import os
import signal
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from make_corpus import RATE, write_corpus

from kdspeech.data import DataDir
from kdspeech.features import Mfcc, jobs
from kdspeech.io.ark import Scp
from kdspeech.io.errors import InputError
from kdspeech.io.tables import read_table


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "train")


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "mfcc.conf"
    path.write_text("--use-energy=false  # c0\n--dither=1\n")
    return path


def listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def read_feats(corpus):
    return dict(Scp(corpus / "feats.scp").items())


def test_features_are_those_of_each_utterance(tmp_path, corpus, conf):
    result = jobs.make_feats("mfcc", corpus, tmp_path / "mfcc", config=conf, seed=3)
    assert (result.written, result.bad) == (12, 0)
    mfcc, data = Mfcc(use_energy=False, dither=1.0), DataDir(corpus)
    feats = read_feats(corpus)
    assert list(feats) == data.utterances
    for utt, matrix in feats.items():
        expected = mfcc(data.samples(utt), RATE, seed=jobs.utterance_seed(3, utt))
        np.testing.assert_array_equal(matrix, expected)
    frames = {utt: str(len(matrix)) for utt, matrix in feats.items()}
    assert read_table(corpus / "utt2num_frames") == frames
    assert listing(tmp_path / "mfcc") == ["raw_mfcc_train.1.ark"]
    assert DataDir(corpus).validate() == []


def test_jobs_and_threads_change_nothing(tmp_path, corpus, conf):
    jobs.make_feats("mfcc", corpus, tmp_path / "one", config=conf)
    one = read_feats(corpus)
    jobs.make_feats("mfcc", corpus, tmp_path / "two", config=conf, nj=2, num_threads=2)
    two = read_feats(corpus)
    assert list(one) == list(two)
    for utt in one:
        np.testing.assert_array_equal(one[utt], two[utt])
    assert listing(tmp_path / "two") == ["raw_mfcc_train.1.ark", "raw_mfcc_train.2.ark"]
    assert not any(part.startswith(".") for part in os.listdir(tmp_path / "two"))


@pytest.mark.parametrize(("kind", "dim"), [("fbank", 23), ("plp", 13)])
def test_other_kinds(corpus, kind, dim):
    jobs.make_feats(kind, corpus)
    assert {matrix.shape[1] for matrix in read_feats(corpus).values()} == {dim}
    assert (corpus / "data" / f"raw_{kind}_train.1.ark").exists()


def test_compressed_features(tmp_path, corpus):
    jobs.make_feats("mfcc", corpus)
    plain = read_feats(corpus)
    jobs.make_feats("mfcc", corpus, tmp_path / "mfcc", compress="speech-feature")
    for utt, matrix in read_feats(corpus).items():
        np.testing.assert_allclose(matrix, plain[utt], atol=0.5)


def test_warps_of_speakers(corpus):
    (corpus / "spk2warp").write_text("s1 0.9\n")
    jobs.make_feats("mfcc", corpus)
    data, mfcc, feats = DataDir(corpus), Mfcc(), read_feats(corpus)
    for utt, warp in [("s1-1", 0.9), ("s2-1", 1.0)]:
        np.testing.assert_array_equal(feats[utt], mfcc(data.samples(utt), vtln_warp=warp))


def replace_audio(corpus, utt, samples, rate=RATE):
    soundfile.write(corpus / f"{utt}.wav", samples, rate)


def spoil(corpus):
    """One of each: text, one sample, wrong rate, stereo, missing, empty."""
    (corpus / "s1-1.wav").write_text("no audio at all")
    replace_audio(corpus, "s1-2", np.zeros(1, np.int16))
    replace_audio(corpus, "s1-3", np.zeros(8000, np.int16), 8000)
    replace_audio(corpus, "s1-4", np.zeros((8000, 2), np.int16))
    (corpus / "s2-1.wav").unlink()
    (corpus / "s2-2.wav").write_bytes(b"")


@pytest.mark.parametrize("nj", [1, 2])
def test_bad_audio_is_left_out_and_listed(tmp_path, corpus, nj):
    spoil(corpus)
    result = jobs.make_feats("mfcc", corpus, tmp_path / "mfcc", nj=nj, max_bad=0.5)
    assert (result.written, result.bad) == (6, 6)
    assert len(read_feats(corpus)) == 6
    reasons = read_table(result.bad_list, need_sorted=True)
    for utt, reason in {
        "s1-1": "not audio",
        "s1-2": "less than one frame",
        "s1-3": "8000 Hz, 16000 Hz expected",
        "s1-4": "2 channels",
        "s2-1": "No such file",
        "s2-2": "empty file",
    }.items():
        assert reason in reasons.pop(utt)
    assert not reasons
    assert DataDir(corpus).fix() == {"before": 12, "after": 6}


def test_too_much_bad_audio_fails_and_keeps_the_old_features(tmp_path, corpus):
    jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    before = {name: (tmp_path / "mfcc" / name).read_bytes() for name in listing(tmp_path / "mfcc")}
    scp = (corpus / "feats.scp").read_text()
    spoil(corpus)
    with pytest.raises(InputError, match=r"6 of 12 .* more than 1 %; .*feats\.bad .* s1-1"):
        jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    assert (corpus / "feats.scp").read_text() == scp
    assert before == {n: (tmp_path / "mfcc" / n).read_bytes() for n in listing(tmp_path / "mfcc")}
    assert len(read_table(corpus / "feats.bad")) == 6


def test_other_rates_and_channels_on_request(tmp_path, corpus):
    replace_audio(corpus, "s1-3", np.zeros(8000, np.int16), 8000)
    replace_audio(corpus, "s1-4", np.zeros((8000, 2), np.int16))
    with pytest.raises(InputError, match="2 of 12"):
        jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    assert not (tmp_path / "mfcc").exists() and not (corpus / "feats.scp").exists()
    rules = jobs.AudioRules(resample=True, channel=0)
    assert jobs.make_feats("mfcc", corpus, tmp_path / "mfcc", audio=rules).bad == 0
    assert len(read_feats(corpus)["s1-3"]) == 98
    assert not (corpus / "feats.bad").exists()


def test_options_about_files(tmp_path, corpus, conf):
    conf.write_text("--allow-upsample=true\n--channel=1\n--min-duration=0.2\n")
    replace_audio(corpus, "s1-1", np.zeros((8000, 2), np.int16), 8000)
    replace_audio(corpus, "s1-2", np.zeros((3000, 2), np.int16))
    replace_audio(corpus, "s1-3", np.zeros((48000, 2), np.int16), 48000)
    result = jobs.make_feats("mfcc", corpus, tmp_path / "mfcc", config=conf, max_bad=1.0)
    reasons = read_table(result.bad_list)
    assert len(read_feats(corpus)["s1-1"]) == 98
    assert "less than min_duration" in reasons["s1-2"] and "48000 Hz" in reasons["s1-3"]
    assert "no channel 1" in reasons["s2-1"]


def add_pipe(corpus):
    lines = (corpus / "wav.scp").read_text().splitlines()[1:]
    (corpus / "wav.scp").write_text("\n".join(["s1-1 touch ran |", *lines]) + "\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: (c / "wav.scp").write_text("b x.wav\na y.wav\n"), r"wav\.scp:2: not sorted"),
        (lambda c: (c / "wav.scp").write_text("a x.wav\na y.wav\n"), r"wav\.scp:2: duplicate"),
        (add_pipe, r"wav\.scp:1: .*--allow-pipes"),
        (lambda c: (c / "wav.scp").write_text(""), "has no utterances|parts of 0 speakers"),
        (lambda c: (c / "wav.scp").unlink(), r"has no wav\.scp"),
    ],
)
@pytest.mark.parametrize("nj", [1, 2])
def test_bad_tables_end_the_job(tmp_path, corpus, change, message, nj, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change(corpus)
    with pytest.raises(InputError, match=message):
        jobs.make_feats("mfcc", corpus, tmp_path / "mfcc", nj=nj)
    assert not (tmp_path / "mfcc").exists() and not (corpus / "feats.scp").exists()
    assert not (tmp_path / "ran").exists()


def test_unknown_option_in_conf(tmp_path, corpus, conf):
    conf.write_text("--num-cepstra=13\n")
    with pytest.raises(InputError, match=r"mfcc\.conf:1: .*num_cepstra"):
        jobs.make_feats("mfcc", corpus, tmp_path / "mfcc", config=conf)
    assert not (tmp_path / "mfcc").exists()


def test_killed_job_leaves_no_features_and_runs_again(tmp_path, corpus):
    script = (
        "import os, signal, sys\n"
        "from kdspeech.features import jobs\n"
        "from kdspeech.io.ark import ArkWriter\n"
        "write = ArkWriter.write_all\n"
        "def die(self, pairs):\n"
        "    write(self, pairs)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "ArkWriter.write_all = die\n"
        "jobs.make_feats('mfcc', sys.argv[1], sys.argv[2])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(corpus), str(tmp_path / "mfcc")])
    assert done.returncode == -signal.SIGKILL
    assert not (corpus / "feats.scp").exists() and not list((tmp_path / "mfcc").glob("*.ark"))
    jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    assert len(read_feats(corpus)) == 12
    assert os.listdir(tmp_path / "mfcc") == ["raw_mfcc_train.1.ark"]


def peak_memory(corpus, out):
    tracemalloc.start()
    jobs.make_feats("mfcc", corpus, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    corpus = write_corpus(tmp_path / "long", num_speakers=2, num_utterances=9, seconds=2)
    rows = read_table(corpus / "wav.scp")
    for name, copies in (("small", 10), ("big", 80)):
        (tmp_path / name).mkdir()
        lines = [f"{i:04d}-{utt} {path}\n" for i in range(copies) for utt, path in rows.items()]
        (tmp_path / name / "wav.scp").write_text("".join(lines))
    peak_memory(tmp_path / "small", tmp_path / "mfcc")  # what imports take
    small = peak_memory(tmp_path / "small", tmp_path / "mfcc")
    big = peak_memory(tmp_path / "big", tmp_path / "mfcc")
    assert big < small * 1.2


def test_cmvn_per_speaker_and_utterance(tmp_path, corpus):
    jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    feats = read_feats(corpus)
    assert jobs.compute_cmvn(corpus, tmp_path / "mfcc").written == 3
    stats = Scp(corpus / "cmvn.scp")["s2"]
    frames = np.concatenate([feats[f"s2-{u}"] for u in range(1, 5)]).astype(np.float64)
    assert stats.dtype == np.float64 and stats.shape == (2, 14) and stats[0, -1] == len(frames)
    np.testing.assert_allclose(stats[0, :-1], frames.sum(0), rtol=1e-6)
    np.testing.assert_allclose(stats[1, :-1], (frames**2).sum(0), rtol=1e-6)
    assert jobs.compute_cmvn(corpus, tmp_path / "mfcc", per_utt=True).written == 12
    assert listing(tmp_path / "mfcc") == ["cmvn_train.1.ark", "raw_mfcc_train.1.ark"]
    assert DataDir(corpus).validate() == []


def test_vad(tmp_path, corpus, conf):
    jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    conf.write_text("--vad-energy-threshold=-100\n--vad-energy-mean-scale=0\n")
    assert jobs.compute_vad(corpus, tmp_path / "mfcc", conf).written == 12
    for utt, voiced in Scp(corpus / "vad.scp").items():
        assert voiced.shape == (len(read_feats(corpus)[utt]),) and voiced.all()
    conf.write_text("--vad-energy-threshold=100\n--omit-unvoiced-utts=true\n")
    assert jobs.compute_vad(corpus, tmp_path / "mfcc", conf).written == 0
    conf.write_text("--vad-energy-threshold=100\n--omit-unvoiced-utts=false\n")
    assert jobs.compute_vad(corpus, tmp_path / "mfcc", conf).written == 12
    conf.write_text("--vad-threshold=3\n")
    with pytest.raises(InputError, match=r"mfcc\.conf:1: .*vad_threshold"):
        jobs.compute_vad(corpus, tmp_path / "mfcc", conf)


def test_speaker_without_features(tmp_path, corpus):
    jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    with open(corpus / "utt2spk", "a") as file:
        file.write("s4-1 s4\n")
    with pytest.raises(InputError, match="no features of speaker s4"):
        jobs.compute_cmvn(corpus, tmp_path / "mfcc")
    assert not (corpus / "cmvn.scp").exists()
    assert listing(tmp_path / "mfcc") == ["raw_mfcc_train.1.ark"]


def test_pitch(tmp_path, corpus, conf):
    conf.write_text("--max-f0=300\n--add-raw-log-pitch=true\n")
    jobs.make_feats("pitch", corpus, tmp_path / "pitch", config=conf)
    assert {matrix.shape for matrix in read_feats(corpus).values()} == {(28, 4)}
    conf.write_text("--max-pitch=300\n")
    with pytest.raises(InputError, match=r"mfcc\.conf:1: .*max_pitch"):
        jobs.make_feats("pitch", corpus, tmp_path / "pitch", config=conf)


def test_what_a_killed_job_left_does_not_disturb(tmp_path, corpus):
    jobs.make_feats("mfcc", corpus, tmp_path / "mfcc")
    for name in ("cmvn_train", "vad_train"):
        (tmp_path / "mfcc" / f"{name}.work" / "1").mkdir(parents=True)
    jobs.compute_cmvn(corpus, tmp_path / "mfcc")
    jobs.compute_vad(corpus, tmp_path / "mfcc")
    names = ["cmvn_train.1.ark", "raw_mfcc_train.1.ark", "vad_train.1.ark"]
    assert sorted(os.listdir(tmp_path / "mfcc")) == names


def test_archives_of_a_directory_with_a_longer_name_stay(tmp_path, corpus):
    other = DataDir(corpus).write(tmp_path / "train.clean").path
    for folder in (other, corpus):
        jobs.make_feats("mfcc", folder, tmp_path / "mfcc")
    assert len(read_feats(other)) == len(read_feats(corpus)) == 12
