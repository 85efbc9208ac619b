"""The OpenAPI schema says what the server does: requests made from it, right and wrong ones, against a real server."""

import os
from collections import Counter
from contextlib import nullcontext, suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from jc1.access.principal import ADMIN
from tests.api.conftest import Server, bearer

schemathesis.serializer.alias("application/x-ndjson", "text/plain")
FEW, MANY = 500, int(os.environ.get("SCHEMA_CASES", "1000"))
"""Requests in all, shared out evenly among operations and kinds."""
ALWAYS_THE_SAME = "SCHEMA_CASES" not in os.environ
"""Whether two runs make the same requests: a long one is to find what no run found before."""
CONVERSATIONS = {
    "/v1/chat/completions": "messages",
    "/v1/responses": "input",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "messages",
}
"""The field of each address that holds the conversation."""
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(FEW, marks=pytest.mark.timeout(600), id="few"),
        pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(600 + MANY)], id="many"),
    ],
)
def test_the_server_keeps_to_its_schema(server: Server, cases: int) -> None:
    described = httpx.get(f"{server.url}/openapi.json", timeout=60).json()
    # One of the requests makes a key, after which each shows one.
    admin = bearer(server.workbench.keys.create("local", scopes={ADMIN}).token)
    schema = schemathesis.openapi.from_dict(described)
    server.workbench.telemetry.live.end()  # or its stream would not
    checks = CHECKS.get_by_names(CHECKED)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {operation.label for operation in operations} == {
        f"{method.upper()} {path}" for path, methods in described["paths"].items() for method in methods
    }
    rules = settings(
        max_examples=max(1, cases // (len(operations) * len(GenerationMode))),
        deadline=None,
        derandomize=ALWAYS_THE_SAME,
        suppress_health_check=list(HealthCheck),
    )
    answered: Counter[tuple[str, int]] = Counter()
    for operation in operations:
        for mode in GenerationMode:

            @given(case=operation.as_strategy(generation_mode=mode))
            @rules
            def hold(case: Any) -> None:
                if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
                    # What no schema says: which model is served, and that the last message is the user's.
                    case.body["model"] = "all-MiniLM-L6-v2" if case.operation.path == "/v1/embeddings" else "echo"
                    said = CONVERSATIONS.get(case.operation.path)
                    if said and case.meta.generation.mode.is_positive:
                        sent = case.body.get(said)
                        turn = {"role": "user", "content": "Hi."}
                        case.body[said] = [*sent, turn] if isinstance(sent, list) else [turn]
                response = case.call_and_validate(base_url=server.url, checks=checks, timeout=60, headers=admin)
                answered[case.operation.label, response.status_code] += 1

            # Nothing can be wrong with a request that has neither parameters nor a body.
            with suppress(Unsatisfiable) if mode.is_negative else nullcontext():
                hold()
    print(answered.total(), "requests:", dict(Counter(status for _, status in answered.elements())))
    assert {("POST /v1/memory", 201), ("POST /v1/keys", 201)} <= answered.keys()
    assert ("POST /v1/chat/completions", 200) in answered
    assert ("POST /v1/chat/completions", 400) in answered
    assert ("POST /v1/responses", 200) in answered
    assert ("POST /v1/messages", 200) in answered
    assert ("POST /v1/embeddings", 200) in answered
    assert ("POST /v1/messages/count_tokens", 200) in answered
    assert server.engine.active == 0


TURN = {"messages": [{"role": "user", "content": "Hi."}]}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", {**TURN, "logprobs": True}),
        ("/v1/completions", {"prompt": "Hi.", "logprobs": 1}),
        ("/v1/responses", {"input": "Hi."}),
        ("/v1/messages", {**TURN, "max_tokens": 9}),
    ],
)
def test_the_events_of_a_stream_are_as_described(server: Server, path: str, asked: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(httpx.get(f"{server.url}/openapi.json", timeout=60).json())
    body = {"model": "echo", "stream": True, **asked}
    case = schema[path]["POST"].Case(body=body, media_type="application/json")
    response = case.call_and_validate(base_url=server.url, checks=CHECKS.get_by_names(CHECKED), timeout=60)
    assert response.headers["content-type"] == ["text/event-stream; charset=utf-8"]
