"""`/v1/telemetry`: what a dashboard reads while requests finish, over a real connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from jc1.access.principal import ADMIN
from jc1.trace import Trace
from jc1_api.routes.telemetry import Finished
from tests.api.conftest import Server, bearer


@contextmanager
def listening(server: Server, token: str | None = None, query: str = "") -> Iterator[Iterator[str]]:
    headers = {} if token is None else bearer(token)
    with httpx.stream("GET", f"{server.url}/v1/telemetry{query}", headers=headers, timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert [next(lines), next(lines)] == [": listening", ""]
        yield lines


def told(lines: Iterator[str]) -> Finished:
    assert next(lines) == "event: request"
    data = json.loads(next(lines).removeprefix("data: "))
    assert next(lines) == ""
    return Finished.model_validate(data)


def test_a_request_is_told_when_it_has_finished_without_its_texts(server: Server) -> None:
    asked = {"model": "echo", "messages": [{"role": "user", "content": "a walrus"}]}
    with listening(server) as lines:
        answered = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=60).json()
        event = told(lines)
    assert (event.id, event.outcome) == (answered["jc1"]["trace_id"], "ok")
    assert event.stages == answered["jc1"]["stages"]
    assert "walrus" not in event.model_dump_json()


def test_one_hears_of_ones_own_and_an_admin_of_everybodys(server: Server) -> None:
    keys = server.workbench.keys
    ann, root = (keys.create("ann", scopes={scope}).token for scope in ("metrics", ADMIN))
    with (
        listening(server, ann) as own,
        listening(server, root) as everybodys,
        listening(server, root, "?user=bob") as bobs,
    ):
        for owner in ("bob", "ann"):
            server.workbench.telemetry.record(Trace(owner=owner))
        assert told(own).owner == "ann"
        assert [told(everybodys).owner, told(everybodys).owner] == ["bob", "ann"]
        assert told(bobs).owner == "bob"
    refused = httpx.get(f"{server.url}/v1/telemetry?user=bob", headers=bearer(ann), timeout=60)
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "user")


def test_who_is_let_in_no_longer_hears_of_nothing_more(server: Server) -> None:
    keys = server.workbench.keys
    with listening(server) as everyones:
        key, other = (keys.create("ann", scopes={"metrics"}) for _ in range(2))
        with listening(server, key.token) as revoked, listening(server, other.token) as good:
            keys.revoke(key.key.id)
            server.workbench.telemetry.record(Trace(owner="ann"))
            assert told(good).owner == "ann"
            for lines in (everyones, revoked):
                assert '"code":"invalid_api_key"' in next(lines)
                assert not "".join(lines)


def test_it_ends_with_the_server(server: Server) -> None:
    with listening(server) as lines:
        server.workbench.telemetry.live.end()
        assert list(lines) == []
