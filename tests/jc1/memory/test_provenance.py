"""Replies follow what they repeat: no reply is recalled, shown or in a prompt when its source is not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from jc1.database import reading
from jc1.database.tables import repeats
from jc1.memory.base import NewRecord, Record, Selection, Sources
from jc1.memory.store import DatabaseMemory
from jc1.sessions import Sessions
from tests.jc1.memory.conftest import HashingEmbedder
from tests.jc1.memory.test_store import recalled, tell
from tests.support.database import new_database

QUESTION, ANSWER = "What is my dog called?", "Your dog is called Rex."


@pytest.fixture
def sessions(database: Engine) -> Sessions:
    return Sessions(database)


class Chat:
    """Turns, stored as the pipeline stores them."""

    def __init__(self, memory: DatabaseMemory, sessions: Sessions) -> None:
        self.memory = memory
        self.sessions = sessions

    def say(
        self,
        text: str,
        reply: str,
        session: str | None = "s",
        recalled: Iterable[Record] = (),
        read: Iterable[int] = (),
    ) -> tuple[Record, Record]:
        turn = self.sessions.append("ann", session, user=text, reply=reply).number if session else None
        sources = Sources(tuple(record.id for record in recalled), frozenset(read))
        message = NewRecord(text, session=session, turn=turn)
        answer = NewRecord(reply, "assistant", "reply", session=session, turn=turn, sources=sources)
        first, second = self.memory.add("ann", [message, answer])
        return first, second

    def aside(
        self, text: str, reply: str, session: str, recalled: Iterable[Record] = (), read: Iterable[int] = ()
    ) -> None:
        """A turn with memory off, or reading only."""
        turn = self.sessions.append("ann", session, user=text, reply=reply).number
        sources = Sources(tuple(record.id for record in recalled), frozenset(read))
        self.memory.note_reply("ann", session, turn, text, reply, sources)

    def shown(self, session: str) -> list[str]:
        return [turn.reply for turn in self.sessions.history("ann", session)]

    def in_prompts(self, session: str) -> list[str]:
        return [turn.reply for turn in self.sessions.history("ann", session) if not turn.outdated]

    def replies(self) -> list[str]:
        return [text for text in recalled(self.memory, "dog") if text.startswith(("Noted", "Your", "Rex", "Paris"))]


@pytest.fixture
def chat(memory: DatabaseMemory, sessions: Sessions) -> Chat:
    return Chat(memory, sessions)


@pytest.fixture
def rex(chat: Chat) -> Record:
    """Told in one session and asked for in two others, beside a question about something else."""
    told, _ = chat.say("My dog is called Rex.", "Noted: your dog is called Rex.")
    _, answer = chat.say(QUESTION, ANSWER, "t", recalled=[told])
    chat.say("And the dog's name once more?", "Rex!", "u", recalled=[told, answer])
    chat.say("What is the capital of France?", "Paris.", "u", recalled=[told])
    return told


def test_what_a_reply_repeats_goes_with_it_wherever_the_reply_was_given(chat: Chat, rex: Record) -> None:
    impact = chat.memory.preview("ann", rex.id)
    assert (impact.records, impact.cascaded, impact.turns) == (4, 3, 3)
    assert {record.text for record in impact.first} == {
        rex.text, "Noted: your dog is called Rex.", ANSWER, "Rex!",
    }  # fmt: skip
    assert chat.memory.forget("ann", rex.id).impact.records == 4
    assert chat.replies() == ["Paris."]
    assert (chat.shown("s"), chat.shown("t"), chat.shown("u")) == ([], [], ["Paris."])
    assert chat.memory.restore("ann", rex.id).records == 4
    assert (chat.shown("s"), chat.shown("t"), chat.shown("u")) == (
        ["Noted: your dog is called Rex."], [ANSWER], ["Rex!", "Paris."],
    )  # fmt: skip
    assert len(chat.replies()) == 4
    chat.memory.forget("ann", rex.id)
    assert len(chat.memory.purge("ann", rex.id).records) == 4


def test_a_reply_that_was_given_in_a_forgotten_session_and_elsewhere_goes_too(chat: Chat, rex: Record) -> None:
    assert chat.memory.forget("ann", Selection(session="s")).impact.cascaded == 2
    assert chat.replies() == ["Paris."]
    assert chat.shown("t") == []


def test_replies_go_with_the_document_that_they_repeat(chat: Chat) -> None:
    (part,) = chat.memory.add("ann", [NewRecord("The wifi word is walrus.", document="Guide", session="d", turn=1)])
    chat.say("What is the wifi word?", "It is walrus.", "t", recalled=[part])
    assert chat.memory.forget("ann", Selection(document="Guide")).impact.cascaded == 1
    assert chat.shown("t") == []


def test_a_reply_to_a_new_version_of_a_document_is_not_that_to_the_old(chat: Chat) -> None:
    memory = chat.memory
    (old,) = memory.add("ann", [NewRecord("The wifi word is walrus.", document="Guide", session="v1", turn=1)])
    chat.say("What is the wifi word?", "It is walrus.", "t", recalled=[old])
    memory.add("ann", [NewRecord("The wifi word is otter.", document="Guide", session="v2", turn=1)])
    memory.commit_version("ann", "Guide", "v2", 1)
    assert not any("walrus" in text for text in recalled(memory, "wifi word"))


def test_replies_do_not_outlive_statements_that_have_reached_their_age(chat: Chat) -> None:
    year_ago = datetime.now(UTC) - timedelta(days=365)
    (told,) = chat.memory.add("ann", [NewRecord("My dog is called Rex.", created=year_ago)])
    chat.say(QUESTION, ANSWER, "t", recalled=[told])
    chat.memory.expire("ann", datetime.now(UTC) - timedelta(days=30))
    assert [record.text for record in chat.memory.list("ann").records] == [QUESTION]
    assert chat.shown("t") == []


@pytest.mark.parametrize("change", ["edit", "exclude", "supersede"])
def test_what_repeats_something_that_changed_is_not_recalled(chat: Chat, rex: Record, change: str) -> None:
    if change == "edit":
        chat.memory.edit("ann", rex.id, "My dog is called Fido.")
    elif change == "exclude":
        chat.memory.mark("ann", rex.id, excluded=True)
    else:
        tell(chat.memory, "My dog is now called Fido.")
    assert chat.replies() == ["Paris."]
    outdated = [record.text for record in chat.memory.list("ann").records if record.outdated]
    assert sorted(outdated) == ["Noted: your dog is called Rex.", "Rex!", ANSWER]


def test_what_is_included_or_counts_again_brings_its_replies_back(chat: Chat, rex: Record) -> None:
    chat.memory.mark("ann", rex.id, excluded=True)
    chat.memory.mark("ann", rex.id, excluded=False)
    assert len(chat.replies()) == 4
    (newer,) = tell(chat.memory, "My dog is now called Fido.")
    chat.memory.forget("ann", newer)
    assert len(chat.replies()) == 4


def test_no_prompt_holds_a_turn_whose_message_was_edited_or_excluded(chat: Chat, rex: Record) -> None:
    chat.memory.mark("ann", rex.id, excluded=True)
    assert (chat.in_prompts("s"), chat.in_prompts("t"), chat.in_prompts("u")) == ([], [], ["Paris."])
    assert chat.shown("t") == [ANSWER]
    chat.memory.mark("ann", rex.id, excluded=False)
    assert chat.in_prompts("t") == [ANSWER]
    chat.memory.edit("ann", rex.id, "My dog is called Fido.")
    chat.say(QUESTION, "Your dog is called Fido.", "t", recalled=[chat.memory.get("ann", rex.id)])
    assert chat.in_prompts("t") == ["Your dog is called Fido."]


def test_a_reply_that_was_given_after_the_edit_counts(chat: Chat, rex: Record) -> None:
    fido = chat.memory.edit("ann", rex.id, "My dog is called Fido.")
    _, reply = chat.say(QUESTION, "Your dog is called Fido.", "v", recalled=[fido])
    assert not chat.memory.get("ann", reply.id).outdated
    assert chat.memory.forget("ann", rex.id).impact.cascaded == 4


def test_earlier_turns_of_a_session_are_repeated_as_recalled_memories_are(chat: Chat) -> None:
    told, _ = chat.say("My dog is called Rex.", "Noted: your dog is called Rex.")
    chat.say(QUESTION, ANSWER, read=[1])
    chat.say("Say it again.", "Rex.", read=[1, 2])
    assert chat.memory.forget("ann", told.id).impact.turns == 3
    assert chat.shown("s") == []


def test_a_reply_that_repeats_a_reply_repeats_what_that_does(chat: Chat) -> None:
    told, _ = chat.say("My dog is called Rex.", "Noted!")
    _, answer = chat.say(QUESTION, ANSWER, "t", recalled=[told])
    chat.say("Which name was it?", "Rex.", "u", recalled=[answer])
    assert chat.memory.forget("ann", told.id).impact.cascaded == 3


def test_replies_outside_of_a_session_follow_too(chat: Chat) -> None:
    told, _ = chat.say("My dog is called Rex.", "Noted: your dog is called Rex.", None)
    chat.say(QUESTION, ANSWER, None, recalled=[told])
    assert chat.memory.forget("ann", told.id).impact.cascaded == 2


def test_turns_that_are_not_remembered_follow_too(chat: Chat) -> None:
    told, _ = chat.say("My dog is called Rex.", "Noted!")
    chat.aside(QUESTION, ANSWER, "t", recalled=[told])
    chat.aside("What is 2+2?", "4.", "t", recalled=[told])
    chat.aside("The dog's name again?", "Rex.", "s", read=[1])
    chat.memory.mark("ann", told.id, excluded=True)
    assert (chat.in_prompts("t"), chat.in_prompts("s")) == (["4."], [])
    chat.memory.mark("ann", told.id, excluded=False)
    assert chat.memory.preview("ann", told.id).turns == 3
    chat.memory.forget("ann", told.id)
    assert (chat.shown("t"), chat.shown("s")) == (["4."], [])
    chat.memory.restore("ann", told.id)
    assert (chat.shown("t"), chat.shown("s")) == ([ANSWER, "4."], ["Noted!", "Rex."])


def test_a_session_begun_anew_is_not_taken_for_the_one_that_was_deleted(chat: Chat) -> None:
    (told,) = chat.memory.add("ann", [NewRecord("My dog is called Rex.")])
    chat.aside(QUESTION, ANSWER, "t", recalled=[told])
    chat.sessions.delete("ann", "t")
    chat.aside("What is 2+2?", "4.", "t")
    assert chat.memory.forget("ann", told.id).impact.turns == 0


def test_the_preview_names_what_stays_and_holds_the_words(chat: Chat, rex: Record) -> None:
    asked, _ = chat.say("Is Rex what my dog is called?", "Yes.", "v", recalled=[rex])
    assert [record.id for record in chat.memory.preview("ann", rex.id).duplicates_kept] == [asked.id]


def test_a_file_carries_what_replies_repeat(chat: Chat, rex: Record, tmp_path: Path) -> None:
    with closing(chat.memory.export_lines("ann")) as lines:
        file = "".join(lines)
    with closing(DatabaseMemory(new_database(tmp_path / "other.db"), HashingEmbedder())) as other:
        other.import_lines("ann", BytesIO(file.encode()))
        assert other.preview("ann", rex.id).cascaded == 3
        other.edit("ann", rex.id, "My dog is called Fido.")
        assert sum(record.outdated for record in other.list("ann").records) == 3


def test_an_imported_turn_is_one_though_the_file_does_not_say_what_its_reply_repeats(memory: DatabaseMemory) -> None:
    line = {"kind": "statement", "created": "2026-01-01T00:00:00Z", "session": "s", "turn": 1}
    told = {**line, "id": "mem_1", "role": "user", "text": "My dog is called Rex."}
    reply = {**line, "id": "mem_2", "role": "assistant", "kind": "reply", "text": "Noted: Rex."}
    memory.import_lines("ann", BytesIO("\n".join(map(json.dumps, (told, reply))).encode()))
    assert memory.preview("ann", "mem_1").cascaded == 1


def test_links_go_with_the_replies(chat: Chat, rex: Record, database: Engine) -> None:
    chat.memory.forget("ann", Selection(everything=True))
    chat.memory.purge("ann")
    with reading(database) as connection:
        assert connection.execute(select(func.count()).select_from(repeats)).scalar_one() == 0
