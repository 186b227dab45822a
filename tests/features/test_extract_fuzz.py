"""Random options and waves: features of the promised shape, or an InputError."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspeech.features import Fbank, Mfcc, Plp
from kdspeech.io.errors import InputError

WINDOWS = ["hamming", "hanning", "povey", "rectangular", "blackman", "sine"]
SHARED = dict(
    sample_frequency=st.sampled_from([8000.0, 11025.0, 16000.0, 44100.0]),
    frame_length=st.floats(16, 40),
    frame_shift=st.floats(1, 30),
    dither=st.sampled_from([0.0, 1.0, 100.0]),
    preemphasis_coefficient=st.floats(0, 1),
    remove_dc_offset=st.booleans(),
    window_type=st.sampled_from(WINDOWS),
    round_to_power_of_two=st.booleans(),
    snip_edges=st.booleans(),
    num_mel_bins=st.integers(13, 23),
    low_freq=st.floats(0, 80),
    high_freq=st.floats(-300, 0),
    vtln_warp=st.floats(0.9, 1.1),
    use_energy=st.booleans(),
    energy_floor=st.floats(0, 1e9),
    raw_energy=st.booleans(),
    htk_compat=st.booleans(),
    subtract_mean=st.booleans(),
)
CEPSTRA = dict(num_ceps=st.integers(1, 13), cepstral_lifter=st.floats(0, 100))
OPTIONS = {
    Mfcc: {**SHARED, **CEPSTRA},
    Fbank: {**SHARED, "use_log_fbank": st.booleans(), "use_power": st.booleans()},
    Plp: {
        **SHARED,
        **CEPSTRA,
        "lpc_order": st.integers(12, 30),
        "compress_factor": st.floats(0.1, 1),
        "cepstral_scale": st.floats(-10, 10),
    },
}
ANYTHING = st.floats() | st.integers() | st.booleans() | st.text(max_size=3) | st.none()


@st.composite
def waves(draw):
    """Noise of any length and strength, or raw bytes, taken as int16 or float32."""
    dtype = draw(st.sampled_from([np.int16, np.float32]))
    if draw(st.booleans()):
        data = draw(st.binary(max_size=200))
        return np.frombuffer(data[: len(data) // 4 * 4], dtype)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    size, strength = draw(st.integers(1, 20000)), draw(st.sampled_from([0, 1, 500, 32767]))
    return (strength * rng.uniform(-1, 1, size)).astype(dtype)


def check_features(computer, wave, seed):
    """Shape, finiteness, and the same again in a batch; or InputError for what is in the wave."""
    features = computer(wave, seed=seed)
    assert features.shape == (computer.num_frames(len(wave)), computer.dim)
    assert np.isfinite(features).all()
    for again in computer.batch([wave, wave], seeds=[seed, seed], num_threads=2):
        assert np.array_equal(again, features)


@pytest.mark.filterwarnings("ignore:.*never leaves")
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(OPTIONS)), st.data(), waves(), st.integers())
def test_any_wave_with_sensible_options(kind, data, wave, seed):
    options = data.draw(st.fixed_dictionaries({}, optional=OPTIONS[kind]))
    try:
        check_features(kind(**options), wave, seed)
    except InputError as error:
        refused = ("samples", "finite", "odd number of samples", "num_mel_bins")
        assert any(reason in str(error) for reason in refused)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(OPTIONS)), st.data())
def test_any_value_of_an_option(kind, data):
    name = data.draw(st.sampled_from(sorted(kind().options)))
    value = data.draw(ANYTHING)
    try:
        check_features(kind(**{name: value}), np.arange(2000, dtype=np.int16), 0)
    except InputError as error:
        assert name in str(error) or "num_mel_bins" in str(error)  # no bin in a filter
