"""MFCC, filter bank and PLP features, equal to Kaldi's (docs/features.md says how equal)."""

import warnings

import numpy as np

from kdspeech import _core
from kdspeech.features.arrays import is_tensor, like, to_numpy
from kdspeech.features.options import (
    FbankOptions,
    MfccOptions,
    PlpOptions,
    as_dict,
    check_options,
    read_conf,
)
from kdspeech.io.errors import InputError

simd_variants = _core.simd_variants


class _Extractor:
    """What Mfcc, Fbank and Plp have in common. Safe to call from several threads."""

    kind: str
    options_class: type

    def __init__(self, **options):
        self._options = check_options(self.options_class, options)
        self._computer = _core.FeatureComputer(self.kind, as_dict(self._options))

    @classmethod
    def from_conf(cls, path, **options):
        """With the options of a Kaldi conf file (`--name=value`); `options` override them.

        Raises InputError with file and line for what the file should not contain.
        """
        return cls(**{**read_conf(path, cls.options_class), **options})

    @property
    def options(self) -> dict:
        """All options by name, a copy."""
        return as_dict(self._options)

    @property
    def dim(self) -> int:
        """Numbers per frame."""
        return self._computer.dim

    @property
    def simd_variant(self) -> str:
        """The SIMD variant in use: baseline, avx2 or avx512."""
        return self._computer.simd_variant

    def num_frames(self, num_samples: int) -> int:
        """Frames of a wave of `num_samples` samples (0 if it is shorter than a frame)."""
        if num_samples < 0:
            raise InputError(f"num_samples = {num_samples}: must not be negative")
        return self._computer.num_frames(num_samples)

    def __call__(self, samples, sample_rate=None, seed=0, vtln_warp=None):
        """Features of one wave, (frames, dim) float32, numpy or torch as the input is.

        samples: (samples,) int16 or float32 in the range of int16, numpy or torch (CPU).
        sample_rate: Hz; where given it must equal `sample_frequency`, or resampling must be
            allowed by the options allow_downsample / allow_upsample.
        seed: of the dither. vtln_warp: in place of the option of that name.
        Raises InputError for samples of another kind, an empty wave, NaN or infinity. Warns of
        a float wave that never leaves [-1, 1].
        """
        wave = self._wave(samples, sample_rate, "")
        warp = self._options.vtln_warp if vtln_warp is None else vtln_warp
        return like(self._computer.compute(wave, _seed(seed), warp), samples)

    def batch(self, waves, sample_rate=None, seeds=None, vtln_warps=None, num_threads=1):
        """Features of many waves, in `num_threads` threads.

        waves: a list of waves as for a single call, or a packed batch (samples, offsets): all
            samples one after the other, wave i being samples[offsets[i]:offsets[i + 1]], with
            offsets (n + 1,) int64 or int32.
        seeds, vtln_warps: one per wave; by default wave i has seed i and the option's warp.
        Returns for a list the list of (frames, dim) float32, for a packed batch the pair of
        (all frames, dim) float32 and offsets (n + 1,) int64. The numbers do not depend on
        `num_threads`. Raises InputError as a single call does, naming the wave.
        """
        if num_threads < 1:
            raise InputError(f"num_threads = {num_threads}: must be at least 1")
        if _is_packed(waves):
            return self._packed(*waves, sample_rate, seeds, vtln_warps, num_threads)
        arrays = [self._wave(w, sample_rate, f"wave {i}: ") for i, w in enumerate(waves)]
        per_wave = self._per_wave(len(arrays), seeds, vtln_warps)
        features, offsets = self._computer.compute_list(arrays, *per_wave, num_threads)
        parts = np.split(features, offsets[1:-1])[: len(arrays)]
        return [like(part, wave) for wave, part in zip(waves, parts, strict=True)]

    def _packed(self, samples, offsets, sample_rate, seeds, vtln_warps, num_threads):
        wave = self._wave(samples, None, "")
        bounds = np.ascontiguousarray(_array(offsets), dtype=np.int64)
        _check_offsets(bounds, len(wave))
        if self._resamples(sample_rate):
            pieces = [self._resample(w, sample_rate) for w in np.split(wave, bounds[1:-1])]
            wave = np.concatenate(pieces)
            bounds = np.cumsum([0] + [len(piece) for piece in pieces])
        per_wave = self._per_wave(len(bounds) - 1, seeds, vtln_warps)
        features, frames = self._computer.compute_packed(wave, bounds, *per_wave, num_threads)
        return like(features, samples), like(frames, samples)

    def _per_wave(self, count, seeds, vtln_warps):
        seeds = range(count) if seeds is None else seeds
        warps = [self._options.vtln_warp] * count if vtln_warps is None else vtln_warps
        return [_seed(seed) for seed in seeds], [float(warp) for warp in warps]

    def _wave(self, samples, sample_rate, where):
        """The samples as a contiguous numpy array at `sample_frequency`, checked."""
        wave = _array(samples)
        if wave is None or wave.dtype not in (np.int16, np.float32):
            found = type(samples).__name__ if wave is None else wave.dtype
            raise InputError(
                f"{where}samples must be int16 or float32, numpy or torch, not {found}"
            )
        if wave.ndim != 1:
            raise InputError(
                f"{where}samples must be of shape (samples,), not {wave.shape}: "
                "choose one channel, or make it a batch"
            )
        if len(wave) == 0:
            raise InputError(f"{where}no samples")
        wave = np.ascontiguousarray(wave)
        if wave.dtype == np.float32:
            _check_float(wave, where)
        return self._resample(wave, sample_rate) if self._resamples(sample_rate) else wave

    def _resamples(self, sample_rate) -> bool:
        """Whether waves of this rate are resampled; InputError if that is not allowed."""
        wanted = self._options.sample_frequency
        if sample_rate is None or sample_rate == wanted:
            return False
        name = "allow_downsample" if sample_rate > wanted else "allow_upsample"
        if not getattr(self._options, name):
            raise InputError(
                f"the wave is at {sample_rate} Hz, but sample_frequency is {wanted:g} Hz: "
                f"set sample_frequency, resample the wave, or set {name}"
            )
        return True

    def _resample(self, wave, sample_rate):
        """Kaldi's resampling to `sample_frequency`; as there, both rates in whole Hz."""
        target = int(self._options.sample_frequency)
        return _core.resample(wave.astype(np.float32, copy=False), int(sample_rate), target)

    def __repr__(self):
        default = self.options_class()
        changed = [
            f"{name}={value!r}"
            for name, value in self.options.items()
            if value != getattr(default, name)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __reduce__(self):
        return _rebuild, (type(self), self.options)


class Mfcc(_Extractor):
    """Mel frequency cepstral coefficients, as compute-mfcc-feats makes them.

    Source: S. Davis and P. Mermelstein, "Comparison of parametric representations for
    monosyllabic word recognition", IEEE Trans. ASSP 28(4), 1980, in Kaldi's form.
    """

    kind = "mfcc"
    options_class = MfccOptions


class Fbank(_Extractor):
    """Logarithms of the outputs of mel filters, as compute-fbank-feats makes them."""

    kind = "fbank"
    options_class = FbankOptions


class Plp(_Extractor):
    """Perceptual linear prediction, as compute-plp-feats makes it.

    Source: H. Hermansky, "Perceptual linear predictive (PLP) analysis of speech", JASA 87(4),
    1990, in Kaldi's form. A frame of digital silence, NaN in Kaldi, is a flat spectrum here.
    """

    kind = "plp"
    options_class = PlpOptions


def _rebuild(cls, options):
    return cls(**options)


def _array(value) -> np.ndarray | None:
    """The numpy array of an array or tensor, without copying; None for anything else."""
    if not (is_tensor(value) or isinstance(value, np.ndarray)):
        return None
    return to_numpy(value, "samples")


def _is_packed(waves) -> bool:
    if not (isinstance(waves, tuple) and len(waves) == 2):
        return False
    offsets = _array(waves[1])
    return offsets is not None and offsets.dtype in (np.int32, np.int64)  # never a wave


def _check_offsets(bounds, num_samples):
    if bounds.ndim != 1 or len(bounds) == 0 or bounds[0] != 0 or bounds[-1] != num_samples:
        raise InputError(
            f"offsets must be one-dimensional and run from 0 to {num_samples}, the number of "
            "samples"
        )
    short = np.flatnonzero(np.diff(bounds) <= 0)
    if len(short):
        raise InputError(f"wave {short[0]}: no samples (its offsets do not rise)")


def _check_float(wave, where):
    bad, normalized = _core.check_samples(wave)
    if bad >= 0:
        raise InputError(
            f"{where}sample {bad} is {wave[bad]}: all must be finite, in the range of int16"
        )
    if normalized:
        warnings.warn(
            f"{where}the wave never leaves [-1, 1], but features are meant for samples in the "
            "range of int16: multiply it by 32768",
            stacklevel=4,
        )


def _seed(seed) -> int:
    """The seed as 64 bits, whatever its size or sign."""
    return int(seed) & 0xFFFFFFFFFFFFFFFF
