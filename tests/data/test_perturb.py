"""Speed perturbation of data directories."""

import numpy as np
import pytest
import soundfile
from make_corpus import write_corpus

from kdspeech.data import DataDir
from kdspeech.data.perturb import perturb_speed
from kdspeech.io.errors import InputError

RATE = 16000


@pytest.fixture
def tone(tmp_path):
    """A second of 1 kHz by one speaker, the second half of a recording."""
    wave = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    soundfile.write(tmp_path / "rec.wav", np.append(0 * wave[:RATE], 0.5 * wave[RATE:]), RATE)
    tables = {
        "wav.scp": {"rec": str(tmp_path / "rec.wav")},
        "segments": {"a-1": "rec 1 2"},
        "utt2spk": {"a-1": "a"},
        "text": {"a-1": "TONE"},
    }
    return DataDir(tables=tables).write(tmp_path / "tone").path


def pitch(samples):
    return np.abs(np.fft.rfft(samples, 8 * RATE)).argmax() / 8


def test_played_faster_a_tone_is_shorter_and_higher(tone, tmp_path):
    data = perturb_speed(tone, tmp_path / "sp", [1.25, 0.8])
    lengths = {utt: len(samples) for utt, samples, _ in data.iter_audio()}
    assert lengths == {"a-1": RATE, "sp0.8-a-1": 1.25 * RATE, "sp1.25-a-1": 0.8 * RATE}
    heard = [pitch(samples) for _, samples, _ in data.iter_audio()]
    np.testing.assert_allclose(heard, [1000, 800, 1250], atol=1)
    assert data.utt2spk == {"a-1": "a", "sp0.8-a-1": "sp0.8-a", "sp1.25-a-1": "sp1.25-a"}
    assert set(data.text.values()) == {"TONE"}
    assert data.validate() == []


def test_jobs_make_the_same(tmp_path):
    source = write_corpus(tmp_path / "train")
    one, two = (perturb_speed(source, tmp_path / f"sp{nj}", nj=nj) for nj in (1, 2))
    for (utt, samples, _), (other, others, _) in zip(
        one.iter_audio(), two.iter_audio(), strict=True
    ):
        assert utt == other
        np.testing.assert_array_equal(samples, others)


@pytest.mark.parametrize("factors", [[], [1.0], [0.9, 0.9], [0.0], [3.0]])
def test_factors_that_make_no_sense_are_refused(tone, tmp_path, factors):
    with pytest.raises(InputError, match="speed factors"):
        perturb_speed(tone, tmp_path / "sp", factors)
    assert not (tmp_path / "sp").exists()


def test_audio_that_cannot_be_read_is_named_and_leaves_nothing(tone, tmp_path):
    (tmp_path / "rec.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="rec.wav"):
        perturb_speed(tone, tmp_path / "sp")
    assert not (tmp_path / "sp" / "wav.scp").exists()
