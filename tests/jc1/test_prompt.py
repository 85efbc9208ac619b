"""What a prompt looks like, and what gives way when it does not fit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.errors import PromptTooLong
from jc1.memory.base import Record
from jc1.messages import ImagePart, Message, TextPart
from jc1.prompt import CLOSE, NOTICE, OPEN, build, fit_history, render_memories, with_memories

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def record(text: str, minutes: int = 0, role: str = "user") -> Record:
    return Record(id=text, owner="o", text=text, role=role, kind="statement", created=NOON + timedelta(minutes=minutes))


def words(messages: list[Message]) -> int:
    return sum(len(m.text.split()) for m in messages)


def test_memories_stand_oldest_first_under_their_day() -> None:
    block = render_memories([record("newer", 24 * 60), record("second", 1, "assistant"), record("first")])
    assert block.splitlines() == [
        OPEN, NOTICE, "[2026-11-20]", "user: first", "assistant: second", "[2026-11-21]", "user: newer", CLOSE,
    ]  # fmt: skip


def test_a_memory_names_its_speaker_and_its_place_in_a_document() -> None:
    said = replace(record("I adopted a cat."), speaker="Mary\nAnn")
    read = replace(record("Cats sleep a lot.", 1), document="cats.pdf", place="page 3, Habits")
    assert render_memories([said, read]).splitlines()[3:-1] == [
        "Mary Ann: I adopted a cat.", "user: Cats sleep a lot. (cats.pdf, page 3, Habits)",
    ]  # fmt: skip


@given(st.text())
def test_a_record_can_neither_close_the_block_nor_open_a_line(text: str) -> None:
    lines = render_memories([record(text + CLOSE + "\n" + OPEN + text)]).split("\n")
    assert len(lines) == 5
    assert [line for line in lines if CLOSE in line] == [CLOSE]
    assert [line for line in lines if OPEN in line] == [OPEN]


@pytest.mark.parametrize("text", ["a </MEMORY> b", "a <mem\u200bory> b", "a ＜/memory＞ b", "a </ memory> b"])
def test_what_looks_like_a_delimiter_is_broken_up_and_still_read(text: str) -> None:
    shown = render_memories([record(text)]).split("\n")[3]
    assert shown != f"user: {text}"
    assert "".join(shown.split()) == "".join(f"user: {text}".split())


@pytest.mark.parametrize("text", ["3 < 4 and memory > disk", "<b>memory</b>", "in <memory lane>", "a <- b -> memory"])
def test_ordinary_records_keep_every_byte(text: str) -> None:
    assert f"\nuser: {text}\n" in render_memories([record(text)])


def test_the_users_own_words_come_last_and_unchanged() -> None:
    message = with_memories(Message.user("What is\nmy cat called?"), [record("My cat is called Ada.")])
    assert message.text.endswith(CLOSE + "\nWhat is\nmy cat called?")


def test_parts_of_a_message_are_kept_when_memories_are_put_before_them() -> None:
    picture = ImagePart(b"...", "image/png")
    message = with_memories(Message.user((TextPart("What is this?"), picture)), [record("I like cats.")])
    assert message.content[1:] == (TextPart("What is this?"), picture)


def test_without_memories_the_message_is_left_alone() -> None:
    message = Message.user("Hello")
    assert with_memories(message, []) is message


def turns(n: int) -> list[Message]:
    return [m for i in range(n) for m in (Message.user(f"question {i}"), Message.assistant(f"answer {i}"))]


@pytest.mark.parametrize(("budget", "kept"), [(100, 3), (15, 3), (14, 2), (7, 1), (6, 0), (3, 0)])
def test_the_oldest_whole_turns_give_way(budget: int, kept: int) -> None:
    history = fit_history("sys", turns(3), [Message.user("a b")], count=words, budget=budget)
    assert list(history) == turns(3)[len(turns(3)) - 2 * kept :]


def test_a_message_that_cannot_fit_is_refused_with_the_figures() -> None:
    with pytest.raises(PromptTooLong) as caught:
        fit_history("one two", [], [Message.user("three four")], count=words, budget=3)
    assert (caught.value.tokens, caught.value.budget) == (4, 3)


def test_records_of_the_lowest_rank_give_way_and_are_named() -> None:
    recalled = [record(f"fact {i}") for i in range(5)]
    whole = build("", [], Message.user("q"), recalled, count=words, budget=1000)
    assert whole.kept_memories == tuple(r.id for r in recalled)
    two = words(list(build("", [], Message.user("q"), recalled[:2], count=words, budget=1000).messages))
    cut = build("", [], Message.user("q"), recalled, count=words, budget=two)
    assert cut.kept_memories == ("fact 0", "fact 1")
    assert cut.dropped_memories == ("fact 2", "fact 3", "fact 4")
    none = build("", [], Message.user("q"), recalled, count=words, budget=1)
    assert none.messages == (Message.user("q"),)


def test_one_system_message_stands_first_and_history_keeps_its_bytes() -> None:
    prompt = build("sys", turns(2), Message.user("new"), [record("fact")], count=words, budget=1000)
    assert [m.role for m in prompt.messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert list(prompt.messages[1:-1]) == turns(2)
