"""Kaldi data directories."""

import os
import shutil

import numpy as np
import pytest
import soundfile
from make_corpus import RATE, write_corpus

from kdspeech.data import DataDir, combine
from kdspeech.io.audio import read_audio
from kdspeech.io.errors import InputError


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "train")


def edit(path, change):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


def with_segments(corpus):
    """Two recordings of two utterances each instead of the plain directory."""
    waves = []
    for recording in ("s1-1", "s2-1"):
        waves.append((recording, read_audio(corpus / f"{recording}.wav")[0]))
    (corpus / "wav.scp").write_text("".join(f"r-{k} {corpus}/{k}.wav\n" for k, _ in waves))
    rows = [("s1-1", "r-s1-1", "0.05 0.1"), ("s1-2", "r-s1-1", "0.1 0.2")]
    rows += [("s2-1", "r-s2-1", "0.0 -1"), ("s2-2", "r-s2-1", "0.2 0.3")]
    (corpus / "segments").write_text("".join(f"{u} {r} {t}\n" for u, r, t in rows))
    (corpus / "utt2spk").write_text("".join(f"{u} {u[:2]}\n" for u, _, _ in rows))
    (corpus / "text").write_text("".join(f"{u} WORD\n" for u, _, _ in rows))
    (corpus / "spk2utt").write_text("s1 s1-1 s1-2\ns2 s2-1 s2-2\n")
    return dict(waves)


def test_reads_tables_and_audio(corpus):
    data = DataDir(corpus)
    assert data.validate() == []
    assert len(data) == 12 and data.utterances[0] == "s1-1"
    assert data.text["s2-3"] == "WORD 3" and data.utt2spk["s2-3"] == "s2"
    assert data.spk2utt["s3"] == ["s3-1", "s3-2", "s3-3", "s3-4"]
    assert data.samples("s1-1").shape == (int(0.3 * RATE),)
    for utt, samples, rate in data.iter_audio(sample_rate=RATE):
        np.testing.assert_array_equal(
            samples, soundfile.read(corpus / f"{utt}.wav", dtype="int16")[0]
        )
        assert rate == RATE


def test_segments_cut_recordings(corpus):
    waves = with_segments(corpus)
    data = DataDir(corpus)
    assert data.validate() == []
    assert data.segments["s1-2"].start == 0.1 and data.segments["s2-1"].end is None
    found = {utt: samples for utt, samples, _ in data.iter_audio()}
    np.testing.assert_array_equal(found["s1-1"], waves["s1-1"][800:1600])
    np.testing.assert_array_equal(found["s2-1"], waves["s2-1"])
    np.testing.assert_array_equal(data.samples("s2-2"), found["s2-2"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("s1-1 nowhere 0 1", "segments:1: s1-1: no recording nowhere"),
        ("s1-1 r-s1-1 0.2 0.1", "segments:1: s1-1: segment 0.2..0.1 s is empty"),
        ("s1-1 r-s1-1 zero 0.1", "segments:1: s1-1: .* no number"),
        ("s1-1 r-s1-1", "segments:1: s1-1: a segment is"),
        ("s1-1 r-s1-1 5 6", "utterance s1-1: .*s1-1.wav: segment 5.0..6.0 s lies outside"),
    ],
)
def test_bad_segments_are_named(corpus, line, message):
    with_segments(corpus)
    edit(corpus / "segments", lambda lines: [line, *lines[1:]])
    with pytest.raises(InputError, match=message):
        list(DataDir(corpus).iter_audio())


