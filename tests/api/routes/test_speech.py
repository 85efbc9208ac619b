"""Texts read out, by the official client and by hand, with the real voice."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI

from jc1.speech.decode import answer, format_of
from jc1.speech.encode import FORMATS
from tests.api.conftest import Server

PATH = "/v1/audio/speech"
SENTENCES = "The walrus sleeps on the ice. " * 8


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
    return speech_server.workbench.voice.model


def seconds_of(data: bytes) -> float:
    _, samples = answer(data, format_of(data), 60, 16_000)
    assert np.abs(np.frombuffer(samples, np.float32)).max() > 0.1  # somebody speaks
    return len(samples) / 4 / 16_000


@pytest.mark.parametrize("name", FORMATS)
def test_the_official_client_gets_each_format(client: OpenAI, model: str, name: Any) -> None:
    with client.audio.speech.with_streaming_response.create(
        model=model, voice=model, input="The walrus sleeps.", response_format=name
    ) as response:
        data = b"".join(response.iter_bytes())
    assert response.headers["content-type"] == FORMATS[name].media_type
    seconds = len(data) / 2 / 24_000 if name == "pcm" else seconds_of(data)
    assert 0.7 < seconds < 3


def test_mp3_is_what_comes_where_nothing_is_said(http: httpx.Client, model: str) -> None:
    response = http.post(PATH, json={"model": model, "input": "Yes."})
    assert response.headers["content-type"] == "audio/mpeg"
    assert format_of(response.content) == "mp3"


def test_the_first_sentence_is_sent_before_the_last_is_made(speech_server: Server, http: httpx.Client) -> None:
    voice = speech_server.workbench.voice
    made = []
    synthesize = voice.synthesize

    def counted(text: str, **options: object) -> Iterator[object]:
        made.append(text)
        return synthesize(text, **options)  # type: ignore[arg-type]

    voice.synthesize = counted  # type: ignore[method-assign, assignment]
    try:
        body = {"model": voice.model, "input": SENTENCES, "response_format": "wav"}
        with http.stream("POST", PATH, json=body) as response:
            pieces = response.iter_bytes()
            first = next(pieces)
            before = len(made)
            rest = b"".join(pieces)
    finally:
        voice.synthesize = synthesize  # type: ignore[method-assign]
    assert before < len(made) == 8
    with wave.open(io.BytesIO(first + rest)) as file:
        assert file.getframerate() == voice.rate


def test_a_client_that_goes_away_ends_the_synthesis(speech_server: Server, http: httpx.Client) -> None:
    voice, guarded = speech_server.workbench.voice, speech_server.workbench.guarded
    body = {"model": voice.model, "input": SENTENCES * 15, "response_format": "pcm"}
    with http.stream("POST", PATH, json=body) as response:
        assert response.status_code == 200, response.read()
        next(response.iter_bytes())
        assert guarded.admission.running == 1
    speech_server.wait_until(lambda: guarded.admission.running == 0)


def test_a_client_that_reads_nothing_holds_no_more_than_what_is_under_way(speech_server: Server) -> None:
    """Nothing is made ahead of what is sent: the buffers of the connection are all that fills."""
    voice, guarded = speech_server.workbench.voice, speech_server.workbench.guarded
    body = json.dumps({"model": voice.model, "input": SENTENCES * 15, "response_format": "pcm"})
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with speech_server.connect() as connection:
        connection.sendall((head + body).encode())
        speech_server.wait_until(lambda: guarded.admission.running == 1)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    speech_server.wait_until(lambda: guarded.admission.running == 0)


def test_events_hold_the_same_file_in_pieces(http: httpx.Client, model: str) -> None:
    body = {"model": model, "input": SENTENCES, "response_format": "flac", "stream_format": "sse"}
    with http.stream("POST", PATH, json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in response.iter_lines() if line.startswith("data")]
    *deltas, done = events
    assert len(deltas) >= 8
    assert seconds_of(b"".join(base64.b64decode(event["audio"]) for event in deltas)) > 8
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": len(SENTENCES) // 4, "output_tokens": 0, "total_tokens": len(SENTENCES) // 4},
    }


def test_faster_is_shorter(client: OpenAI, model: str) -> None:
    def length(speed: float) -> int:
        said = client.audio.speech.create(
            model=model, voice=model, input="The walrus sleeps on the ice.", response_format="pcm", speed=speed
        )
        return len(said.content)

    assert length(2.0) < 0.7 * length(1.0) < 0.7 * 0.7 * length(0.5)


def test_an_unknown_voice_is_refused_with_those_that_there_are(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError, match=f"no voice 'alloy': it has {model}") as raised:
        client.audio.speech.create(model=model, voice="alloy", input="Hello.")
    assert raised.value.code == "unknown_voice"


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"input": "x" * 100_000}, 413, "speech_too_long", "input"),
        ({"input": "   "}, 400, "invalid_request", "input"),
        ({"input": "🙂 ---"}, 400, "nothing_to_say", "input"),
        ({"response_format": "midi"}, 400, "invalid_request", "response_format"),
        ({"speed": 9}, 400, "invalid_request", "speed"),
        ({"instructions": "Whisper."}, 400, "invalid_request", "instructions"),
        ({"model": "tts-1"}, 404, "model_not_found", "model"),
        ({"pitch": 2}, 400, "invalid_request", "pitch"),
    ],
)
def test_what_cannot_be_read_out_is_refused_by_name(
    http: httpx.Client, model: str, fields: dict[str, object], status: int, code: str, param: str
) -> None:
    response = http.post(PATH, json={"model": model, "input": "Hello.", **fields})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), error


def test_the_models_are_listed_with_what_they_can(client: OpenAI, speech_server: Server) -> None:
    about = {model.id: model.model_extra["jc1"] for model in client.models.list() if model.model_extra}
    ears, voice = speech_server.workbench.ears, speech_server.workbench.voice
    assert about[ears.model]["tasks"] == ["transcription"]
    assert about[ears.model]["languages"] == ["en"]
    assert about[voice.model]["voices"] == [voice.model]
