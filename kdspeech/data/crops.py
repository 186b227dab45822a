"""The law by which crops are cut from clips."""

import dataclasses
import json
import numbers
from dataclasses import dataclass
from typing import Literal, get_args

from kdspeech import _core
from kdspeech.io.errors import InputError

Mode = Literal["random", "center", "best_energy", "energy", "sliding"]
Pad = Literal["center", "end"]
# Part of every fingerprint: raised when the same law begins to give other crops.
_LAW_VERSION = 1
_MAX_SAMPLES = 2**40


@dataclass(frozen=True)
class CropLaw:
    """How a crop is cut from a clip. Together with the clip's name and a crop id it fixes the crop.

    Attributes:
        length: samples in a crop.
        mode: where a clip longer than the crop is cut:
            "random": anywhere inside it, uniformly;
            "center": in its middle;
            "best_energy": the window with the largest sum of squares, the first of equals;
            "energy": uniformly among the windows that hold at least `min_energy` times the
            energy of the best one;
            "sliding": one crop every `hop` samples, as long as they fit: several per clip.
        seed: of all random choices.
        shift: the clip is moved by U{-shift, shift} samples before it is cut, in every mode.
            What comes in from outside the clip is zero.
        noise_prob: how often noise is added, when a pack of noise is given.
        noise_volume: noise is scaled by U(0, noise_volume).
        gain_db: the clip, not the noise, is scaled by U(-gain_db, gain_db) decibel.
        speed: the clip is played at a speed of U(1 - speed, 1 + speed), which moves its pitch too
            (linear interpolation). Starts are then samples of the clip as it is played.
        pad: where a clip shorter than the crop lies in it. "center": zeros on both sides, in
            equal parts, in the modes "random" and "energy" in parts drawn at random; "end": all
            zeros at the end.
        min_energy: see "energy", 0..1.
        hop: samples between the windows that "best_energy", "energy" and "sliding" look at; None
            is 1, and an error in the mode "sliding".

    Raises:
        InputError: a value out of range, with its name.
    """

    length: int
    mode: Mode = "random"
    seed: int = 0
    shift: int = 0
    noise_prob: float = 0.8
    noise_volume: float = 0.1
    gain_db: float = 0.0
    speed: float = 0.0
    pad: Pad = "center"
    min_energy: float = 0.8
    hop: int | None = None

    def __post_init__(self):
        for name, low, high in (
            ("length", 1, _MAX_SAMPLES),
            ("seed", 0, 2**64 - 1),
            ("shift", 0, _MAX_SAMPLES),
            ("hop", 1, _MAX_SAMPLES),
        ):
            if not (name == "hop" and self.hop is None):
                self._check(name, numbers.Integral, low, high)
        for name, high in (
            ("noise_prob", 1.0),
            ("noise_volume", 1e3),
            ("gain_db", 120.0),
            ("speed", 0.5),
            ("min_energy", 1.0),
        ):
            self._check(name, numbers.Real, 0.0, high)
        for name, choices in (("mode", get_args(Mode)), ("pad", get_args(Pad))):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"crop law: {name} is {getattr(self, name)!r}, must be one of "
                    + ", ".join(choices)
                )
        if self.mode == "sliding" and self.hop is None:
            raise InputError('crop law: mode "sliding" needs hop, the samples between its windows')
        if self.mode == "sliding" and self.speed > 0:
            raise InputError('crop law: mode "sliding" takes clips as they are: set speed to 0')

    def _check(self, name: str, kind: type, low: float, high: float) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
            what = "an integer" if kind is numbers.Integral else "a number"
            raise InputError(f"crop law: {name} is {value!r}, must be {what} in {low}..{high}")
        # A numpy number becomes Python's own, so that equal laws have equal fingerprints.
        object.__setattr__(self, name, int(value) if kind is numbers.Integral else float(value))

    def fingerprint(self, noise=None) -> str:
        """A readable name of this law: two laws with the same name give the same crops.

        Args:
            noise: the `WavePack` of noise that is mixed in, if any; its content becomes part of
                the name, and without one the options of noise do not.
        Returns:
            One line of JSON.
        """
        fields = dataclasses.asdict(self)
        if noise is None:
            del fields["noise_prob"], fields["noise_volume"]
        fields["noise"] = noise.fingerprint if noise is not None else None
        return json.dumps({"crop_law": _LAW_VERSION, **fields}, sort_keys=True)

    def _core(self) -> _core.CropLaw:
        fields = dataclasses.asdict(self)
        pad = fields.pop("pad")
        return _core.CropLaw(**{**fields, "hop": self.hop or 1, "pad_end": pad == "end"})
