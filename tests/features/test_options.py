"""Options and Kaldi's conf files."""

import pytest

from kdspeech.features import Fbank, Mfcc, Plp
from kdspeech.features.options import MfccOptions, read_conf
from kdspeech.io.errors import InputError

KALDI_DEFAULTS = dict(
    sample_frequency=16000.0,
    frame_length=25.0,
    frame_shift=10.0,
    preemphasis_coefficient=0.97,
    remove_dc_offset=True,
    window_type="povey",
    blackman_coeff=0.42,
    round_to_power_of_two=True,
    snip_edges=True,
    num_mel_bins=23,
    low_freq=20.0,
    high_freq=0.0,
    vtln_low=100.0,
    vtln_high=-500.0,
    vtln_warp=1.0,
    energy_floor=0.0,
    raw_energy=True,
    htk_compat=False,
    subtract_mean=False,
    allow_downsample=False,
    allow_upsample=False,
    channel=-1,
    min_duration=0.0,
)
CEPSTRA = dict(use_energy=True, num_ceps=13, cepstral_lifter=22.0)
OWN = {
    Mfcc: CEPSTRA,
    Fbank: dict(use_energy=False, use_log_fbank=True, use_power=True),
    Plp: dict(lpc_order=12, compress_factor=0.33333, cepstral_scale=1.0, **CEPSTRA),
}


@pytest.mark.parametrize("kind", OWN)
def test_defaults_are_kaldis_but_for_dither(kind):
    assert kind().options == {"dither": 0.0, **KALDI_DEFAULTS, **OWN[kind]}


def test_conf_file(tmp_path):
    conf = tmp_path / "mfcc.conf"
    conf.write_text(
        "# 8 kHz\n\n--use-energy=false   # only non-default option.\n"
        "--sample_frequency=8000\n--num-ceps=20\n--Window-Type=hamming\n--snip-edges\n"
    )
    options = Mfcc.from_conf(conf, num_ceps=10).options
    changed = {
        name: value
        for name, value in options.items()
        if value != {"dither": 0.0, **KALDI_DEFAULTS, **OWN[Mfcc]}[name]
    }
    assert changed == dict(
        use_energy=False, sample_frequency=8000.0, num_ceps=10, window_type="hamming"
    )


def test_options_of_the_programs_alone_are_passed_over(tmp_path):
    conf = tmp_path / "mfcc.conf"
    conf.write_text("--debug-mel=false\n--max-feature-vectors=-1\n--num-ceps=10\n--verbose=2\n")
    assert read_conf(conf, MfccOptions) == {"num_ceps": 10}


@pytest.mark.parametrize(
    "text, message",
    [
        ("\n--num-cep=3\n", "2: Mfcc has no option num_cep .did you mean num_ceps"),
        ("--use-log-fbank=true\n", "1: Mfcc has no option use_log_fbank"),
        ("num_ceps=3\n", "1: `num_ceps=3` is not of the form --name=value"),
        ("--num-ceps=3.5\n", "1: num_ceps = 3.5: must be a whole number"),
        ("--low-freq=low\n", "1: low_freq = low: must be a number"),
        ("--use-energy=maybe\n", "1: use_energy = maybe: must be true or false"),
    ],
)
def test_bad_conf_file_is_named_by_line(tmp_path, text, message):
    conf = tmp_path / "mfcc.conf"
    conf.write_text(text)
    with pytest.raises(InputError, match="mfcc.conf:" + message):
        Mfcc.from_conf(conf)


def test_missing_conf_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read as a conf file"):
        Mfcc.from_conf(tmp_path / "none.conf")


@pytest.mark.parametrize(
    "kind, options, named",
    [
        (Mfcc, dict(num_ceps=24), "num_ceps = 24: cannot be larger than num_mel_bins = 23"),
        (Mfcc, dict(num_ceps=0), "num_ceps"),
        (Mfcc, dict(num_ceps=13.0), "num_ceps = 13.0: must be of type int"),
        (Mfcc, dict(num_ceps=True), "num_ceps"),
        (Mfcc, dict(use_energy=1), "use_energy = 1: must be of type bool"),
        (Mfcc, dict(window_type="hann"), "window_type = hann: must be one of hamming"),
        (Mfcc, dict(lpc_order=3), "Mfcc has no option lpc_order"),
        (Plp, dict(lpc_order=48), "lpc_order = 48: .* num_mel_bins . 1 = 47"),
        (Plp, dict(num_ceps=14), "num_ceps = 14: cannot be larger than lpc_order . 1 = 13"),
        (Plp, dict(compress_factor=0.0), "compress_factor"),
        (Fbank, dict(num_mel_bins=2), "num_mel_bins = 2: must be at least 3"),
        (Fbank, dict(num_mel_bins=200), "num_mel_bins = 200: too large"),
        (Fbank, dict(low_freq=-1.0), "low_freq"),
        (Fbank, dict(low_freq=9000.0), "low_freq"),
        (Fbank, dict(high_freq=8001.0), "high_freq"),
        (Fbank, dict(high_freq=-7990.0), "high_freq"),
        (Fbank, dict(frame_length=0.0), "frame_length"),
        (Fbank, dict(frame_length=1e9), "frame_length"),
        (Fbank, dict(frame_shift=0.01), "frame_shift"),
        (Fbank, dict(sample_frequency=0), "sample_frequency"),
        (Fbank, dict(sample_frequency=float("nan")), "sample_frequency"),
        (Fbank, dict(preemphasis_coefficient=1.5), "preemphasis_coefficient"),
        (Fbank, dict(dither=-1.0), "dither"),
        (Fbank, dict(energy_floor=-1.0), "energy_floor"),
        (
            Fbank,
            dict(sample_frequency=11025, round_to_power_of_two=False),
            "round_to_power_of_two = false: the frame has an odd number of samples .275",
        ),
    ],
)
def test_senseless_options_are_named(kind, options, named):
    with pytest.raises(InputError, match=named):
        kind(**options)
