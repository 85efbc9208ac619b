"""No owner ever sees another's records: whatever the owners are called, whatever is asked."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from jc1.database import open_database
from jc1.errors import InvalidRequest, UnknownRecord
from jc1.memory.base import NewRecord, Retrieval
from jc1.memory.store import LocalMemory
from tests.jc1.memory.conftest import HashingEmbedder

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


def test_owners_with_names_made_to_be_confused_stay_apart(memory: LocalMemory) -> None:
    ids = {owner: memory.add(owner, [NewRecord(f"The secret of {n}")])[0].id for n, owner in enumerate(ADVERSARIAL)}
    for number, owner in enumerate(ADVERSARIAL):
        found = memory.search(owner, "secret", Retrieval(k=100, window=5))
        assert [receipt.record.text for receipt in found.receipts] == [f"The secret of {number}"]
        assert [record.owner for record in memory.list(owner).records] == [owner]
        for other, record_id in ids.items():
            if other != owner:
                with pytest.raises(UnknownRecord):
                    memory.get(owner, record_id)
                with pytest.raises(UnknownRecord):
                    memory.forget(owner, record_id)
    assert all(memory.get(owner, record_id).owner == owner for owner, record_id in ids.items())


@pytest.mark.parametrize("owner", ["", " ", "\n\t", "x" * 201, "ann\0", "\ud800"])
def test_a_name_that_cannot_be_an_owners_is_refused_everywhere(memory: LocalMemory, owner: str) -> None:
    calls = (
        lambda: memory.add(owner, [NewRecord("text")]),
        lambda: memory.search(owner, "text", Retrieval()),
        lambda: memory.list(owner),
        lambda: memory.get(owner, "id"),
        lambda: memory.forget(owner, "id"),
    )
    for call in calls:
        with pytest.raises(InvalidRequest, match="'owner'"):
            call()


def test_a_statement_never_supersedes_another_owners(memory: LocalMemory) -> None:
    memory.add("ann", [NewRecord("I live in Oslo.")])
    memory.add("bob", [NewRecord("I moved to Lyon.")])
    assert memory.list("ann").records[0].superseded_by is None


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
        self.database = open_database(f"sqlite:///{Path(self.folder.name) / 'jc1.db'}")
        self.stores = [LocalMemory(self.database, HashingEmbedder(), capacity=n) for n in (1, 1000)]
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
        receipts = self.stores[which].search(owner, query, Retrieval(k=100, window=window)).receipts
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
