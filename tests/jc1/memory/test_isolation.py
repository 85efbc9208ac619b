"""No owner ever sees another's records: whatever the owners are called, whatever is asked."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from jc1.errors import InvalidRequest, Jc1Error, UnknownRecord
from jc1.memory.base import Filter, Imported, NewRecord, Retrieval, Selection
from jc1.memory.store import DatabaseMemory
from jc1.sessions import Sessions
from tests.jc1.memory.conftest import HashingEmbedder
from tests.support.database import new_database

ADVERSARIAL = [
    "ann",
    "Ann",
    "ann ",
    " ann",
    "ann%",
    "a_n",
    "%",
    "ann' OR '1'='1",
    "ann'; DROP TABLE records; --",
    'ann"',
    "ann\\",
    "../ann",
    "ann\n",
    "\u200bann",
    "á",
    "a\u0301",
    "ß",
    "ss",
    "İ",
    "i",
    "王",
    "🙂",
    "x" * 200,
    "x" * 199,
    "null",
    "*",
]


def test_owners_with_names_made_to_be_confused_stay_apart(memory: DatabaseMemory) -> None:
    ids = {owner: memory.add(owner, [NewRecord(f"The secret of {n}")])[0].id for n, owner in enumerate(ADVERSARIAL)}
    for number, owner in enumerate(ADVERSARIAL):
        found = memory.search(owner, "secret", Retrieval(k=100, window=5))
        assert [receipt.record.text for receipt in found.receipts] == [f"The secret of {number}"]
        assert [record.owner for record in memory.list(owner).records] == [owner]
        for other, record_id in ids.items():
            if other != owner:
                with pytest.raises(UnknownRecord):
                    memory.get(owner, record_id)
                for call in (memory.forget, memory.preview, memory.restore, memory.mark, memory.history):
                    with pytest.raises(UnknownRecord):
                        call(owner, record_id)
                with pytest.raises(UnknownRecord):
                    memory.forget(owner, Selection(records=(ids[owner], record_id)))
                with pytest.raises(UnknownRecord):
                    memory.edit(owner, record_id, "Mine now.")
                with pytest.raises(UnknownRecord):
                    memory.purge(owner, record_id)
        assert memory.statistics(owner).records == 1
        with closing(memory.export_lines(owner)) as lines:
            (line,) = lines
        assert f"The secret of {number}" in line
    for owner in ADVERSARIAL[::2]:
        memory.forget(owner, Selection(everything=True))
        memory.purge(owner)
        del ids[owner]
    assert memory.owners() == tuple(sorted(ADVERSARIAL))
    assert all(memory.get(owner, record_id).owner == owner for owner, record_id in ids.items())


@pytest.mark.parametrize("owner", ["", " ", "\n\t", "x" * 201, "ann\0", "\ud800"])
def test_a_name_that_cannot_be_an_owners_is_refused_everywhere(memory: DatabaseMemory, owner: str) -> None:
    calls = (
        lambda: memory.add(owner, [NewRecord("text")]),
        lambda: memory.search(owner, "text", Retrieval()),
        lambda: memory.list(owner),
        lambda: memory.get(owner, "id"),
        lambda: memory.forget(owner, "id"),
        lambda: memory.preview(owner, "id"),
        lambda: memory.restore(owner, "id"),
        lambda: memory.purge(owner),
        lambda: memory.expire(owner, datetime.now(UTC)),
        lambda: memory.edit(owner, "id", "text"),
        lambda: memory.mark(owner, "id", pinned=True),
        lambda: memory.history(owner, "id"),
        lambda: memory.statistics(owner),
        lambda: memory.export_lines(owner),
        lambda: memory.import_lines(owner, BytesIO(b"")),
    )
    for call in calls:
        with pytest.raises(InvalidRequest, match="'owner'"):
            call()


def test_a_statement_never_supersedes_another_owners(memory: DatabaseMemory) -> None:
    memory.add("ann", [NewRecord("I live in Oslo.")])
    memory.add("bob", [NewRecord("I moved to Lyon.")])
    assert memory.list("ann").records[0].superseded_by is None


TEXTS = [
    "My cat is called Ada.",
    "Actually my cat is now called Bo.",
    "I live in Oslo.",
    "I moved to Lyon.",
    "Where do I live?",
    "100% of a_n\\' OR 1=1; --",
]
NAMES = ["s", "s ", "%", "S"]


class Player:
    """Makes an owner's calls and writes down each answer, with ids and times as they come in place of what they are."""

    def __init__(self, memory: DatabaseMemory, sessions: Sessions, owner: str, foreign: str) -> None:
        self.memory, self.sessions, self.owner, self.foreign = memory, sessions, owner, foreign
        self.ids: list[str] = []
        self.file = ""
        self.said: list[str] = []

    def play(self, call: str, one: int, two: int) -> None:
        try:
            answer = self.answer(call, one, two)
        except Jc1Error as error:
            answer = (error.code, error.message)
        self.said.append(repr(answer))

    def answer(self, call: str, one: int, two: int) -> object:
        """What a call gives that takes a record, known or somebody else's, and a text or name."""
        memory, owner = self.memory, self.owner
        known = [*self.ids, self.foreign]
        record_id, text, name = known[one % len(known)], TEXTS[two % len(TEXTS)], NAMES[two % len(NAMES)]
        what = (record_id, Selection(session=name), Selection(document=name), Selection(everything=True))[two % 4]
        if call == "add":
            turn = self.sessions.append(owner, name, user=text, reply=text)
            said = NewRecord(text, session=name, turn=turn.number)
            added = memory.add(owner, [said, NewRecord(text, "assistant", document=name if one % 3 == 0 else None)])
            self.ids += [record.id for record in added]
            return [replace(record, owner="") for record in added]
        if call == "search":
            return memory.search(owner, text, Retrieval(k=one % 9 + 1, window=one % 3)).receipts
        if call == "list":
            only = Filter(session=(None, name)[one % 2], contains=(None, text[:4])[two % 2], forgotten=one % 5 == 0)
            return memory.list(owner, limit=one % 9 + 1, only=only), self.sessions.list(owner)
        if call == "export":
            with closing(memory.export_lines(owner)) as lines:
                self.file = "".join(lines)
            return self.file
        if call == "import":
            return memory.import_lines(owner, BytesIO(self.file.encode()))
        if call == "history":
            return self.sessions.history(owner, name), memory.history(owner, record_id)
        if call == "edit":
            return memory.edit(owner, record_id, text)
        if call == "mark":
            return memory.mark(owner, record_id, pinned=bool(two % 2), excluded=bool(two % 3))
        if call == "purge":
            return memory.purge(owner, what if one % 2 else None)
        if call == "statistics":
            return memory.statistics(owner)
        if call == "expire":
            return memory.expire(owner, datetime.now(UTC))
        return getattr(memory, call)(owner, record_id if call == "get" else what)

    def transcript(self) -> str:
        """The answers, comparable."""
        seen = {self.foreign: "foreign"}
        whole = re.sub(
            r"mem_[0-9a-f]{20}", lambda found: seen.setdefault(found[0], f"mem {len(seen)}"), "\n".join(self.said)
        )
        return re.sub(r"datetime\.datetime\([^)]*\)|\d{4}-\d\d-\d\dT[\d:.+Z]+", "then", whole)


