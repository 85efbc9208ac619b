"""Files of prompts in the formats of their authors: GSM8K and Spec-Bench (LoCoMo's is jc1_lab.suites.locomo). None of
them is part of JC1.

    GSM8K       K. Cobbe and others, 2021, https://github.com/openai/grade-school-math
    Spec-Bench  H. Xia and others, ACL Findings 2024, https://github.com/hemingkx/Spec-Bench

Knows the formats. Knows nothing about scoring, or about what becomes of the prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from jc1.memory.base import NewRecord
from jc1.messages import Message
from jc1_lab.records.items import NO_SCORER, Item
from jc1_lab.suites.jsonl import Label, Problems, Text, read_lines
from jc1_lab.suites.locomo import locomo

Read = tuple[list[Item], dict[str, tuple[NewRecord, ...]]]
"""Prompts, and what the owners that they name have told."""


class _Gsm8k(BaseModel):
    question: Text
    answer: Text

    @model_validator(mode="after")
    def _has_result(self) -> Self:
        if not self.result:
            raise ValueError("'answer' has no number after '####'")
        return self

    @property
    def result(self) -> str:
        return self.answer.rpartition("####")[2].strip() if "####" in self.answer else ""


class _SpecBench(BaseModel):
    question_id: int | Text
    category: Label
    turns: Annotated[list[Text], Field(min_length=1)]


def gsm8k(path: Path) -> Read:
    """Read grade-school mathematics: the question as it stands, and the number that the answer ends with."""
    lines = read_lines(path, _Gsm8k)
    place = Problems(path).place
    items = [
        Item(f"line-{number}", (Message.user(line.question),), (line.result,), "number", place=place(number))
        for number, line in lines
    ]
    return items, {}


def spec_bench(path: Path) -> Read:
    """Read the first turn of each conversation.

    They are for measuring speed: no answer is right, so there is no score.
    """
    lines = read_lines(path, _SpecBench)
    problems = Problems(path)
    items: dict[str, Item] = {}
    for number, line in lines:
        name = str(line.question_id)
        if name in items:
            problems.add(number, f"the question_id {name!r} stands in an earlier line already")
        items[name] = Item(name, (Message.user(line.turns[0]),), scorer=NO_SCORER, category=line.category)
    problems.check()
    return list(items.values()), {}


READERS: dict[str, Callable[[Path], Read]] = {"gsm8k": gsm8k, "spec-bench": spec_bench, "locomo": locomo}
"""Formats by the word before the file's path."""
