"""`/v1/keys`: keys over HTTP, for whoever has the scope admin."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from jc1 import Workbench
from jc1.access.principal import ADMIN, SCOPES, USUAL_SCOPES
from tests.api.conftest import bearer


@pytest.fixture
def admin(workbench: Workbench) -> dict[str, str]:
    return bearer(workbench.keys.create("root", scopes={ADMIN}).token)


async def test_the_first_key_closes_the_server_that_made_it(client: httpx.AsyncClient) -> None:
    made = await client.post("/v1/keys", json={"owner": "root", "scopes": ["admin"]})
    assert made.status_code == 201
    assert (await client.get("/v1/keys")).status_code == 401
    listed = await client.get("/v1/keys", headers=bearer(made.json()["key"]))
    assert [key["id"] for key in listed.json()["data"]] == [made.json()["id"]]


async def test_a_key_is_made_shown_once_rotated_and_revoked(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    wanted = {
        "owner": "ann",
        "name": "laptop",
        "scopes": ["memory:read", "chat"],
        "limits": {"concurrent": 2},
        "models": ["echo"],
        "expires_in": 3600,
    }
    response = await client.post("/v1/keys", json=wanted, headers=admin)
    assert response.headers["cache-control"] == "no-store"
    made = response.json()
    token = made.pop("key")
    shown = {name: made[name] for name in ("owner", "name", "limits", "models", "presets", "state", "scopes")}
    same = {name: wanted[name] for name in ("owner", "name", "limits", "models")}
    assert shown == {**same, "presets": None, "state": "valid", "scopes": ["chat", "memory:read"]}
    path = f"/v1/keys/{made['id']}"
    assert (await client.get(path, headers=admin)).json() == made
    assert (await client.get("/v1/models", headers=bearer(token))).status_code == 200
    assert (await client.get(path, headers=bearer(token))).status_code == 403

    rotated = (await client.post(f"{path}/rotate", json={"grace": 60}, headers=admin)).json()
    assert rotated["grace"] is not None
    for good in (token, rotated["key"]):
        assert (await client.get("/v1/models", headers=bearer(good))).status_code == 200

    revoked = (await client.delete(path, headers=admin)).json()
    assert (revoked["state"], revoked["id"]) == ("revoked", made["id"])
    for ended in (token, rotated["key"]):
        assert (await client.get("/v1/models", headers=bearer(ended))).status_code == 401
    again = await client.post(f"{path}/rotate", json={}, headers=admin)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


async def test_a_key_has_the_usual_scopes_unless_it_says(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    made = (await client.post("/v1/keys", json={"owner": "ann"}, headers=admin)).json()
    assert set(made["scopes"]) == USUAL_SCOPES


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "owner"),
        ({"owner": "a\nb"}, "owner"),
        ({"owner": "ann", "scopes": ["root"]}, "scopes"),
        ({"owner": "ann", "limits": {"concurrent": 0}}, "limits.concurrent"),
        ({"owner": "ann", "limits": {"a_day": 1}}, "limits.a_day"),
        ({"owner": "ann", "expires_in": 0}, "expires_in"),
        ({"owner": "ann", "name": "a\x1b"}, "name"),
    ],
)
async def test_what_no_key_can_have_is_refused_by_name(
    client: httpx.AsyncClient, admin: dict[str, str], body: dict[str, Any], param: str
) -> None:
    response = await client.post("/v1/keys", json=body, headers=admin)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_an_unknown_key_is_told(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/rotate")):
        body = {"json": {}} if method == "POST" else {}
        response = await client.request(method, f"/v1/keys/none{path}", headers=admin, **body)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "key_not_found")


async def test_no_other_scope_makes_keys(client: httpx.AsyncClient, workbench: Workbench) -> None:
    others = bearer(workbench.keys.create("ann", scopes=SCOPES.keys() - {ADMIN}).token)
    assert (await client.post("/v1/keys", json={"owner": "ann"}, headers=others)).status_code == 403
