"""The log of a server: whose request each record is of, and that no record holds a key or what was said."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from jc1 import Workbench
from jc1.telemetry.logs import OWN_LOGGERS, JsonFormatter, TextFormatter
from jc1_api.app import create_app
from tests.api.conftest import bearer

SAID = "My cat is called Quillfeather."
FORGED = "x%0A2026-12-01 00:00:00,000 INFO jc1: all is well"


@pytest.fixture
def client(workbench: Workbench) -> Iterator[TestClient]:
    with TestClient(create_app(workbench), "http://chat.example", raise_server_exceptions=False) as made:
        yield made


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Return all that a server logs at its most talkative."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter() if request.param == "json" else TextFormatter())
    loggers = [logging.getLogger(name) for name in OWN_LOGGERS]
    for logger in loggers:
        monkeypatch.setattr(logger, "level", logging.DEBUG)
        logger.manager._clear_cache()  # type: ignore[attr-defined]
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


def test_no_record_holds_a_key_or_what_was_said_and_each_says_whose_request_it_is_of(
    client: TestClient, workbench: Workbench, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = workbench.keys.create("ann")
    ann, secret = bearer(issued.token), issued.token.rpartition("_")[2]
    said = [{"role": "user", "content": SAID}]
    asked: dict[str, Any] = {"model": "echo", "messages": said, "session": "Quillfeather"}
    trace = client.post("/v1/chat/completions", json=asked, headers=ann).json()["jc1"]["trace_id"]
    client.post("/v1/chat/completions", json={**asked, "stream": True, "regex": "Quillfeather("}, headers=ann)
    client.post("/v1/memory", json={"text": SAID}, headers=ann)
    client.get("/v1/memory", params={"contains": "Quillfeather", "key": secret}, headers=ann)
    client.get("/v1/sessions/Quillfeather", headers=ann)
    client.post("/v1/memory", content=SAID, headers={**ann, "content-type": "application/json"})
    client.get("/v1/models", headers=bearer(f"{issued.token}x"))
    client.get("/v1/models", headers={"x-api-key": secret})
    client.post("/sign-in", data={"key": secret})
    client.get(f"/v1/traces/{FORGED}", headers=ann)

    def broken(*_: object, **__: object) -> None:
        raise KeyError(SAID, issued.token)

    monkeypatch.setattr(workbench.memory, "add", broken)
    assert client.post("/v1/memory", json={"text": SAID}, headers=ann).status_code == 500
    client.post("/v1/chat/completions", json=asked, headers=ann)

    whole = log.getvalue()
    for hidden in (secret, "Quillfeather", "all is well"):
        assert hidden not in whole
    assert "builtins.KeyError" in whole
    assert "was not remembered" in whole
    assert whole.count("POST /v1/chat/completions 200") == 2
    records = [line for line in whole.splitlines() if "POST /v1/chat/completions 200" in line]
    if records[0].startswith("{"):
        read = [json.loads(line) for line in whole.splitlines()]
        assert all("request" in record for record in read)
        (first, *_) = (record for record in read if "completions 200" in record["message"])
        assert (first["trace"], first["key"]) == (trace, issued.key.id)
    else:
        assert f" trace={trace} key={issued.key.id} " in records[0]
