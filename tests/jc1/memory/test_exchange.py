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

import numpy as np
import pytest
from sqlalchemy import Engine

from jc1.errors import EmbedderUnavailable, InvalidRequest, RequestTooLarge
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
                {"text": "x" * 100_001},
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
    lines = "".join(json.dumps({**GOOD, "id": f"mem_{n}"}) + "\n" for n in range(600))
    told: list[tuple[int, int]] = []
    memory.import_lines("ann", BytesIO(lines.encode()), progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 256), (0, 512), (0, 600), (256, 600), (512, 600), (600, 600)]


@pytest.mark.parametrize("others", [[], ["My cat is called Eve.", "I moved to Bonn."]], ids=["alone", "beside others"])
def test_an_import_that_was_interrupted_anywhere_goes_on_when_it_is_repeated(
    filled: DatabaseMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: list[str]
) -> None:
    monkeypatch.setattr("jc1.memory.exchange.BATCH", 1)
    lines = exported(filled)

    def superseded(ended: int | None) -> dict[str, bool]:
        """The texts after an import that ended once after so many records, and whether each is superseded."""

        def progress(done: int, total: int) -> None:
            if done == ended:
                raise KeyError(done)

        with closing(DatabaseMemory(new_database(tmp_path / f"{ended}.db"), HashingEmbedder())) as memory:
            tell(memory, *others)
            if ended is not None:
                with pytest.raises(KeyError):
                    memory.import_lines("ann", BytesIO("".join(lines).encode()), progress=progress)
                assert memory.list("ann").total == len(others) + ended
            outcome = taken_in(memory, lines)
            assert outcome == Imported(added=len(lines) - (ended or 0), same=ended or 0)
            return {record.text: record.superseded_by is not None for record in memory.list("ann").records}

    whole = superseded(None)
    assert sum(whole.values()) == 2 + len(others)
    for ended in range(len(lines) + 1):
        assert superseded(ended) == whole


def test_others_write_while_a_file_is_imported(
    memory: DatabaseMemory, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.database.opening.BUSY_SECONDS", 0)
    other = DatabaseMemory(new_database(Path(str(database.url.database))), HashingEmbedder())
    lines = "".join(json.dumps({**GOOD, "id": f"mem_{n}"}) + "\n" for n in range(600))

    def progress(done: int, total: int) -> None:
        tell(other, "Me too.", owner="bob")

    memory.import_lines("ann", BytesIO(lines.encode()), progress=progress)
    assert other.list("bob").total == 6
    other.close()


def test_what_is_in_is_told_where_an_import_fails_in_the_middle(memory: DatabaseMemory) -> None:
    class Failing(HashingEmbedder):
        def embed(self, texts: Sequence[str]) -> Any:
            if len(self.texts) >= 256:
                raise EmbedderUnavailable("The embedder does not answer.")
            return super().embed(texts)

    failing = DatabaseMemory(memory._database, Failing())
    lines = [json.dumps({**GOOD, "id": f"mem_{n}"}) + "\n" for n in range(300)]
    with pytest.raises(EmbedderUnavailable, match="Of 300 records 256 are in: import the file again"):
        taken_in(failing, lines)
    assert taken_in(memory, lines) == Imported(added=44, same=256)


def test_a_file_of_too_many_lines_is_refused_before_they_are_read(
    memory: DatabaseMemory, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jc1.memory.exchange.MAX_LINES", 3)
    line = json.dumps(GOOD) + "\n"
    assert taken_in(memory, [line, "\n", "\n"]) == Imported(added=1)
    for lines in (["\n"] * 4, [line] * 4, [line, "\n", "\n", "{"]):
        with pytest.raises(RequestTooLarge, match="more than 3 lines"):
            taken_in(memory, lines)
    assert len(embedder.texts) == 1


def test_neither_direction_holds_more_than_a_part_in_memory(database: Engine, tmp_path: Path) -> None:
    class Small(HashingEmbedder):
        dimension = 2

        def embed(self, texts: Sequence[str]) -> Any:
            return np.full((len(texts), 2), np.sqrt(0.5), np.float32)

    memory = DatabaseMemory(database, Small())
    when = datetime(2026, 1, 1, tzinfo=UTC)
    file, paragraph = tmp_path / "many.jsonl", "word " * 180 + "\n\n"
    with file.open("w") as out:
        for n in range(4000):
            created = (when + timedelta(seconds=n)).isoformat()
            line = {**GOOD, "id": f"mem_{n}", "kind": "reply", "text": f"{n} " + paragraph * 5, "created": created}
            out.write(json.dumps(line) + "\n")
    size = file.stat().st_size
    with file.open("rb") as source:
        memory.import_lines("ann", BytesIO(source.readline()))  # what is imported and compiled the first time
        source.seek(0)
        tracemalloc.start()
        assert memory.import_lines("ann", source) == Imported(added=3999, same=1)
        assert sum(len(line) for line in memory.export_lines("ann")) >= size
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < size * 2 / 3
    memory.close()
