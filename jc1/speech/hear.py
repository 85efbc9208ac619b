"""The stage that hears: what is said in a request's recordings takes their place.

Knows where recordings stand in a request, and the caps on their length. Knows nothing about models, or about what the
later stages do with the words.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from jc1.errors import AudioTooLong, DamagedAudio, NoSpeech
from jc1.language import language_notice
from jc1.messages import PCM, AudioPart, Message, Part, TextPart
from jc1.speech.base import HEARING_RATE, Audio, Hearing, Segment, Transcript
from jc1.speech.threads import apart, steps

if TYPE_CHECKING:
    from jc1.request import Request
    from jc1.settings import Settings
    from jc1.speech.base import Transcriber
    from jc1.trace import Trace
    from jc1.workbench import Workbench

TOKENS_A_SECOND = 3
"""Of speech, about: 150 words a minute are 2.5 a second."""
BYTES_A_SECOND = 4_000
"""Of a compressed recording, about: 32 kbit/s, as browsers record."""


async def hear(bench: Workbench, trace: Trace, request: Request, hearing: Hearing) -> list[Transcript]:
    """Put words in the place of every recording of the request, if it has any; return those of its newest message.

    Raises:
        NoSpeech: The newest message has recordings and no word, written or spoken.
        AudioTooLong: The recordings are longer, together, than the settings allow.
        InvalidRequest: And its kin, as `sound_of` and `Transcriber.transcribe` raise them.
    """
    if not request.hears:
        return []
    listener = _Listener(bench, hearing)
    with trace.stage("hear"):
        request.history = tuple([await listener.words(message) for message in request.history])
        request.exchange = tuple([await listener.words(message) for message in request.exchange])
        listener.transcripts.clear()
        request.message = await listener.words(request.message)
    if not request.message.text.strip() and not request.message.pictures:
        raise NoSpeech
    if notice := language_notice(bench.engine.model, request.message.text):
        trace.notices = (*trace.notices, notice)
    return listener.transcripts


class _Listener:
    """Hears one request's recordings, one after the other, for as long as they may be in all."""

    def __init__(self, bench: Workbench, hearing: Hearing) -> None:
        self._bench = bench
        self._hearing = hearing
        self._left = bench.settings.max_audio_seconds
        self.transcripts: list[Transcript] = []

    async def words(self, message: Message) -> Message:
        """Return the message with words in the place of its recordings."""
        if not any(isinstance(part, AudioPart) for part in message.parts):
            return message
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, AudioPart):
                transcript = await self._heard(part)
                self.transcripts.append(transcript)
                parts.append(TextPart(transcript.text))
            else:
                parts.append(part)
        only_text = all(isinstance(part, TextPart) for part in parts)
        joined = "\n".join(part.text for part in parts if isinstance(part, TextPart) and part.text)
        return replace(message, content=joined if only_text else tuple(parts))

    async def _heard(self, part: AudioPart) -> Transcript:
        ears = self._bench.ears
        audio = await apart(partial(sound_of, part, self._bench.settings, max_seconds=self._left))
        self._left -= audio.seconds
        segments: list[Segment] = []
        async with aclosing(steps(partial(ears.transcribe, audio, self._hearing))) as heard:
            async for segment in heard:
                segments.append(segment)
        return Transcript.of(segments, duration=audio.seconds, language=language_of(ears, self._hearing))


def language_of(ears: Transcriber, hearing: Hearing) -> str:
    """Return the language that is told of a recording in which nobody speaks."""
    return hearing.language or next(iter(ears.languages), "en")


def sound_of(part: AudioPart, settings: Settings, *, max_seconds: float | None = None) -> Audio:
    """Return a recording as sound at `HEARING_RATE`. Blocks; a file is decoded in a confined process.

    Args:
        max_seconds: How long it may be; the settings' `max_audio_seconds` by default.

    Raises:
        AudioTooLong, DamagedAudio, UnsupportedAudio, RequestTooLarge: As `jc1.speech.decode.decode` does.
    """
    allowed = settings.max_audio_seconds if max_seconds is None else max_seconds
    if part.media_type == PCM:
        return _samples(part.data, allowed)
    from jc1.speech.decode import decode

    return decode(part.data, max_seconds=allowed, max_bytes=settings.max_audio_bytes)


def tokens_of_recording(part: AudioPart) -> int:
    """Return about how many tokens a recording is counted as by limits, before it is decoded."""
    return int(_seconds_about(part) * TOKENS_A_SECOND) + 1


def _seconds_about(part: AudioPart) -> float:
    """Return about how long a recording is: by its rate where its head says one, else by that of a browser's Opus."""
    data = part.data
    if part.media_type == PCM:
        return len(data) / (2 * HEARING_RATE)
    wav = data[:4] == b"RIFF" and len(data) >= 32
    return len(data) / ((int.from_bytes(data[28:32], "little") if wav else 0) or BYTES_A_SECOND)


def _samples(data: bytes, max_seconds: float) -> Audio:
    import numpy as np

    if len(data) % 2:
        raise DamagedAudio("The sound ends within a sample: send 16 bits for each.", param="audio")
    if len(data) / 2 > max_seconds * HEARING_RATE:
        raise AudioTooLong(
            f"The recording is longer than the {max_seconds:g} seconds allowed: send it in pieces.", param="audio"
        )
    return Audio(np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768), HEARING_RATE)
