"""Mfcc, Fbank and Plp: against other implementations, and what goes in and out."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import kaldi_native_fbank
import numpy as np
import pytest
import torch
import torchaudio.compliance.kaldi as torchaudio_kaldi

from kdspeech.features import Fbank, Mfcc, Plp, simd_variants
from kdspeech.io.errors import InputError

KINDS = [Mfcc, Fbank, Plp]


def make_wave(num_samples=16000, seed=0, rate=16000):
    """Harmonics of a gliding pitch under noise, int16."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples) / rate
    phase = 2 * np.pi * (120 * time + 40 * time**2)
    wave = sum(np.sin(k * phase) / k for k in range(1, 15))
    return (2000 * wave + 100 * rng.standard_normal(num_samples) + 50).astype(np.int16)


PEER_CASES = [
    {},
    dict(use_energy=False),
    dict(raw_energy=False),
    dict(htk_compat=True),
    dict(htk_compat=True, use_energy=False),
    dict(window_type="hamming"),
    dict(window_type="hanning", remove_dc_offset=False),
    dict(window_type="blackman"),
    dict(window_type="rectangular", preemphasis_coefficient=0.0),
    dict(snip_edges=False),
    dict(sample_frequency=8000.0, num_mel_bins=15),
    dict(low_freq=100.0, high_freq=-400.0, num_mel_bins=40),
    dict(frame_length=32.0, frame_shift=7.5),
    dict(energy_floor=1e9, use_energy=True),
    dict(subtract_mean=True),
    dict(vtln_warp=0.9),
    dict(vtln_warp=1.15, vtln_low=200.0, vtln_high=-700.0),
    dict(round_to_power_of_two=False),
]


@pytest.mark.parametrize("options", PEER_CASES, ids=str)
@pytest.mark.parametrize(
    "kind, own",
    [
        (Mfcc, {}),
        (Mfcc, dict(num_ceps=7, cepstral_lifter=0.0)),
        (Fbank, {}),
        (Fbank, dict(use_log_fbank=False, use_power=False)),
    ],
)
def test_equals_torchaudio(kind, own, options):
    options = {"use_energy": kind is Mfcc, **options, **own}
    if kind is Fbank and options.get("htk_compat"):
        options["use_energy"] = False  # torchaudio has the energy first then; Kaldi last
    wave = make_wave()
    peer = getattr(torchaudio_kaldi, kind.kind)
    wanted = peer(torch.from_numpy(wave)[None].float(), dither=0.0, **options).numpy()
    found = kind(**options)(wave)
    assert found.shape == wanted.shape
    largest, tolerance = 1.0, 3e-3
    if not options.get("use_log_fbank", True):
        largest, tolerance = np.abs(wanted).max(), 2e-5
    np.testing.assert_allclose(found / largest, wanted / largest, atol=tolerance)


@pytest.mark.parametrize("kind", [Mfcc, Fbank])
@pytest.mark.parametrize("options", [{}, dict(snip_edges=False), dict(window_type="sine")], ids=str)
def test_equals_kaldi_native_fbank(kind, options):
    wave = make_wave()
    peer_options = getattr(kaldi_native_fbank, f"{kind.__name__}Options")()
    peer_options.frame_opts.dither = 0
    for name, value in options.items():
        setattr(peer_options.frame_opts, name, value)
    peer = getattr(kaldi_native_fbank, f"Online{kind.__name__}")(peer_options)
    peer.accept_waveform(16000, wave.astype(np.float32).tolist())
    peer.input_finished()
    wanted = np.stack([peer.get_frame(i) for i in range(peer.num_frames_ready)])
    computer = kind(num_mel_bins=peer_options.mel_opts.num_bins, **options)
    np.testing.assert_allclose(computer(wave), wanted, atol=3e-3)


