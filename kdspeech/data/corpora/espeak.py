"""espeak-ng through ctypes: a text in, samples or phonemes out, the same every time.

espeak-ng carries state from one utterance to the next (its random flutter, breath and echo), so
what it says depends on all it said before. An `Espeak` loads a private copy of the library and
starts from the library's first state; the same calls in the same order then give the same bytes,
in whichever process and after whatever else was spoken there.

The library is GPL-3.0 and never part of this package: it comes with the optional extra
`kdspeech[espeak]` and is used to generate data.
"""

import contextlib
import ctypes
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from kdspeech.io.errors import InputError

# Names and values of speak_lib.h, espeak-ng's public header.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_PHONEMES_IPA = 2
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """A speech synthesizer in its first state; a context manager.

    Attributes:
        sample_rate: of what `say` returns, in Hz (22050).
    Raises:
        InputError: espeak-ng is not installed or cannot be loaded.
    """

    def __init__(self):
        library, data = _locate()
        self._folder = tempfile.TemporaryDirectory(prefix="espeak", ignore_cleanup_errors=True)
        try:
            self._library = ctypes.CDLL(shutil.copy(library, self._folder.name))
        except OSError as error:
            self._folder.cleanup()
            raise InputError(
                f"espeak-ng cannot be loaded: {error} (it is copied to {self._folder.name} first; "
                "set TMPDIR to a folder with room on which programs may run)"
            ) from error
        self._blocks: list[np.ndarray] = []
        self._callback = _Callback(self._receive)
        self.sample_rate = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, os.fsencode(data), _INITIALIZE_DONT_EXIT
        )
        if self.sample_rate <= 0:
            self.close()
            raise InputError(f"espeak-ng cannot read its data in {data} (install it again)")
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, events) -> int:
        if samples and count > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(
        self, text: str, voice: str, rate: int = 175, pitch: int = 50, pitch_range: int = 50
    ) -> np.ndarray:
        """Speaks a text.

        Args:
            text: what to say; the punctuation at its end sets the intonation.
            voice: language and variant, as "en-us+f2".
            rate: words a minute, 80 to 450.
            pitch, pitch_range: 0 to 99.
        Returns:
            int16 samples at `sample_rate`, shape (num_samples,), with the silence around them.
        Raises:
            InputError: espeak-ng has no such voice, or says nothing for this text.
        """
        self._blocks.clear()
        self._set_voice(voice)
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, int(value), 0)
        data = text.encode()
        status = self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
        if status or not self._blocks:
            raise InputError(f"espeak-ng says nothing for {text!r} (voice {voice}, code {status})")
        return np.concatenate(self._blocks)

    def phonemes(self, text: str, voice: str = "en-us") -> str:
        """How espeak-ng would say a text: IPA with stress marks, clauses apart by spaces.

        Raises:
            InputError: espeak-ng has no such voice.
        """
        self._set_voice(voice)
        translate = self._library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        buffer = ctypes.create_string_buffer(text.encode())
        left, clauses = ctypes.c_void_p(ctypes.addressof(buffer)), []
        while left.value:
            clauses.append(translate(ctypes.byref(left), _CHARS_UTF8, _PHONEMES_IPA).decode())
        return " ".join(clauses)

    def _set_voice(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise InputError(f"espeak-ng has no voice {voice!r} (see `espeak-ng --voices`)")

    def close(self) -> None:
        """Unloads the library and its copy."""
        if self._library is None:
            return
        self._library.espeak_Terminate()
        handle, self._library = self._library._handle, None
        if os.name == "posix":  # elsewhere a few hundred kB stay mapped until the process ends
            unload = ctypes.CDLL(None).dlclose
            unload.argtypes = [ctypes.c_void_p]
            unload(handle)
        self._folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _locate() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError as error:
        raise InputError(
            "the embedded corpus is spoken by espeak-ng, which is not installed: "
            "pip install 'kdspeech[espeak]'"
        ) from error
    library, data = espeakng_loader.get_library_path(), None
    with contextlib.suppress(RuntimeError):  # the loader's word for missing data
        data = espeakng_loader.get_data_path()
    if data is None or not Path(library).is_file():
        raise InputError(
            f"espeakng-loader holds no espeak-ng for this machine ({library}): "
            "pip install --force-reinstall espeakng-loader"
        )
    return library, data
