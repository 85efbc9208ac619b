"""Hearing and speaking at an OpenAI-compatible server: any transcriber, any voice, behind the same interfaces.

Knows OpenAI's `/audio/transcriptions`, `/audio/translations` and `/audio/speech`, and where servers depart from them.
Knows nothing about models. What the server says goes into the log: clients are told what to do.
"""

from __future__ import annotations

import io
import logging
import math
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from jc1.errors import SpeechFailed, SpeechUnavailable
from jc1.speech.activity import stretches, windows
from jc1.speech.base import HEARING_RATE, Audio, Hearing, Segment, Word

log = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 5.0, 120.0
"""How long a server may take to be reached, and to say the next thing."""
LONGEST_WINDOW = 300.0
"""Seconds that are sent at once: 9.6 MB, and OpenAI takes 25."""
SPOKEN_RATE = 24_000
"""Samples a second of OpenAI's `pcm`: 16 bits, little-endian, mono."""
NAMES = {
    "english": "en", "chinese": "zh", "german": "de", "spanish": "es", "russian": "ru", "korean": "ko", "french": "fr",
    "japanese": "ja", "portuguese": "pt", "turkish": "tr", "polish": "pl", "dutch": "nl", "arabic": "ar",
    "swedish": "sv", "italian": "it", "indonesian": "id", "hindi": "hi", "vietnamese": "vi", "ukrainian": "uk",
    "greek": "el",
}  # fmt: skip
"""Languages as OpenAI's answers name them."""
PIECE_BYTES = SPOKEN_RATE // 2
"""A quarter of a second: what is handed on at once."""


class OpenAITranscriber:
    """A `Transcriber` that asks a server. Silence is not sent to it: models write subtitles under it.

    Args:
        url: The server's base URL, with `/v1` where it has one.
        model: As the server names it.
        key: The server's key; empty sends a placeholder, which servers without keys take.
    """

    name = "openai"
    languages: tuple[str, ...] = ()
    translates = True

    def __init__(self, url: str, model: str, key: str = "") -> None:
        self.model = model
        self._server = _Server(url, key)
        self._format = "verbose_json"
        """`json` once the server has refused the one with segments."""

    def load(self) -> None:
        pass

    def transcribe(self, audio: Audio, hearing: Hearing) -> Iterator[Segment]:
        for start, end in windows(stretches(audio), longest=LONGEST_WINDOW, gap=math.inf):
            samples = audio.samples[int(start * HEARING_RATE) : int(end * HEARING_RATE)]
            answer = self._ask(_wav(Audio(samples, HEARING_RATE)), hearing)
            yield from _segments(answer, start, end, hearing)

    def close(self) -> None:
        self._server.close()

    def _ask(self, wav: bytes, hearing: Hearing) -> dict[str, Any]:
        """Return the server's answer to a recording."""
        import openai

        fields: dict[str, Any] = {"model": self.model, "temperature": hearing.temperature}
        if hearing.prompt:
            fields["prompt"] = hearing.prompt
        if hearing.language and not hearing.translate:
            fields["language"] = hearing.language
        words = {"timestamp_granularities": ["segment", "word"]} if hearing.words and not hearing.translate else {}
        path = "/audio/translations" if hearing.translate else "/audio/transcriptions"
        with self._server.errors("listened"):
            if self._format == "verbose_json":
                try:
                    return self._server.send(path, wav, {**fields, **words, "response_format": "verbose_json"})
                except openai.BadRequestError:
                    answer = self._server.send(path, wav, {**fields, "response_format": "json"})
                    self._format = "json"  # that was what it did not take
                    return answer
            return self._server.send(path, wav, {**fields, "response_format": "json"})


