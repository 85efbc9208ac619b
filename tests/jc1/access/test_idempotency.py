"""A write that is sent again is done once: the same request, the same owner, for a day."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from jc1.access.idempotency import Idempotency
from jc1.database.connection import reading
from jc1.database.idempotency import IdempotencyRepository
from jc1.database.tables import idempotency as table
from jc1.errors import Conflict, IdempotencyKeyReused, NotFound, Unavailable
from tests.support.database import new_database


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Engine:
    return new_database(tmp_path / "jc1.db")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def idempotency(database: Engine, clock: Clock) -> Idempotency:
    return Idempotency(IdempotencyRepository(database), lambda: b"secret", clock=clock)


class Maker:
    """Makes one thing after the other."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        return f"thing {self.made}"


@pytest.fixture
def make() -> Maker:
    return Maker()


def send(
    to: Idempotency, make: Callable[[], str], owner: str = "ann", key: str = "k", request: bytes = b"a walrus"
) -> str:
    return to.once(owner, key, request, make, id_of=str, again=lambda made: f"again {made}")


def test_the_same_request_is_done_once(idempotency: Idempotency, make: Maker) -> None:
    assert [send(idempotency, make) for _ in range(3)] == ["thing 1", "again thing 1", "again thing 1"]
    assert make.made == 1


def test_another_key_or_owner_is_another_request(idempotency: Idempotency, make: Maker) -> None:
    assert send(idempotency, make) == "thing 1"
    assert send(idempotency, make, key="other") == "thing 2"
    assert send(idempotency, make, owner="bob") == "thing 3"
    assert send(idempotency, make, owner="bob", key="other", request=b"a seal") == "thing 4"


def test_a_key_that_comes_with_another_request_is_refused(idempotency: Idempotency, make: Maker) -> None:
    send(idempotency, make)
    with pytest.raises(IdempotencyKeyReused):
        send(idempotency, make, request=b"a seal")
    assert make.made == 1


def test_a_request_that_failed_leaves_its_key_free(idempotency: Idempotency, make: Maker) -> None:
    def fail() -> str:
        raise NotFound("Nothing there.")

    with pytest.raises(NotFound):
        send(idempotency, fail)
    assert send(idempotency, make, request=b"a seal") == "thing 1"


def test_of_two_at_the_same_time_one_is_done(idempotency: Idempotency, make: Maker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> str:
        begun.set()
        assert go_on.wait(60)
        return make()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, idempotency, slowly)
        assert begun.wait(60)
        with pytest.raises(Conflict, match="under way") as conflict:
            send(idempotency, make)
        assert conflict.value.param == "Idempotency-Key"
        go_on.set()
        assert first.result(60) == "thing 1"
    assert send(idempotency, make) == "again thing 1"


def test_a_request_whose_process_died_may_be_sent_again(
    idempotency: Idempotency, database: Engine, clock: Clock, make: Maker
) -> None:
    class Died(BaseException):
        pass

    class Dying(IdempotencyRepository):
        def give_up(self, owner: str, key: str) -> None:
            """Leave the row, as a process does that is killed."""

    def die() -> str:
        raise Died

    with pytest.raises(Died):
        send(Idempotency(Dying(database), lambda: b"secret", clock=clock), die)
    with pytest.raises(Conflict):
        send(idempotency, make)
    clock.now += timedelta(minutes=2)
    with pytest.raises(Conflict):
        send(idempotency, make)
    clock.now += timedelta(seconds=1)
    assert send(idempotency, make) == "thing 1"


def test_a_key_holds_for_a_day(idempotency: Idempotency, database: Engine, clock: Clock, make: Maker) -> None:
    send(idempotency, make)
    clock.now += timedelta(hours=24)
    assert send(idempotency, make) == "again thing 1"
    clock.now += timedelta(seconds=1)
    assert send(idempotency, make, request=b"a seal") == "thing 2"
    with reading(database) as connection:
        assert len(connection.execute(select(table)).all()) == 1


def test_neither_key_nor_request_is_stored(idempotency: Idempotency, database: Engine, make: Maker) -> None:
    send(idempotency, make, key="a name of mine")
    database.dispose()
    stored = Path(str(database.url.database)).read_bytes()
    assert b"walrus" not in stored
    assert b"a name of mine" not in stored


def test_without_a_database_a_key_is_refused(make: Maker) -> None:
    with pytest.raises(Unavailable) as refused:
        send(Idempotency(), make)
    assert refused.value.param == "Idempotency-Key"
    assert make.made == 0
