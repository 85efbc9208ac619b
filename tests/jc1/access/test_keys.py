"""Keys: shown once, told from others, rotated with grace, revoked here at once and elsewhere within seconds."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from jc1.access.keys import Keys, digest_of
from jc1.access.principal import ADMIN, USUAL_SCOPES, Limits
from jc1.database.keys import KeyRepository
from jc1.errors import Conflict, DatabaseUnavailable, InvalidRequest, Unauthenticated, UnknownKey
from tests.support.database import new_database

SECOND = timedelta(seconds=1)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = new_database(tmp_path / "jc1.db")
    yield engine
    engine.dispose()


@pytest.fixture
def another(database: Engine, clock: Clock) -> Iterator[Callable[[], Keys]]:
    """Yield what opens the keys as another process does."""
    opened: list[Keys] = []

    def open_keys() -> Keys:
        opened.append(Keys(KeyRepository(database), clock=clock))
        return opened[-1]

    yield open_keys
    for keys in opened:
        keys.close()


@pytest.fixture
def keys(another: Callable[[], Keys]) -> Keys:
    return another()


@pytest.fixture
def selects(database: Engine) -> list[str]:
    """Return what the database is asked from now on."""
    statements: list[str] = []

    def note(*its: Any) -> None:
        if its[2].startswith("SELECT"):
            statements.append(its[2])

    event.listen(database, "before_cursor_execute", note)
    return statements


async def test_a_key_opens_what_it_was_made_for(keys: Keys) -> None:
    issued = keys.create("ann", name="laptop", scopes={"chat"}, limits=Limits(concurrent=2), models={"m"})
    key = await keys.authenticate(issued.token)
    assert key == issued.key
    who = key.principal()
    assert (who.owner, who.scopes, who.key) == ("ann", frozenset({"chat"}), key.id)
    assert (who.limits, who.models, who.presets) == (Limits(concurrent=2), frozenset({"m"}), None)


async def test_lists_of_what_a_key_may_use_hold_also_where_they_are_empty(keys: Keys) -> None:
    for listed in ({"terse", "short"}, ()):
        who = (await keys.authenticate(keys.create("ann", models=listed, presets=listed).token)).principal()
        assert who.models == who.presets == frozenset(listed)
        assert not who.may_ask("other")
        assert not who.may_use("other")


def test_a_key_that_is_made_without_saying_acts_for_its_owner_alone(keys: Keys) -> None:
    who = keys.create("ann").key.principal()
    assert who.scopes == USUAL_SCOPES
    assert not who.may(ADMIN)


def test_a_token_holds_an_id_to_show_and_256_random_bits(keys: Keys) -> None:
    tokens = {keys.create("ann").token for _ in range(20)}
    assert len(tokens) == 20
    for token in tokens:
        assert re.fullmatch(r"jc1_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)


def test_nothing_that_is_kept_or_printed_holds_the_secret(
    keys: Keys, database: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        issued = keys.create("ann")
        again = keys.rotate(issued.key.id, grace=timedelta(hours=1))
    database.dispose()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    for token in (issued.token, again.token):
        secret = token.rpartition(issued.key.id)[2].strip("_")
        assert secret.encode() not in stored
        assert secret not in caplog.text
        for it in (issued, again, again.key, again.key.to_dict(), keys.list()):
            assert secret not in f"{it!r}{it}"
    for digest in (again.key.digest, again.key.earlier):
        assert str(digest) not in f"{again}{again.key.to_dict()}"
    assert again.key.to_dict()["id"] == issued.key.id


@pytest.mark.parametrize(
    "wrong",
    [
        lambda token: "",
        lambda token: "none",
        lambda token: token[:-1],
        lambda token: f"{token} ",
        lambda token: f"{token}\n",
        lambda token: f"{token[:-1]}{'A' if token[-1] != 'A' else 'B'}",
        lambda token: f"jc1_{'0' * 12}{token[16:]}",
        lambda token: token.upper(),
        lambda token: token.replace("jc1_", "jc1_\ud800"),
    ],
)
async def test_whatever_is_wrong_with_a_key_gets_one_answer(keys: Keys, wrong: Callable[[str], str]) -> None:
    token = keys.create("ann").token
    with pytest.raises(Unauthenticated) as error:
        await keys.authenticate(wrong(token))
    assert error.value.message == "This key is unknown, expired or revoked: ask for a new one."
    assert error.value.headers == {"WWW-Authenticate": "Bearer"}


def test_stored_is_the_sha_256_of_the_secret(keys: Keys) -> None:
    issued = keys.create("ann")
    secret = issued.token.removeprefix(f"jc1_{issued.key.id}_")
    assert issued.key.digest == hashlib.sha256(secret.encode()).digest()


def test_a_text_that_only_begins_with_a_token_has_another_digest(keys: Keys) -> None:
    token = keys.create("ann").token
    assert len({digest_of(text) for text in (token, f"{token}x", f"x{token}", f"{token}\n")}) == 4


async def test_the_secret_of_one_key_does_not_open_another(keys: Keys) -> None:
    first, second = keys.create("ann"), keys.create("bob")
    with pytest.raises(Unauthenticated):
        await keys.authenticate(first.token.replace(first.key.id, second.key.id))


async def test_a_key_ends_when_it_expires(keys: Keys, clock: Clock) -> None:
    issued = keys.create("ann", expires=clock.now + 3 * SECOND)
    clock.move(2 * SECOND)
    assert (await keys.authenticate(issued.token)).state(clock.now) == "valid"
    clock.move(SECOND)
    with pytest.raises(Unauthenticated):
        await keys.authenticate(issued.token)
    assert keys.get(issued.key.id).state(clock.now) == "expired"


async def test_a_revoked_key_ends_here_at_once_and_in_other_processes_within_seconds(
    keys: Keys, another: Callable[[], Keys], clock: Clock
) -> None:
    elsewhere, token = another(), keys.create("ann").token
    key = await keys.authenticate(token)
    await elsewhere.authenticate(token)
    assert keys.revoke(key.id).state(clock.now) == "revoked"
    with pytest.raises(Unauthenticated):
        await keys.authenticate(token)
    clock.move(4 * SECOND)
    await elsewhere.authenticate(token)
    clock.move(SECOND)
    with pytest.raises(Unauthenticated):
        await elsewhere.authenticate(token)


async def test_what_was_read_before_a_key_was_revoked_here_is_not_kept(
    keys: Keys, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = keys.create("ann")
    read = KeyRepository.get

    def revoked_meanwhile(rows: KeyRepository, key_id: str) -> dict[str, Any] | None:
        row = read(rows, key_id)
        monkeypatch.undo()
        keys.revoke(key_id)
        return row

    monkeypatch.setattr(KeyRepository, "get", revoked_meanwhile)
    await keys.authenticate(issued.token)  # it had begun before
    with pytest.raises(Unauthenticated):
        await keys.authenticate(issued.token)


async def test_the_database_is_not_asked_for_every_request(keys: Keys, selects: list[str], clock: Clock) -> None:
    token = keys.create("ann").token
    unknown = token.replace("jc1_", "jc1_0", 1)[:16] + token[16:]
    selects.clear()
    for _ in range(3):
        await keys.authenticate(token)
        with pytest.raises(Unauthenticated):
            await keys.authenticate(unknown)
    assert len(selects) == 2
    clock.move(5 * SECOND)
    await keys.authenticate(token)
    assert len(selects) == 3


async def test_what_cannot_be_an_id_is_not_looked_up(keys: Keys, selects: list[str]) -> None:
    for wrong in ("", "0" * 11, "0" * 13, "0" * 12 + "\n", "g" * 12, "A" * 12):
        assert await keys.find(wrong) is None
    assert selects == []


async def test_whether_there_are_keys_is_not_asked_for_every_request(
    keys: Keys, selects: list[str], clock: Clock
) -> None:
    for seconds, asked in ((0, 1), (4, 1), (1, 2), (4, 2)):
        clock.move(seconds * SECOND)
        assert not await keys.exist()
        assert len(selects) == asked


async def test_ids_that_are_none_are_kept_in_mind_up_to_a_bound(
    keys: Keys, selects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.access.keys.MOST_RECENT", 2)
    ids = [f"{n:012x}" for n in range(3)]
    for key_id in ids:
        await keys.find(key_id)
    for key_id, asked in ((ids[2], 3), (ids[1], 3), (ids[0], 4)):  # the last two are remembered
        await keys.find(key_id)
        assert len(selects) == asked


async def test_a_clock_that_is_set_back_keeps_no_key_alive(keys: Keys, clock: Clock) -> None:
    issued = keys.create("ann")
    await keys.authenticate(issued.token)
    KeyRepository(keys._rows._database).revoke(issued.key.id, clock.now)
    clock.move(-timedelta(hours=1))
    with pytest.raises(Unauthenticated):
        await keys.authenticate(issued.token)


async def test_a_rotated_key_has_a_new_secret_and_the_old_one_until_its_grace_ends(keys: Keys, clock: Clock) -> None:
    first = keys.create("ann", scopes={"chat"})
    second = keys.rotate(first.key.id, grace=timedelta(hours=1))
    assert second.key.grace == clock.now + timedelta(hours=1)
    assert second.key.scopes == {"chat"}
    for issued in (first, second):
        assert (await keys.authenticate(issued.token)).id == first.key.id
    clock.move(timedelta(hours=1))
    await keys.authenticate(second.token)
    with pytest.raises(Unauthenticated):
        await keys.authenticate(first.token)


async def test_without_grace_the_old_secret_ends_with_the_rotation(keys: Keys) -> None:
    first = keys.create("ann")
    second = keys.rotate(first.key.id, grace=timedelta(hours=1))
    third = keys.rotate(first.key.id)
    assert (third.key.earlier, third.key.grace) == (None, None), "nothing of it is kept"
    await keys.authenticate(third.token)
    for issued in (first, second):
        with pytest.raises(Unauthenticated):
            await keys.authenticate(issued.token)


def test_what_is_over_is_not_rotated(keys: Keys, clock: Clock) -> None:
    ended, revoked = keys.create("ann", expires=clock.now + SECOND), keys.create("ann")
    keys.revoke(revoked.key.id)
    clock.move(SECOND)
    for issued, state in ((ended, "expired"), (revoked, "revoked")):
        with pytest.raises(Conflict, match=f"is {state}"):
            keys.rotate(issued.key.id)
    with pytest.raises(InvalidRequest, match="'grace'"):
        keys.rotate(keys.create("ann").key.id, grace=-SECOND)


def test_an_old_secret_may_stay_good_for_a_year_and_no_longer(keys: Keys, clock: Clock) -> None:
    key_id = keys.create("ann").key.id
    year = timedelta(days=366)
    assert keys.rotate(key_id, grace=year).key.grace == clock.now + year
    with pytest.raises(InvalidRequest) as error:
        keys.rotate(key_id, grace=year + SECOND)
    assert error.value.param == "grace"


def test_a_key_that_is_revoked_while_it_is_rotated_stays_revoked(
    keys: Keys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = keys.create("ann")
    rotate = KeyRepository.rotate

    def revoked_meanwhile(rows: KeyRepository, *given: Any) -> bool:
        rows.revoke(issued.key.id, clock.now)
        return rotate(rows, *given)

    monkeypatch.setattr(KeyRepository, "rotate", revoked_meanwhile)
    with pytest.raises(Conflict, match="revoked meanwhile"):
        keys.rotate(issued.key.id)
    assert keys.get(issued.key.id).digest == issued.key.digest


def test_revoking_again_changes_nothing(keys: Keys, clock: Clock) -> None:
    key_id = keys.create("ann").key.id
    first = keys.revoke(key_id)
    clock.move(SECOND)
    assert keys.revoke(key_id) == first


async def test_an_unknown_id_is_told_and_changes_nothing(keys: Keys) -> None:
    for call in (keys.get, keys.rotate, keys.revoke):
        with pytest.raises(UnknownKey, match="list the keys"):
            call("0" * 12)
    assert not await keys.exist(), "a server without keys is not closed by it"


async def test_the_last_use_is_stored_once_a_minute(keys: Keys, another: Callable[[], Keys], clock: Clock) -> None:
    issued = keys.create("ann")
    began = clock.now
    await keys.authenticate(issued.token)
    clock.move(59 * SECOND)
    await keys.authenticate(issued.token)
    keys.close()
    assert keys.get(issued.key.id).last_used == began

    later = another()
    clock.move(SECOND)
    await later.authenticate(issued.token)
    later.close()
    assert later.get(issued.key.id).last_used == began + 60 * SECOND


async def test_a_use_is_written_once_a_minute_also_where_another_process_wrote_it(
    keys: Keys, another: Callable[[], Keys], database: Engine, clock: Clock
) -> None:
    token = keys.create("ann").token
    writes: list[str] = []
    event.listen(database, "before_cursor_execute", lambda *its: writes.append(its[2].partition(" ")[0]))
    for _ in range(2):
        await keys.authenticate(token)
        clock.move(SECOND)
    keys.close()
    assert writes.count("UPDATE") == 1
    for seconds, written in ((0, 1), (58, 2)):
        clock.move(seconds * SECOND)
        later = another()
        await later.authenticate(token)
        later.close()
        assert writes.count("UPDATE") == written


async def test_of_two_processes_that_see_a_key_unused_the_first_stores_its_use(
    keys: Keys, another: Callable[[], Keys], clock: Clock
) -> None:
    elsewhere, issued, began = another(), keys.create("ann"), clock.now
    await elsewhere.find(issued.key.id)
    for process in (keys, elsewhere):
        await process.authenticate(issued.token)
        process.close()
        clock.move(4 * SECOND)
    assert keys.get(issued.key.id).last_used == began


async def test_a_database_that_takes_no_last_use_keeps_nobody_out(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def locked(*_: object) -> None:
        raise DatabaseUnavailable("The database is locked: try again.")

    monkeypatch.setattr(KeyRepository, "touch", locked)
    issued = keys.create("ann")
    await keys.authenticate(issued.token)
    keys.close()
    (entry,) = caplog.records
    assert issued.key.id in entry.getMessage()
    assert issued.token not in entry.getMessage()


async def test_keys_exist_once_one_was_made_and_ever_after(
    keys: Keys, another: Callable[[], Keys], clock: Clock
) -> None:
    elsewhere = another()
    assert not await keys.exist()
    assert not await elsewhere.exist()
    key_id = keys.create("ann").key.id
    assert await keys.exist()
    clock.move(5 * SECOND)
    assert await elsewhere.exist()
    assert keys.any_valid()
    other = keys.create("bob").key.id
    keys.revoke(key_id)
    assert keys.any_valid()
    keys.revoke(other)
    assert not keys.any_valid()
    assert await another().exist()


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"owner": ""}, "user"),
        ({"owner": "a\nb"}, "user"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x1b[31m"}, "name"),
        ({"scopes": {"chat", "root"}}, "scopes"),
        ({"limits": Limits(concurrent=0)}, "concurrent"),
        ({"limits": Limits(tokens_per_day=-1)}, "tokens_per_day"),
        ({"expires": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}, "expires"),
    ],
)
def test_what_no_key_can_have_is_refused_by_name(keys: Keys, given: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        keys.create(**{"owner": "ann", **given})
    assert error.value.param == param
    assert keys.list() == []


def test_what_a_key_can_have_at_most_it_may_have(keys: Keys, clock: Clock) -> None:
    longest = "x" * 200
    one = Limits(1, 1, 1, 1)
    key = keys.create(longest, name=longest, limits=one, expires=clock.now + timedelta(microseconds=1)).key
    assert (key.owner, key.name, key.limits) == (longest, longest, one)


def test_processes_on_one_database_sign_with_one_secret(keys: Keys, another: Callable[[], Keys]) -> None:
    secret = keys.signing_secret("session")
    assert len(secret) == 32
    assert another().signing_secret("session") == secret
    assert keys.signing_secret("other") != secret
