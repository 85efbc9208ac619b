"""Export and import: a round trip changes nothing, nor does a wrong file, and no file is held in memory whole."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from jc1.errors import InvalidRequest
from jc1.memory.base import Imported, NewRecord, Retrieval, Selection
from jc1.memory.exchange import MAX_LINE
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder
from tests.jc1.memory.test_store import recalled, tell
from tests.support.database import new_database


def exported(memory: DatabaseMemory, owner: str = "ann") -> list[str]:
    with closing(memory.export_lines(owner)) as lines:
        return list(lines)


def taken_in(memory: DatabaseMemory, lines: Iterable[str], owner: str = "ann") -> Imported:
    return memory.import_lines(owner, BytesIO("".join(lines).encode()))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Any:
    """A memory in another database, with nothing in it."""
    with closing(DatabaseMemory(new_database(tmp_path / "other.db"), HashingEmbedder())) as store:
        yield store


@pytest.fixture
def filled(memory: DatabaseMemory) -> DatabaseMemory:
    """Records with everything that a record may have."""
    ids = tell(memory, "I live in Oslo.", "I moved to Lyon.", "I moved to Rome.", "Line\u2028one\nline two 🙂 \ufffd")
    memory.edit("ann", ids[3], "Edited once.")
    memory.edit("ann", ids[3], "Edited twice.")
    memory.mark("ann", ids[3], pinned=True)
    memory.mark("ann", ids[0], excluded=True)
    when = datetime(2020, 1, 1, tzinfo=UTC)
    memory.add(
        "ann",
        [
            NewRecord("My cat is called Ada.", session="s", turn=1, created=when),
            NewRecord("Hello!", "assistant", session="s", turn=1, created=when),
            NewRecord("I like figs.", speaker="Bob", session="s", turn=2, created=when),
            NewRecord("Chapter", document="Book", turn=3, place="page 4", pinned=True),
            NewRecord("Is it?", kind="statement"),
        ],
    )
    return memory


def test_a_round_trip_gives_the_same_records_in_the_same_order(
    filled: DatabaseMemory, elsewhere: DatabaseMemory
) -> None:
    lines = exported(filled)
    assert taken_in(elsewhere, lines) == Imported(added=9)
    assert exported(elsewhere) == lines
    assert elsewhere.list("ann") == filled.list("ann")
    for record in filled.list("ann").records:
        assert elsewhere.history("ann", record.id) == filled.history("ann", record.id)
    for query in ("Where do I live?", "figs", "Edited"):
        wanted = Retrieval(k=20, window=2)
        assert elsewhere.search("ann", query, wanted).receipts == filled.search("ann", query, wanted).receipts


def test_importing_a_file_twice_adds_nothing(filled: DatabaseMemory, elsewhere: DatabaseMemory) -> None:
    lines = exported(filled)
    assert taken_in(filled, lines) == Imported(same=9)
    taken_in(elsewhere, lines)
    assert taken_in(elsewhere, [*lines, *lines]) == Imported(same=18)
    assert exported(elsewhere) == lines


def test_what_is_there_with_other_content_stays_as_it_is(filled: DatabaseMemory) -> None:
    lines = exported(filled)
    newest = filled.list("ann").records[0]
    filled.edit("ann", newest.id, "Edited since.")
    assert taken_in(filled, lines) == Imported(same=8, kept=1)
    assert filled.get("ann", newest.id).text == "Edited since."


def test_what_was_forgotten_since_comes_back_as_the_file_has_it(filled: DatabaseMemory) -> None:
    lines = exported(filled)
    filled.forget("ann", Selection(everything=True))
    assert taken_in(filled, lines) == Imported(added=9)
    assert exported(filled) == lines
    assert filled.statistics("ann").forgotten == 0


def test_an_id_that_somebody_else_has_is_replaced_by_the_same_one_each_time(filled: DatabaseMemory) -> None:
    lines = exported(filled)
    assert taken_in(filled, lines, "bob") == Imported(added=9)
    assert taken_in(filled, lines, "bob") == Imported(same=9)
    assert exported(filled) == lines
    anns, bobs = filled.list("ann").records, filled.list("bob").records
    assert {r.id for r in anns}.isdisjoint(r.id for r in bobs)
    assert sorted((r.text, r.superseded_by is None) for r in bobs) == sorted(
        (r.text, r.superseded_by is None) for r in anns
    )
    assert all(filled.get("bob", r.superseded_by).owner == "bob" for r in bobs if r.superseded_by)


def test_old_statements_do_not_win_over_newer_ones_that_are_there(
    filled: DatabaseMemory, elsewhere: DatabaseMemory
) -> None:
    tell(elsewhere, "I moved to Bonn.")
    taken_in(elsewhere, exported(filled))
    assert not {"I live in Oslo.", "I moved to Lyon.", "I moved to Rome."} & set(recalled(elsewhere, "live"))


def test_what_is_forgotten_is_not_exported(filled: DatabaseMemory) -> None:
    filled.forget("ann", Selection(document="Book"))
    assert len(exported(filled)) == 8
    assert exported(filled, "nobody") == []


def test_an_export_is_of_one_moment(filled: DatabaseMemory) -> None:
    before = exported(filled)
    with closing(filled.export_lines("ann")) as lines:
        first = next(lines)
        filled.forget("ann", Selection(everything=True))
        assert [first, *lines] == before


GOOD = {"id": "mem_1", "text": "fine", "role": "user", "kind": "statement", "created": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        "[]",
        "null",
        '"mem_1"',
        *(
            json.dumps({**GOOD, **fields})
            for fields in (
                {"id": "search"},
                {"id": "mem_" + "x" * 37},
                {"id": "mem_1\n"},
                {"text": " "},
                {"text": "x" * 10_001},
                {"text": "nul \0"},
                {"text": 1},
                {"role": "wizard"},
                {"kind": "lie"},
                {"created": "2026-01-01T00:00:00"},
                {"created": "yesterday"},
                {"created": "0001-01-01T00:00:00+14:00"},
                {"session": ""},
                {"session": "x" * 201},
                {"turn": 2**31},
                {"turn": "1"},
                {"superseded_by": "mem_'; --"},
                {"pinned": "yes"},
                {"owner": "bob"},
                {"vector": []},
                {"history": [{"text": "x"}]},
                {"history": [{"text": "", "replaced": "2026-01-01T00:00:00Z"}]},
            )
        ),
        json.dumps({k: v for k, v in GOOD.items() if k != "created"}),
        json.dumps(GOOD).replace("fine", "\\ud800"),
        "\ufeff" + json.dumps(GOOD),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_imported(
    memory: DatabaseMemory, embedder: HashingEmbedder, wrong: str
) -> None:
    with pytest.raises(InvalidRequest, match="Line 3 ") as refused:
        taken_in(memory, [json.dumps({**GOOD, "id": f"mem_{n}"}) + "\n" for n in range(2)] + [wrong + "\n"])
    assert "\n" not in refused.value.message
    assert (memory.list("ann").total, embedder.texts) == (0, [])


def test_a_file_that_is_no_text_is_refused(memory: DatabaseMemory) -> None:
    with pytest.raises(InvalidRequest, match="Line 1 "):
        memory.import_lines("ann", BytesIO(b"\xff\xfe\x00\n"))
    with pytest.raises(InvalidRequest, match="Line 1 is longer"):
        memory.import_lines("ann", BytesIO(b"x" * (MAX_LINE + 2)))


def test_an_empty_file_and_empty_lines_are_nothing(memory: DatabaseMemory) -> None:
    assert taken_in(memory, []) == taken_in(memory, ["\n", " \n"]) == Imported()


def test_a_file_is_read_from_where_it_stands(memory: DatabaseMemory) -> None:
    file = BytesIO(b"a heading\n" + json.dumps(GOOD).encode())
    file.readline()
    assert memory.import_lines("ann", file) == Imported(added=1)


def test_links_that_no_statement_can_have_are_left_out(memory: DatabaseMemory) -> None:
    links = {"mem_1": "mem_2", "mem_2": "mem_1", "mem_3": "mem_3", "mem_4": "mem_none"}
    taken_in(memory, (json.dumps({**GOOD, "id": i, "superseded_by": by}) + "\n" for i, by in links.items()))
    found = {record.id: record.superseded_by for record in memory.list("ann").records}
    assert found == {"mem_1": "mem_2", "mem_2": None, "mem_3": None, "mem_4": None}
    memory.forget("ann", Selection(everything=True))
    assert len(memory.purge("ann").records) == 4


def test_somebody_who_waits_is_told_how_far_it_is(memory: DatabaseMemory) -> None:
    lines = "".join(json.dumps({**GOOD, "id": f"mem_{n}"}) + "\n" for n in range(2500))
    told: list[tuple[int, int]] = []
    memory.import_lines("ann", BytesIO(lines.encode()), progress=lambda done, total: told.append((done, total)))
    assert told == [(1000, 2500), (2000, 2500), (2500, 2500)]


def test_neither_direction_holds_more_than_a_part_in_memory(database: Engine, tmp_path: Path) -> None:
    class Small(HashingEmbedder):
        dimension = 2

        def embed(self, texts: Sequence[str]) -> Any:
            return super().embed(["x"] * len(texts))

    memory = DatabaseMemory(database, Small())
    when = datetime(2026, 1, 1, tzinfo=UTC)
    file = tmp_path / "many.jsonl"
    with file.open("w") as out:
        for n in range(6000):
            created = (when + timedelta(seconds=n)).isoformat()
            line = {**GOOD, "id": f"mem_{n}", "kind": "reply", "text": f"{n} " + "word " * 900, "created": created}
            out.write(json.dumps(line) + "\n")
    size = file.stat().st_size
    with file.open("rb") as source:
        memory.import_lines("ann", BytesIO(source.readline()))  # what is imported and compiled the first time
        source.seek(0)
        tracemalloc.start()
        assert memory.import_lines("ann", source) == Imported(added=5999, same=1)
        assert sum(len(line) for line in memory.export_lines("ann")) >= size
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < size * 2 / 3
    memory.close()
