"""Sessions: turns in order, owners apart, and the same with a cache in front of them, whatever becomes of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, update

import jc1.sessions
from jc1.cache.base import Cache
from jc1.cache.lmdb import LmdbCache
from jc1.cache.lookups import Lookups
from jc1.cache.namespaces import HISTORY, owned
from jc1.cache.null import NullCache
from jc1.cache.redis import RedisCache
from jc1.database import writing
from jc1.database.tables import sessions as stored_sessions
from jc1.database.tables import turns
from jc1.errors import InvalidRequest, UnknownSession
from jc1.memory.base import NewRecord
from jc1.memory.store import DatabaseMemory
from jc1.sessions import MAX_CACHED, TITLE, Sessions, refresh_session, remove_turns
from tests.jc1.memory.conftest import HashingEmbedder
from tests.support.database import new_database
from tests.support.redis_server import RedisServer


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = new_database(tmp_path / "jc1.db")
    yield engine
    engine.dispose()


@pytest.fixture(params=["no cache", "lmdb", "redis"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    made: Cache = NullCache()
    if request.param == "lmdb":
        made = LmdbCache(tmp_path / "cache")
    elif request.param == "redis":
        made = RedisCache(request.getfixturevalue("redis_server").url)
    yield made
    made.close()


@pytest.fixture
def sessions(database: Engine, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    """Sessions that keep every history, however short."""
    monkeypatch.setattr(jc1.sessions, "LONG", 1)
    return Sessions(database, cache=cache)


def test_history_is_the_last_turns_oldest_first(sessions: Sessions) -> None:
    for number in range(5):
        sessions.append("ann", "s", user=f"u{number}", reply=f"r{number}")
    assert [(t.number, t.user, t.reply) for t in sessions.history("ann", "s", limit=2)] == [
        (4, "u3", "r3"),
        (5, "u4", "r4"),
    ]


def test_history_returns_what_append_returned(sessions: Sessions) -> None:
    turn = sessions.append("ann", "s", user="hello", reply="hi the", cancelled=True)
    assert turn.cancelled
    assert turn.created.utcoffset() is not None
    assert sessions.history("ann", "s") == sessions.history("ann", "s") == (turn,)


def test_a_session_that_is_not_there_yet_has_no_history(sessions: Sessions) -> None:
    assert sessions.history("ann", "new") == ()


def test_the_title_is_the_beginning_of_the_first_message(sessions: Sessions) -> None:
    sessions.append("ann", "s", user="  A question\nabout " + "cats " * 40, reply="yes")
    sessions.append("ann", "s", user="another thing", reply="no")
    (info,) = sessions.list("ann")
    assert info.title.startswith("A question about cats")
    assert info.title.endswith("…")
    assert len(info.title) <= TITLE
    assert info.turns == 2


def test_the_session_that_was_used_last_is_listed_first(sessions: Sessions) -> None:
    for session in ("a", "b", "a", "c"):
        sessions.append("ann", session, user="u", reply="r")
    assert [info.id for info in sessions.list("ann")] == ["c", "a", "b"]
    assert [info.id for info in sessions.list("ann", limit=1)] == ["c"]


def test_owners_may_give_their_sessions_the_same_name(sessions: Sessions) -> None:
    sessions.append("ann", "s", user="I am Ann", reply="")
    sessions.append("bob", "s", user="I am Bob", reply="")
    assert [t.user for t in sessions.history("ann", "s")] == ["I am Ann"]
    sessions.delete("ann", "s")
    assert sessions.history("ann", "s") == ()
    assert [t.user for t in sessions.history("bob", "s")] == ["I am Bob"]
    assert [info.id for info in sessions.list("bob")] == ["s"]


def test_a_deleted_session_begins_again_at_turn_one(sessions: Sessions) -> None:
    sessions.append("ann", "s", user="u", reply="r")
    sessions.delete("ann", "s")
    assert sessions.append("ann", "s", user="u", reply="r").number == 1


def test_deleting_an_unknown_session_says_so(sessions: Sessions) -> None:
    sessions.append("ann", "s", user="u", reply="r")
    with pytest.raises(UnknownSession):
        sessions.delete("bob", "s")


def test_turns_appended_at_once_are_numbered_without_gap_or_double(sessions: Sessions) -> None:
    with ThreadPoolExecutor(8) as pool:
        turns = list(pool.map(lambda n: sessions.append("ann", "s", user=f"u{n}", reply=""), range(40)))
    assert sorted(turn.number for turn in turns) == list(range(1, 41))
    assert [turn.number for turn in sessions.history("ann", "s")] == list(range(1, 41))


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "nul\0", "half \ud800"])
def test_a_name_that_cannot_be_one_is_refused(sessions: Sessions, name: str) -> None:
    with pytest.raises(InvalidRequest, match="owner"):
        sessions.append(name, "s", user="u", reply="r")
    with pytest.raises(InvalidRequest, match="session"):
        sessions.history("ann", name)


def test_characters_that_no_database_holds_are_replaced(sessions: Sessions) -> None:
    sessions.append("ann", "s", user="a\0b \ud83d", reply="ok 🙂")
    (turn,) = sessions.history("ann", "s")
    assert (turn.user, turn.reply) == ("a\ufffdb \ufffd", "ok 🙂")


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_outside_its_range_is_refused(sessions: Sessions, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        sessions.list("ann", limit=limit)


def test_a_history_is_whole_at_every_length_and_limit(sessions: Sessions) -> None:
    appended = []
    for number in range(MAX_CACHED + 30):
        appended.append(sessions.append("ann", "s", user=f"u{number}", reply="r"))
        if number % 7 == 0:
            assert sessions.history("ann", "s") == tuple(appended[-200:])
    for limit in (1, 5, MAX_CACHED, MAX_CACHED + 10, 1000, 3, MAX_CACHED + 1):
        assert sessions.history("ann", "s", limit=limit) == tuple(appended[-limit:])


class Unreliable:
    """A cache of which calls are lost at random: a part of one process's outages, as another sees them."""

    state = "closed"

    def __init__(self, cache: Cache, chance: random.Random) -> None:
        self.lookups = Lookups()
        self._cache = cache
        self._chance = chance

    def get(self, namespace: str, key: bytes) -> bytes | None:
        return self.get_many(namespace, [key])[0]

    def get_many(self, namespace: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._cache.get_many(namespace, keys) if self._answers() else [None] * len(keys)

    def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
        if self._answers():
            self._cache.put_many(namespace, items, ttl=ttl)

    def delete(self, namespace: str, key: bytes) -> None:
        if self._answers():
            self._cache.delete(namespace, key)

    def clear(self, namespace: str) -> None:
        if self._answers():
            self._cache.clear(namespace)

    def close(self) -> None:
        pass

    def _answers(self) -> bool:
        return self._chance.random() < 0.7


@pytest.mark.parametrize("seed", range(2))
def test_a_history_is_never_stale_whatever_several_processes_do_while_the_cache_loses_calls(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(jc1.sessions, "LONG", 3)
    monkeypatch.setattr(jc1.sessions, "BEHIND", 2)
    monkeypatch.setattr(jc1.sessions, "MAX_CACHED", 12)
    chance = random.Random(seed)
    shared = LmdbCache(tmp_path / "cache")
    processes = [Sessions(database, cache=Unreliable(shared, chance)) for _ in range(3)]
    plain = Sessions(database)
    hits = 0
    for step in range(600):
        process, session = chance.choice(processes), chance.choice("ab")
        match chance.choices(["append", "read", "delete", "change"], [4, 8, 0.2, 0.5])[0]:
            case "append":
                process.append("ann", session, user=f"user {step}", reply="reply")
            case "delete" if plain.history("ann", session, limit=1):
                process.delete("ann", session)
            case "change":
                with writing(database) as connection:
                    connection.execute(
                        update(turns)
                        .where(turns.c.session == session, turns.c.number == chance.randint(1, 20))
                        .values(user=f"changed {step}")
                    )
                    refresh_session(connection, "ann", [session])
            case _:
                limit = chance.choice([1, 4, 12, 20])
                before = shared.lookups.totals()["history", "hit"]
                assert process.history("ann", session, limit=limit) == plain.history("ann", session, limit=limit)
                hits += shared.lookups.totals()["history", "hit"] - before
    assert hits > 100
    shared.close()


def test_a_session_deleted_and_begun_again_is_another_one_though_the_cache_kept_the_first(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jc1.sessions, "LONG", 1)
    shared = LmdbCache(tmp_path / "cache")
    here, elsewhere = Sessions(database, cache=shared), Sessions(database)
    here.append("ann", "s", user="first", reply="r")
    here.history("ann", "s")
    elsewhere.delete("ann", "s")
    assert here.history("ann", "s") == ()
    elsewhere.append("ann", "s", user="second", reply="r")
    assert [turn.user for turn in here.history("ann", "s")] == ["second"]
    shared.close()


def test_turns_that_a_restored_backup_no_longer_has_are_not_read_from_the_cache(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jc1.sessions, "LONG", 1)
    cache = LmdbCache(tmp_path / "cache")
    sessions = Sessions(database, cache=cache)
    for number in range(3):
        sessions.append("ann", "s", user=f"lost {number}", reply="r")
    sessions.history("ann", "s")
    with writing(database) as connection:
        connection.execute(delete(turns).where(turns.c.number > 1))
        connection.execute(update(stored_sessions).values(turns=1))
    for number in range(3):
        sessions.append("ann", "s", user=f"new {number}", reply="r")
        assert sessions.history("ann", "s") == Sessions(database).history("ann", "s")
    cache.close()


def contents(server: RedisServer) -> bytes:
    with server.client() as client:
        return b"".join(client.get(key) or b"" for key in client.scan_iter())


def test_what_a_deleted_session_said_leaves_the_cache(
    database: Engine, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jc1.sessions, "LONG", 1)
    cache = RedisCache(redis_server.url)
    told: list[str] = []
    sessions = Sessions(database, cache=cache, on_delete=told.append)
    for owner in ("ann", "bob"):
        sessions.append(owner, "s", user=f"{owner}'s secret", reply="r")
        sessions.history(owner, "s")
    assert b"ann's secret" in contents(redis_server)
    sessions.delete("ann", "s")
    assert b"ann's secret" not in contents(redis_server)
    assert b"bob's secret" in contents(redis_server)
    assert told == ["ann"]
    cache.close()


@pytest.mark.parametrize("how", ["delete", "change"])
def test_a_history_that_was_read_before_the_session_was_deleted_or_changed_does_not_stay_in_the_cache(
    database: Engine, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(jc1.sessions, "LONG", 1)
    other = Sessions(database)

    def meanwhile() -> None:
        if how == "delete":
            other.delete("ann", "s")
            return
        with writing(database) as connection:
            refresh_session(connection, "ann", ["s"])

    class Late(RedisCache):
        """Stores only after somebody else was faster."""

        def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
            meanwhile()
            super().put_many(namespace, items, ttl=ttl)

    cache = Late(redis_server.url)
    other.append("ann", "s", user="secret", reply="r")
    assert [turn.user for turn in Sessions(database, cache=cache).history("ann", "s")] == ["secret"]
    assert contents(redis_server) == b""
    cache.close()


@pytest.mark.parametrize("stored", [b"", b"null", b"[]", b'["2026-01-01T00:00:00+00:00",0,true,[]]', b"[1,2,3,[[]]]"])
def test_what_the_cache_cannot_have_been_told_is_read_from_the_database(
    database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bytes
) -> None:
    monkeypatch.setattr(jc1.sessions, "LONG", 1)
    written: list[bytes] = []

    class Recording(LmdbCache):
        def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
            assert namespace == owned(HISTORY, "ann")
            written.extend(items)
            super().put_many(namespace, items, ttl=ttl)

    cache = Recording(tmp_path / "cache")
    sessions = Sessions(database, cache=cache)
    turn = sessions.append("ann", "s", user="u", reply="r")
    sessions.history("ann", "s")
    cache.put_many(owned(HISTORY, "ann"), {written[0]: stored})
    assert sessions.history("ann", "s") == (turn,)
    cache.close()


def test_short_histories_are_not_kept_and_long_ones_not_written_for_every_turn(
    database: Engine, tmp_path: Path
) -> None:
    writes = 0

    class Counting(LmdbCache):
        def put_many(self, namespace: str, items: Mapping[bytes, bytes], *, ttl: float | None = None) -> None:
            nonlocal writes
            writes += 1
            super().put_many(namespace, items, ttl=ttl)

    cache = Counting(tmp_path / "cache")
    sessions = Sessions(database, cache=cache)
    for _ in range(jc1.sessions.LONG - 1):
        sessions.append("ann", "s", user="u", reply="r")
        sessions.history("ann", "s")
    assert writes == 0
    for number in range(40):
        sessions.append("ann", "s", user=f"u{number}", reply="r")
        assert sessions.history("ann", "s")[-1].user == f"u{number}"
    assert 2 <= writes <= 4
    cache.close()


def test_a_forgotten_turn_is_shown_to_nobody(sessions: Sessions, database: Engine) -> None:
    for text in ("one", "two", "three"):
        sessions.append("ann", "s", user=text, reply=text)
    sessions.append("ann", "t", user="four", reply="four")
    with writing(database) as connection:
        gone = (turns.c.number == 1) & (turns.c.owner == "ann")
        connection.execute(update(turns).where(gone).values(forgotten=datetime.now(UTC)))
        refresh_session(connection, "ann", ["s", "t"])
    assert [turn.user for turn in sessions.history("ann", "s", limit=2)] == ["two", "three"]
    assert sessions.history("ann", "t") == ()
    (info,) = sessions.list("ann")
    assert (info.id, info.title, info.turns) == ("s", "two", 2)
    assert sessions.append("ann", "t", user="five", reply="five").number == 2
    with writing(database) as connection:
        assert remove_turns(connection, "ann", gone) == 2
    assert {(info.id, info.title, info.turns) for info in sessions.list("ann")} == {("s", "two", 2), ("t", "five", 1)}


def test_a_name_used_again_counts_on_from_the_memories_that_stayed(sessions: Sessions, database: Engine) -> None:
    memory = DatabaseMemory(database, HashingEmbedder())
    sessions.append("ann", "s", user="My cat is called Ada.", reply="Noted.")
    memory.add("ann", [NewRecord("My cat is called Ada.", session="s", turn=1)])
    sessions.delete("ann", "s")
    assert [sessions.append("ann", "s", user=text, reply="").number for text in ("Hello", "again")] == [2, 3]
    assert sessions.list("ann")[0].turns == 2
    assert [turn.number for turn in sessions.history("ann", "s")] == [2, 3]
