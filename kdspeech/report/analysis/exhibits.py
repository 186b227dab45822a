"""How a page shows a sample: a clip's players and waveform, or a picture. Everything is inline."""

import base64
import io

import numpy as np
import soundfile

WIDTH, HEIGHT = 300, 44  # of a waveform, in its own units


def audio_exhibit(wave: np.ndarray, rate: int, crop: tuple[int, int] | None = None) -> str:
    """A waveform with its player; with `crop` (start and length in samples; the start may be
    negative) that part is tinted and has a player of its own, if it is not the whole clip.

    Args:
      wave: (samples,) int16.
      rate: in Hz.
    """
    parts = [_waveform(wave, crop), _player(wave, rate, "clip")]
    if crop and (crop[0] > 0 or sum(crop) < len(wave)):
        start, length = crop
        cut = wave[max(start, 0) : start + length]
        parts.append(_player(cut, rate, f"{round(1000 * length / rate)} ms"))
    return "".join(parts)


def picture_exhibit(pixels: np.ndarray) -> str:
    """A picture, uint8: (height, width) grey, or (height, width, 3) RGB."""
    from PIL import Image  # what matplotlib writes its pictures with

    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(out, format="png")
    return f'<img class="sample" alt="the sample" src="{_data(out, "image/png")}">'


def _player(wave: np.ndarray, rate: int, name: str) -> str:
    """FLAC, which every browser of today plays and which is half as large as WAV."""
    out = io.BytesIO()
    soundfile.write(out, wave, rate, format="FLAC", subtype="PCM_16")
    source = _data(out, "audio/flac")
    return (
        f'<div class="player"><span>{name}</span>'
        f'<audio controls preload="none" aria-label="{name}" src="{source}"></audio></div>'
    )


def _data(out: io.BytesIO, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def _waveform(wave: np.ndarray, crop: tuple[int, int] | None) -> str:
    """The envelope from least to most, the loudest sample as high as the picture."""
    columns = np.array_split(wave.astype(float), min(WIDTH // 2, len(wave)))
    scale = HEIGHT / 2 / max(np.abs(wave.astype(float)).max(), 1)
    x = np.linspace(0, WIDTH, len(columns))
    up = [f"{a:.0f},{HEIGHT / 2 - scale * c.max():.1f}" for a, c in zip(x, columns, strict=True)]
    down = [f"{a:.0f},{HEIGHT / 2 - scale * c.min():.1f}" for a, c in zip(x, columns, strict=True)]
    marked = ""
    if crop:
        per_sample = WIDTH / len(wave)
        left = max(crop[0], 0) * per_sample
        right = min(sum(crop), len(wave)) * per_sample
        marked = f'<rect x="{left:.0f}" width="{right - left:.0f}" height="{HEIGHT}"/>'
    return (
        f'<svg class="wave" role="img" aria-label="waveform" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'preserveAspectRatio="none">{marked}<polygon points="{" ".join(up + down[::-1])}"/></svg>'
    )