class OpenAISynthesizer:
    """A `Synthesizer` that asks a server.

    Args:
        url, model, key: As `OpenAITranscriber` takes them.
        voice: The one that speaks where none is named.
    """

    name = "openai"
    voices: tuple[str, ...] = ()
    language = ""
    rate = SPOKEN_RATE

    def __init__(self, url: str, model: str, voice: str, key: str = "") -> None:
        self.model = model
        self._voice = voice
        self._server = _Server(url, key)

    def load(self) -> None:
        pass

    def synthesize(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> Iterator[Audio]:
        if not any(letter.isalnum() for letter in text):
            return
        speech = self._server.client.audio.speech.with_streaming_response
        with (
            self._server.errors("spoke"),
            speech.create(
                input=text, model=self.model, voice=voice or self._voice, speed=speed, response_format="pcm"
            ) as answer,
        ):
            yield from _sound(answer.iter_bytes(PIECE_BYTES))

    def close(self) -> None:
        self._server.close()


class _Server:
    """The connections to one server, and what its failures mean."""

    def __init__(self, url: str, key: str) -> None:
        import openai

        if not url:
            raise SpeechUnavailable("The server's address is missing: set transcriber_url, or synthesizer_url.")
        self._shown = urlsplit(url).netloc.rpartition("@")[2]  # without a password
        self.client = openai.OpenAI(
            base_url=url,
            api_key=key or "none",
            max_retries=0,
            timeout=openai.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        )

    @contextmanager
    def errors(self, verb: str) -> Iterator[None]:
        """Raise what the SDK raises in the body as JC1's errors."""
        import openai

        try:
            yield
        except openai.APIConnectionError as error:
            raise SpeechUnavailable(
                f"The speech server {self._shown} does not answer: start it, or check its address."
            ) from error
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise SpeechUnavailable(f"The speech server {self._shown} does not take the key: check it.") from error
        except openai.APIStatusError as error:
            log.error("the speech server answered %s: %.500s", error.status_code, error.message)
            if error.status_code >= 500 or error.status_code == 429:
                raise SpeechUnavailable(
                    f"The speech server {self._shown} is not ready (it says {error.status_code}): try again later."
                ) from error
            raise SpeechFailed(
                f"The speech server {self._shown} refused what it was asked (it says {error.status_code}): check "
                "model, voice and language; the log has its words."
            ) from error
        except openai.OpenAIError as error:
            log.error("the speech server broke off: %s", type(error).__name__)
            raise SpeechFailed(f"The speech server {self._shown} broke off while it {verb}: try again.") from error

    def send(self, path: str, wav: bytes, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a recording and its fields. The SDK's own method for translations is deprecated."""
        answer: Any = self.client.post(
            path,
            cast_to=object,
            body=fields,
            files=[("file", ("speech.wav", wav, "audio/wav"))],
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
        if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
            raise SpeechFailed(f"The speech server {self._shown} answers in no form that is known: check its address.")
        return answer

    def close(self) -> None:
        self.client.close()


def _segments(answer: dict[str, Any], start: float, end: float, hearing: Hearing) -> Iterator[Segment]:
    """Yield the segments of an answer, or all of its text as one where it has none."""
    language = hearing.language or _iso(answer.get("language"))
    words = [
        Word(_led(word["word"]), start + word["start"], start + word["end"], 1.0) for word in answer.get("words") or ()
    ]
    segments = answer.get("segments") or ()
    if not segments and answer["text"].strip():
        yield Segment(_led(answer["text"].strip()), start, end, tuple(words), language)
    for segment in segments:
        first, last = start + segment["start"], start + segment["end"]
        yield Segment(
            text=_led(segment["text"]),
            start=first,
            end=last,
            words=tuple(word for word in words if first <= word.start < last),
            language=language,
            tokens=tuple(segment.get("tokens") or ()),
            temperature=segment.get("temperature") or 0.0,
            avg_logprob=segment.get("avg_logprob") or 0.0,
            compression_ratio=segment.get("compression_ratio") or 1.0,
            no_speech_prob=segment.get("no_speech_prob") or 0.0,
        )


def _led(text: str) -> str:
    """Return text with the space that leads it: some servers leave it out."""
    return text if text.startswith(" ") else f" {text}"


def _iso(language: str | None) -> str:
    """Return a language's code: OpenAI answers `english`, others `en`. One that is not in the table stays as it is."""
    return NAMES.get((language or "english").lower(), language or "en")


def _sound(pieces: Iterator[bytes]) -> Iterator[Audio]:
    """Yield samples as they come; a sample may lie across two pieces."""
    import numpy as np

    rest = b""
    for piece in pieces:
        data = rest + piece
        whole = len(data) - len(data) % 2
        rest = data[whole:]
        if whole:
            yield Audio(np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768), SPOKEN_RATE)


def _wav(audio: Audio) -> bytes:
    import numpy as np

    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(audio.rate)
        writer.writeframes((np.clip(audio.samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()
