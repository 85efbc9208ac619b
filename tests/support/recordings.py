"""Recordings that tests make: tones, in files of every kind that people send."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame
from numpy.typing import NDArray

KINDS = {
    "wav": ("wav", "pcm_s16le"),
    "wav, 24 bits": ("wav", "pcm_s24le"),
    "wav, float": ("wav", "pcm_f32le"),
    "flac": ("flac", "flac"),
    "mp3": ("mp3", "libmp3lame"),
    "ogg": ("ogg", "libopus"),
    "m4a": ("mp4", "aac"),
    "webm": ("webm", "libopus"),
    "aac": ("adts", "aac"),
}
"""Container and encoder of each kind of recording."""


def tone(seconds: float, *, hertz: float = 440, rate: int = 16_000) -> NDArray[np.float32]:
    """Return a sine of half the full amplitude, shape (n,)."""
    return (np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * hertz / rate) / 2).astype(np.float32)


def pitch(samples: NDArray[np.float32], rate: int) -> float:
    """Return the frequency in Hz that is strongest."""
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * rate / len(samples)


def recorded(kind: str, *channels: NDArray[np.float32], rate: int = 16_000, picture: bool = False) -> bytes:
    """Return a file of a kind, with a channel for each array; `picture` adds a stream of video."""
    container, encoder = KINDS[kind]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        video = _screen(output) if picture else None  # all streams before the first frame, which writes the header
        stream: Any = output.add_stream(encoder, rate=48_000 if encoder == "libopus" else rate)
        stream.layout = "mono" if len(channels) == 1 else "stereo"
        frame = AudioFrame.from_ndarray(np.stack(channels), format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        to = AudioResampler(format=stream.format.name, layout=stream.layout.name, rate=stream.rate)
        for given in (*to.resample(frame), *to.resample(None)):
            output.mux(stream.encode(given))
        output.mux(stream.encode(None))
        if video is not None:
            _film(output, video)
    return file.getvalue()


def film() -> bytes:
    """Return a video without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        _film(output, _screen(output))
    return file.getvalue()


def _screen(output: Any) -> Any:
    stream = output.add_stream("mpeg4", rate=10)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    return stream


def _film(output: Any, stream: Any) -> None:
    for number in range(5):
        picture = VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        picture.pts, picture.time_base = number, Fraction(1, 10)
        output.mux(stream.encode(picture))
    output.mux(stream.encode(None))
