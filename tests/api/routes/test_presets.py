"""Presets over HTTP: what they set, whether they can be served, and that a promotion elsewhere is served soon."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from jc1 import Preset, Workbench
from jc1.database import open_database
from jc1.database.presets import PresetRepository
from jc1.presets import Presets
from jc1_lab.promotion import promote
from jc1_lab.records.trials import TrialSettings
from tests.api.conftest import bearer
from tests.api.test_serve import SECONDS, Serving, serving
from tests.experiments.test_promotion import sweep, trial

SEEN_WITHIN = 5.0
"""Seconds after which a request is served by what an alias means now."""


async def test_presets_are_listed_with_aliases_and_figures(client: httpx.AsyncClient, workbench: Workbench) -> None:
    measured = {"sweep": "warm", "heldout": {"mean": 0.7}, "scores": {"held-1": 0.5}}
    workbench.presets.save(Preset("warm", decoding={"temperature": 0.8}, retrieval={"k": 3}, measured=measured))
    workbench.presets.set_alias("champion", "warm")
    listed = (await client.get("/v1/presets")).json()
    assert [preset["id"] for preset in listed["data"]] == ["default@0", "creative@0", "warm@1"]
    assert listed["aliases"] == {"champion": "warm@1"}
    warm = listed["data"][-1]
    assert warm == {
        "object": "preset",
        "id": "warm@1",
        "name": "warm",
        "version": 1,
        "aliases": ["champion"],
        "description": "",
        "system": Preset("warm").system,
        "decoding": {"temperature": 0.8},
        "retrieval": {"k": 3},
        "ocr": None,
        "engine": {},
        "measured": {"sweep": "warm", "heldout": {"mean": 0.7}},
        "servable": True,
        "missing": {},
        "reason": None,
    }
    for reference in ("warm", "warm@1", "warm@champion", "champion"):
        assert (await client.get(f"/v1/presets/{reference}")).json() == warm


@pytest.mark.parametrize(
    ("path", "status", "code"), [("nobody", 404, "preset_not_found"), ("a%00b", 400, "invalid_request")]
)
async def test_a_reference_that_means_nothing_is_told(
    client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    response = await client.get(f"/v1/presets/{path}")
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_a_preset_that_the_engine_cannot_serve_is_shown_and_refused_alike(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.presets.save(Preset("fast", engine={"speculation": "ngram:4"}))
    workbench.presets.set_alias("champion", "fast")
    shown = (await client.get("/v1/presets/champion")).json()
    assert (shown["servable"], shown["missing"]) == (False, {"speculation": {"needs": "ngram:4", "running": "off"}})
    assert shown["reason"] == (
        "The preset fast@1 needs speculation=ngram:4 (running: off): start JC1 with --speculation ngram:4, or choose "
        "another preset."
    )
    for param, named in (("preset", {"model": "echo", "preset": "champion"}), ("model", {"model": "echo@champion"})):
        body = {"messages": [{"role": "user", "content": "Hello."}], **named}
        response = await client.post("/v1/chat/completions", json=body)
        error = response.json()["error"]
        assert (response.status_code, error["param"], error["message"]) == (400, param, shown["reason"])


async def test_a_winner_measured_on_another_model_is_not_served_and_says_which_it_needs(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    promote(sweep(settings={"model": "organisation/name"}), 2, workbench.presets)
    shown = (await client.get("/v1/presets/champion")).json()
    assert (shown["servable"], shown["missing"]) == (
        False,
        {"model": {"needs": "organisation/name", "running": "echo"}},
    )
    assert shown["reason"] == (
        "The preset warm@1 needs model=organisation/name (running: echo): start JC1 with --model organisation/name, or "
        "choose another preset."
    )
    body = {"model": "echo@champion", "messages": [{"role": "user", "content": "Hello."}]}
    assert (await client.post("/v1/chat/completions", json=body)).json()["error"]["message"] == shown["reason"]


async def test_a_preset_whose_decoding_the_engine_cannot_honour_is_not_servable(
    client: httpx.AsyncClient, workbench: Workbench
) -> None:
    workbench.presets.save(Preset("keen", decoding={"temperature": 0.8, "min_p": 0.1}))
    capabilities = workbench.engine.capabilities
    workbench.engine._capabilities = replace(capabilities, decoding=capabilities.decoding - {"min_p"})
    shown = (await client.get("/v1/presets/keen")).json()
    assert (shown["servable"], shown["missing"]) == (False, {})
    assert "cannot honour 'min_p'" in shown["reason"]


def chat(server: Serving, **fields: Any) -> httpx.Response:
    body = {"model": "echo", "memory": "off", "messages": [{"role": "user", "content": "Hello there."}], **fields}
    return server.http.post("/v1/chat/completions", json=body)


def served_by(server: Serving, reference: str) -> httpx.Response:
    """The first reply by what the alias means now; a request that is sent too late to be another fails the test."""
    changed = time.monotonic()
    while True:
        sent = time.monotonic()
        response = chat(server, preset="champion")
        if reference in response.text:  # a reply says which preset it is by, a refusal which one is refused
            return response
        assert sent - changed < SEEN_WITHIN, response.text


@pytest.mark.timeout(4 * SECONDS)
def test_a_promotion_by_another_process_is_served_and_taken_back_without_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def presets() -> Presets:
        """What this process sees, which is not the server's."""
        return Presets(PresetRepository(open_database(f"sqlite:///{home / 'jc1.db'}")))

    def promoted(name: str, over: dict[str, Any], **settings: Any) -> str:
        """Promote the winner of a sweep, which has these settings and is better than a baseline that decodes with
        `over`."""
        winner = trial(2).model_copy(update={"settings": TrialSettings(**settings)})
        return promote(sweep(name, trials=[trial(0, over), winner]), 2, presets()).preset.reference

    def rolled_back() -> str | None:
        preset = presets().rollback("champion")
        return preset and preset.reference

    with serving(home) as server:
        missing = chat(server, preset="champion")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "preset_not_found")

        assert promoted("short", {}, decoding={"max_tokens": 5}) == "short@1"
        assert served_by(server, "short@1").json()["choices"][0]["message"]["content"] == "Hello"
        named = chat(server, model="echo@champion").json()
        assert (named["jc1"]["preset"], named["choices"][0]["message"]["content"]) == ("short@1", "Hello")
        assert "echo@champion" in [model["id"] for model in server.http.get("/v1/models").json()["data"]]

        assert promoted("shorter", {"max_tokens": 5}, decoding={"max_tokens": 2}) == "shorter@1"
        assert served_by(server, "shorter@1").json()["choices"][0]["message"]["content"] == "He"

        assert promoted("fast", {"max_tokens": 2}, engine={"speculation": "ngram:4"}) == "fast@1"
        refused = served_by(server, "fast@1")
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == (
            "The preset fast@1 needs speculation=ngram:4 (running: off): start JC1 with --speculation ngram:4, or "
            "choose another preset."
        )
        shown = server.http.get("/v1/presets/champion").json()
        assert (shown["id"], shown["servable"]) == ("fast@1", False)

        assert rolled_back() == "shorter@1"
        assert served_by(server, "shorter@1").status_code == 200
        assert rolled_back() == "short@1"
        assert served_by(server, "short@1").status_code == 200