def plp_reference(wave, order=12, bins=23):
    """Plp's defaults without energy, in double precision, from the fbank outputs."""
    mel = Fbank(use_log_fbank=False)(wave).astype(float)
    corner = 1127 * np.log1p(np.array([20.0, 8000.0]) / 700)
    centers = np.linspace(*corner, bins + 2)[1:-1]
    square = (700 * np.expm1(centers / 1127)) ** 2
    loud = (square / (square + 1.6e5)) ** 2 * (square + 1.44e6) / (square + 9.61e6)
    power = (mel * loud) ** 0.33333
    power = np.concatenate([power[:, :1], power, power[:, -1:]], axis=1)
    correlation = np.fft.irfft(power, axis=1)[:, : order + 1]
    rows = []
    for r in correlation:
        toeplitz = r[np.abs(np.subtract.outer(np.arange(order), np.arange(order)))]
        a = np.linalg.solve(toeplitz, r[1:])
        cepstrum = np.zeros(order + 1)
        cepstrum[0] = max(np.log(r[0] - a @ r[1:]), 1.2e-7)
        for n in range(1, order + 1):
            k = np.arange(1, n)
            cepstrum[n] = a[n - 1] + (k * cepstrum[1:n]) @ a[n - 1 - k] / n
        rows.append(cepstrum)
    return np.array(rows) * (1 + 11 * np.sin(np.pi * np.arange(order + 1) / 22))


def test_plp_equals_its_definition():
    wave = make_wave()
    np.testing.assert_allclose(Plp(use_energy=False)(wave), plp_reference(wave), atol=2e-3)


@pytest.mark.parametrize("order", [12, 24])
def test_plp_that_predicts_a_wave_to_the_last_is_finite(order):
    """Without compression the spectrum is of few lines, so that no error is left to predict."""
    plp = Plp(frame_shift=1.0, snip_edges=False, compress_factor=1.0, lpc_order=order, low_freq=0.0)
    for wave in ([256, 0, 0, 256] * 4, [1, -1] * 300, np.sin(np.arange(400) / 3) * 32767):
        assert np.abs(plp(np.array(wave, np.int16))).max() < 1e4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{}, dict(round_to_power_of_two=False), dict(dither=1.0)], ids=str
)
def test_simd_variants_agree(monkeypatch, kind, options):
    wave = make_wave(7777)
    results = []
    for variant in simd_variants():
        monkeypatch.setenv("KDSPEECH_SIMD", variant)
        computer = kind(**options)
        assert computer.simd_variant == variant
        results.append(computer(wave, seed=5))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=2e-3)


def test_unknown_simd_variant(monkeypatch):
    monkeypatch.setenv("KDSPEECH_SIMD", "avx1024")
    with pytest.raises(InputError, match="KDSPEECH_SIMD = avx1024: this machine has baseline"):
        Mfcc()


