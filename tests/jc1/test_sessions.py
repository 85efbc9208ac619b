"""Sessions: turns in order, owners apart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from jc1.database import open_database, writing
from jc1.database.tables import turns
from jc1.errors import InvalidRequest, UnknownSession
from jc1.sessions import TITLE, Sessions, remove_turns, retitle


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jc1.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(database: Engine) -> Sessions:
    return Sessions(database)


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
    assert sessions.history("ann", "s") == (turn,)


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


def test_a_forgotten_turn_is_shown_to_nobody(sessions: Sessions, database: Engine) -> None:
    for text in ("one", "two", "three"):
        sessions.append("ann", "s", user=text, reply=text)
    sessions.append("ann", "t", user="four", reply="four")
    with writing(database) as connection:
        gone = (turns.c.number == 1) & (turns.c.owner == "ann")
        connection.execute(update(turns).where(gone).values(forgotten=datetime.now(UTC)))
        retitle(connection, "ann", ["s", "t"])
    assert [turn.user for turn in sessions.history("ann", "s", limit=2)] == ["two", "three"]
    assert sessions.history("ann", "t") == ()
    (info,) = sessions.list("ann")
    assert (info.id, info.title, info.turns) == ("s", "two", 2)
    assert sessions.append("ann", "t", user="five", reply="five").number == 2
    with writing(database) as connection:
        assert remove_turns(connection, "ann", gone) == 2
    assert {(info.id, info.title, info.turns) for info in sessions.list("ann")} == {("s", "two", 2), ("t", "five", 1)}
