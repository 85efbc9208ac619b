"""Recordings as text, by the official client and by hand, with the real model."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from openai import OpenAI

from jc1_api.transcripts import TranscriptDone, Transcription, VerboseTranscription
from tests.api.conftest import Server
from tests.support import recordings
from tests.support.sounds import JFK

SAID = "ask not what your country can do for you"
PATH = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def http(speech_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=speech_server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def client(speech_server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{speech_server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def model(speech_server: Server) -> str:
    return speech_server.workbench.ears.model


@pytest.fixture(scope="module")
def second() -> bytes:
    """Return a recording in which nobody speaks."""
    return recordings.recorded("wav", np.zeros(16_000, np.float32))


def sent(http: httpx.Client, model: str, data: bytes, fields: dict[str, Any] | None = None) -> httpx.Response:
    return http.post(PATH, files={"file": ("a.bin", data)}, data={"model": model, **(fields or {})})


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_the_official_client_hears_a_real_voice(client: OpenAI, model: str) -> None:
    heard = client.audio.transcriptions.create(file=JFK, model=model, language="en")
    assert SAID in heard.text.lower()
    assert heard.usage is not None
    assert heard.usage.type == "duration"
    assert heard.usage.seconds == pytest.approx(11.0, abs=0.1)


def test_verbose_json_has_segments_and_words_in_their_order(client: OpenAI, model: str) -> None:
    heard = client.audio.transcriptions.create(
        file=JFK, model=model, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (heard.language, round(heard.duration)) == ("english", 11)
    assert heard.segments
    assert heard.words
    assert "".join(segment.text for segment in heard.segments).strip() == heard.text
    assert " ".join(word.word for word in heard.words) == heard.text
    times = [time for word in heard.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= 11.1
    assert all(segment.no_speech_prob < 0.6 and segment.avg_logprob > -1 for segment in heard.segments)


def test_segments_alone_come_where_nothing_else_is_asked_for(http: httpx.Client, model: str) -> None:
    shown = sent(http, model, JFK.read_bytes(), {"response_format": "verbose_json"}).json()
    VerboseTranscription.model_validate(shown)
    assert "words" not in shown
    assert shown["segments"]


def test_subtitles_and_plain_text(client: OpenAI, model: str) -> None:
    srt = client.audio.transcriptions.create(file=JFK, model=model, response_format="srt")
    vtt = client.audio.transcriptions.create(file=JFK, model=model, response_format="vtt")
    text = client.audio.transcriptions.create(file=JFK, model=model, response_format="text")
    assert re.match(r"1\n00:00:0\d,\d{3} --> 00:00:\d\d,\d{3}\nAnd so", srt)
    assert re.match(r"WEBVTT\n\n00:00:0\d\.\d{3} --> 00:00:\d\d\.\d{3}\nAnd so", vtt)
    assert str(text).strip().startswith("And so")


def test_a_stream_tells_the_text_piece_by_piece_and_then_whole(client: OpenAI, model: str) -> None:
    with client.audio.transcriptions.create(file=JFK, model=model, stream=True) as stream:
        *deltas, done = stream
    assert done.type == "transcript.text.done"
    assert deltas
    assert "".join(event.delta for event in deltas if event.type == "transcript.text.delta") == done.text
    assert SAID in done.text.lower()
    TranscriptDone.model_validate(done.model_dump(exclude_unset=True))


def test_of_silence_nothing_is_made_up(http: httpx.Client, client: OpenAI, model: str, second: bytes) -> None:
    heard = sent(http, model, second).json()
    Transcription.model_validate(heard)
    assert heard == {"text": "", "usage": {"type": "duration", "seconds": 1.0}}
    with client.audio.transcriptions.create(file=("a.wav", second), model=model, stream=True) as stream:
        assert [(event.type, getattr(event, "text", None)) for event in stream] == [("transcript.text.done", "")]


@pytest.mark.parametrize("kind", ["flac", "mp3", "m4a", "webm"])
def test_the_content_tells_the_format_and_not_the_name(http: httpx.Client, model: str, kind: str) -> None:
    answer = sent(http, model, recordings.recorded(kind, np.zeros(16_000, np.float32)))
    assert (answer.status_code, answer.json()["text"]) == (200, "")


def test_what_cannot_be_heard_is_refused_by_name(http: httpx.Client, model: str) -> None:
    long = recordings.recorded("flac", np.zeros(70 * 16_000, np.float32))
    refused = {
        "empty": sent(http, model, b""),
        "text": sent(http, model, b"And so, my fellow Americans"),
        "film": sent(http, model, recordings.film()),
        "long": sent(http, model, long),
    }
    assert {name: code_of(answer) for name, answer in refused.items()} == {
        "empty": (400, "damaged_audio"),
        "text": (415, "unsupported_audio"),
        "film": (400, "damaged_audio"),
        "long": (413, "audio_too_long"),
    }


def test_more_bytes_than_are_allowed_are_refused_before_they_are_read(speech_server: Server) -> None:
    with speech_server.connect() as connection:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        connection.sendall(f"{head}Content-Length: 100000000\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"max_audio_bytes" in answer


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"language": "de"}, 400, "language"),
        ({"response_format": "diarized_json"}, 400, "response_format"),
        ({"temperature": "nan"}, 400, "temperature"),
        ({"temperature": "2"}, 400, "temperature"),
        ({"timestamp_granularities[]": "word"}, 400, "timestamp_granularities[]"),
        (
            {"timestamp_granularities[]": "letter", "response_format": "verbose_json"},
            400,
            "timestamp_granularities[]",
        ),
        ({"stream": "true", "response_format": "srt"}, 400, "response_format"),
        ({"include[]": "logprobs"}, 400, "include[]"),
        ({"model": "whisper-9"}, 404, "model"),
        ({"prompt": "x" * 5000}, 400, "prompt"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(
    http: httpx.Client, model: str, second: bytes, fields: dict[str, str], status: int, param: str
) -> None:
    data = recordings.recorded("ogg", recordings.tone(0.5))
    answer = sent(http, model, data, fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_what_knows_english_alone_translates_nothing_and_says_what_would(http: httpx.Client, model: str) -> None:
    answer = http.post("/v1/audio/translations", files={"file": JFK.read_bytes()}, data={"model": model})
    assert code_of(answer) == (400, "cannot_translate")
    assert "set whisper_model to a Whisper of many languages" in answer.json()["error"]["message"]


def test_names_and_prompts_reach_the_model(http: httpx.Client, model: str) -> None:
    answer = sent(http, model, JFK.read_bytes(), {"prompt": "John F. Kennedy speaks.", "temperature": "0.2"})
    assert SAID in answer.json()["text"].lower()


def test_a_client_that_goes_away_leaves_no_work_behind(speech_server: Server, model: str) -> None:
    guarded = speech_server.workbench.guarded
    body = io.BytesIO()
    for name, value in (("model", model), ("file", None)):
        head = f'--x\r\nContent-Disposition: form-data; name="{name}"' + ('; filename="a"' if value is None else "")
        body.write(head.encode() + b"\r\n\r\n" + (JFK.read_bytes() if value is None else value.encode()) + b"\r\n")
    body.write(b"--x--\r\n")
    data = body.getvalue()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with speech_server.connect() as connection:
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        speech_server.wait_until(lambda: guarded.admission.running == 1)
    speech_server.wait_until(lambda: guarded.admission.running == 0)