# Sizes of the Fourier transform with factors 2, 3, 4, 5, 7, 11, a large prime, and 2 alone.
@pytest.mark.parametrize("size", [64, 100, 128, 210, 330, 400, 466, 512, 1024, 4096])
def test_fourier_transform_of_any_size(size):
    wave = make_wave(3 * size)
    options = dict(frame_length=size / 16, round_to_power_of_two=False, frame_shift=size / 32)
    plain = dict(remove_dc_offset=False, preemphasis_coefficient=0.0, window_type="rectangular")
    bins = dict(num_mel_bins=6, use_log_fbank=False)
    found = Fbank(**options, **plain, **bins)(wave)
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(float), size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames)[:, : size // 2]) ** 2
    mel = 1127 * np.log1p(np.arange(size // 2) * 16000 / size / 700)
    corners = np.linspace(*(1127 * np.log1p(np.array([20.0, 8000.0]) / 700)), 8)
    filters = [np.interp(mel, corners[b : b + 3], [0, 1, 0]) for b in range(6)]
    np.testing.assert_allclose(found, power @ np.array(filters).T, rtol=1e-3)


def test_frame_counts():
    whole, edges = Mfcc(), Mfcc(snip_edges=False)
    assert [whole.num_frames(n) for n in (0, 399, 400, 559, 560)] == [0, 0, 1, 1, 2]
    assert [edges.num_frames(n) for n in (0, 79, 80, 239, 240)] == [0, 0, 1, 1, 2]
    wave = make_wave(100)
    assert whole(wave).shape == (0, 13)
    assert edges(wave).shape == (1, 13)
    assert np.isfinite(edges(wave)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_dim(kind):
    assert kind().dim == kind()(make_wave(400)).shape[1]
    assert Fbank(use_energy=True).dim == Fbank().dim + 1


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_same_kind_out_as_in(dtype):
    wave = make_wave().astype(dtype)
    mfcc = Mfcc()
    expected = mfcc(wave)
    tensor = mfcc(torch.from_numpy(wave))
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
    assert np.array_equal(tensor.numpy(), expected)
    assert np.array_equal(mfcc(np.repeat(wave, 2)[::2]), expected)
    assert np.array_equal(mfcc(make_wave()), expected)


@pytest.mark.parametrize("options", [{}, dict(dither=1.0), dict(subtract_mean=True)], ids=str)
def test_batch_equals_single_waves_for_any_number_of_threads(options):
    waves = [make_wave(n, seed=n) for n in (16000, 399, 5000, 60000, 400)]
    waves[2] = torch.from_numpy(waves[2].astype(np.float32))
    mfcc = Mfcc(**options)
    single = [np.asarray(mfcc(wave, seed=i)) for i, wave in enumerate(waves)]
    for threads in (1, 2, 7):
        batch = mfcc.batch(waves, 16000, num_threads=threads)
        assert isinstance(batch[2], torch.Tensor) and isinstance(batch[0], np.ndarray)
        for a, b in zip(batch, single, strict=True):
            assert np.array_equal(a, b)
    assert mfcc.batch([]) == []


def test_packed_batch():
    waves = [make_wave(n, seed=n) for n in (16000, 100, 5000)]
    packed, offsets = np.concatenate(waves), np.array([0, 16000, 16100, 21100])
    features, frames = Mfcc(dither=1.0).batch((packed, offsets), seeds=[7, 8, 9], num_threads=2)
    assert frames.tolist() == [0, 98, 98, 127] and frames.dtype == np.int64
    wanted = Mfcc(dither=1.0).batch(waves, seeds=[7, 8, 9])
    assert np.array_equal(features, np.concatenate(wanted))
    tensors = Mfcc(dither=1.0).batch(
        (torch.from_numpy(packed), torch.from_numpy(offsets)), seeds=[7, 8, 9]
    )
    assert all(isinstance(t, torch.Tensor) for t in tensors)
    assert np.array_equal(tensors[0].numpy(), features)


def test_packed_batch_with_small_offsets():
    wave, mfcc = np.concatenate([make_wave(4000, seed=s) for s in (1, 2)]), Mfcc()
    features, frames = mfcc.batch((wave, np.array([0, 4000, 8000], np.int32)))
    expected, same = mfcc.batch((wave, np.array([0, 4000, 8000])))
    np.testing.assert_array_equal(features, expected)
    np.testing.assert_array_equal(frames, same)


def test_packed_batch_is_resampled_wave_by_wave():
    waves = [make_wave(n, seed=n) for n in (16000, 5000)]
    mfcc = Mfcc(sample_frequency=8000.0, allow_downsample=True)
    packed = (np.concatenate(waves), np.array([0, 16000, 21000]))
    features, _ = mfcc.batch(packed, sample_rate=16000)
    assert np.array_equal(features, np.concatenate(mfcc.batch(waves, sample_rate=16000)))


@pytest.mark.parametrize(
    "offsets, message",
    [
        ([0, 5000], "run from 0 to 16000"),
        ([5, 16000], "run from 0 to 16000"),
        ([0, 9000, 8000, 16000], "wave 1: no samples"),
        ([], "run from 0"),
        ([[0, 16000]], "one-dimensional"),
    ],
)
def test_bad_offsets(offsets, message):
    with pytest.raises(InputError, match=message):
        Mfcc().batch((make_wave(), np.array(offsets, dtype=np.int64)))


def test_one_warp_per_wave():
    wave = make_wave()
    batch = Fbank().batch([wave, wave], vtln_warps=[1.0, 0.9])
    assert np.array_equal(batch[0], Fbank()(wave))
    assert np.array_equal(batch[1], Fbank(vtln_warp=0.9)(wave))
    assert np.array_equal(batch[1], Fbank()(wave, vtln_warp=0.9))
    with pytest.raises(InputError, match="needs as many seeds"):
        Fbank().batch([wave, wave], seeds=[1])


@pytest.mark.parametrize("warp", [0.0, -1.0, float("nan"), 0.01, 100.0])
def test_senseless_warp(warp):
    with pytest.raises(InputError, match="vtln_warp"):
        Fbank()(make_wave(), vtln_warp=warp)


@pytest.mark.parametrize(
    "samples, message",
    [
        (np.zeros(0, np.int16), "no samples"),
        (np.zeros((1, 400), np.int16), "must be of shape .samples,., not .1, 400."),
        (np.zeros(400), "must be int16 or float32, numpy or torch, not float64"),
        (np.zeros(400, ">i2"), "must be int16 or float32"),
        ([0.0] * 400, "must be int16 or float32, numpy or torch, not list"),
        (np.array([1.0, np.nan] * 300, np.float32), "sample 1 is nan"),
        (np.array([5.0] * 999 + [np.inf], np.float32), "sample 999 is inf"),
        (np.array([5.0] * 7 + [-2e9], np.float32), "sample 7 is -2000000000"),
    ],
)
def test_bad_samples(samples, message):
    with pytest.raises(InputError, match=message):
        Mfcc()(samples)
    with pytest.raises(InputError, match="wave 1: .*" + message):
        Mfcc().batch([make_wave(), samples])


def test_wrong_rate():
    with pytest.raises(InputError, match="the wave is at 8000 Hz, but sample_frequency is 16000"):
        Mfcc()(make_wave(), sample_rate=8000)
    with pytest.raises(InputError, match="set allow_downsample"):
        Mfcc(allow_upsample=True)(make_wave(), sample_rate=48000)
    assert Mfcc(allow_upsample=True)(make_wave(8000), sample_rate=8000).shape == (98, 13)


def test_normalized_wave_draws_a_warning():
    with pytest.warns(UserWarning, match="never leaves .-1, 1.*multiply it by 32768"):
        Mfcc()(make_wave().astype(np.float32) / 32768)


def test_silence_is_finite():
    for kind in KINDS:
        assert np.isfinite(kind()(np.zeros(4000, np.int16))).all()
    assert np.allclose(Fbank()(np.zeros(400, np.int16)), np.log(np.finfo(np.float32).eps))


def test_dither_is_white_gaussian_noise_of_the_seed():
    wave = np.zeros(160000, np.int16)
    energy = np.exp(Mfcc(dither=2.0, remove_dc_offset=False)(wave, seed=1)[:, 0])
    assert abs(energy.mean() / (400 * 4) - 1) < 0.02  # variance 4
    assert abs(energy.var() / (2 * 400 * 16) - 1) < 0.3  # chi-square with 400 degrees
    flat = dict(preemphasis_coefficient=0.0, window_type="rectangular", use_log_fbank=False)
    power = Fbank(dither=1.0, num_mel_bins=8, **flat)(wave, seed=1).mean(axis=0)
    weights = Fbank(num_mel_bins=8, **flat)
    impulse = np.zeros(400, np.int16)
    impulse[200] = 20  # a flat spectrum of 400, but for the mean that is subtracted
    assert np.allclose(power, weights(impulse)[0], rtol=0.05)
    again = Mfcc(dither=2.0)(wave, seed=1)
    assert np.array_equal(again, Mfcc(dither=2.0)(wave, seed=1))
    assert not np.array_equal(again, Mfcc(dither=2.0)(wave, seed=2))


def test_dither_of_a_sample_does_not_depend_on_where_the_frame_begins():
    wave = make_wave()
    whole = Mfcc(dither=3.0)(wave, seed=4)
    sparse = Mfcc(dither=3.0, frame_shift=30.0)(wave, seed=4)
    np.testing.assert_allclose(sparse, whole[::3][: len(sparse)], atol=1e-5)


def test_safe_in_threads_and_through_pickle():
    wave = make_wave(50000)
    mfcc = pickle.loads(pickle.dumps(Mfcc(num_ceps=20, dither=1.0)))
    assert mfcc.options["num_ceps"] == 20 and "num_ceps=20" in repr(mfcc)
    wanted = mfcc(wave)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda warp: mfcc(wave, vtln_warp=warp), [1.0, 0.9, 1.1, 1.0] * 5):
            assert result.shape == wanted.shape
        for result in pool.map(lambda _: mfcc(wave), range(20)):
            assert np.array_equal(result, wanted)