async def test_a_key_sees_the_presets_that_it_may_use_alone(client: httpx.AsyncClient, workbench: Workbench) -> None:
    for temperature in (0.7, 0.8):
        workbench.presets.save(Preset("warm", decoding={"temperature": temperature}))
    workbench.presets.set_alias("champion", "warm@1")
    workbench.presets.set_alias("secret", "warm@1")

    async def seen(*presets: str) -> tuple[list[str], dict[str, str], dict[str, int]]:
        key = bearer(workbench.keys.create("ann", presets=presets or None).token)
        listed = (await client.get("/v1/presets", headers=key)).json()
        names = ("default", "warm", "warm@1", "champion", "nobody")
        asked = {name: (await client.get(f"/v1/presets/{name}", headers=key)).status_code for name in names}
        return [preset["id"] for preset in listed["data"]], listed["aliases"], asked

    refused = dict.fromkeys(("default", "warm", "warm@1", "champion", "nobody"), 403)
    assert await seen("champion") == (["warm@1"], {"champion": "warm@1"}, {**refused, "champion": 200})
    assert await seen("warm") == (["warm@1", "warm@2"], {}, {**refused, "warm": 200, "warm@1": 200})
    assert await seen("warm@2") == (["warm@2"], {}, refused)
    everything = ["default@0", "creative@0", "warm@1", "warm@2"]
    aliases = {"champion": "warm@1", "secret": "warm@1"}
    assert await seen() == (everything, aliases, {**dict.fromkeys(refused, 200), "nobody": 404})
    key = bearer(workbench.keys.create("ann", presets=["champion"]).token)
    assert (await client.get("/v1/presets/champion", headers=key)).json()["aliases"] == ["champion"]
