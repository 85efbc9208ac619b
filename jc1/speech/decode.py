"""Recordings of unknown origin become sound: recognised by content, decoded in a process of its own.

Knows which formats are read, and the caps on a recording's bytes and seconds. Knows nothing about what is said in one.
FFmpeg (through PyAV) decodes; the process and its limits are `jc1.confined`'s. What a browser, a phone or an editor
calls the file does not matter.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from jc1.confined import Answer, Reader
from jc1.errors import AudioTooLong, DamagedAudio, RequestTooLarge, UnsupportedAudio
from jc1.speech.base import HEARING_RATE, Audio

if TYPE_CHECKING:
    import numpy as np
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from numpy.typing import NDArray

FORMATS = ("wav", "flac", "mp3", "ogg", "m4a", "webm", "aac")
"""Formats that are read, as people name them; `ogg` with Opus, Vorbis or FLAC, `m4a` is also `mp4`."""
READ = "wav, flac, mp3, ogg (opus, vorbis), m4a, mp4, webm and aac"

_DEMUXERS = {"ogg": "ogg", "m4a": "mov", "webm": "matroska"}
"""FFmpeg's names of formats, where they are others."""
_DECODERS = ("flac", "mp3", "mp3float", "opus", "libopus", "vorbis", "aac", "aac_fixed", "alac", "adpcm_ima_wav",
             "adpcm_ms", *(f"pcm_{kind}" for kind in ("u8", "s16le", "s16be", "s24le", "s24be", "s32le", "s32be",
                                                     "f32le", "f32be", "f64le", "alaw", "mulaw")))  # fmt: skip
"""FFmpeg's decoders that may be opened: of some five hundred, the rest is attack surface alone."""
_ESTIMATED = ("mp3", "aac")
"""Formats of which FFmpeg guesses the length from the first frames: a guess refuses nothing."""
_RATES = range(4_000, 384_001)
_MOST_CHANNELS = 8
_FLOAT_BYTES = 4

CONFINED_IMPORTS = ("av", "numpy")
"""Packages that the confined process loads before there is a recording."""
READER = Reader(
    "jc1.speech.decode:answer",
    noun="recording",
    advice="send a shorter one",
    damaged=DamagedAudio,
    errors=(AudioTooLong, DamagedAudio, UnsupportedAudio),
    seconds=60.0,
    memory_bytes=2**31,
)


def format_of(data: bytes) -> str:
    """Return which of `FORMATS` a recording has, by its first bytes. Raises `DamagedAudio` or `UnsupportedAudio`."""
    if not data:
        raise DamagedAudio("The recording is empty: it has 0 bytes.", param="file")
    head = data[:12]
    match head[:4]:
        case b"RIFF" | b"RF64" if head[8:12] == b"WAVE":
            return "wav"
        case b"fLaC":
            return "flac"
        case b"OggS":
            return "ogg"
        case b"\x1aE\xdf\xa3":
            return "webm"
    if head[4:8] == b"ftyp":
        return "m4a"
    if head[:3] == b"ID3":
        return "mp3"
    # An MPEG frame: eleven bits of one, a version, and the layer, which is 0 in AAC's framing (ADTS) alone.
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "aac" if head[1] & 0xF6 == 0xF0 else "mp3"
    raise UnsupportedAudio(f"The file is no recording that is read: send {READ}.", param="file")


def decode(data: bytes, *, max_seconds: float, max_bytes: int, rate: int = HEARING_RATE) -> Audio:
    """Return a recording as mono sound at `rate`. Blocks, for about a second an hour of sound.

    Channels become one by their mean, and what is no number becomes silence. Broken frames are left out, as players do.

    Args:
        data: The file, in one of `FORMATS`.
        max_seconds: Seconds of sound that it may have; by its header before it is decoded, and while it is.
        max_bytes: Bytes that it may have.

    Raises:
        RequestTooLarge: It has more bytes, or takes more time or memory than decoding may.
        AudioTooLong: It has more seconds.
        UnsupportedAudio: It is in none of the formats, or in a coding that is not read.
        DamagedAudio: It breaks its format's rules, or holds no sound.
    """
    import numpy as np

    if len(data) > max_bytes:
        raise RequestTooLarge(
            f"The recording has {len(data):,} bytes, {max_bytes:,} are allowed: send a shorter one.", param="file"
        )
    form = format_of(data)
    reader = replace(READER, answer_bytes=int((max_seconds + 1) * rate) * _FLOAT_BYTES + 1000)
    _, samples = reader(data, form=form, max_seconds=max_seconds, rate=rate)
    return Audio(np.frombuffer(samples, np.float32), rate)


