"""A server of OpenAI's audio endpoints over real models, that breaks where a test wants.

Knows the wire format by itself, without JC1's own client or API, so that a mistake of theirs is seen.
"""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jc1.errors import InvalidRequest
from jc1.speech.base import Audio, Hearing, Synthesizer, Transcriber
from tests.support import sounds

PCM_RATE = 24_000
VOICES = ("alloy", "nova")


def refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", "code": None}}, status)


@dataclass
class SpeechServer:
    """What the server answers with, and what it was asked."""

    ears: Transcriber
    voice: Synthesizer
    segments: bool = True
    """Whether it takes `verbose_json`."""
    failures: list[Response] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""

    async def transcribe(self, request: Request) -> Response:
        async with request.form() as form:
            fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
            fields.pop("timestamp_granularities[]", None)
            self.asked.append({**fields, "granularities": form.getlist("timestamp_granularities[]")})
            self.keys.append(request.headers.get("authorization"))
            if self.failures:
                return self.failures.pop(0)
            if fields["response_format"] == "verbose_json" and not self.segments:
                return refusal(400, "response_format 'verbose_json' is not compatible with this model")
            upload = form["file"]
            assert isinstance(upload, UploadFile)
            audio = _read(await upload.read())
        words = "word" in self.asked[-1]["granularities"]
        hearing = Hearing(fields.get("language"), words=words)
        try:
            heard = await asyncio.to_thread(lambda: list(self.ears.transcribe(audio, hearing)))
        except InvalidRequest:
            return refusal(400, "this language is not known")
        text = "".join(segment.text for segment in heard).strip()
        if fields["response_format"] == "json":
            return JSONResponse({"text": text})
        segments = [
            {"id": i, "seek": 0, "start": s.start, "end": s.end, "text": s.text, "tokens": list(s.tokens),
             "temperature": s.temperature, "avg_logprob": s.avg_logprob, "compression_ratio": s.compression_ratio,
             "no_speech_prob": s.no_speech_prob}
            for i, s in enumerate(heard)
        ]  # fmt: skip
        answer = {"text": text, "language": "english", "duration": audio.seconds, "segments": segments}
        spoken = [{"word": w.text.strip(), "start": w.start, "end": w.end} for s in heard for w in s.words]
        return JSONResponse({**answer, "words": spoken} if words else answer)

    async def speak(self, request: Request) -> Response:
        asked = await request.json()
        self.asked.append(asked)
        if self.failures:
            return self.failures.pop(0)
        if asked["voice"] not in VOICES:
            return refusal(400, "this voice is not known")

        def sound() -> Iterator[bytes]:
            for audio in self.voice.synthesize(asked["input"], speed=asked["speed"]):  # by its one voice
                samples = (sounds.resampled(audio, PCM_RATE).samples * 32767).astype("<i2").tobytes()
                yield samples[:101]  # a sample lies across two pieces
                yield samples[101:]

        return StreamingResponse(sound(), media_type="audio/pcm")


def _read(data: bytes) -> Audio:
    with wave.open(io.BytesIO(data)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
        return Audio(samples / np.float32(32768), file.getframerate())


@contextmanager
def serving(server: SpeechServer) -> Iterator[SpeechServer]:
    """Run the server on a free port until the body ends."""
    app = Starlette(
        routes=[
            Route("/v1/audio/transcriptions", server.transcribe, methods=["POST"]),
            Route("/v1/audio/translations", server.transcribe, methods=["POST"]),
            Route("/v1/audio/speech", server.speak, methods=["POST"]),
        ]
    )
    listening = socket.create_server(("127.0.0.1", 0))
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    try:
        yield server
    finally:
        uvicorn_server.should_exit = True
        thread.join(30)
