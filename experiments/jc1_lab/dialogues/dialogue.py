"""Whole dialogues: facts told in memories and in the conversation, questions, changes, small talk, the right replies.

Knows what is true at every moment of a dialogue, so that each reply to be learnt is supported by the text before it.
The memory block is rendered by `jc1.prompt`, as in serving. Knows nothing about tokens or the network.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from jc1.memory.base import Record, Role
from jc1.messages import Message
from jc1.prompt import DEFAULT_SYSTEM, with_memories
from jc1_lab.dialogues.chatter import Chatter
from jc1_lab.dialogues.grammar import (
    ATTRIBUTES,
    NOT_TOLD,
    PETS,
    ROLES,
    USER,
    Fact,
    Grammar,
    Who,
    answer,
    capital,
    confirm,
)
from jc1_lab.dialogues.words import LISTS, Words

CALLED = next(a for a in ATTRIBUTES if a.key == "called")
CONTINUED = {
    "called": "{my} {x}",
    "favourite": "{my} favourite {x}",
    "code": "{my} {x}",
    "quality": "{my} {x}",
    "place": "{my} {x}",
    "event": "{my} {x}",
}
"""What stands for a whole question right after one of the same kind: 'and my dog?'."""

LEADS = LISTS["leads"]
CHANGE_LEADS = LISTS["change leads"]
PRELUDES = LISTS["preludes"]
TRAILERS = LISTS["trailers"]
QUESTION_PRELUDES = LISTS["question preludes"]
QUESTION_TRAILERS = LISTS["question trailers"]
"""What is said around a statement or a question without belonging to it."""
TAILS = (
    " Please remember that.",
    " Don't forget it!",
    " Thanks!",
    " Note it down.",
    " Remember it.",
    " Got it?",
    " That is important.",
    " Keep it in mind.",
    " Ok?",
    " I will ask you later.",
)
QUESTION_LEADS = LISTS["question leads"]
QUESTION_TAILS = (
    *(" again", " please", ", please", ", do you know", " by the way", " then", ", do you remember", " now"),
    *(
        " exactly",
        " at the moment",
        " as far as you know",
        ", can you say",
        ", I forgot",
        " nowadays",
        " still",
        " really",
    ),
)
ASIDES = (
    *(" at the moment", " nowadays", " for some time now", " as it happens", " already", " of course", " by the way"),
    *(", you see", ", as I said", " as always", ", believe me", " again", " in fact", ", after all", ", I think"),
)
"""What people add at the end of a statement without saying more."""


@dataclass(slots=True)
class Turn:
    """One message. `kind` says what a reply is (told, not_told, noted, chat); empty where nothing is learnt."""

    role: Role
    text: str
    kind: str = ""
    values: tuple[str, ...] = ()


@dataclass(slots=True)
class Dialogue:
    """Messages in order; a reply with a `kind` is to be learnt or measured."""

    turns: list[Turn] = field(default_factory=list)

    def messages(self) -> list[Message]:
        return [Message(t.role, t.text) for t in self.turns]


@dataclass(frozen=True, slots=True)
class Shape:
    """How much there is in a dialogue."""

    facts: int
    """Facts in the memory block, without their older versions."""
    turns: int
    """User turns that are to be answered."""
    noise: float
    """Share of turns and records that are beside the point, and of roughly written ones."""
    history: int = 0
    """User turns before the one that carries the memory block."""


def shape(rng: random.Random, level: float) -> Shape:
    """Draw a shape, from one fact (level 0) to twelve records and a long history (level 1)."""
    top = 1 + round(9 * level)
    facts = min(rng.randint(0 if level > 0.2 else 1, top), rng.randint(1, top + 1))
    history = 0 if rng.random() < 0.5 else rng.randint(1, 1 + round(4 * level))
    return Shape(facts=facts, turns=rng.randint(3, 6 + round(3 * level)), noise=0.25 + 0.75 * level, history=history)


class Writer:
    """Writes dialogues. One seed and one shape give one dialogue."""

    def __init__(self, rng: random.Random, *, held_out: bool = False) -> None:
        self.rng = rng
        self.words = Words(rng, held_out)
        self.grammar = Grammar(rng, self.words)
        self.chatter = Chatter(rng, self.words)

    def write(self, shape: Shape) -> Dialogue:
        return Scene(self, shape).play()

    def copying(self, pairs: int, questions: int) -> Dialogue:
        """Write a dialogue of made-up words and values, asked for one by one: the bare skill of looking up."""
        r, w = self.rng, self.words
        keys = list(dict.fromkeys(w.made_up(False) for _ in range(pairs)))
        values = [w.made_up() if r.random() < 0.7 else w.code() for _ in keys]
        joint = r.choice((" is ", ": ", " = "))
        turns: list[Turn] = []
        listed = ". ".join(f"{k}{joint}{v}" for k, v in zip(keys, values, strict=True)) + "."
        for i in range(questions):
            k = r.randrange(len(keys))
            turns.append(Turn("user", (listed + "\n" if i == 0 else "") + f"{keys[k]}?"))
            turns.append(Turn("assistant", f"{capital(keys[k])} is {values[k]}.", "told", (values[k],)))
        return Dialogue(turns)


class Scene:
    """One dialogue in the making: what has been said where, and what is therefore true."""

    def __init__(self, writer: Writer, shape: Shape) -> None:
        self.rng, self.words, self.grammar, self.chatter = writer.rng, writer.words, writer.grammar, writer.chatter
        self.shape = shape
        self.facts: dict[tuple[str, str, str, str], Fact] = {}
        self.old: dict[tuple[str, str, str, str], str] = {}
        self.block: dict[tuple[str, str, str, str], Fact] = {}
        self.conversation: dict[tuple[str, str, str, str], Fact] = {}
        self.implied: set[str] = set()
        self.people: dict[str, Who] = {}
        self.shared_nouns: set[str] = set()
        self.values: set[str] = set()
        self.turns: list[Turn] = []
        self.last_asked: Fact | None = None
        self.last_told: Fact | None = None
        self.shown = False

    # facts

    def new_fact(self, near: Fact | None = None) -> Fact:
        """Draw a fact about something of which nothing has been said in this dialogue, a near miss of `near`."""
        for _ in range(60):
            fact = self.grammar.near_miss(near) if near else self.grammar.fact()
            if self.fits(fact):
                break
        else:
            while not self.fits(fact):
                fact = self.grammar.fact()
        return fact

    def fits(self, fact: Fact) -> bool:
        """Tell whether the fact can be told: nothing said in this dialogue contradicts it or could be taken for it."""
        who = fact.who
        if fact.key in self.facts or fact.value.lower() in self.values or fact.value.lower() == fact.noun:
            return False
        for alias in (who.role, who.name):
            if alias and self.people.get(alias, who) != who:
                return False
        if who.name and (who.name.lower() in self.values):
            return False
        if who.role and who.name and (USER.role, "", CALLED.canon, who.role) in self.facts:
            return False
        if fact.attribute is CALLED and who.is_user and (named := self.people.get(fact.noun)) and named.name:
            return False
        if any(name.lower() == fact.value.lower() for name in self.people):
            return False
        return fact.noun not in self.shared_nouns if not who.shared else all(fact.noun != k[3] for k in self.facts)

    def keep(self, fact: Fact) -> None:
        """Note the fact as told: its key, value and person."""
        self.facts[fact.key] = fact
        self.values.add(fact.value.lower())
        for alias in (fact.who.role, fact.who.name):
            if alias:
                self.people[alias] = fact.who
        if fact.who.shared:
            self.shared_nouns.add(fact.noun)

    def changed(self, fact: Fact) -> Fact:
        """Return the same fact with another value."""
        for _ in range(20):
            value = self.grammar.value(fact.attribute, fact.noun)
            if value.lower() not in self.values and value != fact.value:
                break
        return fact.with_value(value)

    def known(self) -> dict[tuple[str, str, str, str], Fact]:
        """Return the facts that a reply can rely on: those said, and those of the memory block once it is shown."""
        return {**(self.block if self.shown else {}), **self.conversation}

    def use(self, who: Who) -> str:
        """Draw how to refer to somebody who has both a role and a name."""
        return self.rng.choice(("role", "name", "both")) if who.role and who.name else ""

    # wording

    def sentence(self, clause: str, mark: str = ".") -> str:
        """Return the clause as people type it: mostly with a capital and a mark at the end."""
        r = self.rng
        text = clause
        rough = r.random() < 0.25 * self.shape.noise
        if rough:
            text = text.replace("I'm ", "im ") if r.random() < 0.3 else text
            text = " ".join("i" if word == "I" else word for word in text.split(" ")) if r.random() < 0.6 else text
            return text + (mark if r.random() < 0.35 else "")
        return capital(text) + ("!" if mark == "." and r.random() < 0.06 else mark if r.random() < 0.93 else "")

    def tell(self, clause: str, *, change: bool = False) -> str:
        """Return a statement with what people put before and after it."""
        r = self.rng
        p, noise = r.random(), self.shape.noise
        before = (CHANGE_LEADS if change else LEADS) if p < 0.4 * noise else PRELUDES if p < 0.54 * noise else ()
        lead = r.choice(before) + " " if before else ""
        if lead.endswith((". ", "! ", ": ")):
            clause = capital(clause) if r.random() < 0.7 else clause
        aside = r.choice(ASIDES) if r.random() < 0.1 * noise else ""
        text = self.sentence(lead + clause + aside)
        if text[-1] in ".!":
            p = r.random()
            text += r.choice(TAILS) if p < 0.1 * noise else f" {r.choice(TRAILERS)}" if p < 0.22 * noise else ""
        return text

    def ask(self, clause: str, direct: bool) -> str:
        """Return a question with what people put before and after it."""
        r = self.rng
        p, noise = r.random(), self.shape.noise
        before = QUESTION_LEADS if p < 0.2 * noise else QUESTION_PRELUDES if p < 0.28 * noise else ()
        lead = r.choice(before) + " " if before else ""
        if lead.endswith((". ", "! ")):
            clause = capital(clause)
        tail = r.choice(QUESTION_TAILS) if r.random() < 0.08 * noise else ""
        text = self.sentence(lead + clause + tail, "?" if direct or r.random() < 0.1 else ".")
        return text + (f" {r.choice(QUESTION_TRAILERS)}" if text[-1] in "?." and r.random() < 0.08 * noise else "")

    # the memory block

    def records(self) -> list[Record]:
        """Write statements, questions and replies of earlier days, older versions of some facts before newer ones."""
        r = self.rng
        events: list[tuple[float, list[tuple[Role, str]]]] = []
        for _ in range(self.shape.facts):
            near = r.choice(list(self.facts.values())) if self.facts and r.random() < 0.5 else None
            fact = self.new_fact(near)
            self.keep(fact)
            versions = [fact]
            while r.random() < 0.22 and len(versions) < 3:
                versions.append(self.changed(versions[-1]))
                self.keep(versions[-1])
            places = sorted(r.random() for _ in versions)
            for i, (place, version) in enumerate(zip(places, versions, strict=True)):
                events.append((place, self.recorded(version, versions[i - 1].value if i else "")))
            self.block[fact.key] = versions[-1]
            if r.random() < 0.08:
                events.append((min(1.0, places[-1] + 0.01 + r.random() * 0.5), self.missed(versions[-1])))
            elif r.random() < 0.08:
                events.append((places[0] * r.random(), self.missed(versions[-1])))
        for _ in range(r.randint(0, 3) if r.random() < 0.5 * self.shape.noise else 0):
            events.append((r.random(), self.beside()))
        ordered = [lines for _, lines in sorted(events, key=lambda e: e[0])]
        if sum(map(len, ordered)) > 12:
            ordered = [lines[:1] if lines[-1][1].startswith("Noted") else lines for lines in ordered]
        lines = [line for event in ordered for line in event]
        return self._dated(lines)

    def _dated(self, lines: list[tuple[Role, str]]) -> list[Record]:
        r = self.rng
        day = datetime(r.randint(2024, 2027), r.randint(1, 12), r.randint(1, 28), 6, tzinfo=UTC)
        records = []
        for i, (role, text) in enumerate(lines):
            if i and role == "user" and r.random() < 0.3:
                day = (day + timedelta(days=r.choice((1, 1, 2, 3, 7, 30)))).replace(hour=6, minute=0)
            day += timedelta(minutes=r.randint(1, 20))
            records.append(
                Record(str(i), "o", text, role, "reply" if role == "assistant" else "statement", day, turn=i)
            )
        return records

    def recorded(self, fact: Fact, old: str) -> list[tuple[Role, str]]:
        """Return a fact as it may have been stored: the user's statement, the assistant's words, or both."""
        r = self.rng
        statement: tuple[Role, str] = ("user", self.tell(self.grammar.tell(fact, old=old), change=bool(old)))
        noted: tuple[Role, str] = ("assistant", confirm(fact.canon()))
        p = r.random()
        if p < 0.75 or (fact.who.role and fact.who.name):
            return [statement]
        if p < 0.88:
            return [statement, noted]
        if p < 0.94:
            return [noted]
        replied: tuple[Role, str] = ("assistant", answer(fact.canon()))
        return [("user", self.ask(*self.grammar.ask(fact))), replied] if r.random() < 0.6 else [replied]

    def missed(self, fact: Fact) -> list[tuple[Role, str]]:
        """Return a question that could not be answered at the time."""
        question: tuple[Role, str] = ("user", self.ask(*self.grammar.ask(fact, self.use(fact.who))))
        return [question, ("assistant", NOT_TOLD)] if self.rng.random() < 0.6 else [question]

    def beside(self) -> list[tuple[Role, str]]:
        """Return small talk, a remark or a question that was stored too."""
        r = self.rng
        p = r.random()
        if p < 0.5:
            mine, yours = self.chatter.remark()
            remark: tuple[Role, str] = ("user", self.tell(mine))
            return [remark, ("assistant", confirm(yours))] if r.random() < 0.3 else [remark]
        if p < 0.65:
            text, reply = self.chatter.small_talk()
        elif p < 0.75:
            text, reply = self.chatter.request()
        else:
            fact = self.new_fact(r.choice(list(self.facts.values())) if self.facts else None)
            text, reply = self.ask(*self.grammar.ask(fact)), NOT_TOLD
        question: tuple[Role, str] = ("user", text)
        return [question, ("assistant", reply)] if r.random() < 0.5 else [question]

    # the conversation

    def play(self) -> Dialogue:
        """Write the dialogue. The memory block stands in one user message; what comes before it is history, what comes
        after can still see it."""
        r = self.rng
        records = self.records() if self.shape.facts else []
        p = r.random()
        system = DEFAULT_SYSTEM if p < 0.65 else "" if p < 0.8 else self.chatter.system()
        for _ in range(self.shape.history):
            self.turn()
        self.shown = True
        first = len(self.turns)
        for _ in range(self.shape.turns):
            self.turn()
        if records and first < len(self.turns):
            message = self.turns[first]
            self.turns[first] = Turn("user", with_memories(Message.user(message.text), records).text)
        head = [Turn("system", system)] if system else []
        return Dialogue(head + self.turns)

    def turn(self) -> None:
        """Add one user message and its reply."""
        r = self.rng
        known = self.known()
        p = r.random()
        told_share = 0.5 if self.shown and known else 0.3 if known else 0.0
        if p < told_share:
            self.ask_told(known)
        elif p < told_share + (0.17 if known else 0.3):
            self.ask_unknown(known)
        elif p < 0.93 - 0.08 * self.shape.noise:
            self.tell_fact()
        else:
            self.chat()

    def say(self, text: str, reply: str, kind: str, *values: str) -> None:
        self.turns.append(Turn("user", text))
        self.turns.append(Turn("assistant", reply, kind, values))

    def ask_told(self, known: dict[tuple[str, str, str, str], Fact]) -> None:
        """Add a question that something known answers."""
        r = self.rng
        facts = list(known.values())
        fact = r.choice(facts)
        # 1) A few words after a question of the same kind: "and my dog?"
        last = self.last_asked
        if last and last.attribute.key in CONTINUED and r.random() < 0.5:
            same = [
                f
                for f in facts
                if f.attribute is last.attribute
                and f is not last
                and f.who == last.who
                and f.noun != last.noun
                and f.who.role + f.who.name == ""
            ]
            if same and not last.who.shared:
                fact = r.choice(same)
                text = r.choice(("and {}", "what about {}", "and what about {}", "how about {}")).format(
                    fact.fill(CONTINUED[fact.attribute.key], by_user=True)
                )
                self.last_asked = fact
                self.say(self.sentence(text, "?"), answer(fact.canon()), "told", fact.value)
                return
        # 2) From the value to what has it
        use = self.use(fact.who)
        if (
            fact.attribute.reverse
            and not (fact.who.role and fact.who.name)
            and r.random() < 0.08
            and fact.value[0].isupper()
        ):
            text = fact.fill(r.choice(fact.attribute.reverse), by_user=True)
            noun = fact.fill("{my} {x}", by_user=False)
            self.say(self.sentence(text, "?"), answer(f"{fact.value} is {noun}"), "told", noun)
            self.last_asked = None
            return
        # 3) Two questions in one
        if len(facts) > 1 and r.random() < 0.06:
            other = r.choice([f for f in facts if f is not fact])
            (a, _), (b, _) = (self.direct(fact, use), self.direct(other, "both"))
            self.last_asked = other
            self.say(
                self.sentence(f"{a} and {b}", "?"),
                answer(fact.canon(use), other.canon("both")),
                "told",
                fact.value,
                other.value,
            )
            return
        # 4) One plain question
        self.last_asked = fact
        self.say(self.ask(*self.grammar.ask(fact, use)), answer(fact.canon(use)), "told", fact.value)

    def direct(self, fact: Fact, use: str) -> tuple[str, bool]:
        """Return a direct question about the fact."""
        while not (question := self.grammar.ask(fact, use))[1]:
            pass
        return question

    def ask_unknown(self, known: dict[tuple[str, str, str, str], Fact]) -> None:
        """Add a question that nothing answers, most often one that something nearly answers."""
        r = self.rng
        facts = list(known.values())
        p = r.random()
        if p < 0.1:
            text, reply = self.chatter.world()
            if not any(value in text.lower() for value in (*self.values, *(n.lower() for n in self.people))):
                self.say(text, reply, "not_told")
                self.last_asked = None
                return
        fact = self.new_fact(r.choice(facts) if facts and r.random() < 0.85 else None)
        if fact.who.role and fact.who.name:
            fact = Fact(Who(role=fact.who.role), fact.attribute, fact.noun, fact.value)
            if not self.fits(fact):
                return self.ask_unknown(known)
        if fact.key in self.block:
            return self.ask_unknown(known)
        if fact.attribute.reverse and r.random() < 0.06:
            self.say(
                self.sentence(fact.fill(r.choice(fact.attribute.reverse), by_user=True), "?"), NOT_TOLD, "not_told"
            )
            self.last_asked = None
            return
        last = self.last_asked
        if (
            last
            and last.attribute is fact.attribute
            and last.who.is_user
            and fact.who.is_user
            and fact.attribute.key in CONTINUED
            and r.random() < 0.3
        ):
            text = self.sentence(
                r.choice(("and {}", "what about {}")).format(fact.fill(CONTINUED[fact.attribute.key], by_user=True)),
                "?",
            )
        else:
            text = self.ask(*self.grammar.ask(fact))
        self.last_asked = fact
        self.say(text, NOT_TOLD, "not_told")

    def tell_fact(self) -> None:
        """Add a new fact, a change of one, two at once, a correction of what was just said, or a remark."""
        r = self.rng
        p = r.random()
        before, self.last_asked = self.last_told, None
        self.last_told = None
        # 1) A remark
        if p < 0.1:
            mine, yours = self.chatter.remark()
            self.say(self.tell(mine), confirm(yours), "noted")
            return
        # 2) A correction of what was just said
        if before and p < 0.18 and len(self.turns) and self.turns[-1].kind == "noted":
            fact = self.changed(before)
            self.keep(fact)
            self.conversation[fact.key] = fact
            text = r.choice(
                (
                    "no, {v}",
                    "sorry, I meant {v}",
                    "I meant {v}, not {old}",
                    "no, it is {v}",
                    "not {old}, {v}",
                    "correction: {v}",
                    "I mean {v}",
                    "oops, {v}",
                )
            ).format(v=fact.value, old=before.value)
            self.say(self.sentence(text), confirm(fact.canon(self.last_use)), "noted", fact.value)
            self.last_told = fact
            return
        # 3) A change of something told before
        pool = list({**self.block, **self.conversation}.values())
        if pool and p < 0.45:
            base = r.choice(pool)
            fact, use = self.changed(base), self.use(base.who)
            self.keep(fact)
            self.conversation[fact.key] = fact
            self.say(
                self.tell(self.grammar.tell(fact, old=base.value, use=use), change=True),
                confirm(fact.canon(use)),
                "noted",
                fact.value,
            )
            self.last_told, self.last_use = fact, use
            if not self.shown and base.who.role and base.who.name and base.key in self.block:
                self.conversation.pop(fact.key)
                self.block[fact.key] = fact
            return
        # 4) A new fact, sometimes two at once
        fact = self.new_fact(r.choice(pool) if pool and r.random() < 0.5 else None)
        self.keep(fact)
        self.conversation[fact.key] = fact
        clause = self.grammar.tell(fact)
        if p > 0.86:
            other, use = self.companion(fact)
            self.keep(other)
            self.conversation[other.key] = other
            joint = r.choice((" and ", " and ", ", and ", ". ", "; "))
            second = self.grammar.tell(other, use=use)
            if joint == " and " and clause.startswith("I ") and second.startswith("I ") and r.random() < 0.5:
                second = second.removeprefix("I ")
            self.say(
                self.tell(clause + joint + (capital(second) if joint == ". " else second)),
                confirm(fact.canon(), other.canon()),
                "noted",
                fact.value,
                other.value,
            )
            return
        self.say(self.tell(clause), confirm(fact.canon()), "noted", fact.value)
        self.last_told, self.last_use = fact, ""

    last_use = ""

    def companion(self, fact: Fact) -> tuple[Fact, str]:
        """Return a second fact for the same sentence, and the pronoun for its person, "" where it takes none."""
        r = self.rng
        if r.random() < 0.5 and not fact.who.shared:
            who = (
                Who(role=fact.noun)
                if fact.attribute is CALLED and fact.who.is_user and fact.noun in (*ROLES, *PETS)
                else fact.who
            )
            for _ in range(20):
                other = self.grammar.fact(who=who)
                if other.who == who and self.fits(other):
                    return other, "" if who.is_user else r.choice(("he", "she"))
        return self.new_fact(fact if r.random() < 0.3 else None), ""

    def chat(self) -> None:
        text, reply = self.chatter.small_talk() if self.rng.random() < 0.6 else self.chatter.request()
        self.last_asked = self.last_told = None
        self.say(text, reply, "chat")
