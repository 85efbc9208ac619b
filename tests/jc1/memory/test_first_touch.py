"""An owner with very many records is searched soon after a start: the index is made in seconds."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, insert

from jc1.database import writing
from jc1.database.tables import owners, records
from jc1.memory.base import Retrieval
from jc1.memory.store import DatabaseMemory
from tests.jc1.memory.conftest import HashingEmbedder


@pytest.mark.slow
def test_the_first_search_among_sixty_thousand_records_takes_seconds(
    memory: DatabaseMemory, database: Engine, embedder: HashingEmbedder
) -> None:
    rows = [
        {
            "id": f"mem_{n}",
            "owner": "ann",
            "text": f"Sentence {n} tells of day {n % 365} and of number {n % 997}.",
            "role": "user",
            "kind": "statement",
            "created": datetime(2026, 1, 1 + n % 28, tzinfo=UTC),
            "session": f"s{n // 20}",
            "turn": n % 20,
            "changed": 1,
            "vector": bytes(2 * embedder.dimension - 2) + b"\0\x3c",
            "embedder": embedder.fingerprint,
        }
        for n in range(60_000)
    ]
    with writing(database) as connection:
        connection.execute(insert(owners).values(owner="ann", version=1))
        connection.execute(insert(records), rows)
    began = time.process_time()
    assert len(memory.search("ann", "number 4711", Retrieval(k=5)).receipts) == 5
    assert time.process_time() - began < 8, "a tenth of a millisecond of the processor for each record"
