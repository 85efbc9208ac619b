"""JC1's own files of prompts: JSON, a prompt or an owner's memories a line. docs/suites.md describes them.

Knows the fields and how lines refer to each other. Knows nothing about scoring, or about what becomes of the prompts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, model_validator

from jc1.memory.base import MAX_CHARACTERS, NewRecord
from jc1.messages import Message
from jc1_lab.records.items import NO_SCORER, Item
from jc1_lab.suites.jsonl import Label, Name, Problems, Text, parsed, values

FIRST_DAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""When memories were said that have no time: dates stand in prompts, so they may not move with the day of a run."""
SESSION = "memories"
"""The session of memories that name none."""


def _number_as_text(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return str(value) if number else value


Reference = Annotated[Text, BeforeValidator(_number_as_text)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Message(_Strict):
    role: Literal["system", "user", "assistant"]
    content: Text


class _Memory(_Strict):
    text: Annotated[Text, Field(max_length=MAX_CHARACTERS)]
    role: Literal["user", "assistant"] = "user"
    speaker: Name | None = None
    session: Name = SESSION
    created: AwareDatetime | None = None


def _long_form(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


_Memories = list[Annotated[_Memory, BeforeValidator(_long_form)]]


class _Owner(_Strict):
    """A line that tells what an owner remembers."""

    owner: Name
    memories: _Memories


class _Prompt(_Strict):
    """A line that asks."""

    id: Name | None = None
    prompt: Text | None = None
    messages: list[_Message] | None = None
    reference: Reference | None = None
    references: list[Reference] = []
    scorer: str | None = None
    memories: _Memories | None = None
    owner: Name | None = None
    evidence: list[StrictInt] = []
    category: Label = ""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give 'prompt' or 'messages', one of the two")
        if self.messages is not None and (not self.messages or self.messages[-1].role != "user"):
            raise ValueError("'messages' must end with a message of the user")
        if self.reference is not None and self.references:
            raise ValueError("give 'reference' or 'references', one of the two")
        if self.memories is not None and self.owner is not None:
            raise ValueError("give 'memories' or the 'owner' of a shared set, one of the two")
        if self.evidence and self.memories is None and self.owner is None:
            raise ValueError("'evidence' counts memories, and there are none: give 'memories' or 'owner'")
        return self

    @property
    def right(self) -> tuple[str, ...]:
        return tuple(self.references) if self.reference is None else (self.reference,)

    @property
    def name_of_scorer(self) -> str:
        return self.scorer or ("exact" if self.right else NO_SCORER)

    def conversation(self) -> tuple[Message, ...]:
        if self.messages is None:
            return (Message.user(self.prompt or ""),)
        return tuple(Message(message.role, message.content) for message in self.messages)


def jsonl(path: Path) -> tuple[list[Item], dict[str, tuple[NewRecord, ...]]]:
    """Return the prompts of a file, and what the owners that they name have told. Raises `InvalidSuite`."""
    problems = Problems(path)
    # 1) The lines: prompts, and the memories of owners, which may stand after those who name them
    prompts: dict[int, _Prompt] = {}
    memories: dict[str, tuple[NewRecord, ...]] = {}
    all_told = True
    for number, value in values(path, problems):
        tells = isinstance(value, Mapping) and "owner" in value and not {"prompt", "messages"} & value.keys()
        shape: type[_Owner] | type[_Prompt] = _Owner if tells else _Prompt
        line = parsed(shape, value, number, problems)
        if line is None:
            all_told = all_told and not tells
        elif isinstance(line, _Prompt):
            prompts[number] = line
        elif line.owner in memories:
            problems.add(number, f"the memories of {line.owner!r} stand in an earlier line already")
        else:
            memories[line.owner] = _records(line.memories)

    # 2) The items, each with its memories
    items: list[Item] = []
    first: dict[str, int] = {}
    for number, prompt in prompts.items():
        name, owner = prompt.id or f"line-{number}", prompt.owner
        if first.setdefault(name, number) != number:
            problems.add(number, f"the id {name!r} is that of line {first[name]} already")
        if prompt.memories is not None:
            owner = f"line-{number}"
            if owner in memories:
                problems.add(number, f"its memories are kept under {owner!r}, which names a shared set: rename that")
            memories[owner] = _records(prompt.memories)
        if owner is not None and owner not in memories:
            if all_told:  # otherwise the line that is missing was told already
                problems.add(number, f"no line tells the memories of {owner!r}")
            continue
        records = memories[owner] if owner is not None else ()
        if wrong := [i for i in prompt.evidence if not 0 <= i < len(records)]:
            problems.add(number, f"the evidence {wrong[0]} is none of the {len(records)} memories, counted from 0")
            continue
        evidence = frozenset((records[i].session or "", records[i].turn or 0) for i in prompt.evidence)
        items.append(
            Item(
                name,
                prompt.conversation(),
                prompt.right,
                prompt.name_of_scorer,
                owner,
                evidence,
                prompt.category,
                place=problems.place(number),
            )
        )
    problems.check()
    return items, memories


def _records(memories: _Memories) -> tuple[NewRecord, ...]:
    """Return the memories numbered within their sessions from 1; those without a time are a minute apart."""
    numbers: dict[str, int] = defaultdict(int)
    records = []
    for i, memory in enumerate(memories):
        numbers[memory.session] += 1
        records.append(
            NewRecord(
                memory.text,
                memory.role,
                created=memory.created or FIRST_DAY + timedelta(minutes=i),
                session=memory.session,
                turn=numbers[memory.session],
                speaker=memory.speaker,
            )
        )
    return tuple(records)
