"""memory-qa: questions about what an owner told earlier, generated from a seed, for trying settings of memory.

Each prompt has an owner of its own who told several things, and asks for one of them, or for one that was never told.
The grammar that trains jc1-tiny writes them (jc1_lab.dialogues), from seeds that training never used, so the bundled
model has an answer to most; a reply is right that holds the value asked for, and, where nothing answers, jc1-tiny's own
sentence for that. Knows what is told and asked. Knows nothing about how memory searches or how a reply is scored.

    about the user   four to seven things told, one of them asked for
    about others     the same of the user's people and pets
    many memories    16 to 24 things told, a third of them near misses: the search must find the right one
    superseded       the thing asked for was told once, and changed later
    not told         what is asked for was not told, and something near it was
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from jc1.memory.base import NewRecord
from jc1.messages import Message
from jc1_lab.dialogues.dialogue import Scene, Shape, Writer
from jc1_lab.dialogues.grammar import NOT_TOLD, Fact
from jc1_lab.records.items import Item

CATEGORIES = ("about the user", "about others", "many memories", "superseded", "not told")
ITEMS = 60
"""As many of each category."""
FIRST_DAY = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""When the first of an owner's sessions begins: dates stand in prompts, so they may not move with the day of a run."""
FAMILIAR = 2.0
"""Only such kinds of facts are asked for as had at least this weight in training; the others are told beside them."""
NOISE = 0.2
"""Share of roughly written sentences and of words around what is said; 1 is the most that training has."""


def generate(count: int = ITEMS, *, seed: int = 0) -> tuple[list[Item], dict[str, tuple[NewRecord, ...]]]:
    """Return `count` items, their categories in turn, and what each owner told. One seed gives one suite."""
    items, memories = [], {}
    for i in range(count):
        category = CATEGORIES[i % len(CATEGORIES)]
        number = i // len(CATEGORIES)
        owner = f"{category.replace(' ', '-')}-{number:03d}"
        item, records = _item(random.Random(f"memory-qa/{seed}/{owner}"), owner, category)
        items.append(item)
        memories[owner] = records
    return items, memories


def _item(rng: random.Random, owner: str, category: str) -> tuple[Item, tuple[NewRecord, ...]]:
    count = rng.randint(16, 24) if category == "many memories" else rng.randint(4, 7)
    scene = Scene(Writer(rng), Shape(facts=count, turns=1, noise=NOISE))
    target = _about(scene, category)
    scene.keep(target)
    statements = [(fact, scene.tell(scene.grammar.tell(fact))) for fact in _beside(scene, target, count)]
    answered = target
    if category == "superseded":
        answered = scene.changed(target)
        first = rng.randrange(len(statements))
        statements.insert(first, (target, scene.tell(scene.grammar.tell(target))))
        change = scene.tell(scene.grammar.tell(answered, old=target.value), change=True)
        statements.insert(rng.randint(first + 1, len(statements)), (answered, change))
    elif category != "not told":
        statements.insert(rng.randint(0, len(statements)), (target, scene.tell(scene.grammar.tell(target))))
    records = _records(rng, [text for _, text in statements])
    evidence = [record for (fact, _), record in zip(statements, records, strict=True) if fact is answered]
    question = scene.ask(*scene.grammar.ask(target, scene.use(target.who)))
    item = Item(
        id=owner,
        messages=(Message.user(question),),
        references=(answered.value if evidence else NOT_TOLD,),
        scorer="contains",
        owner=owner,
        evidence=frozenset((record.session or "", record.turn or 0) for record in evidence),
        category=category,
    )
    return item, records


def _about(scene: Scene, category: str) -> Fact:
    """Draw a fact to ask for, of the kind that the category wants."""
    while True:
        fact = scene.new_fact()
        who = fact.who
        if (who.role and who.name) or fact.attribute.weight < FAMILIAR:
            continue
        if category in ("many memories", "superseded", "not told") or who.is_user == (category == "about the user"):
            return fact


def _beside(scene: Scene, target: Fact, count: int) -> list[Fact]:
    """Draw facts that are not asked for, every third easily mistaken for the one that is."""
    facts: list[Fact] = []
    while len(facts) < count:
        fact = scene.new_fact(target if len(facts) % 3 == 0 else None)
        scene.keep(fact)
        facts.append(fact)
    return facts


def _records(rng: random.Random, texts: list[str]) -> tuple[NewRecord, ...]:
    """Return the texts as what was said in sessions of one to four messages, a day or a few apart."""
    records: list[NewRecord] = []
    when, session = FIRST_DAY, 0
    while len(records) < len(texts):
        session += 1
        for turn in range(1, min(rng.randint(1, 4), len(texts) - len(records)) + 1):
            text = texts[len(records)]
            when += timedelta(minutes=rng.randint(1, 9))
            records.append(NewRecord(text, created=when, session=f"session-{session}", turn=turn))
        when = when.replace(hour=9, minute=0) + timedelta(days=rng.choice((1, 1, 2, 3, 7)))
    return tuple(records)