CALLS = [
    *("add", "add", "add", "search", "list", "get", "edit", "mark", "history", "statistics", "preview"),
    *("forget", "forget", "restore", "purge", "export", "import", "expire"),
]


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.sampled_from(CALLS), st.integers(0, 20), st.integers(0, 20)), min_size=5, max_size=25),
    st.sampled_from(["ann", "ann%", "a_n", "*"]),
    st.lists(st.sampled_from(["Ann", "ann ", "%", "ann' OR '1'='1"]), min_size=1, max_size=2, unique=True),
)
def test_no_answer_depends_on_what_others_have_or_do(
    calls: list[tuple[str, int, int]], owner: str, others: list[str]
) -> None:
    """The same calls, alone in a database and between those of others who say the same, are answered alike."""
    transcripts = []
    nobodys = "mem_" + "0" * 20
    for crowd in ([], others):
        with tempfile.TemporaryDirectory() as folder:
            database = new_database(Path(folder) / "jc1.db")
            memory, sessions = DatabaseMemory(database, HashingEmbedder()), Sessions(database)
            theirs = [memory.add("eve", [NewRecord(TEXTS[0], session="s", turn=1)])[0].id for _ in crowd[:1]]
            player = Player(memory, sessions, owner, *theirs or [nobodys])
            rest = [Player(memory, sessions, other, nobodys) for other in crowd]
            for call in calls:
                for each in (*rest, player, *rest):
                    each.play(*call)
                for each in rest:
                    each.file = player.file
            transcripts.append(player.transcript())
            memory.close()
    assert transcripts[0] == transcripts[1]