def prepare() -> None:
    """Start the process that decodes the next recording ahead, and from now on always the next: it saves 0.3 s."""
    READER.prepare()


def answer(data: bytes, form: str, max_seconds: float, rate: int) -> Answer:
    """Return a recording's samples as bytes of float32, in the confined process."""
    import av
    import av.logging
    import numpy as np

    av.logging.set_level(None)
    options = {"codec_whitelist": ",".join(_DECODERS), "protocol_whitelist": "none"}
    try:
        # Titles and artists in the file may be in any encoding, and are not read.
        with av.open(
            io.BytesIO(data), "r", format=_DEMUXERS.get(form, form), options=options, metadata_errors="replace"
        ) as container:
            pieces = list(_resampled(container, form, max_seconds, rate))
    except av.error.FFmpegError as error:
        raise _damaged(form) from error
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    if not len(samples):
        raise DamagedAudio("The recording holds no sound.")
    return {}, samples.astype("<f4").tobytes()


def _resampled(container: InputContainer, form: str, max_seconds: float, rate: int) -> Iterator[NDArray[np.float32]]:
    """Yield a container's first sound as mono samples at `rate`, shapes (n,). Raises as `decode` does."""
    import numpy as np

    # 1) What the header says
    if not container.streams.audio:
        raise DamagedAudio("The file holds no sound: see that it is complete, and not a film without any.")
    stream = container.streams.audio[0]
    context = cast("AudioCodecContext | None", stream.codec_context)  # None where FFmpeg knows no decoder
    if context is None or context.name not in _DECODERS:
        raise UnsupportedAudio(f"The {form} file has its sound in a coding that is not read: send {READ}.")
    if context.sample_rate not in _RATES or not 1 <= context.channels <= _MOST_CHANNELS:
        raise UnsupportedAudio(
            f"The recording has {context.channels} channels at {context.sample_rate} Hz: send 1 to {_MOST_CHANNELS}, "
            f"at {_RATES.start:,} to {_RATES.stop - 1:,} Hz."
        )
    if form not in _ESTIMATED and container.duration is not None:
        _check_length(container.duration / 1e6, max_seconds)
    # 2) What it holds, as far as is allowed
    count = 0
    for resampled in _at(rate, _frames(container, stream, form)):
        channels = cast("NDArray[np.float32]", resampled.to_ndarray())  # (channels, n)
        count += channels.shape[1]
        _check_length(count / rate, max_seconds)
        finite = np.nan_to_num(channels, nan=0.0, posinf=1.0, neginf=-1.0)
        yield np.clip(finite, -1, 1).mean(axis=0, dtype=np.float32)


def _at(rate: int, frames: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    """Yield frames of float32 at `rate`, shape (channels, n).

    Channels stay apart: of two in floating point FFmpeg makes their sum divided by the square root of two.
    """
    from av.audio.resampler import AudioResampler

    resampler = AudioResampler(format="fltp", rate=rate)
    for frame in frames:
        try:
            yield from resampler.resample(frame)
        except ValueError:  # from here on the file has other channels
            yield from resampler.resample(None)
            resampler = AudioResampler(format="fltp", rate=rate)
            yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _frames(container: InputContainer, stream: Any, form: str) -> Iterator[Any]:
    """Yield what can be decoded of a stream. Raises `DamagedAudio` where most of it cannot."""
    import av

    good = bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            continue
        good += bool(frames)
        yield from frames
    if bad > good:
        raise _damaged(form)


def _check_length(seconds: float, max_seconds: float) -> None:
    # Encoders pad: a recording that was cut to the limit is let through.
    if seconds > max_seconds + 0.5:
        raise AudioTooLong(
            f"The recording is longer than the {max_seconds:g} seconds that are allowed: send it in pieces."
        )


def _damaged(form: str) -> DamagedAudio:
    return DamagedAudio(f"The recording begins as {form} and cannot be decoded: see that it is complete.")
