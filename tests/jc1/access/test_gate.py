"""The gate's decision: everybody here without keys, and nobody without one where there are any."""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jc1.access.browser import Caller
from jc1.access.gate import NOBODY, Access
from jc1.access.keys import Keys
from jc1.access.principal import ADMIN
from jc1.access.sign_in import SignIns
from jc1.database.keys import KeyRepository
from jc1.errors import HostRefused, OriginRefused, Refused, Unauthenticated
from tests.support.database import new_database

HERE = "127.0.0.1"


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    database = new_database(tmp_path / "jc1.db")
    made = Keys(KeyRepository(database))
    yield made
    made.close()
    database.dispose()


@pytest.fixture
def sign_ins(keys: Keys) -> SignIns:
    return SignIns(keys, hours=12)


@pytest.fixture
def access(keys: Keys, sign_ins: SignIns) -> Access:
    return Access("local", keys, sign_ins)


def caller(**said: str | None) -> Caller:
    given: dict[str, str | None] = {"peer": HERE, "host": "localhost:8000", **said}
    return Caller(given.pop("method", None) or "POST", **given)


async def test_without_keys_everybody_here_may_do_everything_and_nobody_else_is_let_in(access: Access) -> None:
    who = await access.admit(caller())
    assert (who.owner, who.key, who.may(ADMIN)) == ("local", None, True)
    assert await access.admit(caller(authorization="Bearer none", api_key="other")) == who
    for open_to_all in (False, True):
        with pytest.raises(Refused):
            await access.admit(caller(peer="10.0.0.7"), open_to_all=open_to_all)
        with pytest.raises(HostRefused):
            await access.admit(caller(host="evil.example"), open_to_all=open_to_all)


async def test_with_keys_nobody_here_is_let_in_without_one(access: Access, keys: Keys) -> None:
    issued = keys.create("ann")
    with pytest.raises(Unauthenticated, match="Authorization: Bearer KEY"):
        await access.admit(caller())
    keys.revoke(issued.key.id)
    with pytest.raises(Unauthenticated):
        await access.admit(caller())
    assert await access.admit(caller(peer="10.0.0.7", host="10.0.0.1"), open_to_all=True) == NOBODY


@pytest.mark.parametrize("peer", [HERE, "10.0.0.7", None])
@pytest.mark.parametrize("host", ["chat.example", "localhost:8000", None])
async def test_a_key_in_a_header_is_answered_under_any_name_and_for_any_page(
    access: Access, keys: Keys, host: str | None, peer: str | None
) -> None:
    token = keys.create("ann", scopes={"chat"}).token
    shown = [{"authorization": f"Bearer {token}"}, {"authorization": f"bearer  {token}"}, {"api_key": token}]
    for header in [*shown, shown[0] | shown[2], shown[2] | {"authorization": "Basic YTpi"}]:
        who = await access.admit(caller(host=host, peer=peer, origin="https://chat.example", **header))
        assert (who.owner, who.scopes) == ("ann", {"chat"})


@pytest.mark.parametrize("open_to_all", [False, True])
async def test_an_open_address_does_not_look_at_a_key(access: Access, keys: Keys, open_to_all: bool) -> None:
    keys.create("ann")
    for shown in ({"authorization": "Bearer none"}, {"api_key": "none"}, {"session": "none"}):
        if open_to_all:
            assert await access.admit(caller(**shown), open_to_all=True) == NOBODY
        else:
            with pytest.raises(Unauthenticated):
                await access.admit(caller(**shown))


async def test_two_keys_that_differ_or_one_that_was_sent_twice_are_none(access: Access, keys: Keys) -> None:
    ann, bob = keys.create("ann").token, keys.create("bob").token
    for shown in (
        {"authorization": f"Bearer {ann}", "api_key": bob},
        {"authorization": f"Bearer {ann}", "api_key": ""},
        {"authorization": "", "api_key": ann},  # as a header that was sent twice arrives
        {"authorization": ""},
        {"api_key": ""},
    ):
        with pytest.raises(Unauthenticated):
            await access.admit(caller(**shown))