def test_relative_paths(tmp_path, corpus, monkeypatch):
    edit(corpus / "wav.scp", lambda lines: [line.replace(f"{corpus}/", "") for line in lines])
    data = DataDir(corpus)
    expected = data.samples("s1-1")  # from the data directory itself
    part = data.subset(["s1-1"]).write(tmp_path / "elsewhere" / "part")
    assert os.path.isabs(part.wav_scp["s1-1"])
    np.testing.assert_array_equal(part.samples("s1-1"), expected)
    monkeypatch.chdir(tmp_path)  # the current directory comes first
    other = (expected // 2).astype(np.int16)
    soundfile.write("s1-1.wav", other, RATE)
    np.testing.assert_array_equal(DataDir(corpus).samples("s1-1"), other)


def test_pipes_run_only_when_allowed(tmp_path, corpus):
    witness = tmp_path / "ran"
    pipe = f"touch {witness}; cat {corpus}/s1-1.wav |"
    edit(corpus / "wav.scp", lambda lines: [f"s1-1 {pipe}", *lines[1:]])
    data = DataDir(corpus)
    with pytest.raises(InputError, match=r"wav\.scp:1: is a shell command .*--allow-pipes"):
        list(data.iter_audio(on_error=lambda utt, message: None))
    with pytest.raises(InputError, match=r"wav\.scp: s1-1: is a shell command"):
        data.samples("s1-1")
    assert "shell command" in data.validate()[0]
    assert not witness.exists()
    allowed = DataDir(corpus, allow_pipes=True)
    assert allowed.validate() == []
    np.testing.assert_array_equal(allowed.samples("s1-1"), read_audio(corpus / "s1-1.wav")[0])
    assert witness.exists()


def test_failing_pipe_names_command_and_utterance(corpus):
    edit(corpus / "wav.scp", lambda lines: ["s1-1 echo no such tape >&2; exit 3 |", *lines[1:]])
    data = DataDir(corpus, allow_pipes=True)
    with pytest.raises(InputError, match="utterance s1-1: command failed with status 3: .* tape"):
        data.samples("s1-1")


def test_pipe_of_a_recording_runs_once_for_its_segments(tmp_path, corpus):
    with_segments(corpus)
    log = tmp_path / "log"
    edit(
        corpus / "wav.scp",
        lambda lines: [f"r-s1-1 echo ran >> {log}; cat {corpus}/s1-1.wav |", lines[1]],
    )
    assert len(list(DataDir(corpus, allow_pipes=True).iter_audio())) == 4
    assert log.read_text() == "ran\n"


def test_bad_audio_is_reported_and_left_out(corpus):
    (corpus / "s1-2.wav").write_text("no audio")
    (corpus / "s3-4.wav").unlink()
    bad = {}
    good = [utt for utt, _, _ in DataDir(corpus).iter_audio(on_error=bad.__setitem__)]
    assert len(good) == 10 and set(bad) == {"s1-2", "s3-4"}
    assert "wav.scp:2: utterance s1-2:" in bad["s1-2"] and "No such file" in bad["s3-4"]
    with pytest.raises(InputError, match="utterance s1-2"):
        list(DataDir(corpus).iter_audio())


def test_missing_pieces_are_named(tmp_path, corpus):
    with pytest.raises(InputError, match="nowhere: no such data directory"):
        DataDir(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no utterance x"):
        DataDir(corpus).samples("x")
    (corpus / "wav.scp").unlink()
    with pytest.raises(InputError, match="has no wav.scp"):
        list(DataDir(corpus).iter_audio())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no data directory"):
        len(DataDir(tmp_path / "empty"))
    assert len(DataDir(tmp_path / "empty").validate()) == 3


def swap(lines):
    return [lines[1], lines[0], *lines[2:]]


@pytest.mark.parametrize("name", ["wav.scp", "text", "utt2spk"])
def test_unsorted_tables(corpus, name):
    edit(corpus / name, swap)
    assert any(
        f"{name}:2: not sorted: s1-1 after s1-2" in line for line in DataDir(corpus).validate()
    )
    with pytest.raises(InputError, match=rf"{name}:2: not sorted.*kds data fix"):
        DataDir(corpus).table(name)
    if name == "wav.scp":
        with pytest.raises(InputError, match=r"wav\.scp:2: not sorted.*kds data fix"):
            list(DataDir(corpus).iter_audio())
    assert DataDir(corpus).fix() == {"before": 12, "after": 12}
    assert DataDir(corpus).validate() == []


def test_duplicate_lines(corpus):
    edit(corpus / "wav.scp", lambda lines: [lines[0], *lines])
    assert "wav.scp:2: duplicate key s1-1" in DataDir(corpus).validate()[0]
    with pytest.raises(InputError, match=r"wav\.scp:2: duplicate key s1-1"):
        list(DataDir(corpus).iter_audio())
    with pytest.raises(InputError, match=r"wav\.scp:2: duplicate key s1-1"):
        len(DataDir(corpus))
    DataDir(corpus).fix()
    assert DataDir(corpus).validate() == []
    edit(corpus / "utt2spk", lambda lines: [*lines, "s1-1 s9"])
    before = (corpus / "utt2spk").read_text()
    with pytest.raises(InputError, match=r"utt2spk:13: duplicate key s1-1 with another value"):
        DataDir(corpus).fix()
    assert (corpus / "utt2spk").read_text() == before


def test_fix_keeps_what_all_tables_have(corpus):
    edit(corpus / "text", lambda lines: lines[1:])
    edit(corpus / "utt2spk", lambda lines: lines[:-1])
    (corpus / "spk2utt").unlink()
    problems = "\n".join(DataDir(corpus).validate())
    assert "text: lacks 1 utterances of wav.scp, s1-1 among them" in problems
    assert "has no spk2utt" in problems
    assert DataDir(corpus).fix() == {"before": 12, "after": 10}
    data = DataDir(corpus)
    assert data.validate() == [] and len(data) == 10
    assert data.table("spk2utt")["s1"] == "s1-2 s1-3 s1-4"


def test_fix_with_segments_drops_recordings(corpus):
    with_segments(corpus)
    edit(corpus / "text", lambda lines: lines[2:])
    assert DataDir(corpus).fix() == {"before": 4, "after": 2}
    assert list(DataDir(corpus).wav_scp) == ["r-s2-1"]
    assert DataDir(corpus).validate() == []


def test_validate_compares_tables(corpus):
    edit(corpus / "spk2utt", lambda lines: lines[:-1])
    edit(corpus / "text", lambda lines: [*lines, "s9-1 EXTRA"])
    (corpus / "s2-2.wav").unlink()
    problems = "\n".join(DataDir(corpus).validate())
    assert "spk2utt: does not agree with utt2spk" in problems
    assert "text: has 1 utterances that wav.scp lacks, s9-1" in problems
    assert "wav.scp: s2-2: no such file" in problems


def test_subset_and_combine(tmp_path, corpus):
    data = DataDir(corpus)
    one = data.subset(speakers=["s1"])
    rest = data.subset([utt for utt in data.utterances if not utt.startswith("s1")])
    assert one.utterances == ["s1-1", "s1-2", "s1-3", "s1-4"] and list(one.spk2utt) == ["s1"]
    whole = combine([one.write(tmp_path / "one"), rest.write(tmp_path / "rest")])
    written = whole.write(tmp_path / "whole")
    assert written.validate() == []
    for name in data.table_names:
        assert written.table(name) == data.table(name)
    with pytest.raises(InputError, match="no utterance x"):
        data.subset(["x"])
    edit(tmp_path / "one" / "text", lambda lines: ["s1-1 OTHER", *lines[1:]])
    with pytest.raises(InputError, match="text: s1-1 has the value"):
        combine([data, DataDir(tmp_path / "one")])


def test_subset_with_segments_keeps_its_recordings(tmp_path, corpus):
    with_segments(corpus)
    part = DataDir(corpus).subset(["s1-1"]).write(tmp_path / "part")
    assert list(part.wav_scp) == ["r-s1-1"] and part.validate() == []


def test_splits_cover_everything_once(corpus):
    data = DataDir(corpus)
    for parts in (data.split(5), data.split_by_speaker(2)):
        assert sorted(utt for part in parts for utt in part.utterances) == data.utterances
    speakers = [set(part.spk2utt) for part in data.split_by_speaker(2)]
    assert not speakers[0] & speakers[1]
    with pytest.raises(InputError, match="cannot make 4 parts of 3 speakers"):
        data.split_by_speaker(4)
    with pytest.raises(InputError, match="cannot make 13 parts"):
        data.split(13)


def test_written_directory_replaces_tables(tmp_path, corpus):
    shutil.copytree(corpus, tmp_path / "copy")
    (tmp_path / "copy" / "cmvn.scp").write_text("s1 x.ark:1\n")
    (tmp_path / "copy" / "notes").write_text("kept\n")
    DataDir(corpus).subset(["s1-1"]).write(tmp_path / "copy")
    assert not (tmp_path / "copy" / "cmvn.scp").exists()
    assert (tmp_path / "copy" / "notes").exists()
    assert DataDir(tmp_path / "copy").validate() == []


@pytest.mark.corpora
def test_corpus_that_brings_its_data_directories(corpora):
    data = DataDir(corpora / "speechocean762_adults" / "dev")
    assert data.validate() == [] and len(data) == 260
    assert data.samples("000240010", sample_rate=16000).shape == (35376,)
