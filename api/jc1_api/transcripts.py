"""Transcripts as OpenAI's clients read them: json, text, verbose_json, subtitles in two formats, and events.

Knows the shapes, as the schema shows them. Knows nothing about requests, or how anything is heard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.speech.base import Segment, Transcript
from jc1.speech.hear import TOKENS_A_SECOND
from jc1.speech.languages import name_of

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
Granularity = Literal["word", "segment"]


class Duration(BaseModel):
    type: Literal["duration"]
    seconds: float = Field(description="Of the recording.")


class Transcription(BaseModel):
    """OpenAI's transcription."""

    text: str = Field(description="Empty where nobody speaks.")
    usage: Duration


class TranscribedSegment(BaseModel):
    id: int
    seek: int = Field(description="Where it starts, in hundredths of a second.")
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class TranscribedWord(BaseModel):
    word: str
    start: float
    end: float


class VerboseTranscription(Transcription):
    """OpenAI's `verbose_json`; times in seconds."""

    task: Literal["transcribe", "translate"]
    language: str = Field(description="What is spoken, as an English name.")
    duration: float
    segments: list[TranscribedSegment] | None = None
    words: list[TranscribedWord] | None = None


class AudioTokens(BaseModel):
    audio_tokens: int
    text_tokens: int


class TranscriptUsage(BaseModel):
    """What was counted: a recording by its seconds, the text by the model's tokens."""

    type: Literal["tokens"]
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: AudioTokens


class TranscriptDelta(BaseModel):
    """One event of a stream: what was heard next."""

    type: Literal["transcript.text.delta"]
    delta: str


class TranscriptDone(BaseModel):
    """The last event of a stream."""

    type: Literal["transcript.text.done"]
    text: str
    usage: TranscriptUsage


def whole(transcript: Transcript) -> dict[str, Any]:
    """Return a `Transcription`."""
    return {"text": transcript.text, "usage": {"type": "duration", "seconds": round(transcript.duration, 2)}}


def verbose(
    transcript: Transcript, granularities: set[Granularity], *, task: Literal["transcribe", "translate"]
) -> dict[str, Any]:
    """Return a `VerboseTranscription` with the lists that were asked for."""
    shown = {
        "task": task,
        "language": name_of(transcript.language),
        "duration": round(transcript.duration, 2),
        **whole(transcript),
    }
    if "segment" in granularities:
        shown["segments"] = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        shown["words"] = [
            {"word": word.text.strip(), "start": word.start, "end": word.end}
            for segment in transcript.segments
            for word in segment.words
        ]
    return shown


def srt(transcript: Transcript) -> str:
    """Return SubRip subtitles."""
    lines = (
        f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{_caption(s)}\n\n"
        for number, s in enumerate(transcript.segments, start=1)
    )
    return "".join(lines)


def vtt(transcript: Transcript) -> str:
    """Return WebVTT subtitles (https://www.w3.org/TR/webvtt1/)."""
    lines = (
        f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{_escaped(_caption(s))}\n\n" for s in transcript.segments
    )
    return "WEBVTT\n\n" + "".join(lines)


def deltas(segments: list[Segment]) -> Iterator[dict[str, Any]]:
    """Yield a `TranscriptDelta` for the newest segment of those heard so far; nothing where it has no text."""
    newest = segments[-1].text
    if delta := newest.lstrip() if len(segments) == 1 else newest:
        yield {"type": "transcript.text.delta", "delta": delta}


def done(transcript: Transcript) -> dict[str, Any]:
    """Return a `TranscriptDone`."""
    audio_tokens = math.ceil(transcript.duration * TOKENS_A_SECOND)
    written = sum(len(segment.tokens) for segment in transcript.segments)
    usage = {
        "type": "tokens",
        "input_tokens": audio_tokens,
        "output_tokens": written,
        "total_tokens": audio_tokens + written,
        "input_token_details": {"audio_tokens": audio_tokens, "text_tokens": 0},
    }
    return {"type": "transcript.text.done", "text": transcript.text, "usage": usage}


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _clock(seconds: float, point: str) -> str:
    """Return a time as subtitles have it: 01:02:03,004."""
    milliseconds = math.floor(seconds * 1000 + 0.5)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _caption(segment: Segment) -> str:
    """Return a segment's text on one line: an empty one would end the subtitle."""
    return " ".join(segment.text.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
