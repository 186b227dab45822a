"""Data directories into packs."""

import numpy as np
import pytest
import soundfile
from make_corpus import write_corpus

from kdspeech.data import DataDir, WavePack, pack_data_dir
from kdspeech.io.errors import InputError


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "train")


def truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


def stereo(path):
    soundfile.write(path, np.ones((4800, 2), np.int16), 16000)


def test_pack_of_a_data_directory(tmp_path, corpus):
    data = DataDir(corpus)
    pack, bad = pack_data_dir(data, tmp_path / "pack", speeds=(1, 0.5))
    assert bad == {} and not (tmp_path / "pack.bad").exists()
    assert len(pack) == 24 and pack.texts[pack.index("s1-2")] == "WORD 2"
    assert pack.speakers[pack.index("sp0.5-s1-2")] == "sp0.5-s1"
    assert len(pack["sp0.5-s1-2"]) == 2 * len(pack["s1-2"])
    np.testing.assert_array_equal(pack["s1-2"], data.samples("s1-2"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_text("no audio"), "not audio"),
        (truncate, "truncated"),
        (stereo, "2 channels"),
        (lambda path: soundfile.write(path, np.ones(99, np.int16), 8000), "8000 Hz"),
        (lambda path: soundfile.write(path, np.full(9, np.nan), 16000, subtype="FLOAT"), "NaN"),
    ],
)
def test_bad_audio_is_left_out_and_listed(tmp_path, corpus, damage, message):
    damage(corpus / "s2-1.wav")
    pack, bad = pack_data_dir(DataDir(corpus), tmp_path / "pack", max_bad=0.1)
    assert len(pack) == 11 and list(bad) == ["s2-1"] and message in bad["s2-1"]
    assert message in (tmp_path / "pack.bad").read_text()
    with pytest.raises(InputError, match=r"1 of 12 utterances .* more than 1 %; .*pack\.bad lists"):
        pack_data_dir(DataDir(corpus), tmp_path / "pack")
    assert len(WavePack(tmp_path / "pack")) == 11  # the old one stays


def test_nothing_usable(tmp_path, corpus):
    for path in corpus.glob("*.wav"):
        path.write_bytes(b"")
    for rate in (None, 16000):
        with pytest.raises(InputError, match="12 of 12 utterances cannot be used"):
            pack_data_dir(DataDir(corpus), tmp_path / "pack", sample_rate=rate)
        with pytest.raises(InputError, match="no utterance that can be used"):
            pack_data_dir(DataDir(corpus), tmp_path / "pack", sample_rate=rate, max_bad=1.0)
    (corpus / "wav.scp").write_text("")
    with pytest.raises(InputError, match="no utterance that can be used"):
        pack_data_dir(DataDir(corpus), tmp_path / "pack")
    assert not (tmp_path / "pack").exists()
