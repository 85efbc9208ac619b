"""The handwritten set: what each item holds, and that the generator can write none of them.

Every template becomes a pattern that lets through more than the template can say (any few words stand for a value, any
noun or name for a person or a thing). An item counts as within reach when its last message fits a pattern and so does
each memory and each earlier message of the user; none may be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest

from experiments.tiny.evaluate import HANDWRITTEN
from jc1_lab.dialogues.chatter import REMARKS, REQUESTS, SMALL_TALK, WORLD
from jc1_lab.dialogues.dialogue import (
    ASIDES,
    CHANGE_LEADS,
    LEADS,
    PRELUDES,
    QUESTION_LEADS,
    QUESTION_PRELUDES,
    QUESTION_TAILS,
    QUESTION_TRAILERS,
    TAILS,
    TRAILERS,
)
from jc1_lab.dialogues.grammar import ATTRIBUTES, INDIRECT, PAST, PETS, ROLES, Attribute

ITEMS = [json.loads(line) for line in HANDWRITTEN.read_text(encoding="utf-8").splitlines()]
VALUE = r"(?:[\w:.'-]+ ?){1,5}"
PERSON = rf"(?:my (?:{'|'.join(sorted((*ROLES, *PETS), key=len, reverse=True))})(?: [\w-]+)?|[\w-]+)"
FORMS = {
    "I": rf"(?:i|he|she|we|{PERSON})",
    "my": rf"(?:my|his|her|the|our|{PERSON}'s)",
    "me": rf"(?:me|him|her|us|{PERSON})",
    "am": "(?:am|is|are)",
    "have": "(?:have|has)",
    "do": "(?:do|does)",
    "s": "s?",
    "es": "(?:es)?",
    "was": "(?:was|were)",
    "xam": "(?:is|are)",
    "ies": "(?:y|ies)",
}
OPEN = ("code", "quality", "called", "favourite", "place", "event")
"""Attributes whose noun may be any word."""
Pattern = tuple[frozenset[str], str]
"""The words that a text must have, and what it must then match as a whole."""


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w'{} -]", " ", text.lower()).replace("_", " ").split())


def pattern(template: str, nouns: str = VALUE) -> Pattern:
    parts = re.split(r"(\{\w*\})", re.sub(r"[^\w'{} -]", " ", template))
    words: set[str] = set()
    found = ""
    for i, part in enumerate(parts):
        if part.startswith("{"):
            name = part[1:-1]
            found += FORMS.get(name, nouns if name in ("x", "past") else VALUE)
            continue
        literal = " ".join(part.lower().split())
        found += (
            (" " if part[:1] == " " and i else "")
            + re.escape(literal)
            + (" " if part.endswith(" ") and literal else "")
        )
        inner = part.lower().split()
        inner = inner[1:] if i and not part.startswith(" ") else inner  # "{live}s": half a word
        inner = inner[:-1] if i + 1 < len(parts) and not part.endswith(" ") else inner
        words |= set(inner)
    return frozenset(words), re.sub(r" +", " ", found).strip()


def nouns_of(attribute: Attribute) -> str:
    nouns = {plain(word) for noun in attribute.nouns for word in (noun, PAST.get(noun, noun)) if word}
    free = [r"[\w-]+(?: [\w-]+)?"] if attribute.key in OPEN else []
    return "(?:" + "|".join([*sorted(map(re.escape, nouns), key=len, reverse=True), *free]) + ")"


def patterns() -> tuple[list[Pattern], list[Pattern]]:
    """Of what is asked, and of what is told."""
    asked = [pattern(text) for text in (*REQUESTS, *WORLD)]
    asked += [pattern(text) for _, texts in SMALL_TALK for text in texts]
    told = [pattern(text) for text in REMARKS]
    for attribute in ATTRIBUTES:
        nouns = nouns_of(attribute)
        asked += [pattern(text, nouns) for text in (*attribute.ask, *attribute.reverse)]
        for clause in (pattern(text, nouns) for text in attribute.indirect):
            for lead, _ in INDIRECT:
                before, after = (pattern(part) for part in lead.split("{}"))
                joined = " ".join(part for part in (before[1], clause[1], after[1]) if part)
                asked.append((before[0] | clause[0] | after[0], joined))
        told += [pattern(text, nouns) for text in (*attribute.tell, *attribute.change)]
    return asked, told


ASKED, TOLD = patterns()
AROUND_QUESTIONS = ((*QUESTION_LEADS, *QUESTION_PRELUDES), (*QUESTION_TAILS, *QUESTION_TRAILERS, "please"))
AROUND_STATEMENTS = ((*LEADS, *CHANGE_LEADS, *PRELUDES), (*ASIDES, *TAILS, *TRAILERS))


def bare(text: str, around: tuple[Iterable[str], Iterable[str]]) -> set[str]:
    """The text without what may stand before and after it."""
    cores = {text}
    for lead in map(plain, around[0]):
        cores |= {text.removeprefix(lead + " ")}
    for tail in map(plain, around[1]):
        cores |= {core.removesuffix(" " + tail) for core in cores}
    for tail in map(plain, around[1]):
        cores |= {core.removesuffix(" " + tail) for core in cores}
    return cores


def fits(text: str, found: list[Pattern], around: tuple[Iterable[str], Iterable[str]]) -> bool:
    for core in bare(plain(text), around):
        words = set(core.split())
        if any(needed <= words and re.fullmatch(rule, core) for needed, rule in found):
            return True
    return False


def within_reach(item: dict[str, Any]) -> bool:
    said = [m["text"] for m in item.get("memories", []) if m["role"] == "user"]
    said += [text for role, text in item.get("history", []) if role == "user"]
    return all(
        fits(text, ASKED, AROUND_QUESTIONS) or fits(text, TOLD, AROUND_STATEMENTS) for text in (item["question"], *said)
    )


@pytest.mark.parametrize(
    "item",
    [
        {
            "question": "By the way, what is my cat called?",
            "memories": [{"role": "user", "text": "My cat is called Ada."}],
        },
        {"question": "Do you know where Tom lives?", "memories": [{"role": "user", "text": "I moved to New Oslo."}]},
        {"question": "My sister is allergic to nuts."},
    ],
)
def test_what_the_generator_writes_is_within_its_reach(item: dict[str, Any]) -> None:
    assert within_reach(item)


def test_no_item_can_be_written_by_the_generator() -> None:
    assert [item["id"] for item in ITEMS if within_reach(item)] == []


def test_there_are_enough_items_and_their_values_were_said() -> None:
    assert len(ITEMS) >= 100
    unanswerable = sum(item["expect"] == "not_told" for item in ITEMS)
    assert 10 <= unanswerable <= 25
    for item in ITEMS:
        said = json.dumps([item["question"], item.get("memories"), item.get("history")], ensure_ascii=False)
        told = isinstance(item["expect"], list) and item["expect"] not in (
            ["Hello"],
            ["welcome"],
            ["Goodbye"],
            ["JC1"],
            ["remember"],
        )
        assert not told or all(value in said for value in item["expect"])
