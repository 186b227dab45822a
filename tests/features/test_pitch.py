import json
import pickle

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdspeech import _core
from kdspeech.features import Pitch, process_pitch
from kdspeech.features.options import as_dict, option_types
from kdspeech.features.pitch import PitchOptions, ProcessPitchOptions
from kdspeech.io.errors import InputError


def harmonic(pitch, seconds=0.5, rate=16000, seed=0):
    """A wave with four harmonics of `pitch` (Hz, a number or one per sample) and a little noise."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch, int(seconds * rate))) / rate
    noise = np.random.default_rng(seed).normal(0, 20, phase.size)
    return (sum(2000 / k * np.sin(k * phase) for k in (1, 2, 3, 4)) + noise).astype(np.float32)


def golden_cases(golden):
    cases = json.loads((golden / "cases.json").read_text())["features"]["cases"]
    return [case for case in cases if case["tool"].startswith("compute-kaldi-pitch-feats")]


def options(case, options_class):
    """The strings of a case as the values they mean."""
    types = option_types(options_class)
    given = {name.replace("-", "_"): value for name, value in case.items()}
    return {
        name: value == "true" if types[name] is bool else types[name](value)
        for name, value in given.items()
    }


@pytest.mark.golden
@pytest.mark.corpora
def test_equals_kaldi(golden, corpora):
    cases = golden_cases(golden)
    assert len(cases) == 8
    arrays = np.load(golden / "features" / "pitch.npz")
    for case in cases:
        samples, rate = soundfile.read(corpora / case["clip"], dtype="int16")
        raw = Pitch(**options(case["options"], PitchOptions))(samples, rate)
        expected = arrays[case["array"]]
        assert raw.shape == expected.shape
        np.testing.assert_array_equal(raw[:, 1], expected[:, 1])
        np.testing.assert_allclose(raw[:, 0], expected[:, 0], rtol=0, atol=1e-6)
        processed = process_pitch(raw, **options(case["process_options"], ProcessPitchOptions))
        np.testing.assert_allclose(processed, arrays[case["array_processed"]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pitch", [70, 123.4, 200, 380])
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_finds_the_pitch_of_a_harmonic_wave(pitch, rate):
    result = Pitch(sample_frequency=rate)(harmonic(pitch, rate=rate), rate)
    assert np.abs(result[3:-3, 1] / pitch - 1).max() < 0.01
    assert result[3:-3, 0].min() > 0.9


def test_follows_a_glide():
    pitch = np.linspace(100, 200, 16000)
    result = Pitch()(harmonic(pitch, 1.0))
    centres = np.arange(len(result)) * 160 + 200 + 40  # window and about half a lag, in samples
    assert np.abs(result[5:-5, 1] / pitch[centres[5:-5]] - 1).max() < 0.03


def test_frames():
    pitch, all_edges = Pitch(), Pitch(snip_edges=False)
    assert pitch.dim == 2
    for size in [1, 2, 159, 160, 399, 400, 401, 402, 560, 1600, 16000]:
        wave = harmonic(150, size / 16000)
        assert pitch(wave).shape == (pitch.num_frames(size), 2)
        assert all_edges(wave).shape == (all_edges.num_frames(size), 2)
    assert [pitch.num_frames(n) for n in (0, 396, 397, 400, 16000)] == [0, 0, 1, 1, 98]
    assert all_edges.num_frames(16000) == 100


def test_kinds_of_input():
    wave = harmonic(150).astype(np.int16)
    expected = Pitch()(wave)
    assert isinstance(expected, np.ndarray) and expected.dtype == np.float32
    assert expected.flags.c_contiguous
    for same in (wave.astype(np.float32), wave.astype(np.float64), np.repeat(wave, 2)[::2]):
        np.testing.assert_array_equal(Pitch()(same), expected)
    tensor = Pitch()(torch.from_numpy(wave))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_batch_does_not_depend_on_threads():
    waves = [harmonic(80 + 20 * i, 0.2 + 0.03 * i) for i in range(7)]
    pitch = Pitch()
    expected = [pitch(wave) for wave in waves]
    for threads in (1, 2, 16):
        for result, one in zip(pitch.batch(waves, 16000, threads), expected, strict=True):
            np.testing.assert_array_equal(result, one)
    assert pitch.batch([]) == []


def test_silence_and_constant():
    for wave in (np.zeros(8000, np.float32), np.full(8000, 1000, np.int16)):
        result = Pitch()(wave)
        assert np.isfinite(result).all() and (result[:, 1] >= 49.9).all()
    np.testing.assert_array_equal(Pitch()(np.zeros(8000, np.int16))[:, 0], 0)


def test_scale_does_not_matter():
    wave = harmonic(150)
    np.testing.assert_allclose(Pitch()(wave * 8), Pitch()(wave), rtol=0, atol=1e-6)


def test_chunks():
    wave = harmonic(np.linspace(90, 250, 16000), 1.0)
    wave[8000:] *= 30  # the energy estimate changes a lot
    whole = Pitch()(wave)
    chunked = Pitch(frames_per_chunk=10)(wave)
    assert np.abs(chunked[:, 1] / whole[:, 1] - 1).max() < 0.02  # searched again at the end
    first_pass = Pitch(frames_per_chunk=10, simulate_first_pass_online=True)(wave)
    delayed = Pitch(frames_per_chunk=10, simulate_first_pass_online=True, max_frames_latency=30)(
        wave
    )
    assert first_pass.shape == delayed.shape == whole.shape
    assert not np.array_equal(first_pass, chunked)
    one_chunk = Pitch(frames_per_chunk=1000, simulate_first_pass_online=True)(wave)
    np.testing.assert_array_equal(one_chunk, whole)


def test_recompute_frame():
    wave = harmonic(np.linspace(90, 250, 32000), 2.0)
    wave += np.random.default_rng(1).normal(0, 1500, wave.size).astype(np.float32)
    wave[:16000] *= 0.02
    late = Pitch(frames_per_chunk=5, recompute_frame=500)(wave)
    never = Pitch(frames_per_chunk=5, recompute_frame=0)(wave)
    assert late.shape == never.shape and not np.array_equal(late, never)


@pytest.mark.parametrize(
    "changed",
    [
        {"preemphasis_coefficient": 0.97},
        {"frame_length": 35},
        {"min_f0": 60, "max_f0": 300},
        {"soft_min_f0": 40},
        {"penalty_factor": 0.0},
        {"lowpass_cutoff": 700},
        {"lowpass_filter_width": 2},
        {"upsample_filter_width": 7},
        {"resample_frequency": 5000},
        {"delta_pitch": 0.01},
        {"nccf_ballast": 1e6},
        {"nccf_ballast_online": True},
    ],
)
def test_every_option_counts(changed):
    wave = harmonic(np.linspace(80, 280, 8000))
    wave += np.random.default_rng(2).normal(0, 3000, wave.size).astype(np.float32)
    assert not np.array_equal(Pitch(**changed)(wave), Pitch()(wave))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"min_fo": 50}, "has no option min_fo .did you mean min_f0"),
        ({"min_f0": 500}, "max_f0 at least min_f0"),
        ({"min_f0": "fifty"}, "min_f0 = 'fifty': must be of type float"),
        ({"min_f0": float("nan")}, "min_f0"),
        ({"max_f0": 3000}, "max_f0 is too high"),
        ({"lowpass_cutoff": 3000}, "lowpass_cutoff must be"),
        ({"sample_frequency": 0}, "sample_frequency must be"),
        ({"frame_shift": 0.01}, "frame_shift must hold"),
        ({"delta_pitch": 1e-5}, "delta_pitch is too small"),
        ({"upsample_filter_width": 2.5}, "upsample_filter_width = 2.5: must be of type int"),
        ({"recompute_frame": 1 << 40}, "recompute_frame = 1099511627776: out of range"),
        ({"recompute_frame": -1}, "recompute_frame must not be negative"),
        ({"resample_frequency": 99991, "lowpass_filter_width": 20}, "low-pass filter is too long"),
        ({"snip_edges": "maybe"}, "snip_edges = 'maybe': must be of type bool"),
        ({"simulate_first_pass_online": True}, "needs frames_per_chunk"),
    ],
)
def test_bad_options(bad, message):
    with pytest.raises(InputError, match=message):
        Pitch(**bad)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.int16), "no samples"),
        (np.zeros((2, 800), np.int16), "pick one channel"),
        (np.zeros(800, np.int32), "int32 must be int16"),
        (np.array([0, np.nan] * 400), "sample 1 is nan"),
        (np.full(800, 1e30), "sample 0 is 1e\\+30"),
        (["a", "b"], "not real numbers"),
        (torch.zeros(800, device="meta"), "move it to the CPU"),
    ],
)
def test_bad_samples(samples, message):
    with pytest.raises(InputError, match=message):
        Pitch()(samples)


def test_wrong_rate_and_threads():
    with pytest.raises(InputError, match="at 8000 Hz, but sample_frequency is 16000"):
        Pitch()(harmonic(150), 8000)
    with pytest.raises(InputError, match="num_threads = 0"):
        Pitch().batch([harmonic(150)], num_threads=0)


@pytest.mark.parametrize("kind", [PitchOptions, ProcessPitchOptions])
def test_defaults_are_those_of_the_core(kind):
    core = getattr(_core, kind.__name__)()
    for name, value in as_dict(kind()).items():
        assert getattr(core, name) == pytest.approx(value), name


def test_repr_and_pickle():
    pitch = Pitch(min_f0=60, snip_edges=False)
    assert repr(pitch) == "Pitch(min_f0=60.0, snip_edges=False)"
    again = pickle.loads(pickle.dumps(pitch))
    assert again.options == pitch.options
    np.testing.assert_array_equal(again(harmonic(150)), pitch(harmonic(150)))


NUMBERS = st.one_of(
    st.floats(allow_nan=True), st.floats(0, 1000), st.integers(-3, 20), st.booleans(), st.none()
)
NAMES = st.sampled_from([*option_types(PitchOptions), "sample_rate"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, NUMBERS, max_size=4), st.integers(1, 3000), st.integers(0, 99))
def test_any_options_give_finite_numbers_or_an_input_error(options, size, seed):
    samples = np.random.default_rng(seed).normal(0, 3000, size).astype(np.float32)
    try:
        pitch = Pitch(**options)
    except InputError:
        return
    result = pitch(samples)
    assert result.shape == (pitch.num_frames(size), 2) and np.isfinite(result).all()


def test_from_conf(tmp_path):
    path = tmp_path / "pitch.conf"
    path.write_text("# pitch\n--sample-frequency=8000\n\n--snip-edges=false  # all\n--min-f0=60\n")
    options = Pitch.from_conf(path).options
    assert options["sample_frequency"] == 8000 and options["min_f0"] == 60
    assert options["snip_edges"] is False and len(options) == 20
    path.write_text("--sample-frequency=8000\nmin-f0=60\n")
    with pytest.raises(InputError, match="pitch.conf:2"):
        Pitch.from_conf(path)
    path.write_text("--min-fo=60\n")
    with pytest.raises(InputError, match="pitch.conf:1: .*no option min_fo"):
        Pitch.from_conf(path)
    with pytest.raises(InputError, match="none.conf"):
        Pitch.from_conf(tmp_path / "none.conf")


def test_process_pitch_by_hand():
    raw = np.array([[0.9, 100], [0.5, 110], [-0.2, 120], [1.2, 100]], np.float32)
    pov, normalized, delta, log_pitch = process_pitch(raw, add_raw_log_pitch=True).T
    log = np.log(raw[:, 1].astype(float))
    np.testing.assert_allclose(log_pitch, log, rtol=1e-6)
    np.testing.assert_allclose(
        pov, 2 * ((1.0001 - np.clip(raw[:, 0], -1, 1)) ** 0.15 - 1), rtol=1e-5
    )
    n = np.minimum(np.abs(raw[:, 0].astype(float)), 1)
    odds = -5.2 + 5.4 * np.exp(7.5 * (n - 1)) + 4.8 * n - 2 * np.exp(-10 * n)
    weight = 1 / (1 + np.exp(-(odds + 4.2 * np.exp(20 * (n - 1)))))
    np.testing.assert_allclose(normalized, 2 * (log - (weight @ log) / weight.sum()), atol=1e-6)
    padded = np.concatenate([log[:1], log[:1], log, log[-1:], log[-1:]])
    slope = np.convolve(padded, [0.2, 0.1, 0, -0.1, -0.2], "valid")
    np.testing.assert_allclose(delta, 10 * slope, atol=1e-6)


def test_process_pitch_window_and_delay():
    raw = Pitch()(harmonic(np.linspace(100, 200, 8000)))
    plain = process_pitch(raw, add_raw_log_pitch=True)
    alone = process_pitch(raw, normalization_left_context=0, normalization_right_context=0)
    np.testing.assert_allclose(alone[:, 1], 0, atol=1e-6)
    delayed = process_pitch(raw, add_raw_log_pitch=True, delay=3)
    np.testing.assert_array_equal(delayed[3:], plain)
    np.testing.assert_array_equal(delayed[:3], np.repeat(plain[:1], 3, axis=0))
    assert process_pitch(raw, add_pov_feature=False, add_delta_pitch=False).shape[1] == 1


def test_process_pitch_noise_is_seeded():
    raw = torch.from_numpy(Pitch()(harmonic(150, 5.0)))
    quiet = process_pitch(raw)
    assert isinstance(quiet, torch.Tensor)
    noisy = process_pitch(raw, delta_pitch_noise_stddev=0.005, seed=7)
    torch.testing.assert_close(noisy[:, :2], quiet[:, :2], rtol=0, atol=0)
    noise = (noisy - quiet)[:, 2]
    assert abs(noise.std() / 0.05 - 1) < 0.15 and abs(noise.mean()) < 0.01
    again = process_pitch(raw, delta_pitch_noise_stddev=0.005, seed=7)
    torch.testing.assert_close(noisy, again, rtol=0, atol=0)
    assert not torch.equal(noisy, process_pitch(raw, delta_pitch_noise_stddev=0.005, seed=8))


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (np.zeros((0, 2)), {}, "no frames"),
        (np.ones((3, 3)), {}, "3 columns, must be 2"),
        (np.zeros((3, 2)), {}, "the pitch in frame 0 is 0.0 Hz"),
        (np.array([[0.5, np.nan]]), {}, "nan in frame 0, column 1"),
        (np.ones((3, 2)), {"delay": -1}, "delay = -1"),
        (np.ones((3, 2)), {"delta_window": 0}, "delta_window = 0"),
        (np.ones((3, 2)), {"pov_scales": 1}, "no option pov_scales"),
        (
            np.ones((3, 2)),
            {
                "add_pov_feature": False,
                "add_normalized_log_pitch": False,
                "add_delta_pitch": False,
            },
            "nothing is left",
        ),
    ],
)
def test_process_pitch_bad_input(features, options, message):
    with pytest.raises(InputError, match=message):
        process_pitch(features, **options)
