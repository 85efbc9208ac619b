"""Memory, sessions, traces, models, health and figures, each owner's own."""

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import jc1
from jc1 import Preset, Settings, Workbench
from jc1.cache.lmdb import LmdbCache
from jc1.cache.replies import ReplyCache
from jc1.errors import DatabaseUnavailable
from jc1.telemetry import Telemetry
from tests.api.conftest import bearer


async def chat(client: httpx.AsyncClient, text: str, **fields: Any) -> Any:
    body = {"model": "echo", "messages": [{"role": "user", "content": text}], **fields}
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def add(client: httpx.AsyncClient, text: str, **params: str) -> dict[str, Any]:
    response = await client.post("/v1/memory", json={"text": text}, params=params)
    assert response.status_code == 201, response.text
    record: dict[str, Any] = response.json()
    return record


async def test_a_memory_is_added_read_found_and_forgotten(client: httpx.AsyncClient) -> None:
    record = await add(client, "My cat is called Ada.")
    assert (record["text"], record["role"], record["kind"]) == ("My cat is called Ada.", "user", "statement")
    assert (await client.get(f"/v1/memory/{record['id']}")).json() == record
    found = (await client.get("/v1/memory/search", params={"q": "cat's name?", "k": 3})).json()
    assert found["data"][0]["memory"] == record
    assert (found["data"][0]["rank"], set(found["seconds"])) == (1, {"embed", "recall"})
    gone = (await client.delete(f"/v1/memory/{record['id']}")).json()
    assert (gone["id"], gone["deleted"]) == (record["id"], True)
    assert datetime.fromisoformat(gone["restorable_until"]) > datetime.fromisoformat(record["created"])
    for call in (client.get, client.delete):
        response = await call(f"/v1/memory/{record['id']}")
        assert (response.status_code, response.json()["error"]["code"]) == (404, "record_not_found")
    assert (await client.get("/v1/memory/search", params={"q": "cat"})).json()["data"] == []


