"""A browser signs in with a key, and has a cookie until it signs out, the key ends or the time is over."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookies import SimpleCookie

import pytest
from fastapi.testclient import TestClient

from jc1 import Workbench
from jc1_api.app import create_app

HOST = "http://chat.example"
PAGE = {"accept": "text/html,*/*", "origin": HOST}


@pytest.fixture
def client(workbench: Workbench) -> Iterator[TestClient]:
    with TestClient(create_app(workbench), HOST, client=("10.0.0.7", 1), follow_redirects=False) as made:
        yield made


@pytest.fixture
def token(workbench: Workbench) -> str:
    return workbench.keys.create("ann").token


def test_a_key_becomes_a_cookie_that_scripts_do_not_see(client: TestClient, token: str) -> None:
    assert 'name="key"' in client.get("/sign-in").text
    done = client.post("/sign-in", data={"key": f" {token}\n"}, headers=PAGE)
    assert (done.status_code, done.headers["location"]) == (303, "/")
    (cookie,) = SimpleCookie(done.headers["set-cookie"]).values()
    assert (cookie.key, cookie["httponly"], cookie["samesite"], cookie["path"]) == ("jc1_session", True, "lax", "/")
    assert (cookie["secure"], cookie["max-age"]) == ("", str(12 * 3600))
    assert token.rpartition("_")[2] not in cookie.value
    assert client.get("/v1/models").status_code == 200


def test_behind_https_the_cookie_stays_there(workbench: Workbench, token: str) -> None:
    app = create_app(workbench)
    with TestClient(app, "https://chat.example", follow_redirects=False) as client:
        done = client.post("/sign-in", data={"key": token})
    (cookie,) = SimpleCookie(done.headers["set-cookie"]).values()
    assert cookie["secure"] is True


def test_a_cookie_does_nothing_for_a_page_elsewhere(client: TestClient, token: str) -> None:
    client.post("/sign-in", data={"key": token}, headers=PAGE)
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}):
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/memory"), ("POST", "/sign-out")):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused")
    elsewhere = client.post("/sign-in", data={"key": token}, headers={"origin": "http://evil.example"})
    assert elsewhere.status_code == 403


@pytest.mark.parametrize("wrong", ["no such key", "<script>alert(1)</script>", "jc1_000000000000_" + "x" * 43])
def test_a_wrong_key_is_told_on_the_page_and_not_repeated(client: TestClient, token: str, wrong: str) -> None:
    answer = client.post("/sign-in", data={"key": wrong}, headers=PAGE)
    assert answer.status_code == 401
    assert "unknown, expired or revoked" in answer.text
    assert wrong not in answer.text
    assert "set-cookie" not in answer.headers
    assert "form-action 'self'" in answer.headers["content-security-policy"]


def test_a_key_that_may_not_chat_does_not_sign_in(client: TestClient, workbench: Workbench) -> None:
    answer = client.post("/sign-in", data={"key": workbench.keys.create("ann", scopes={"metrics"}).token})
    assert answer.status_code == 403
    assert "scope &#x27;chat&#x27;" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_revoked_key_is_signed_out(client: TestClient, workbench: Workbench, token: str) -> None:
    client.post("/sign-in", data={"key": token}, headers=PAGE)
    assert client.get("/v1/models").status_code == 200
    for key in workbench.keys.list():
        workbench.keys.revoke(key.id)
    assert client.get("/v1/models").status_code == 401


def test_signing_out_takes_the_cookie_back(client: TestClient, token: str) -> None:
    client.post("/sign-in", data={"key": token}, headers=PAGE)
    assert client.post("/sign-out", headers=PAGE).status_code == 204
    assert not client.cookies
    assert client.get("/v1/models").status_code == 401


def test_who_opens_the_page_is_led_to_the_sign_in_and_a_program_gets_an_error(client: TestClient, token: str) -> None:
    for path in ("/", "/ui", "/ui/"):
        for headers in ({"accept": "text/html"}, {"sec-fetch-mode": "navigate"}):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
        assert client.get(path).status_code == 401
    assert client.get("/v1/models", headers={"accept": "text/html"}).status_code == 401


def test_without_keys_nobody_has_to_sign_in(workbench: Workbench) -> None:
    app = create_app(workbench)
    with TestClient(app, "http://localhost", client=("127.0.0.1", 1), follow_redirects=False) as client:
        answer = client.get("/sign-in")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
