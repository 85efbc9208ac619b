"""Conversations in LoCoMo's format (A. Maharana and others, ACL 2024, https://github.com/snap-research/locomo).

Knows the format: what a file must hold to be a suite, and its turns and questions. The data is CC BY-NC 4.0 and not
part of JC1. Knows nothing about how memory searches or how an answer is scored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictInt

from jc1.errors import InvalidSuite
from jc1.memory.base import MAX_CHARACTERS, NewRecord
from jc1.messages import Message
from jc1_lab.records.items import Item
from jc1_lab.suites.jsonl import Label, Name, Problems, Text, parsed

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
"""LoCoMo's own numbers; 5 asks for what was never said and is left out."""
_TURN = re.compile(r"D(\d+):0*(\d+)")

Turn = tuple[int, int]
"""Session and number within it, both from 1."""


@dataclass(frozen=True, slots=True)
class Said:
    """One turn of a conversation."""

    turn: Turn
    speaker: str
    text: str
    when: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, its category, the turns that hold the answer, and the answer."""

    text: str
    category: int
    evidence: frozenset[Turn]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, and questions about them."""

    name: str
    turns: tuple[Said, ...]
    questions: tuple[Question, ...]


def locomo(path: Path) -> tuple[list[Item], dict[str, tuple[NewRecord, ...]]]:
    """Read questions of the categories 1 to 4 about long conversations, whose turns are an owner's memories.

    An answer's score is the token F1 with the reference, as LoCoMo's authors score it, but words are not stemmed.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InvalidSuite(f"{path}, line {error.lineno}: not JSON: {error.msg}.", param="suite") from None
    except UnicodeDecodeError:
        raise InvalidSuite(f"{path}: not UTF-8.", param="suite") from None
    except (ValueError, RecursionError):
        raise InvalidSuite(
            f"{path}: not JSON that can be read: a number is too long, or lists too deep.", param="suite"
        ) from None
    if not isinstance(entries, list):
        raise InvalidSuite(
            f"{path}: not in LoCoMo's format, a list of conversations with their questions; see "
            "https://github.com/snap-research/locomo.",
            param="suite",
        )
    # 1) Is every conversation of the right shape? Only then can it be read.
    problems = Problems(path, "conversation")
    for number, entry in enumerate(entries):
        parsed(_Locomo, entry, number, problems)
    problems.check()
    # 2) Has every question an answer?
    conversations = read(path)
    for number, conversation in enumerate(conversations):
        for question in conversation.questions:
            if not question.answer:
                problems.add(number, f"{question.text!r} has no answer")
    problems.check()
    # 3) The items
    items = [
        Item(
            id=f"{conversation.name}/{i}",
            messages=(Message.user(question.text),),
            references=(question.answer,),
            scorer="f1",
            owner=conversation.name,
            evidence=frozenset((f"session-{session}", turn) for session, turn in question.evidence),
            category=CATEGORIES[question.category],
        )
        for conversation in conversations
        for i, question in enumerate(conversation.questions, start=1)
    ]
    return items, {conversation.name: tuple(records(conversation)) for conversation in conversations}


def read(path: Path) -> list[Conversation]:
    """Return the conversations of a file in LoCoMo's format. Questions whose evidence names no turn are left out."""
    return [_conversation(entry, i) for i, entry in enumerate(json.loads(path.read_text(encoding="utf-8")))]


def _conversation(entry: dict[str, Any], number: int) -> Conversation:
    spoken = entry["conversation"]
    turns: list[Said] = []
    for key, session in spoken.items():
        if not re.fullmatch(r"session_\d+", key):
            continue
        when = moment(spoken[f"{key}_date_time"])
        for i, turn in enumerate(session):
            caption = f" [{turn['blip_caption']}]" if turn.get("blip_caption") else ""
            where = _turns(turn["dia_id"])[0]
            turns.append(Said(where, turn["speaker"], f"{turn['text']}{caption}", when + timedelta(minutes=i)))
    known = {turn.turn for turn in turns}
    questions = []
    for qa in entry["qa"]:
        evidence = frozenset(turn for text in qa["evidence"] for turn in _turns(text)) & known
        if qa["category"] in CATEGORIES and evidence:
            questions.append(Question(qa["question"], qa["category"], evidence, str(qa.get("answer", ""))))
    return Conversation(f"conversation-{number}", tuple(sorted(turns, key=lambda t: t.turn)), tuple(questions))


def moment(text: str) -> datetime:
    """Return when a session was, as LoCoMo writes it: '1:56 pm on 8 May, 2023'."""
    return datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


def _turns(text: str) -> list[Turn]:
    """Return the turns that a string names; evidence holds several at times, and zeros before numbers."""
    return [(int(session), int(number)) for session, number in _TURN.findall(text)]


def records(conversation: Conversation) -> list[NewRecord]:
    """Return the conversation's turns as records for memory."""
    return [
        NewRecord(
            turn.text,
            kind="statement",
            created=turn.when,
            session=f"session-{turn.turn[0]}",
            turn=turn.turn[1],
            speaker=turn.speaker,
        )
        for turn in conversation.turns
    ]


class _Turn(BaseModel):
    dia_id: Annotated[str, Field(pattern=r"^D\d{1,9}:\d{1,9}$")]
    speaker: Name
    text: Annotated[Text, Field(max_length=MAX_CHARACTERS)]
    blip_caption: Label | None = None


def _dated(value: str) -> str:
    try:
        moment(value)
    except ValueError:
        raise ValueError("should be a time such as '1:56 pm on 8 May, 2023'") from None
    return value


class _Session(BaseModel):
    date_time: Annotated[str, AfterValidator(_dated)]
    turns: list[_Turn]


def _sessions(value: object) -> object:
    """Return a conversation's turns and time by session, which stand side by side in the file."""
    if not isinstance(value, Mapping):
        return value
    sessions: dict[str, dict[str, Any]] = {}
    for key, turns in value.items():
        if re.fullmatch(r"session_\d+", key):
            when = f"{key}_date_time"
            sessions[key] = {"turns": turns} | ({"date_time": value[when]} if when in value else {})
    return sessions


class _Asked(BaseModel):
    question: Text
    category: StrictInt
    evidence: list[str]
    answer: str | int | float = ""


class _Locomo(BaseModel):
    conversation: Annotated[dict[str, _Session], BeforeValidator(_sessions)]
    qa: list[_Asked]
