"""Files of prompts in the formats of their authors: GSM8K, Spec-Bench and LoCoMo. None of them is part of JC1.

    GSM8K       K. Cobbe and others, 2021, https://github.com/openai/grade-school-math
    Spec-Bench  H. Xia and others, ACL Findings 2024, https://github.com/hemingkx/Spec-Bench
    LoCoMo      A. Maharana and others, ACL 2024, https://github.com/snap-research/locomo

Knows the formats. Knows nothing about scoring, or about what becomes of the prompts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictInt, model_validator

from experiments.benchmarks import recall
from jc1.errors import InvalidSuite
from jc1.memory.base import MAX_CHARACTERS, NewRecord
from jc1.messages import Message
from jc1_lab.scoring.metrics import NONE, unfit
from jc1_lab.suites.lines import Label, Name, Problems, Text, checked, read_lines
from jc1_lab.suites.suite import Item

Read = tuple[list[Item], dict[str, tuple[NewRecord, ...]]]
"""Prompts, and what the owners that they name have told."""


class _Gsm8k(BaseModel):
    question: Text
    answer: Text

    @model_validator(mode="after")
    def _has_result(self) -> Self:
        if unfit("number", (self.result,), evidence=False):
            raise ValueError("'answer' has no number after '####'")
        return self

    @property
    def result(self) -> str:
        return self.answer.rpartition("####")[2].strip() if "####" in self.answer else ""


class _SpecBench(BaseModel):
    question_id: int | Text
    category: Label
    turns: Annotated[list[Text], Field(min_length=1)]


class _Turn(BaseModel):
    dia_id: Annotated[str, Field(pattern=r"^D\d{1,9}:\d{1,9}$")]
    speaker: Name
    text: Annotated[Text, Field(max_length=MAX_CHARACTERS)]
    blip_caption: Label | None = None


def _dated(value: str) -> str:
    try:
        recall.moment(value)
    except ValueError:
        raise ValueError("should be a time such as '1:56 pm on 8 May, 2023'") from None
    return value


class _Session(BaseModel):
    date_time: Annotated[str, AfterValidator(_dated)]
    turns: list[_Turn]


def _sessions(value: object) -> object:
    """A conversation's turns and time by session, which stand side by side in the file."""
    if not isinstance(value, Mapping):
        return value
    found: dict[str, dict[str, Any]] = {}
    for key, said in value.items():
        if re.fullmatch(r"session_\d+", key):
            when = f"{key}_date_time"
            found[key] = {"turns": said} | ({"date_time": value[when]} if when in value else {})
    return found


class _Asked(BaseModel):
    question: Text
    category: StrictInt
    evidence: list[str]
    answer: str | int | float = ""


class _Locomo(BaseModel):
    conversation: Annotated[dict[str, _Session], BeforeValidator(_sessions)]
    qa: list[_Asked]


def gsm8k(path: Path) -> Read:
    """Grade-school mathematics: the question as it stands, and the number that the answer ends with."""
    lines = read_lines(path, _Gsm8k)
    return [Item(f"line-{n}", (Message.user(x.question),), (x.result,), "number") for n, x in lines], {}


def spec_bench(path: Path) -> Read:
    """The first turn of each conversation. They are for measuring speed: no answer is right, so there is no score."""
    lines = read_lines(path, _SpecBench)
    problems = Problems(path)
    items: dict[str, Item] = {}
    for number, line in lines:
        name = str(line.question_id)
        if name in items:
            problems.add(number, f"the question_id {name!r} stands in an earlier line already")
        items[name] = Item(name, (Message.user(line.turns[0]),), scorer=NONE, category=line.category)
    problems.check()
    return list(items.values()), {}


def locomo(path: Path) -> Read:
    """Questions of the categories 1 to 4 about long conversations, whose turns are an owner's memories.

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
    problems = Problems(path, "conversation")
    for number, entry in enumerate(entries):
        checked(_Locomo, entry, number, problems)
    problems.check()
    conversations = recall.read(path)
    for number, conversation in enumerate(conversations):
        for question in conversation.questions:
            if not question.answer:
                problems.add(number, f"{question.text!r} has no answer")
    problems.check()
    items = [
        Item(
            id=f"{conversation.name}/{i}",
            messages=(Message.user(question.text),),
            references=(question.answer,),
            scorer="f1",
            owner=conversation.name,
            evidence=frozenset((f"session-{session}", turn) for session, turn in question.evidence),
            category=recall.CATEGORIES[question.category],
        )
        for conversation in conversations
        for i, question in enumerate(conversation.questions, start=1)
    ]
    return items, {conversation.name: tuple(recall.records(conversation)) for conversation in conversations}


READERS: dict[str, Callable[[Path], Read]] = {"gsm8k": gsm8k, "spec-bench": spec_bench, "locomo": locomo}
"""Formats by the word before the file's path."""
