"""Pages: together they hold everything once, in order, however many there are on each."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from jc1 import Workbench
from jc1.memory.base import NewRecord

SESSIONS, DOCUMENTS, MEMORY = "/v1/sessions", "/v1/memory/documents", "/v1/memory"


@pytest.fixture
def filled(workbench: Workbench) -> Workbench:
    """Five sessions, one with five turns; five documents, all of the same moment; and another owner's."""
    for name in ("a", "b_c", "d/e", "f g", "Łódź"):
        workbench.sessions.append("local", name, user="Hello.", reply="Hi.")
    for number in range(4):
        workbench.sessions.append("local", "Łódź", user=f"And {number}?", reply="Hi.")
    parts = [NewRecord("Some text.", document=f"Book_{n}", session=f"document:{n}/1", turn=1) for n in range(5)]
    workbench.memory.add("local", parts)
    workbench.sessions.append("ann", "hers", user="Hello.", reply="Hi.")
    return workbench


async def pages(client: httpx.AsyncClient, path: str, limit: int) -> list[list[Any]]:
    """Return the entries of all pages."""
    read: list[list[Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get(path, params={"limit": limit, **cursor})).json()
        read.append(page["data"])
        if page["next_cursor"] is None:
            return read
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.parametrize("path", [SESSIONS, DOCUMENTS, MEMORY])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6])
async def test_pages_hold_everything_once_and_in_order(
    client: httpx.AsyncClient, filled: Workbench, path: str, limit: int
) -> None:
    read = await pages(client, path, limit)
    assert [entry for page in read for entry in page] == (await client.get(path)).json()["data"]
    assert [len(page) for page in read] == [limit] * (5 // limit) + ([5 % limit] if 5 % limit else [])


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
async def test_earlier_pages_of_a_session_have_the_turns_before(
    client: httpx.AsyncClient, filled: Workbench, limit: int
) -> None:
    read = await pages(client, f"{SESSIONS}/Łódź", limit)
    assert [turn["number"] for page in reversed(read) for turn in page] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("path", [SESSIONS, DOCUMENTS, MEMORY, f"{SESSIONS}/a"])
@pytest.mark.parametrize("cursor", ["", "x", "2020-01-01T00:00:00Z", "2020-01-01_a", "-1", "1" * 400, "²"])
async def test_what_is_no_cursor_is_refused(
    client: httpx.AsyncClient, filled: Workbench, path: str, cursor: str
) -> None:
    response = await client.get(path, params={"cursor": cursor})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "invalid_request", "cursor")
