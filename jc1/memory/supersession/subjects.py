"""Subjects of statements: a newer statement about the same subject supersedes the older.

Knows the wording of plain English facts ("my cat is called Ada", "I moved to Lyon", "the meeting is on Friday"). Knows
nothing about records or databases, and no other language: there nothing is superseded.

A superseded record is kept but no longer recalled, so this leans to the safe side. A statement is superseded only where
all that it says is understood, and only by one that says something new about all of it. What more than one may have (a
brother, a friend) changes only where the newer wording says that it changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from jc1.memory.supersession.patterns import facts, left_behind
from jc1.memory.supersession.segmentation import clauses

MAX_KEY = 400
"""Most characters of a stored key."""
_MOST = 4
"""Most facts of one statement that are followed."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of a statement: `about` names each, `whole` says that the statement tells nothing else,
    `replaces` holds the subjects of which it supersedes an older statement, and `multi_valued` those of which there may
    be more than one. Where `previous_value` is not empty, what it supersedes holds that word: 'from Oslo to Lyon'."""

    about: frozenset[str] = frozenset()
    replaces: frozenset[str] = frozenset()
    multi_valued: frozenset[str] = frozenset()
    whole: bool = False
    previous_value: str = ""

    @property
    def key(self) -> str | None:
        """Return what is stored with the statement: its subjects, `None` where it must never be superseded."""
        joined = "\n".join(sorted(self.about))
        return joined if self.whole and 0 < len(self.about) <= _MOST and len(joined) <= MAX_KEY else None

    @property
    def superseded_keys(self) -> tuple[str, ...]:
        """Return the keys of the older statements that this one supersedes: every set of subjects that it covers."""
        names = sorted(self.replaces)[:_MOST]
        return tuple("\n".join(some) for size in range(1, len(names) + 1) for some in combinations(names, size))


def subjects(text: str) -> Subjects:
    """Return what a user's statement is about.

    >>> subjects("Actually my cat is now called Bo.").about == subjects("My cat is called Ada.").about
    True
    """
    about: set[str] = set()
    replaces: set[str] = set()
    multi_valued: set[str] = set()
    whole = True
    previous_value = ""
    for clause in clauses(text):
        previous_value = previous_value or clause.previous_value
        facts_of_clause = list(facts(clause.text)) if clause.plain else []
        if clause.previous_value:
            replaces.update(left_behind(clause.text))
        whole = whole and bool(facts_of_clause) and all(fact.unqualified for fact in facts_of_clause)
        for fact in facts_of_clause:
            about.add(fact.subject)
            if fact.multi_valued:
                multi_valued.add(fact.subject)
            if clause.changed or not fact.multi_valued:
                replaces.add(fact.subject)
    return Subjects(frozenset(about), frozenset(replaces), frozenset(multi_valued), whole, previous_value)
