"""Facts and the ways to say them, ask for them, confirm them and answer them.

Knows sentences about one fact at a time and whose words they are in (the user's or the assistant's). Knows nothing
about conversations, memory blocks, tokens or the network.

A template is filled with the forms of the person it is about ({I}, {my}, {am}, {have}, {do}, {s}), with `{x}`, the noun
that the attribute is about, and with `{v}`, the value.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jc1_lab.dialogues.words import LISTS, Words

NOT_TOLD = "You have not told me that."
CANNOT = "I am a tiny model: I can only remember and recall what you tell me."

PETS = LISTS["pets"]
ROLES = LISTS["roles"]
NAMED_THINGS = LISTS["named things"]
FAVOURITES = LISTS["favourites"]
LOCATED = LISTS["located"]
EVENTS = LISTS["events"]
CODES = LISTS["codes"]
QUALITIES = LISTS["qualities"]
ADJECTIVES = LISTS["adjectives"]
INDIRECT = tuple((lead.rstrip("?."), lead.endswith("?")) for lead in LISTS["indirect"])
"""What goes before an indirect question, and whether the whole is then a question."""


@dataclass(frozen=True, slots=True)
class Who:
    """The one a fact is about: the user, or somebody by role ("my sister"), name or both, or shared ("the", "our")."""

    role: str = ""
    name: str = ""
    shared: str = ""

    @property
    def is_user(self) -> bool:
        return not self.role and not self.name and not self.shared

    def forms(self, *, by_user: bool, use: str = "") -> dict[str, str]:
        """Return the words for this person.

        `use` is "role", "name", "both" (whatever there is, as is ""), "he" or "she".
        """
        if use in _PRONOUNS:
            return {
                "I": use,
                "my": _PRONOUNS[use][0],
                "me": _PRONOUNS[use][1],
                "am": "is",
                "have": "has",
                "do": "does",
                "s": "s",
                "es": "es",
                "was": "was",
            }
        if self.shared:
            return {**_NOBODY, "my": "your" if self.shared == "our" and not by_user else self.shared}
        if self.is_user:
            return _USER_SAYS if by_user else _ASSISTANT_SAYS
        mine = "my" if by_user else "your"
        role = f"{mine} {self.role}" if self.role and use != "name" else ""
        name = self.name if use != "role" or not self.role else ""
        subject = f"{role} {name}".strip()
        return {
            "I": subject,
            "my": subject + "'s",
            "me": subject,
            "am": "is",
            "have": "has",
            "do": "does",
            "s": "s",
            "es": "es",
            "was": "was",
        }


_USER_SAYS = {"I": "I", "my": "my", "me": "me", "am": "am", "have": "have", "do": "do", "s": "", "es": "", "was": "was"}
_ASSISTANT_SAYS = {
    "I": "you",
    "my": "your",
    "me": "you",
    "am": "are",
    "have": "have",
    "do": "do",
    "s": "",
    "es": "",
    "was": "were",
}
_NOBODY = {
    "I": "we",
    "my": "the",
    "me": "us",
    "am": "are",
    "have": "have",
    "do": "do",
    "s": "",
    "es": "",
    "was": "were",
}
_PRONOUNS = {"he": ("his", "him"), "she": ("her", "her")}
SHARED = ("code", "event", "place")
"""Attributes that may be nobody's in particular: "the keys", "our meeting"."""
PERSONAL = ("{I}", "{me}", "{have}", "{do}", " I ", "I ", "{am}")
USER = Who()


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that can be told about somebody. `about` says of whom: "all", "user" or "other" people."""

    key: str
    value: Callable[[Words], str]
    canon: str
    tell: tuple[str, ...]
    change: tuple[str, ...]
    ask: tuple[str, ...]
    indirect: tuple[str, ...]
    nouns: tuple[str, ...] = ("",)
    about: str = "all"
    reverse: tuple[str, ...] = ()
    weight: float = 1.0


def _load() -> tuple[tuple[Attribute, ...], dict[str, str]]:
    """Read the attributes and the verbs with their past from attributes.toml."""
    data = tomllib.loads(Path(__file__).with_name("attributes.toml").read_text(encoding="utf-8"))
    attributes = []
    for entry in data["attribute"]:
        nouns = tuple(n for name in entry.pop("lists", ()) for n in LISTS[name]) or _split(entry.pop("nouns", ""))
        nouns = nouns or ("",)
        wordings: dict[str, Any] = {
            name: _split(entry.pop(name, "")) for name in ("tell", "change", "ask", "indirect", "reverse")
        }
        value = getattr(Words, entry.pop("value"))
        attributes.append(Attribute(value=value, nouns=nouns, **wordings, **entry))
    return tuple(attributes), data["past"]


def _split(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split("|")) if text else ()


ATTRIBUTES, PAST = _load()


@dataclass(frozen=True, slots=True)
class Fact:
    """Who, which attribute, the noun it is about, and the value."""

    who: Who
    attribute: Attribute
    noun: str
    value: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what two facts share when the newer one replaces the older."""
        return (self.who.role + self.who.shared, self.who.name, self.attribute.canon, self.noun)

    def with_value(self, value: str) -> Fact:
        return Fact(self.who, self.attribute, self.noun, value)

    def fill(self, template: str, *, by_user: bool, use: str = "", old: str = "") -> str:
        forms = self.who.forms(by_user=by_user, use=use)
        return template.format(
            **forms,
            v=self.value,
            x=self.noun,
            old=old,
            past=PAST.get(self.noun, ""),
            xam="are" if self.noun.endswith("s") else "is",
            ies="y" if self.who.is_user else "ies",
        )

    def canon(self, use: str = "") -> str:
        """Return the fact as a clause in the assistant's words: 'your cat is called Ada'."""
        return self.fill(self.attribute.canon, by_user=False, use=use)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def answer(*clauses: str) -> str:
    return capital(" and ".join(clauses)) + "."


