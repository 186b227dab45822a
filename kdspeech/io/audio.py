"""Audio files to int16 samples: WAV, FLAC, OGG/Opus, MP3 and what else libsndfile reads.

Plain 16-bit PCM WAV, the bulk of most corpora, is read straight into a numpy array; everything
else goes through libsndfile. What a file promises in its header is held against what it holds.
"""

import io
import os
import struct
from typing import NamedTuple

import numpy as np

from kdspeech.io.errors import InputError

# Kaldi's extract-segments: a segment may end this many seconds after its recording; it is cut.
MAX_OVERSHOOT = 0.5
_PCM, _EXTENSIBLE = 0x0001, 0xFFFE
# Sizes a program writes that does not know them yet (a WAV header sent down a pipe).
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF)
_HEADER_BYTES = 4096
_UNKNOWN_FRAMES = 1 << 40  # libsndfile gives 2^63 - 1 for a FLAC stream that does not say
_BLOCK_FRAMES = 1 << 22


class _WavHeader(NamedTuple):
    encoding: int  # 1: integer PCM
    channels: int
    rate: int
    bits: int
    offset: int  # of the first sample, in bytes
    size: int  # of the data chunk, in bytes, as the file promises; -1: not known


def read_audio(
    source: str | os.PathLike | bytes,
    sample_rate: int | None = None,
    resample: bool = False,
    channel: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    name: str | None = None,
) -> tuple[np.ndarray, int]:
    """Reads one channel of an audio file.

    Args:
        source: path of the file, or the bytes of one (the output of a pipe).
        sample_rate: wanted rate in Hz; None takes the file's own.
        resample: convert a file of another rate (soxr, high quality) instead of refusing it.
        channel: which channel of a file with several, from 0; None refuses such files.
        start, end: part to read, in seconds; `end` None or negative is the end of the file.
            Cut as by Kaldi's extract-segments: sample = int(seconds * rate), and an end up to
            0.5 s after the end of the file means that end.
        name: what to call the source in error messages; the path if not given.
    Returns:
        Samples, int16, shape (num_samples,), and their rate in Hz.
    Raises:
        InputError: the file is missing, empty, truncated, no audio, holds NaN or no sample, or
            has another rate or more channels than asked for. The message names the file.
    """
    name = name or ("audio from memory" if isinstance(source, bytes) else os.fspath(source))
    try:
        header, total = _read_header(source, name)
        if header and header.encoding == _PCM and header.bits == 16:
            samples, rate = _read_pcm16(source, header, total, channel, start, end, name)
        else:
            samples, rate = _read_sndfile(source, channel, start, end, name)
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror or error}") from error
    if not len(samples):
        raise InputError(f"{name}: holds no samples (remove it, or record it again)")
    if sample_rate is not None and rate != sample_rate:
        if not resample:
            raise InputError(
                f"{name}: sampling rate is {rate} Hz, {sample_rate} Hz expected "
                "(ask for resampling, or set the expected rate)"
            )
        samples, rate = convert_rate(samples, rate, sample_rate), sample_rate
    return samples, rate


def _read_header(source, name: str) -> tuple[_WavHeader | None, int]:
    """The header of a RIFF WAV file (None for other formats) and the file's size in bytes."""
    if isinstance(source, bytes):
        head, total = source[:_HEADER_BYTES], len(source)
    else:
        handle = os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            total = os.fstat(handle).st_size
            head = os.read(handle, _HEADER_BYTES)
        finally:
            os.close(handle)
    if not head:
        raise InputError(f"{name}: is an empty file (0 bytes)")
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None, total
    return _parse_wav(head, total, name), total


def _parse_wav(head: bytes, total: int, name: str) -> _WavHeader | None:
    """Walks the chunks up to "data"; None when they are not all in the first bytes."""
    position, fmt = 12, None
    while position + 8 <= len(head):
        chunk, size = struct.unpack_from("<4sI", head, position)
        position += 8
        if chunk == b"data":
            break
        if chunk == b"fmt " and size >= 16 and position + 16 <= len(head):
            fmt = struct.unpack_from("<HHIIHH", head, position)
            if fmt[0] == _EXTENSIBLE and size >= 26 and position + 26 <= len(head):
                fmt = (*struct.unpack_from("<H", head, position + 24), *fmt[1:])
        position += size + (size & 1)
    else:
        if total <= _HEADER_BYTES:
            raise InputError(f"{name}: truncated: a WAV header without a data chunk")
        return None
    if fmt is None:
        raise InputError(f"{name}: a WAV file without a format chunk before its data")
    encoding, channels, rate, _, _, bits = fmt
    if size in _UNKNOWN_SIZES:
        size = -1
    elif position + size > total:
        raise InputError(
            f"{name}: truncated: its header promises {size} bytes of samples, "
            f"{total - position} are there"
        )
    if channels < 1 or rate < 1:
        raise InputError(f"{name}: a WAV header with {channels} channels at {rate} Hz")
    return _WavHeader(encoding, channels, rate, bits, position, size)


