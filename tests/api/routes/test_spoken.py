"""A spoken turn from a recording to a voice, with the real models that hear and speak."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from openai import BadRequestError, OpenAI

from jc1 import Workbench
from jc1.engines.echo import EchoEngine
from jc1.speech.base import Audio, Hearing
from jc1.speech.decode import answer, format_of
from jc1.speech.piper import Piper
from jc1.speech.whisper import Whisper
from tests.api.conftest import Server, serving
from tests.support import recordings
from tests.support.sounds import word_error_rate
from tests.support.speech import lend

PATH = "/v1/speech"
QUESTION = "The walrus sleeps on the ice. The seal swims in the sea."


@pytest.fixture(scope="module")
def http(speech_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=speech_server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def question(say: Callable[[str], Audio]) -> bytes:
    """Return a recording as browsers make them, in which two sentences are spoken."""
    return recordings.recorded("webm", say(QUESTION).samples)


def turn(http: httpx.Client, audio: bytes, **fields: Any) -> tuple[int, list[dict[str, Any]]]:
    """Return the status and the events of a turn."""
    with http.stream("POST", PATH, files={"audio": audio}, data=fields) as response:
        lines = list(response.iter_lines())
    if response.status_code != 200:
        return response.status_code, [json.loads("".join(lines))]
    return 200, [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def sound_of(events: list[dict[str, Any]]) -> Audio:
    data = b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "audio")
    _, samples = answer(data, format_of(data), 60, 16_000)
    return Audio(np.frombuffer(samples, np.float32), 16_000)


def test_what_was_heard_comes_first_then_tokens_and_sound_and_at_last_the_whole(
    http: httpx.Client, question: bytes, speech_server: Server
) -> None:
    status, events = turn(http, question, session="walrus", memory="off", response_format="wav")
    kinds = [event["type"] for event in events]
    assert (status, kinds[0], kinds[1], kinds[-1]) == (200, "transcript", "recalled", "done")
    assert {"token", "audio"} == set(kinds[2:-1])
    heard, done = events[0], events[-1]
    assert word_error_rate(QUESTION, heard["text"]) < 0.2
    assert "".join(event["text"] for event in events if event["type"] == "token") == done["text"]
    assert "".join(event["text"] for event in events if event["type"] == "audio") == done["text"]
    assert {"hear", "speak", "decode"} <= done["jc1"]["stages"].keys()
    # The echo engine says what it heard: so does the voice.
    segments = speech_server.workbench.ears.transcribe(sound_of(events), Hearing())
    assert word_error_rate(done["text"], "".join(segment.text for segment in segments)) < 0.3


def test_a_recording_without_speech_is_refused_and_the_engine_is_not_asked(http: httpx.Client) -> None:
    status, [error] = turn(http, recordings.recorded("wav", np.zeros(32_000, np.float32)))
    assert (status, error["error"]["code"]) == (400, "no_speech")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"voice": "alloy"}, 400, "unknown_voice"),
        ({"language": "de"}, 400, "unknown_language"),
        ({"speed": "nan"}, 400, "invalid_request"),
        ({"model": "gpt-5"}, 404, "model_not_found"),
        ({"preset": "nobody"}, 404, "preset_not_found"),
        ({"colour": "red"}, 400, "invalid_request"),
        ({"response_format": "midi"}, 400, "invalid_request"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    http: httpx.Client, question: bytes, fields: dict[str, str], status: int, code: str
) -> None:
    answered, [error] = turn(http, question, **fields)
    assert (answered, error["error"]["code"]) == (status, code), error


def test_a_recording_in_a_chat_request_is_heard_and_answered_in_text(speech_server: Server, question: bytes) -> None:
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(question).decode(), "format": "wav"}}
    with OpenAI(base_url=f"{speech_server.url}/v1", api_key="none", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": [part]}]
        reply = client.chat.completions.create(model="echo", messages=messages)
        assert word_error_rate(QUESTION, str(reply.choices[0].message.content)) < 0.2
        part["input_audio"] = {"data": "no base64!", "format": "wav"}
        with pytest.raises(BadRequestError, match="no base64"):
            client.chat.completions.create(model="echo", messages=messages)


@pytest.fixture
def slow(workbench: Workbench, whisper: Whisper, piper: Piper) -> Iterator[Server]:
    """Yield a server whose replies take 0.2 s a token."""
    workbench.engine = EchoEngine(delay=0.2)
    with serving(lend(workbench, whisper, piper)) as running:
        yield running


def test_a_client_that_leaves_ends_the_turn_and_what_was_said_is_kept(
    slow: Server, say: Callable[[str], Audio]
) -> None:
    bench = slow.workbench
    long = recordings.recorded(
        "ogg", say("My name is Ada. I live in Paris. What is your name? Do you like tea?").samples
    )
    with httpx.Client(base_url=slow.url, timeout=60) as http:
        with http.stream("POST", PATH, files={"audio": long}, data={"session": "left"}) as response:
            for line in response.iter_lines():
                if line.startswith("event: audio"):
                    break
        slow.wait_until(lambda: bench.guarded.admission.running == 0)
        asyncio.run_coroutine_threadsafe(bench.pipeline.drain(), slow.loop).result(60)
        [kept] = http.get("/v1/sessions/left").json()["data"]
    assert kept["cancelled"]
    # The echo engine's reply is what it was asked: said was its beginning, a sentence or more.
    assert kept["user"].startswith(kept["reply"].strip())
    assert 5 < len(kept["reply"]) < len(kept["user"])
