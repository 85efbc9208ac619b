"""What chat believes after memory was changed, with the bundled model: the new value, and never the old one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jc1 import Settings, SyncPipeline
from jc1.erasure import forget, purge
from jc1.memory.base import Filter, NewRecord

FACTS = [
    ("My dog is called Rex.", "My dog is called Fido.", "What is my dog called?", "Rex", "Fido"),
    ("I live in Porto.", "I live in Ghent.", "Where do I live?", "Porto", "Ghent"),
    ("My locker code is 4312.", "My locker code is 9921.", "What is my locker code?", "4312", "9921"),
    ("I work as a nurse.", "I work as a baker.", "What is my job?", "nurse", "baker"),
]
ABOUT = [old for *_, old, _ in FACTS]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPipeline]:
    home: Path = tmp_path_factory.mktemp("home")
    with SyncPipeline(Settings(home=home, max_reply_tokens=32)) as pipeline:
        yield pipeline


def told_and_asked(chat: SyncPipeline, owner: str, told: str, question: str) -> str:
    """Tell a fact in one session, ask for it in another; the id of the statement."""
    chat.chat(told, owner=owner, session="told")
    chat.chat(question, owner=owner, session="asked")
    (statement,) = chat.workbench.memory.list(owner, only=Filter(kind="statement")).records
    return statement.id


def replies(chat: SyncPipeline, owner: str, question: str) -> list[str]:
    """What is answered in a new session, and in those in which the fact was told and asked for."""
    return [chat.chat(question, owner=owner, session=session).text for session in ("new", "told", "asked")]


@pytest.mark.parametrize(("told", "edited", "question", "old", "new"), FACTS, ids=ABOUT)
def test_chat_answers_what_a_memory_was_edited_to(
    chat: SyncPipeline, told: str, edited: str, question: str, old: str, new: str
) -> None:
    owner = f"edited {old}"
    chat.workbench.memory.edit(owner, told_and_asked(chat, owner, told, question), edited)
    assert all(new in reply and old not in reply for reply in replies(chat, owner, question))


@pytest.mark.parametrize(("told", "edited", "question", "old", "new"), FACTS, ids=ABOUT)
def test_chat_does_not_answer_what_was_excluded_or_forgotten(
    chat: SyncPipeline, told: str, edited: str, question: str, old: str, new: str
) -> None:
    excluded, forgotten = f"excluded {old}", f"forgotten {old}"
    chat.workbench.memory.mark(excluded, told_and_asked(chat, excluded, told, question), excluded=True)
    forget(chat.workbench, forgotten, told_and_asked(chat, forgotten, told, question))
    assert purge(chat.workbench, forgotten).records == 3
    for owner in (excluded, forgotten):
        assert not any(old in reply for reply in replies(chat, owner, question))


DAY = "We walked along the river and talked about the weather. The bread came out too dark and the train was late. "


def test_chat_answers_from_the_end_of_a_long_text(chat: SyncPipeline) -> None:
    memory = chat.workbench.memory
    memory.add("long", [NewRecord(f"Note {n}: there were {n} apples at the market.") for n in range(10)])
    (letter,) = memory.add("long", [NewRecord(DAY * 90 + "My dog is called Rex.")])
    reply = chat.chat("What is my dog called?", owner="long", session="asked")
    assert "Rex" in reply.text
    assert [item["id"] for item in reply.trace.recalled].count(letter.id) == 1
    assert letter.id not in reply.trace.dropped_memories