def _read_pcm16(source, header, total, channel, start, end, name):
    size = header.size if header.size >= 0 else total - header.offset
    frames = size // (2 * header.channels)
    picked = _pick_channel(header.channels, channel, name)
    first, last = _sample_range(start, end, header.rate, frames, name)
    offset = header.offset + first * 2 * header.channels
    samples = np.empty((last - first) * header.channels, dtype="<i2")
    if isinstance(source, bytes):
        samples[:] = np.frombuffer(source, "<i2", len(samples), offset)
    else:
        _read_into(source, offset, samples, name)
    if header.channels > 1:
        samples = np.ascontiguousarray(samples[picked :: header.channels])
    return samples, header.rate


def _read_into(path, offset: int, samples: np.ndarray, name: str) -> None:
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        view, filled = memoryview(samples).cast("B"), 0
        while filled < len(view):
            count = file.readinto(view[filled:])
            if not count:
                raise InputError(f"{name}: truncated while it was read")
            filled += count


def _read_sndfile(source, channel, start, end, name):
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source) as f:
            picked = _pick_channel(f.channels, channel, name)
            if f.frames >= _UNKNOWN_FRAMES:
                raise InputError(
                    f"{name}: does not say how long it is (encoded to a pipe); encode it to a file"
                )
            first, last = _sample_range(start, end, f.samplerate, f.frames, name)
            if first:
                f.seek(first)
            # Integer formats are exact in int16; the others are scaled here, not by libsndfile,
            # which would wrap or scale by 32767 depending on the format.
            exact = f.subtype.startswith("PCM") or f.subtype in ("ULAW", "ALAW")
            samples = _read_blocks(f, last - first, "int16" if exact else "float32")
            rate = f.samplerate
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{name}: not audio that libsndfile can read, or damaged: {error.error_string}"
        ) from error
    if len(samples) < last - first:
        raise InputError(
            f"{name}: truncated: its header promises {last - first} samples from sample {first}, "
            f"{len(samples)} are there"
        )
    return _to_int16(samples[:, picked], name), rate


def _read_blocks(file, frames: int, dtype: str) -> np.ndarray:
    """Up to `frames` frames, (frames, channels); a header's wild promise costs no memory."""
    blocks = []
    while frames > 0:
        block = file.read(min(frames, _BLOCK_FRAMES), dtype=dtype, always_2d=True)
        blocks.append(block)
        frames = frames - len(block) if len(block) else 0
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.empty((0, file.channels), dtype)


def _to_int16(samples: np.ndarray, name: str) -> np.ndarray:
    if samples.dtype == np.int16:
        return np.ascontiguousarray(samples)
    bad = np.count_nonzero(~np.isfinite(samples))
    if bad:
        raise InputError(f"{name}: {bad} of {len(samples)} samples are NaN or infinite")
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * 32768.0)
    return np.minimum(scaled, 32767).astype(np.int16)


def _pick_channel(channels: int, channel: int | None, name: str) -> int:
    if channel is None:
        if channels > 1:
            raise InputError(f"{name}: has {channels} channels; choose one (channel 0 or 1 ...)")
        return 0
    if not 0 <= channel < channels:
        raise InputError(f"{name}: has no channel {channel}; its channels are 0..{channels - 1}")
    return channel


def _sample_range(start, end, rate: int, frames: int, name: str) -> tuple[int, int]:
    first = int(start * rate)
    last = frames if end is None or end < 0 else int(end * rate)
    if first < 0 or first >= max(frames, 1) or last > frames + MAX_OVERSHOOT * rate:
        raise InputError(
            f"{name}: segment {start}..{end} s lies outside its {frames / rate:.3f} s of audio"
        )
    last = min(last, frames)
    if last < first or (last == first and frames):
        raise InputError(f"{name}: segment {start}..{end} s holds no sample")
    return first, last


def convert_rate(samples: np.ndarray, rate: float, new_rate: float) -> np.ndarray:
    """int16 samples (n,) at another rate in Hz, by soxr's high-quality filter."""
    import soxr

    resampled = soxr.resample(samples.astype(np.float32), rate, new_rate)
    return np.clip(np.rint(resampled), -32768, 32767).astype(np.int16)
