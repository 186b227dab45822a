"""Options of MFCC, filter bank and PLP features, and Kaldi's conf files for them.

Names are Kaldi's with `_` for `-`; defaults are Kaldi's too, except `dither`, which is 0.
"""

import difflib
import numbers
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from kdspeech.io.errors import InputError


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """The options that all three kinds of features share.

    Frequencies are in Hz, frame lengths in milliseconds. `high_freq` <= 0 and `vtln_high` < 0
    count from the Nyquist frequency.
    """

    sample_frequency: float = 16000.0
    frame_length: float = 25.0
    frame_shift: float = 10.0
    dither: float = 0.0  # standard deviation, in steps of int16; Kaldi's default is 1
    preemphasis_coefficient: float = 0.97
    remove_dc_offset: bool = True
    window_type: str = "povey"  # hamming, hanning, povey, rectangular, blackman, sine
    blackman_coeff: float = 0.42
    round_to_power_of_two: bool = True  # the size of the Fourier transform
    snip_edges: bool = True  # only frames that lie wholly inside the wave
    num_mel_bins: int = 23
    low_freq: float = 20.0
    high_freq: float = 0.0
    vtln_low: float = 100.0
    vtln_high: float = -500.0
    vtln_warp: float = 1.0
    use_energy: bool = True
    energy_floor: float = 0.0
    raw_energy: bool = True  # energy before pre-emphasis and window
    htk_compat: bool = False  # energy or c0 last
    subtract_mean: bool = False  # of the utterance, from every frame
    allow_downsample: bool = False
    allow_upsample: bool = False
    channel: int = -1  # for jobs that read files: which channel, -1 = the only one
    min_duration: float = 0.0  # for jobs that read files: shorter ones are skipped (seconds)


@dataclass(frozen=True, kw_only=True)
class MfccOptions(FeatureOptions):
    """Options of compute-mfcc-feats."""

    num_ceps: int = 13
    cepstral_lifter: float = 22.0


@dataclass(frozen=True, kw_only=True)
class FbankOptions(FeatureOptions):
    """Options of compute-fbank-feats."""

    use_energy: bool = False
    use_log_fbank: bool = True
    use_power: bool = True  # power spectrum, else magnitude


@dataclass(frozen=True, kw_only=True)
class PlpOptions(FeatureOptions):
    """Options of compute-plp-feats."""

    num_ceps: int = 13
    cepstral_lifter: float = 22.0
    lpc_order: int = 12
    compress_factor: float = 0.33333
    cepstral_scale: float = 1.0


# Of Kaldi's programs, for what is done otherwise here or not at all: a conf file may hold them.
NO_EFFECT = ("debug_mel", "max_feature_vectors", "verbose", "max_warnings")


def option_types(options_class) -> dict[str, type]:
    """The type of every option of a class: bool, int, float or str."""
    return {field.name: field.type for field in fields(options_class)}


def check_options(options_class, given: dict):
    """An `options_class` of the `given` values; InputError for an unknown or mistyped one."""
    types = option_types(options_class)
    values = {}
    for name, value in given.items():
        if name not in types:
            raise InputError(unknown_option(name, options_class))
        values[name] = _checked(name, value, types[name])
    return options_class(**values)


def unknown_option(name: str, options_class) -> str:
    """The message for an option that `options_class` does not have."""
    close = difflib.get_close_matches(name, option_types(options_class), n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    tool = options_class.__name__.removesuffix("Options")
    return f"{tool} has no option {name}{hint}"


def _checked(name: str, value, wanted: type):
    """`value` as `wanted`; whole numbers pass as float, nothing else changes its type."""
    kinds = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str}
    is_bool = type(value).__name__ in ("bool", "bool_")  # bool is a number in Python
    if is_bool != (wanted is bool) or not (is_bool or isinstance(value, kinds[wanted])):
        raise InputError(f"{name} = {value!r}: must be of type {wanted.__name__}")
    if isinstance(value, numbers.Integral) and abs(int(value)) >= 2**31:
        raise InputError(f"{name} = {value}: out of range, must lie within 32 bits")
    return wanted(value)


def read_conf(path, options_class) -> dict:
    """The options in a Kaldi conf file: lines `--name=value`, `#` begins a comment.

    Those of NO_EFFECT are passed over.

    Raises InputError with file and line for a line of another form, an option that
    `options_class` does not have, or a value of the wrong type.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a conf file ({error})") from error
    types = option_types(options_class)
    options = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        where = f"{path}:{number}"
        if not line.startswith("--"):
            raise InputError(f"{where}: `{line}` is not of the form --name=value")
        name, _, value = line[2:].partition("=")
        name = name.strip().lower().replace("-", "_")
        if name in NO_EFFECT:
            continue
        if name not in types:
            raise InputError(f"{where}: {unknown_option(name, options_class)}")
        options[name] = _parsed(where, name, value.strip(), types[name])
    return options


def _parsed(where: str, name: str, value: str, wanted: type):
    """The text of a conf file's value as `wanted`; a bare `--name` means true, as in Kaldi."""
    if wanted is str:
        return value
    if wanted is bool:
        words = {"true": True, "t": True, "1": True, "": True}
        words |= {"false": False, "f": False, "0": False}
        if value.lower() in words:
            return words[value.lower()]
        raise InputError(f"{where}: {name} = {value}: must be true or false")
    try:
        return wanted(value)
    except ValueError:
        kind = "a whole number" if wanted is int else "a number"
        raise InputError(f"{where}: {name} = {value}: must be {kind}") from None


def as_dict(options: FeatureOptions) -> dict:
    """The options by name."""
    return asdict(options)