async def test_pages_follow_the_cursor_newest_first(client: httpx.AsyncClient) -> None:
    texts = [f"I have been to place number {i}." for i in range(5)]
    for text in texts:
        await add(client, text)
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = (await client.get("/v1/memory", params=params)).json()
        assert page["total"] == 5
        seen += [record["text"] for record in page["data"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == texts[::-1]
    wrong = await client.get("/v1/memory", params={"cursor": "rubbish"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_request")


async def test_an_owner_reaches_nothing_of_another(client: httpx.AsyncClient) -> None:
    record = await add(client, "My cat is called Ada.", user="ann")
    trace = (await chat(client, "Hello.", user="ann", session="s"))["jc1"]["trace_id"]
    for path in (f"/v1/memory/{record['id']}", "/v1/sessions/s", f"/v1/traces/{trace}"):
        assert (await client.get(path, params={"user": "ann"})).status_code == 200, path
        for other in ({}, {"user": "ben"}, {"user": "Ann"}):
            assert (await client.get(path, params=other)).status_code == 404, path
    for path in ("/v1/memory", "/v1/sessions", "/v1/traces", "/v1/memory/search?q=cat"):
        assert (await client.get(path)).json()["data"] == [], path
    assert (await client.delete(f"/v1/memory/{record['id']}", params={"user": "ben"})).status_code == 404
    assert (await client.delete("/v1/sessions/s", params={"user": "ben"})).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "/v1/memory", {"text": ""}, "text"),
        ("POST", "/v1/memory", {"text": " \n"}, "text"),
        ("POST", "/v1/memory", {"text": "x" * 100_001}, "text"),
        ("POST", "/v1/memory", {"text": "a\0b"}, "text"),
        ("POST", "/v1/memory", {"text": "Hi", "role": "wizard"}, "role"),
        ("POST", "/v1/memory", {"text": "Hi", "colour": 1}, "colour"),
        ("POST", "/v1/memory", {}, "text"),
        ("GET", "/v1/memory?limit=0", None, "limit"),
        ("GET", "/v1/memory?limit=x", None, "limit"),
        ("GET", "/v1/memory?user=", None, "user"),
        ("GET", f"/v1/memory?user={'x' * 201}", None, "user"),
        ("GET", "/v1/memory?user=%0a", None, "user"),
        ("GET", "/v1/memory/search", None, "q"),
        ("GET", "/v1/memory/search?q=%20", None, "q"),
        ("GET", "/v1/memory/search?q=cat&k=101", None, "k"),
        ("GET", "/v1/sessions?limit=0", None, "limit"),
        ("GET", "/v1/traces?limit=0", None, "limit"),
    ],
)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, method: str, path: str, body: Any, param: str) -> None:
    response = await client.request(method, path, json=body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_request", param)


async def test_sessions_are_listed_read_and_deleted(client: httpx.AsyncClient, workbench: Workbench) -> None:
    await chat(client, "My cat is called Ada.", session="a/b")
    await chat(client, "And my dog Bo.", session="a/b")
    await chat(client, "Hello.", session="later")
    listed = (await client.get("/v1/sessions")).json()["data"]
    assert [(s["id"], s["title"], s["turns"]) for s in listed] == [
        ("later", "Hello.", 1),
        ("a/b", "My cat is called Ada.", 2),
    ]
    turns = (await client.get("/v1/sessions/a/b")).json()["data"]
    assert [(t["number"], t["user"], t["cancelled"]) for t in turns] == [
        (1, "My cat is called Ada.", False),
        (2, "And my dog Bo.", False),
    ]
    assert (await client.delete("/v1/sessions/a/b")).json()["deleted"]
    assert (await client.get("/v1/sessions/a/b")).json()["error"]["code"] == "session_not_found"
    assert workbench.memory.list("local").total == 6, "what was remembered from it stays"


async def test_a_trace_tells_the_whole_story_of_good_and_refused_requests(client: httpx.AsyncClient) -> None:
    reply = await chat(client, "My cat is called Ada.")
    await client.post("/v1/chat/completions", json={"model": "echo", "messages": [{"role": "user", "content": ""}]})
    refused, good = (await client.get("/v1/traces")).json()["data"]
    assert (refused["outcome"], good["outcome"]) == ("empty_message", "ok")
    assert good == (await client.get(f"/v1/traces/{reply['jc1']['trace_id']}")).json()
    assert [span["stage"] for span in good["spans"]] == list(reply["jc1"]["stages"])
    assert "Ada" not in str(good)
    assert len((await client.get("/v1/traces", params={"limit": 1})).json()["data"]) == 1


async def test_models_are_the_model_and_its_presets(client: httpx.AsyncClient, workbench: Workbench) -> None:
    workbench.presets.save(Preset("short"))
    second = workbench.presets.save(Preset("short", decoding={"max_tokens": 2}))
    workbench.presets.set_alias("champion", "short@1")
    models = {model["id"]: model["jc1"]["preset"] for model in (await client.get("/v1/models")).json()["data"]}
    assert models["echo"] == models["echo@default"] == "default@0"
    assert (models["echo@short"], models["echo@champion"]) == (second.reference, "short@1")
    about = (await client.get("/v1/models/echo@short")).json()["jc1"]
    assert (about["engine"], about["context_length"]) == ("echo", workbench.engine.capabilities.context_length)
    assert "temperature" in about["decoding"]
    assert (about["tools"], about["tasks"]) == (True, ["chat", "completion"])
    about = (await client.get("/v1/models/all-MiniLM-L6-v2")).json()["jc1"]
    assert (about["tasks"], about["dimensions"], about["preset"]) == (["embedding"], 384, None)
    assert (await client.get("/v1/models/other")).json()["error"]["code"] == "model_not_found"


async def test_a_key_is_shown_the_models_and_presets_that_it_may_use(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.presets.save(Preset("short"))
    workbench.presets.save(Preset("short", decoding={"max_tokens": 2}))
    workbench.presets.set_alias("champion", "short@1")

    async def shown(**allowed: Any) -> list[str]:
        key = bearer(workbench.keys.create("ann", **allowed).token)
        names = [model["id"] for model in (await client.get("/v1/models", headers=key)).json()["data"]]
        for name in ("echo", "echo@short", "all-MiniLM-L6-v2"):
            status = (await client.get(f"/v1/models/{name}", headers=key)).status_code
            assert status == (200 if name in names else 404)
        return names

    assert {"echo", "echo@default", "echo@champion", "all-MiniLM-L6-v2"} <= set(await shown())
    assert await shown(models=["echo"], presets=["short"]) == ["echo@short"]
    assert await shown(models=["echo"], presets=["short@1", "champion"]) == ["echo@champion", "echo@short@1"]
    assert await shown(models=["all-MiniLM-L6-v2"]) == ["all-MiniLM-L6-v2"]
    assert await shown(models=["echo"], presets=["default"]) == ["echo", "echo@default"]
    assert await shown(models=[]) == []


CODEX_READS = {
    "slug",
    "display_name",
    "supported_reasoning_levels",
    "shell_type",
    "visibility",
    "supported_in_api",
    "priority",
    "base_instructions",
    "supports_reasoning_summaries",
    "support_verbosity",
    "truncation_policy",
    "supports_parallel_tool_calls",
    "experimental_supported_tools",
}
"""Fields without which one version of Codex or another passes over the list."""


async def test_models_are_listed_as_codex_reads_them_too(client: httpx.AsyncClient, workbench: Workbench) -> None:
    workbench.presets.save(Preset("short"))
    listed = (await client.get("/v1/models?client_version=0.163.0")).json()
    chatting = [model["id"] for model in listed["data"] if "chat" in model["jc1"]["tasks"]]
    assert [entry["slug"] for entry in listed["models"]] == chatting == ["echo", *chatting[1:]]
    for place, entry in enumerate(listed["models"]):
        assert {name for name, value in entry.items() if value is not None} >= CODEX_READS
        assert (entry["priority"], entry["context_window"]) == (place, workbench.engine.capabilities.context_length)
        assert entry["model_messages"] == {"instructions_template": entry["base_instructions"]}


async def test_it_is_ready_while_every_part_is_there(
    client: httpx.AsyncClient, workbench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok"}
    fine = await client.get("/health/ready")
    assert (await client.get("/health")).json() == fine.json()
    assert (fine.status_code, fine.json()) == (
        200,
        {"status": "ok", "checks": {"engine": "ok", "database": "ok", "disk": "ok"}},
    )
    await workbench.engine.close()
    workbench.settings.home.rename(workbench.settings.home.with_name("moved"))

    def down(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("The database does not answer: start it.")

    monkeypatch.setattr(workbench.sessions, "list", down)
    response = await client.get("/health/ready")
    checks = response.json()["checks"]
    assert (response.status_code, response.json()["status"]) == (503, "unready")
    assert checks["engine"].endswith("[engine_unavailable]")
    assert checks["database"] == "The database does not answer: start it. [database_unavailable]"
    assert checks["disk"].endswith("[home_unusable]")
    assert (await client.get("/health/live")).status_code == 200

    def broken(*_: object, **__: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(workbench.sessions, "list", broken)
    with caplog.at_level(logging.CRITICAL):
        assert "hunter2" not in (await client.get("/health/ready")).text


async def test_the_version_says_what_runs(client: httpx.AsyncClient) -> None:
    assert (await client.get("/version")).json() == {"version": jc1.__version__, "model": "echo", "engine": "echo"}


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text;version=1.0.0"])
async def test_prometheus_can_read_the_figures(client: httpx.AsyncClient, accept: str) -> None:
    await chat(client, "Hello.")
    response = await client.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"].startswith(accept.split(";")[0].replace("*/*", "text/plain"))
    samples = {
        (sample.name, sample.labels.get("outcome", "")): sample.value
        for family in text_string_to_metric_families(response.text.replace("# EOF\n", ""))
        for sample in family.samples
    }
    assert samples["jc1_requests_total", "ok"] == 1
    assert samples["jc1_requests_in_flight", ""] == 0


async def test_a_reply_from_the_cache_says_so_and_the_figures_count_it(
    client: httpx.AsyncClient, workbench: Workbench, settings: Settings, tmp_path: Path
) -> None:
    cache = LmdbCache(tmp_path / "cache")
    workbench.telemetry = Telemetry(cache=cache)
    workbench.replies = ReplyCache(cache, settings.model_copy(update={"cache_replies": 60}))
    first, second = [await chat(client, "Hello.", memory="off", user="ann") for _ in range(2)]
    other = await chat(client, "Hello.", memory="off", user="bob")
    assert [reply["jc1"]["cached"] for reply in (first, second, other)] == [False, True, False]
    assert (first["choices"], first["usage"]) == (second["choices"], second["usage"])
    trace = (await client.get(f"/v1/traces/{second['jc1']['trace_id']}", params={"user": "ann"})).json()
    assert trace["cached"] is True
    text = (await client.get("/metrics")).text
    assert 'jc1_cache_lookups_total{kind="reply",result="hit"} 1.0' in text
    assert 'jc1_cache_lookups_total{kind="reply",result="miss"} 2.0' in text
    assert 'jc1_cache_breaker{state="closed"} 1.0' in text
    assert "bob" not in text
    cache.close()