async def test_a_sign_in_counts_for_requests_of_own_pages_alone(access: Access, keys: Keys, sign_ins: SignIns) -> None:
    _, session = await sign_ins.begin(keys.create("ann").token)
    for said in (
        {"host": "chat.example", "origin": "https://chat.example"},
        {"host": "10.0.0.1:8000", "origin": "http://10.0.0.1:8000", "peer": "10.0.0.7"},
        {"host": "chat.example"},
        {"method": "GET", "fetch_site": "cross-site", "fetch_mode": "navigate"},
    ):
        assert (await access.admit(caller(session=session, **said))).owner == "ann"
    for said in (
        {"host": "chat.example", "origin": "https://evil.example"},
        {"host": "chat.example:8443", "origin": "https://chat.example"},
        {"host": None, "origin": "https://chat.example"},
        {"origin": "null"},
        {"fetch_site": "cross-site", "fetch_mode": "cors"},
        {"fetch_site": "same-site", "method": "GET"},
    ):
        with pytest.raises(OriginRefused):
            await access.admit(caller(session=session, **said))


async def test_a_page_elsewhere_may_not_send_a_sign_in_form(access: Access, keys: Keys) -> None:
    keys.create("ann")
    with pytest.raises(OriginRefused):
        await access.admit(caller(origin="https://evil.example"), open_to_all=True)


async def test_a_key_in_a_header_goes_before_a_sign_in(access: Access, keys: Keys, sign_ins: SignIns) -> None:
    _, session = await sign_ins.begin(keys.create("ann").token)
    who = await access.admit(caller(session=session, api_key=keys.create("bob").token))
    assert who.owner == "bob"
    with pytest.raises(Unauthenticated):
        await access.admit(caller(session=session, api_key="none"))


async def test_a_sign_in_ends_with_its_key(access: Access, keys: Keys, sign_ins: SignIns) -> None:
    issued = keys.create("ann")
    key, session = await sign_ins.begin(issued.token)
    assert key == issued.key
    keys.revoke(key.id)
    with pytest.raises(Unauthenticated):
        await access.admit(caller(session=session))
    with pytest.raises(Unauthenticated):
        await sign_ins.begin(issued.token)


async def test_a_sign_in_ends_with_the_secret_that_it_began_with(keys: Keys, sign_ins: SignIns) -> None:
    issued = keys.create("ann")
    _, session = await sign_ins.begin(issued.token)
    rotated = keys.rotate(issued.key.id, grace=timedelta(hours=1))
    assert (await sign_ins.resume(session)).id == issued.key.id
    keys.rotate(issued.key.id)
    with pytest.raises(Unauthenticated):
        await sign_ins.resume(session)
    with pytest.raises(Unauthenticated):
        await sign_ins.begin(rotated.token)


async def test_a_sign_in_ends_with_its_time(keys: Keys, sign_ins: SignIns, monkeypatch: pytest.MonkeyPatch) -> None:
    _, session = await sign_ins.begin(keys.create("ann").token)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 12 * 3600 - 1)
    await sign_ins.resume(session)
    monkeypatch.setattr(time, "time", lambda: now + 12 * 3600 + 2)
    with pytest.raises(Unauthenticated):
        await sign_ins.resume(session)


async def test_a_sign_in_is_a_use_of_its_key(keys: Keys, sign_ins: SignIns) -> None:
    issued = keys.create("ann")
    _, session = await sign_ins.begin(issued.token)
    later = keys.clock() + timedelta(hours=1)
    keys.clock = lambda: later
    await sign_ins.resume(session)
    keys.close()
    assert keys.get(issued.key.id).last_used == later


async def test_a_sign_in_is_signed_with_256_bits(keys: Keys, sign_ins: SignIns) -> None:
    _, session = await sign_ins.begin(keys.create("ann").token)
    assert len(urlsafe_b64decode(session.rpartition(".")[2] + "=")) == 32


async def test_every_process_takes_a_sign_in_and_none_that_another_secret_signed(
    keys: Keys, sign_ins: SignIns, tmp_path: Path
) -> None:
    issued = keys.create("ann")
    _, session = await sign_ins.begin(issued.token)
    assert (await SignIns(keys, hours=1).resume(session)).id == issued.key.id
    key_id, moment, signature = session.split(".")
    other = keys.create("bob").key.id
    forged = (f"{other}.{moment}.{signature}", f"{key_id}.{moment}.{signature[::-1]}", f"{key_id}.{moment}", key_id, "")
    for session in forged:
        with pytest.raises(Unauthenticated):
            await sign_ins.resume(session)
