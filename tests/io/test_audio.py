"""Reading audio: what comes out, and what bad files say."""

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspeech.io.audio import read_audio
from kdspeech.io.errors import InputError

RATE = 16000


@pytest.fixture
def samples():
    return np.random.default_rng(0).normal(0, 3000, RATE).astype(np.int16)


def write(path, samples, **how):
    if how.get("subtype") in ("FLOAT", "DOUBLE") and samples.dtype == np.int16:
        samples = samples / 32768  # libsndfile does not scale these
    soundfile.write(path, samples, how.pop("rate", RATE), **how)
    return path


@pytest.mark.parametrize(
    ("suffix", "how"),
    [
        ("wav", {}),
        ("wav", {"format": "WAVEX", "subtype": "PCM_16"}),
        ("wav", {"subtype": "PCM_24"}),
        ("wav", {"subtype": "FLOAT"}),
        ("wav", {"subtype": "DOUBLE"}),
        ("flac", {}),
        ("aiff", {}),
    ],
)
def test_lossless_formats_give_the_same_integers(tmp_path, samples, suffix, how):
    found, rate = read_audio(write(tmp_path / f"a.{suffix}", samples, **how))
    assert rate == RATE and found.dtype == np.int16
    np.testing.assert_array_equal(found, samples)


@pytest.mark.parametrize(
    ("suffix", "how"), [("ogg", {}), ("mp3", {}), ("opus", {"format": "OGG", "subtype": "OPUS"})]
)
def test_lossy_formats_come_close(tmp_path, suffix, how):
    wave = (8000 * np.sin(np.arange(RATE) * 0.1)).astype(np.int16)
    found, rate = read_audio(write(tmp_path / f"a.{suffix}", wave, **how))
    assert rate == RATE and found.shape == wave.shape
    assert np.corrcoef(found, wave)[0, 1] > 0.99
    assert abs(found.std() / wave.std() - 1) < 0.05


def test_float_beyond_full_scale_is_clipped(tmp_path):
    wave = np.array([0.5, 1.5, -1.5, -1.0])
    found, _ = read_audio(write(tmp_path / "a.wav", wave, subtype="FLOAT"))
    assert found.tolist() == [16384, 32767, -32768, -32768]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_part_of_a_file_is_cut_as_by_kaldi(tmp_path, samples, suffix):
    path = write(tmp_path / f"a.{suffix}", samples)
    np.testing.assert_array_equal(read_audio(path, start=0.25, end=0.5)[0], samples[4000:8000])
    np.testing.assert_array_equal(read_audio(path, start=0.25, end=-1)[0], samples[4000:])
    np.testing.assert_array_equal(read_audio(path, start=0.25, end=1.4)[0], samples[4000:])
    for start, end in [(0.25, 1.6), (1.0, 1.2), (0.5, 0.5), (-0.1, 0.5)]:
        with pytest.raises(InputError, match="segment"):
            read_audio(path, start=start, end=end)


def test_audio_from_memory(tmp_path, samples):
    for suffix in ("wav", "flac"):
        data = write(tmp_path / f"a.{suffix}", samples).read_bytes()
        np.testing.assert_array_equal(read_audio(data)[0], samples)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_wav_written_to_a_pipe_goes_to_its_end(tmp_path, samples, size):
    data = bytearray(write(tmp_path / "a.wav", samples).read_bytes())
    data[40:44] = struct.pack("<I", size)
    np.testing.assert_array_equal(read_audio(bytes(data))[0], samples)


def test_one_sample_is_audio(tmp_path):
    for suffix in ("wav", "flac"):
        found, _ = read_audio(write(tmp_path / f"a.{suffix}", np.array([7], np.int16)))
        assert found.tolist() == [7]


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_stereo_needs_a_channel(tmp_path, samples, suffix):
    path = write(tmp_path / f"a.{suffix}", np.stack([samples, -samples], axis=1))
    with pytest.raises(InputError, match=rf"a\.{suffix}: has 2 channels"):
        read_audio(path)
    np.testing.assert_array_equal(read_audio(path, channel=1)[0], -samples)
    np.testing.assert_array_equal(
        read_audio(path, channel=0, start=0.1, end=0.2)[0], samples[1600:3200]
    )
    with pytest.raises(InputError, match="no channel 2"):
        read_audio(path, channel=2)


def test_other_rate_is_refused_or_resampled(tmp_path):
    wave = (8000 * np.sin(2 * np.pi * 440 / 8000 * np.arange(8000))).astype(np.int16)
    path = write(tmp_path / "a.wav", wave, rate=8000)
    with pytest.raises(InputError, match=r"a\.wav: sampling rate is 8000 Hz, 16000 Hz expected"):
        read_audio(path, sample_rate=RATE)
    found, rate = read_audio(path, sample_rate=RATE, resample=True)
    assert rate == RATE and found.shape == (RATE,)
    expected = 8000 * np.sin(2 * np.pi * 440 / RATE * np.arange(RATE))
    assert np.abs(found - expected)[1000:-1000].max() < 10


def bad_files(folder, samples):
    """name -> (path, what the message must say)"""
    write(folder / "good.wav", samples)
    write(folder / "good.flac", samples)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is no audio\n" * 20)
    (folder / "header.wav").write_bytes((folder / "good.wav").read_bytes()[:30])
    (folder / "cut.wav").write_bytes((folder / "good.wav").read_bytes()[:-1000])
    flac = (folder / "good.flac").read_bytes()
    (folder / "cut.flac").write_bytes(flac[: len(flac) // 2])
    promise = bytearray(flac)
    promise[25] ^= 0x40  # the last byte of STREAMINFO's number of samples: some more or fewer
    promise[23] = 0x01  # and 65536 more
    (folder / "promise.flac").write_bytes(bytes(promise))
    write(folder / "nan.wav", np.array([0, np.nan, 0.1]), subtype="FLOAT")
    write(folder / "nothing.wav", samples[:0])
    write(folder / "nothing.flac", samples[:0])
    wide = write(folder / "wide.wav", samples, subtype="PCM_24").read_bytes()
    (folder / "wide.wav").write_bytes(wide[:-300])
    (folder / "folder.wav").mkdir()
    return {
        "missing.wav": "No such file",
        "empty.wav": "empty file",
        "text.wav": "not audio",
        "header.wav": "truncated",
        "cut.wav": "truncated.*promises 32000 bytes",
        "wide.wav": "truncated",
        "cut.flac": "damaged|truncated",
        "promise.flac": "damaged|truncated",
        "nan.wav": "1 of 3 samples are NaN",
        "nothing.wav": "no samples",
        "nothing.flac": "no samples|empty file",
        "folder.wav": "directory",
    }


def test_bad_files_are_named_and_explained(tmp_path, samples):
    for name, message in bad_files(tmp_path, samples).items():
        with pytest.raises(InputError, match=f"(?s){name}: .*({message})"):
            read_audio(tmp_path / name)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300), st.sampled_from(["WAV", "FLAC", "OGG"]))
def test_damaged_bytes_give_audio_or_an_input_error(noise, position, kind):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.arange(400, dtype=np.int16), RATE, format=kind)
    data = buffer.getvalue()
    data = data[:position] + noise + data[position + len(noise) :]
    try:
        samples, rate = read_audio(data, channel=0)
    except InputError:
        return
    assert samples.dtype == np.int16 and samples.ndim == 1 and len(samples) and rate > 0
