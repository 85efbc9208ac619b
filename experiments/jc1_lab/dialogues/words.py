"""Words and made-up values for the dialogues, in two disjoint halves: one to train on, one to be tested on.

Knows lists, syllables and how a value of each kind looks. Knows nothing about sentences.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def lists(path: Path) -> dict[str, tuple[str, ...]]:
    """Read the sections of a list file: `[name]`, then items separated by bars."""
    sections: dict[str, tuple[str, ...]] = {}
    for section in path.read_text(encoding="utf-8").split("\n[")[1:]:
        name, _, body = section.partition("]")
        sections[name] = tuple(" ".join(item.split()) for item in body.split("|"))
    return sections


LISTS = lists(Path(__file__).with_name("lists.txt"))
PEOPLE = LISTS["people"]
PEOPLE_HELD = LISTS["people held"]
CITIES = LISTS["cities"]
CITIES_HELD = LISTS["cities held"]
THINGS = LISTS["things"]
THINGS_HELD = LISTS["things held"]
JOBS = LISTS["jobs"]
JOBS_HELD = LISTS["jobs held"]
OBJECTS = LISTS["objects"]
OBJECTS_HELD = LISTS["objects held"]
PLACES = LISTS["places"]
PLACES_HELD = LISTS["places held"]
COLOURS = LISTS["colours"]
COLOURS_HELD = LISTS["colours held"]
PREPOSITIONS = LISTS["prepositions"]
DAYS = LISTS["days"]
MONTHS = LISTS["months"]
NUMBERS = LISTS["numbers"]


@dataclass(frozen=True, slots=True)
class Syllables:
    """Parts that made-up words are put together from."""

    starts: tuple[str, ...]
    vowels: tuple[str, ...]
    ends: tuple[str, ...]


TRAIN_SYLLABLES = Syllables(LISTS["starts"], LISTS["vowels"], LISTS["ends"])
HELD_SYLLABLES = Syllables(LISTS["starts held"], LISTS["vowels held"], LISTS["ends held"])


class Words:
    """A source of values. `held` draws from lists and syllables that training never sees."""

    def __init__(self, rng: random.Random, held_out: bool = False) -> None:
        self.rng = rng
        self.held_out = held_out
        self.syllables = HELD_SYLLABLES if held_out else TRAIN_SYLLABLES

    def pick(self, train: Sequence[str], held_out: Sequence[str]) -> str:
        return self.rng.choice(held_out if self.held_out else train)

    def made_up(self, capital: bool | None = None) -> str:
        """Draw a word that nobody has seen: one to three syllables, capitalised two times out of three unless told."""
        r, s = self.rng, self.syllables
        word = "".join(r.choice(s.starts) + r.choice(s.vowels) for _ in range(r.choice((1, 1, 2, 2, 2, 3))))
        if len(word) < 4 or r.random() < 0.6:
            word += r.choice(s.ends)
        if capital is None:
            capital = r.random() < 0.67
        return word.capitalize() if capital else word

    def digits(self, low: int, high: int) -> str:
        return "".join(self.rng.choice("0123456789") for _ in range(self.rng.randint(low, high)))

    def person(self) -> str:
        r = self.rng
        name = self.pick(PEOPLE, PEOPLE_HELD) if r.random() < 0.4 else self.made_up(True)
        if r.random() < 0.12:
            name += " " + self.made_up(True)
        return name.lower() if r.random() < 0.06 else name

    def first_name(self) -> str:
        """Draw a one-word capitalised name, for somebody who is spoken about."""
        return self.pick(PEOPLE, PEOPLE_HELD) if self.rng.random() < 0.6 else self.made_up(True)

    def city(self) -> str:
        r = self.rng
        city = self.pick(CITIES, CITIES_HELD) if r.random() < 0.5 else self.made_up(True)
        if r.random() < 0.1:
            city = r.choice(("New ", "Port ", "San ", "North ", "Lake ")) + self.made_up(True)
        return city.lower() if r.random() < 0.08 else city

    def thing(self) -> str:
        r = self.rng
        p = r.random()
        if p < 0.5:
            return self.pick(THINGS, THINGS_HELD)
        if p < 0.75:
            return self.made_up()
        if p < 0.88:
            return (
                self.pick(COLOURS, COLOURS_HELD)
                + " "
                + (self.made_up(False) if r.random() < 0.5 else self.pick(THINGS, THINGS_HELD))
            )
        return self.made_up() + " " + self.made_up()

    def title(self) -> str:
        """Draw the name of a film, a book, a band or a company."""
        r = self.rng
        p = r.random()
        if p < 0.3:
            return "The " + self.made_up(True)
        if p < 0.6:
            return self.made_up(True) + " " + r.choice(LISTS["titles"])
        return self.made_up(True)

    def job(self) -> str:
        p = self.rng.random()
        return (
            self.pick(JOBS, JOBS_HELD)
            if p < 0.6
            else self.made_up(False) + " " + self.pick(JOBS, JOBS_HELD)
            if p < 0.8
            else self.made_up(False)
        )

    def number(self) -> str:
        return self.digits(1, 2).lstrip("0") or "7"

    def code(self) -> str:
        """Draw a PIN, a telephone number or a serial number."""
        r = self.rng
        p = r.random()
        if p < 0.6:
            return self.digits(3, 6)
        if p < 0.8:
            return f"{self.digits(3, 3)}{r.choice('- ')}{self.digits(3, 4)}"
        return (
            "".join(r.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(r.randint(1, 2)))
            + r.choice(("", "-"))
            + self.digits(2, 3)
        )

    def password(self) -> str:
        r = self.rng
        p = r.random()
        if p < 0.4:
            return self.made_up() + self.digits(1, 3)
        if p < 0.7:
            return f"{self.made_up(False)}-{self.made_up(False)}" + (
                f"-{self.digits(2, 2)}" if r.random() < 0.5 else ""
            )
        return self.made_up()

    def time(self) -> str:
        r = self.rng
        if r.random() < 0.6:
            return f"{r.randint(1, 23)}:{r.choice('012345')}{r.choice('0055123456789')}"
        return f"{r.randint(1, 12)}{r.choice((' pm', ' am', 'pm', 'am'))}"

    def date(self) -> str:
        r = self.rng
        day, month = r.randint(1, 28), r.choice(MONTHS)
        return r.choice(
            (f"{day} {month}", f"{month} {day}", f"the {day}th of {month}" if 3 < day < 21 else f"{day} {month}")
        )

    def when(self) -> str:
        """Draw a time with its preposition: 'on Friday at 15:30'."""
        r = self.rng
        p = r.random()
        if p < 0.3:
            return f"at {self.time()}"
        if p < 0.55:
            return f"on {r.choice(DAYS)}"
        if p < 0.8:
            return f"on {r.choice(DAYS)} at {self.time()}"
        return f"on {self.date()}"

    def where(self) -> str:
        """Draw a place with its preposition: 'in the blue drawer'."""
        r = self.rng
        p = r.random()
        if p < 0.65:
            return f"{r.choice(PREPOSITIONS)} the {self.pick(COLOURS, COLOURS_HELD)} {self.pick(PLACES, PLACES_HELD)}"
        if p < 0.85:
            return f"{r.choice(PREPOSITIONS)} the {self.pick(PLACES, PLACES_HELD)}"
        return f"{r.choice(PREPOSITIONS)} the {self.made_up(False)}"

    def object(self) -> str:
        """Draw an object with its article: 'a green lamp'."""
        r = self.rng
        noun = self.pick(OBJECTS, OBJECTS_HELD) if r.random() < 0.6 else self.made_up(False)
        if r.random() < 0.6:
            noun = self.pick([c for c in COLOURS if c != "old"], COLOURS_HELD) + " " + noun
        return "a " + noun

    def car(self) -> str:
        colour = self.pick(COLOURS, COLOURS_HELD) + " " if self.rng.random() < 0.5 else ""
        return "a " + colour.replace("old ", "") + self.made_up(True)

    def colour(self) -> str:
        r = self.rng
        return self.pick(LISTS["paints"], LISTS["paints held"]) if r.random() < 0.7 else self.made_up(False)

    def year(self) -> str:
        return f"{self.rng.choice(('19', '20'))}{self.digits(2, 2)}"

    def count(self) -> str:
        return self.rng.choice(NUMBERS) if self.rng.random() < 0.6 else self.number()