def confirm(*clauses: str) -> str:
    return "Noted: " + " and ".join(clauses) + "."


class Grammar:
    """Draws facts and sentences. `words` decides whether the values are training or held-out ones."""

    def __init__(self, rng: random.Random, words: Words) -> None:
        self.rng = rng
        self.words = words
        self._weights = [a.weight for a in ATTRIBUTES]

    def person(self) -> Who:
        """Draw somebody other than the user."""
        p = self.rng.random()
        if p < 0.05:
            return Who(role=self.rng.choice(PETS))
        if p < 0.45:
            return Who(role=self.rng.choice(ROLES))
        if p < 0.85:
            return Who(name=self.words.first_name())
        return Who(role=self.rng.choice(ROLES), name=self.words.first_name())

    def noun(self, attribute: Attribute) -> str:
        """Draw a noun for the attribute; where any will do, sometimes a made-up one or one with an adjective."""
        noun = self.rng.choice(attribute.nouns)
        if attribute.key in ("code", "quality", "called", "favourite", "place", "event"):
            p = self.rng.random()
            if p < 0.14:
                noun = self.words.made_up(False)
                noun = noun if not noun.endswith("s") else noun + "a"
            elif p < 0.24 and attribute.key in ("code", "called", "event"):
                noun = f"{self.rng.choice(ADJECTIVES)} {noun}"
            elif p < 0.30 and attribute.key in ("code", "quality"):
                noun = f"{self.words.made_up(False)} {noun.split()[-1]}"
        return noun

    def value(self, attribute: Attribute, noun: str) -> str:
        """Draw a value that goes with the attribute and its noun."""
        if attribute.key == "code" and ("password" in noun or "name" in noun or self.rng.random() < 0.08):
            return self.words.password()
        if attribute.key == "favourite" and noun in (
            "film",
            "book",
            "song",
            "band",
            "movie",
            "author",
            "singer",
            "artist",
            "game",
            "team",
        ):
            return self.words.title()
        if attribute.key == "favourite" and noun == "number":
            return self.words.digits(1, 3)
        return attribute.value(self.words)

    def fact(self, who: Who | None = None, attribute: Attribute | None = None) -> Fact:
        """Draw a fact, about `who` and of that `attribute` where they are given and go together."""
        attribute = attribute or self.rng.choices(ATTRIBUTES, self._weights)[0]
        if who is None or (attribute.about == "user" and not who.is_user):
            who = USER if attribute.about == "user" or self.rng.random() < 0.6 else self.person()
        if who.is_user and attribute.key in SHARED and self.rng.random() < 0.18:
            who = Who(shared=self.rng.choice(("the", "our")))
        noun = self.noun(attribute)
        return Fact(who, attribute, noun, self.value(attribute, noun))

    def near_miss(self, fact: Fact) -> Fact:
        """Draw a fact easily mistaken for this one: of another person, of another noun, or another of that person."""
        p = self.rng.random()
        a = fact.attribute
        if p < 0.4 and a.about != "user" and not fact.who.shared:
            who = USER if not fact.who.is_user and self.rng.random() < 0.4 else self.person()
            return Fact(who, a, fact.noun, self.value(a, fact.noun))
        if p < 0.75 and len(a.nouns) > 1:
            noun = self.noun(a)
            return Fact(fact.who, a, noun, self.value(a, noun))
        return self.fact(who=None if fact.who.shared else fact.who)

    def tell(self, fact: Fact, *, old: str = "", use: str = "") -> str:
        """Return the fact as a clause in the user's words; as a change of `old` where that is given."""
        templates = fact.attribute.change if old and self.rng.random() < 0.75 else fact.attribute.tell
        return fact.fill(self._choose(templates, fact), by_user=True, use=use, old=old)

    def _choose(self, templates: tuple[str, ...], fact: Fact) -> str:
        """Draw one of the templates; for something shared, one that names no person.

        A value with a small letter never starts a sentence, where that would be lost.
        """
        if fact.who.shared:
            templates = tuple(t for t in templates if not any(p in t for p in PERSONAL))
        if fact.value[0].islower():
            templates = tuple(t for t in templates if not t.startswith("{v}"))
        return self.rng.choice(templates)

    def ask(self, fact: Fact, use: str = "") -> tuple[str, bool]:
        """Return a question about the fact, without its end mark, and whether it is direct (and ends in '?')."""
        r = self.rng
        if r.random() < 0.68:
            return fact.fill(self._choose(fact.attribute.ask, fact), by_user=True, use=use), True
        clause = fact.fill(self._choose(fact.attribute.indirect, fact), by_user=True, use=use)
        lead, mark = r.choice(INDIRECT)
        return lead.format(clause), mark
