"""Kaldi's pitch tracker and its post-processing.

P. Ghahremani et al., "A pitch extraction algorithm tuned for automatic speech recognition",
ICASSP 2014.
"""

import math
from dataclasses import dataclass

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import feature_matrix, like, wave
from kdspeech.features.options import as_dict, check_options, read_conf
from kdspeech.io.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PitchOptions:
    """Options of compute-kaldi-pitch-feats. Frequencies in Hz, frame length and shift in ms."""

    sample_frequency: float = 16000.0
    frame_length: float = 25.0
    frame_shift: float = 10.0
    preemphasis_coefficient: float = 0.0
    min_f0: float = 50.0
    max_f0: float = 400.0
    soft_min_f0: float = 10.0  # favours short lags: a lag costs this times its length and NCCF
    penalty_factor: float = 0.1  # of changes of the pitch
    lowpass_cutoff: float = 1000.0
    resample_frequency: float = 4000.0  # at which the NCCF is computed
    delta_pitch: float = 0.005  # relative step of the search
    nccf_ballast: float = 7000.0  # lowers the NCCF of quiet frames
    lowpass_filter_width: int = 1  # zero crossings to each side
    upsample_filter_width: int = 5  # zero crossings to each side
    max_frames_latency: int = 0  # matters with simulate_first_pass_online only
    frames_per_chunk: int = 0  # as if the wave came in chunks; 0: all at once
    simulate_first_pass_online: bool = False  # each frame as first known, not as known at the end
    recompute_frame: int = 500  # frames searched again when the energy is known better
    nccf_ballast_online: bool = False  # energy of the signal up to the frame only
    snip_edges: bool = True  # only frames that lie wholly inside the wave


@dataclass(frozen=True, kw_only=True)
class ProcessPitchOptions:
    """Options of process-kaldi-pitch-feats."""

    pitch_scale: float = 2.0
    pov_scale: float = 2.0
    pov_offset: float = 0.0
    delta_pitch_scale: float = 10.0
    delta_pitch_noise_stddev: float = 0.0  # Kaldi's default is 0.005
    normalization_left_context: int = 75
    normalization_right_context: int = 75
    delta_window: int = 2
    delay: int = 0
    add_pov_feature: bool = True
    add_normalized_log_pitch: bool = True
    add_delta_pitch: bool = True
    add_raw_log_pitch: bool = False


class Pitch:
    """NCCF and pitch of every frame, as Kaldi's compute-kaldi-pitch-feats.

    Options are those of `PitchOptions`: Kaldi's names with `_` for `-`, and Kaldi's defaults.
    An unknown option or a value out of range raises InputError. Safe to call from several threads.
    """

    def __init__(self, **options):
        self._options = check_options(PitchOptions, options)
        self._extractor = _core.PitchExtractor(_to_core(self._options, _core.PitchOptions()))

    @classmethod
    def from_conf(cls, path, **options) -> "Pitch":
        """With the options of a Kaldi conf file (`--name=value`); `options` override them.

        Raises InputError with file and line for what the file should not contain.
        """
        return cls(**{**read_conf(path, PitchOptions), **options})

    @property
    def options(self) -> dict:
        """All options by name, a copy."""
        return as_dict(self._options)

    @property
    def dim(self) -> int:
        """Numbers per frame: 2."""
        return 2

    def num_frames(self, num_samples: int) -> int:
        """Frames of a wave of `num_samples` samples (0 if it is shorter than a frame)."""
        if num_samples < 0:
            raise InputError(f"num_samples = {num_samples}: must not be negative")
        return self._extractor.num_frames(num_samples)

    def __call__(self, samples, sample_rate: float | None = None):
        """NCCF and pitch.

        Args:
            samples: (samples,) int16, or float in int16 range; numpy or torch (CPU).
            sample_rate: in Hz; where given it must be the option sample_frequency.

        Returns:
            (frames, 2) float32 of the same kind as `samples`: the normalized cross-correlation in
            [-1, 1], and the pitch in Hz (in unvoiced frames too: it is interpolated). A wave
            shorter than a frame gives (0, 2).

        Raises:
            InputError: no samples, NaN, more than one channel, wrong rate.
        """
        return self.batch([samples], sample_rate)[0]

    def batch(self, waves, sample_rate: float | None = None, num_threads: int = 1) -> list:
        """A list of results for a list of waves, computed on `num_threads` threads."""
        expected = self._options.sample_frequency
        if sample_rate is not None and sample_rate != expected:
            raise InputError(
                f"the wave is at {sample_rate} Hz, but sample_frequency is {expected:g} Hz: set "
                "sample_frequency or resample the wave"
            )
        if num_threads < 1:
            raise InputError(f"num_threads = {num_threads}: must be at least 1")
        waves = list(waves)
        checked = [wave(samples, f"wave {i}") for i, samples in enumerate(waves)]
        results = self._extractor.batch(checked, num_threads)
        return [like(result, samples) for result, samples in zip(results, waves, strict=True)]

    def __repr__(self):
        default = PitchOptions()
        changed = [
            f"{name}={value!r}"
            for name, value in self.options.items()
            if value != getattr(default, name)
        ]
        return f"Pitch({', '.join(changed)})"

    def __reduce__(self):
        return _rebuild, (self.options,)


def process_pitch(features, *, seed: int = 0, **options):
    """Features from NCCF and pitch, as Kaldi's process-kaldi-pitch-feats.

    Columns, those that are asked for, in this order: the warped NCCF (probability of voicing), the
    log pitch less its mean over a window weighted by the probability of voicing, the delta of the
    log pitch, the log pitch.

    Args:
        features: (frames, 2), what `Pitch` gives; numpy or torch.
        seed: of the noise on the delta pitch; frame and seed alone determine the noise.
        options: those of `ProcessPitchOptions`: Kaldi's names with `_` for `-` and Kaldi's
            defaults, except delta_pitch_noise_stddev: the noise is off unless asked for.

    Returns:
        (frames + delay, columns) float32 of the same kind as `features`.

    Raises:
        InputError: an unknown option or bad value, not 2 columns, no frames, NaN, a pitch <= 0.
    """
    chosen = check_options(ProcessPitchOptions, options)
    _check_process(chosen)
    matrix = feature_matrix(features, "pitch features", dim=2)
    low = np.flatnonzero(matrix[:, 1] <= 0)
    if low.size:
        raise InputError(f"pitch features: the pitch in frame {low[0]} is {matrix[low[0], 1]} Hz")
    core_options = _to_core(chosen, _core.ProcessPitchOptions())
    result = _core.process_pitch(matrix, core_options, int(seed) & 0xFFFFFFFFFFFFFFFF)
    return like(result, features)


def _rebuild(options):
    return Pitch(**options)


def _to_core(options, core_options):
    """`core_options` with all values of `options`."""
    for name, value in as_dict(options).items():
        try:
            setattr(core_options, name, value)
        except TypeError:  # beyond 32 bits
            raise InputError(f"{name} = {value}: out of range") from None
    return core_options


def _check_process(options: ProcessPitchOptions) -> None:
    for name, value in as_dict(options).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name} = {value}: must be finite")
    for name in ("normalization_left_context", "normalization_right_context", "delay"):
        if not 0 <= getattr(options, name) <= 1_000_000:
            raise InputError(f"{name} = {getattr(options, name)}: must be 0 to 1000000")
    if not 1 <= options.delta_window < 1000:
        raise InputError(f"delta_window = {options.delta_window}: must be 1 to 999")
    if not any(value for name, value in as_dict(options).items() if name.startswith("add_")):
        raise InputError("all add_ options are false: nothing is left to compute")
