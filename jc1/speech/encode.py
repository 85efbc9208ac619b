"""Sound becomes a file while it is made: what is encoded can be sent before the last of it is there.

Knows the six formats that OpenAI's speech endpoint offers. Knows nothing about who speaks, or who listens. FFmpeg
(through PyAV) encodes; it is handed what this process made and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from jc1.errors import InvalidRequest
from jc1.speech.base import Audio

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from numpy.typing import NDArray

PCM_RATE = 24_000
"""Samples a second of `pcm`, which has no header to say it: as OpenAI's."""
_UNKNOWN_SIZE = 0xFFFF_FFFF
"""The size in the header of a WAV file whose end is not there yet; players then read on to its end."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of sound: its media type, and FFmpeg's names of the container and the encoder.

    `rate` is the samples a second that it is made with, None as many as came in.
    """

    media_type: str
    container: str = ""
    encoder: str = ""
    rate: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    bit_rate: int | None = None


FORMATS = {
    "mp3": Format("audio/mpeg", "mp3", "libmp3lame", options=(("write_xing", "0"),), bit_rate=64_000),
    # Pages of 0.1 s: the usual second would hold back the first word.
    "opus": Format("audio/ogg", "ogg", "libopus", 24_000, (("page_duration", "100000"),), bit_rate=32_000),
    "aac": Format("audio/aac", "adts", "aac", bit_rate=64_000),
    "flac": Format("audio/flac", "flac", "flac"),
    "wav": Format("audio/wav"),
    "pcm": Format("audio/pcm", rate=PCM_RATE),
}
"""The formats by OpenAI's names."""


def check_format(name: str) -> str:
    """Return `name`. Raises `InvalidRequest` where it is none of `FORMATS`."""
    if name not in FORMATS:
        raise InvalidRequest(f"Sound is not written as {name!r}: send {', '.join(FORMATS)}.", param="response_format")
    return name


class Encoder:
    """One file under way, mono, 16 bits a sample where the format counts bits. Not for several threads at a time.

    Args:
        name: One of `FORMATS`.
        rate: Samples a second of what will be added.
    """

    def __init__(self, name: str, rate: int) -> None:
        self._format = FORMATS[check_format(name)]
        self._rate = rate
        self._sink = _Sink()
        self._writer = _Compressed(self._format, rate, self._sink) if self._format.encoder else None
        self._resampler = _resampler(PCM_RATE) if name == "pcm" and rate != PCM_RATE else None
        if name == "wav":
            self._sink.write(wav_header(rate))

    def add(self, audio: Audio) -> bytes:
        """Return what of the file is ready when `audio` has been added: its header too, the first time."""
        assert audio.rate == self._rate, "one file has one rate"
        samples = pcm16(audio.samples)
        if self._writer is not None:
            self._writer.write(samples)
        elif self._resampler is not None:
            self._sink.write(_resample(self._resampler, samples, self._rate))
        else:
            self._sink.write(samples.tobytes())
        return self._sink.take()

    def finish(self) -> bytes:
        """Return the rest of the file. Nothing can be added after."""
        if self._writer is not None:
            self._writer.close()
        elif self._resampler is not None:
            self._sink.write(_resample(self._resampler, None, self._rate))
        return self._sink.take()


def pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return samples between -1 and 1 as 16 bits, little-endian."""
    import numpy as np

    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")


def wav_header(rate: int, size: int = _UNKNOWN_SIZE) -> bytes:
    """Return the 44 bytes before the samples of a mono file of 16 bits, `size` bytes of them.

    Source: Multimedia Programming Interface and Data Specifications 1.0, IBM and Microsoft, 1991, "WAVE".
    """
    import struct

    whole = min(size + 36, _UNKNOWN_SIZE)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", whole, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size
    )


class _Sink:
    """What FFmpeg writes into. It cannot seek: nothing that was sent can be changed."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since this was called last."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class _Compressed:
    """FFmpeg's encoder and container."""

    def __init__(self, form: Format, rate: int, sink: _Sink) -> None:
        import av

        self._rate = rate
        # flush_packets: what is encoded goes out, not into a buffer of 32 KiB.
        options = {"flush_packets": "1", **dict(form.options)}
        self._container = av.open(sink, "w", format=form.container, options=options)
        self._stream = cast("AudioStream", self._container.add_stream(form.encoder, rate=form.rate or rate))
        self._stream.layout = "mono"
        if form.bit_rate:
            self._stream.bit_rate = form.bit_rate
        self._count = 0

    def write(self, samples: NDArray[np.int16]) -> None:
        """Encode samples of shape (n,)."""
        frame = _frame(samples, self._rate)
        frame.pts = self._count
        self._count += len(samples)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Encode what the encoder holds back, and end the file."""
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()


def _frame(samples: NDArray[np.int16], rate: int) -> Any:
    from fractions import Fraction

    from av.audio.frame import AudioFrame

    frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    return frame


def _resampler(rate: int) -> Any:
    from av.audio.resampler import AudioResampler

    return AudioResampler(format="s16", layout="mono", rate=rate)


def _resample(resampler: Any, samples: NDArray[np.int16] | None, rate: int) -> bytes:
    """Return what comes out of a resampler for samples, or for their end."""
    frame = None if samples is None else _frame(samples, rate)
    return b"".join(piece.to_ndarray().tobytes() for piece in resampler.resample(frame))
