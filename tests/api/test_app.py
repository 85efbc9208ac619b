"""The application's life: it starts and ends with its workbench, and gives everything back when it cannot start."""

from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from jc1 import Settings, Workbench
from jc1.access.keys import Keys
from jc1.database.keys import KeyRepository
from jc1.engines.echo import EchoEngine
from jc1.errors import EngineUnavailable, InvalidSettings
from jc1_api.app import create_app
from jc1_api.main import serve
from jc1_api.server import config


class Unstartable(EchoEngine):
    """Cannot be started, and knows whether it was closed."""

    closed = False

    async def start(self) -> None:
        raise EngineUnavailable("The weights are not there: download them.")

    async def close(self) -> None:
        self.closed = True


async def test_an_engine_that_cannot_start_is_the_callers_to_tell_and_the_stores_are_closed(
    workbench: Workbench,
) -> None:
    workbench.engine = engine = Unstartable()
    app = create_app(workbench)
    with pytest.raises(EngineUnavailable, match="download them"):
        await app.router.lifespan_context(app).__aenter__()
    assert engine.closed


async def test_the_workbench_lives_as_long_as_the_app(workbench: Workbench) -> None:
    app = create_app(workbench)
    async with app.router.lifespan_context(app):
        assert workbench.engine.healthy
    assert not workbench.engine.healthy


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "status"),
    [
        ("", "127.0.0.1", None, 200),
        ("", "127.0.0.1", "203.0.113.9", 200),
        ("", "203.0.113.9", "127.0.0.1", 403),
        ("10.0.0.0/8, ::1", "203.0.113.9", "127.0.0.1", 403),
        ("10.0.0.0/8, ::1", "10.0.0.7", "127.0.0.1", 200),
        ("10.0.0.0/8, ::1", "::1", "127.0.0.1, 203.0.113.9", 403),
        ("10.0.0.0/8, ::1", "10.0.0.7", "127.0.0.1, 203.0.113.9, 10.0.0.8", 403),
    ],
)
async def test_only_a_trusted_proxy_says_who_asks_through_it(
    workbench: Workbench, proxies: str, peer: str, forwarded: str | None, status: int
) -> None:
    settings = Settings(trusted_proxies=proxies)
    served = config(create_app(workbench), settings)
    served.load()
    transport = httpx.ASGITransport(served.loaded_app, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
        assert (await client.get("/version", headers=headers)).status_code == status


def test_other_machines_are_let_in_once_there_is_a_key_that_is_good(home: Path, database: Engine) -> None:
    keys = Keys(KeyRepository(database))
    settings = Settings(home=home, engine="echo", host="box.invalid")
    with pytest.raises(InvalidSettings, match="jc1 keys create"):
        serve(settings)
    key_id = keys.create("ann").key.id
    with pytest.raises(InvalidSettings, match="cannot be listened on"):
        serve(settings)  # now only the address is wrong
    keys.revoke(key_id)
    with pytest.raises(InvalidSettings, match="jc1 keys create"):
        serve(settings)