@pytest.mark.parametrize("owner", ["bob", "ann ", "%"])
def test_importing_somebody_elses_ids_is_answered_as_importing_new_ones(memory: DatabaseMemory, owner: str) -> None:
    memory.add("ann", [NewRecord("I live in Oslo."), NewRecord("I moved to Lyon.")])
    with closing(memory.export_lines("ann")) as lines:
        file = "".join(lines)
    taken = memory.import_lines(owner, BytesIO(file.encode()))
    fresh = memory.import_lines("eve", BytesIO(file.replace("mem_", "mem_0").encode()))
    assert taken == fresh == Imported(added=2)
    assert [record.owner for record in memory.list("ann").records] == ["ann", "ann"]
    edited = file.replace("Oslo", "Rome")
    assert memory.import_lines(owner, BytesIO(edited.encode())) == Imported(same=1, kept=1)
    with closing(memory.export_lines("ann")) as lines:
        assert "".join(lines) == file


class Owners(RuleBasedStateMachine):
    """Any sequence of calls by any owners, beside a plain model of who said what."""

    ids = Bundle("ids")
    owners = st.sampled_from([*ADVERSARIAL[:8], "王", "🙂"])
    texts = st.sampled_from(
        [
            "My cat is called Ada.",
            "My cat is called Bo.",
            "I live in Oslo.",
            "I moved to Lyon.",
            "Where do I live?",
            "🙂",
        ]
    )

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = new_database(Path(self.folder.name) / "jc1.db")
        self.stores = [DatabaseMemory(self.database, HashingEmbedder(), capacity=n) for n in (1, 1000)]
        self.said: dict[str, dict[str, str]] = defaultdict(dict)

    @rule(target=ids, owner=owners, text=texts, session=st.sampled_from([None, "s"]), which=st.integers(0, 1))
    def add(self, owner: str, text: str, session: str | None, which: int) -> str:
        (record,) = self.stores[which].add(owner, [NewRecord(text, session=session, turn=session and 1)])
        self.said[owner][record.id] = record.text
        return record.id

    @rule(owner=owners, record_id=ids, which=st.integers(0, 1))
    def forget(self, owner: str, record_id: str, which: int) -> None:
        if record_id in self.said[owner]:
            self.stores[which].forget(owner, record_id)
            del self.said[owner][record_id]
        else:
            with pytest.raises(UnknownRecord):
                self.stores[which].forget(owner, record_id)

    @rule(owner=owners, query=texts, window=st.integers(0, 2), which=st.integers(0, 1))
    def search(self, owner: str, query: str, window: int, which: int) -> None:
        receipts = self.stores[which].search(owner, query, Retrieval(k=100, window=window, questions=True)).receipts
        found = {receipt.record.id: receipt.record.text for receipt in receipts}
        current = {r.id for r in self.stores[which].list(owner).records if r.superseded_by is None}
        assert len(found) == len(receipts)
        assert found.keys() == current
        assert found.items() <= self.said[owner].items()

    @rule(owner=owners, record_id=ids)
    def get(self, owner: str, record_id: str) -> None:
        if record_id in self.said[owner]:
            assert self.stores[0].get(owner, record_id).text == self.said[owner][record_id]
        else:
            with pytest.raises(UnknownRecord):
                self.stores[0].get(owner, record_id)

    @invariant()
    def lists_are_the_owners_own(self) -> None:
        for owner, said in self.said.items():
            page = self.stores[0].list(owner, limit=1000)
            assert {record.id: record.text for record in page.records} == said
            assert page.total == len(said)

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()


TestOwners = Owners.TestCase
TestOwners.settings = settings(max_examples=8, stateful_step_count=25)
