"""Pictures in memory: kept with their records, found by words, each its owner's alone, gone with them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from jc1.database import reading
from jc1.database.tables import pictures
from jc1.errors import InvalidRequest, NoPicture, RequestTooLarge, UnknownRecord
from jc1.memory.base import Imported, NewRecord, Retrieval, SeenPicture, Selection
from jc1.memory.pictures import MAX_THUMBNAIL
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder
from tests.support.database import new_database

RECEIPT = SeenPicture("ab" * 32, 900, 300, "receipt.png", b"\xff\xd8\xff a thumbnail")
TEXT = "receipt.png, 900 x 300 pixels. Text in it:\nHarbour Cafe\nTotal: 17.45 EUR"


def shown(text: str = TEXT, *, turn: int = 1, picture: SeenPicture = RECEIPT) -> NewRecord:
    return NewRecord(text, "user", "statement", session="s", turn=turn, speaker="picture", picture=picture)


def show(memory: DatabaseMemory, owner: str = "ann") -> tuple[str, str, str]:
    """Store a turn with a picture; return the ids of message, picture and reply."""
    message, picture, reply = memory.add(
        owner,
        [
            NewRecord("What did I pay?", session="s", turn=1),
            shown(),
            NewRecord("You paid 17.45 EUR.", "assistant", "reply", session="s", turn=1),
        ],
    )
    return message.id, picture.id, reply.id


def kept(database: Engine) -> int:
    with reading(database) as connection:
        number: int = connection.execute(select(func.count()).select_from(pictures)).scalar_one()
        return number


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[DatabaseMemory]:
    with closing(DatabaseMemory(new_database(tmp_path / "other.db"), HashingEmbedder())) as store:
        yield store


def exported(memory: DatabaseMemory) -> list[dict[str, Any]]:
    with closing(memory.export_lines("ann")) as lines:
        return [json.loads(line) for line in lines]


def take_in(memory: DatabaseMemory, lines: list[dict[str, Any]], owner: str = "ann") -> Imported:
    return memory.import_lines(owner, BytesIO("".join(json.dumps(line) + "\n" for line in lines).encode()))


def test_a_picture_is_found_by_the_words_in_it(memory: DatabaseMemory) -> None:
    _, picture, _ = show(memory)
    memory.add("ann", [NewRecord(f"Note {number} of the harbour.") for number in range(10)])
    best = memory.search("ann", "Harbour Cafe total", Retrieval(k=2)).receipts[0].record
    assert (best.id, best.picture, best.speaker) == (picture, RECEIPT.sha256, "picture")
    assert memory.picture("ann", picture) == RECEIPT


def test_a_picture_is_its_owners_alone(memory: DatabaseMemory) -> None:
    message, picture, _ = show(memory)
    with pytest.raises(UnknownRecord):
        memory.picture("bob", picture)
    with pytest.raises(NoPicture):
        memory.picture("ann", message)


def test_what_stands_in_a_picture_supersedes_nothing_that_was_said(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord("My cat is called Ada.")])
    memory.add("ann", [shown("My cat is now called Bo.")])
    assert all(record.superseded_by is None for record in memory.list("ann").records)


def test_forgetting_hides_a_picture_and_purging_removes_it(memory: DatabaseMemory, database: Engine) -> None:
    _, picture, reply = show(memory)
    assert memory.forget("ann", picture).impact.records == 2, "the reply goes with the picture that it tells of"
    with pytest.raises(UnknownRecord):
        memory.picture("ann", picture)
    memory.restore("ann", picture)
    assert memory.picture("ann", picture) == RECEIPT
    memory.forget("ann", picture)
    assert set(memory.purge("ann").records) == {picture, reply}
    assert kept(database) == 0


def test_pictures_go_with_their_session_and_with_everything(memory: DatabaseMemory, database: Engine) -> None:
    show(memory)
    memory.add("ann", [shown(turn=2)])
    show(memory, "bob")
    memory.forget("ann", Selection(session="s"))
    memory.purge("ann")
    assert kept(database) == 1
    memory.forget("bob", Selection(everything=True))
    memory.purge("bob")
    assert kept(database) == 0


def test_an_edited_text_keeps_its_picture(memory: DatabaseMemory) -> None:
    _, picture, _ = show(memory)
    edited = memory.edit("ann", picture, "Is this the receipt of the Harbour Cafe?")
    assert (edited.kind, edited.picture) == ("statement", RECEIPT.sha256)
    assert memory.picture("ann", picture) == RECEIPT


def test_thumbnails_count_among_the_bytes(memory: DatabaseMemory) -> None:
    show(memory)
    without = memory.statistics("ann").bytes
    memory.add("ann", [shown(turn=2, picture=SeenPicture("cd" * 32, 1, 1, "", bytes(10_000)))])
    assert memory.statistics("ann").bytes > without + 10_000


def test_a_round_trip_brings_the_pictures_and_what_repeats_them(
    memory: DatabaseMemory, elsewhere: DatabaseMemory
) -> None:
    message, picture, reply = show(memory)
    lines = exported(memory)
    assert take_in(elsewhere, lines) == Imported(added=3)
    assert elsewhere.picture("ann", picture) == RECEIPT
    assert exported(elsewhere) == lines
    assert take_in(elsewhere, lines) == Imported(same=3)
    elsewhere.forget("ann", picture)
    assert [record.id for record in elsewhere.list("ann").records] == [message]
    assert take_in(elsewhere, lines) == Imported(added=2, same=1), "what was forgotten comes back"
    assert elsewhere.picture("ann", picture) == RECEIPT
    assert {record.id for record in elsewhere.list("ann").records} == {message, picture, reply}


def test_an_export_from_before_pictures_is_taken_in(memory: DatabaseMemory, elsewhere: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord("I live in Oslo.")])
    (line,) = exported(memory)
    del line["picture"]
    assert take_in(elsewhere, [line]) == Imported(added=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"thumbnail": "PHN2Zz4="},
        {"thumbnail": "not base64"},
        {"thumbnail": "/9j/" + "A" * MAX_THUMBNAIL * 2},
        {"sha256": "short"},
        {"width": 0},
        {"source": "x" * 401},
    ],
    ids=["no JPEG", "no base64", "too large", "no digest", "no width", "long source"],
)
def test_a_line_with_a_wrong_picture_is_refused(
    memory: DatabaseMemory, elsewhere: DatabaseMemory, wrong: dict[str, Any]
) -> None:
    show(memory)
    lines = exported(memory)
    lines[1]["picture"].update(wrong)
    with pytest.raises(InvalidRequest, match=f"Line 2 .*picture.{next(iter(wrong))}"):
        take_in(elsewhere, lines)
    assert elsewhere.list("ann").total == 0


def test_a_thumbnail_of_many_bytes_is_not_kept(memory: DatabaseMemory) -> None:
    with pytest.raises(RequestTooLarge):
        memory.add("ann", [shown(picture=SeenPicture("ab" * 32, 1, 1, "", bytes(MAX_THUMBNAIL + 1)))])
    assert memory.list("ann").total == 0
