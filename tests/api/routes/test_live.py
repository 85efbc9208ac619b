"""Hands-free talk over a WebSocket and over plain HTTP: the same talk, with the real models."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from jc1.speech.base import HEARING_RATE, Audio
from tests.api.conftest import Server
from tests.support.sounds import joined, silence, word_error_rate

PATH = "/v1/speech/live"
FRAME = HEARING_RATE // 10


@pytest.fixture(scope="module")
def http(speech_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=speech_server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def frames(say: Callable[[str], Audio]) -> list[bytes]:
    """Return a sentence and the silence behind it, as a microphone sends them."""
    sound = joined([say("The walrus sleeps on the ice."), silence(1.0)])
    samples = (sound.samples * 32767).astype("<i2")
    return [samples[start : start + FRAME].tobytes() for start in range(0, len(samples), FRAME)]


def dial(server: Server, **options: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{PATH}", open_timeout=60, **options)


def until(socket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    """Return the messages up to one of a kind."""
    messages: list[dict[str, Any]] = []
    while not messages or messages[-1]["type"] != kind:
        messages.append(json.loads(socket.recv(timeout=60)))
    return messages


def check_turn(events: list[dict[str, Any]]) -> None:
    """Check that a turn was heard, answered and spoken."""
    kinds = [event["type"] for event in events]
    assert kinds[:4] == ["speech_started", "speech_ended", "transcript", "recalled"]
    assert kinds[-1] == "done"
    assert word_error_rate("The walrus sleeps on the ice.", events[2]["text"]) < 0.4
    sound = b"".join(base64.b64decode(event["audio"]) for event in events if event["type"] == "audio")
    assert len(sound) > 2 * 22_050 * 0.5
    assert np.abs(np.frombuffer(sound, "<i2")).max() > 3000


def test_a_turn_over_a_websocket(speech_server: Server, frames: list[bytes]) -> None:
    with dial(speech_server) as socket:
        socket.send(json.dumps({"memory": "off", "min_silence_duration": 0.4}))
        [ready] = until(socket, "ready")
        assert (ready["input_rate"], ready["output_rate"]) == (16_000, 22_050)
        for frame in frames:
            socket.send(frame)
        check_turn(until(socket, "done"))


def test_the_same_turn_over_posts_and_one_stream(http: httpx.Client, frames: list[bytes]) -> None:
    opened = http.post(PATH, json={"memory": "off"}).json()
    events: list[dict[str, Any]] = []

    def listen() -> None:
        with http.stream("GET", f"{PATH}/{opened['id']}") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: ")))
                    if events[-1]["type"] == "done":
                        return

    listener = threading.Thread(target=listen)
    listener.start()
    for frame in frames:
        answer = http.post(
            f"{PATH}/{opened['id']}", content=frame, headers={"content-type": "application/octet-stream"}
        )
        assert answer.json() == {"bytes": len(frame)}
    listener.join(60)
    assert events.pop(0) == {"type": "ready", "id": opened["id"]}
    check_turn(events)


def test_who_speaks_into_a_reply_breaks_it_off(speech_server: Server, frames: list[bytes]) -> None:
    with dial(speech_server) as socket:
        socket.send(json.dumps({"session": "broken off", "min_interruption_duration": 0.2}))
        until(socket, "ready")
        for frame in frames:
            socket.send(frame)
        until(socket, "audio")
        for frame in frames:
            socket.send(frame)
        assert "speech_started" in [event["type"] for event in until(socket, "interrupted")]
        check_turn([{"type": "speech_started"}, *until(socket, "done")])


def test_a_talk_ends_with_its_client(speech_server: Server, http: httpx.Client) -> None:
    talk = http.post(PATH, json={}).json()["id"]
    with http.stream("GET", f"{PATH}/{talk}") as stream:
        assert stream.status_code == 200
        assert '"code":"conflict"' in http.get(f"{PATH}/{talk}").text  # it has one listener
    with dial(speech_server) as socket:
        socket.send("{}")
        [ready] = until(socket, "ready")
    speech_server.wait_until(lambda: len(speech_server.app.state.talks) == 0)
    frame = {"content": bytes(3200), "headers": {"content-type": "application/octet-stream"}}
    for gone in (ready["id"], "nobody"):
        answer = http.post(f"{PATH}/{gone}", **frame)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")


def test_a_talk_that_is_ended_ends_its_stream(http: httpx.Client) -> None:
    talk = http.post(PATH, json={}).json()["id"]
    with http.stream("GET", f"{PATH}/{talk}") as stream:
        assert http.delete(f"{PATH}/{talk}").json() == {"id": talk, "ended": True}
        assert [line for line in stream.iter_lines() if line.startswith("event")] == ["event: ready"]
    assert http.delete(f"{PATH}/{talk}").status_code == 404


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", "invalid_request"),
        ("[]", "invalid_request"),
        ('{"colour": "red"}', "invalid_request"),
        ('{"min_silence_duration": 99}', "invalid_request"),
        ('{"model": "gpt-5"}', "model_not_found"),
        (b"\0\0", "invalid_request"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused_by_name(
    speech_server: Server, message: str | bytes, code: str
) -> None:
    with dial(speech_server) as socket:
        socket.send(message)
        [error] = until(socket, "error")
        assert error["error"]["code"] == code
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_frame_that_is_none_ends_the_talk_with_the_reason(speech_server: Server) -> None:
    with dial(speech_server) as socket:
        socket.send("{}")
        until(socket, "ready")
        socket.send(b"abc")
        assert until(socket, "error")[-1]["error"]["code"] == "damaged_audio"


def test_a_page_of_another_origin_is_turned_away(speech_server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, dial(speech_server, origin="http://evil.example"):
        pass
    assert refused.value.response.status_code == 403
    with dial(speech_server, origin=f"http://127.0.0.1:{speech_server.port}"):
        pass


def test_other_addresses_take_no_websocket(speech_server: Server) -> None:
    with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{speech_server.port}/v1/models", open_timeout=60):
        pass


def test_a_closed_websocket_counts_among_the_connections_no_more(speech_server: Server, frames: list[bytes]) -> None:
    caps = speech_server.caps
    assert caps is not None
    for _ in range(3):
        with dial(speech_server) as socket:
            socket.send("{}")
            until(socket, "ready")
            socket.send(frames[0])
    speech_server.wait_until(lambda: caps.open <= 1)
