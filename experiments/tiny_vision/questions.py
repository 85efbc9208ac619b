"""Questions about a scene with their answers, in many wordings; also such as no picture of this kind answers.

Knows words and what is true of a scene. Knows nothing about pixels, tokens or the network. Every question that is asked
has one right answer: where a thing stands between "left" and "in the middle", or two things could be meant, nothing is
asked.

Some wordings are held out: training never asks in them, the evaluation does.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from experiments.tiny_vision.scene import COLOURS, SHAPES, Scene, Thing

CANNOT_TELL = "I can't tell."
NUMBERS = ("None", "One", "Two", "Three", "Four", "Five", "Six")
SKILLS = ("shape", "colour", "size", "position", "count", "relation", "reading", "existence", "describe", "cannot_tell")
LOW, HIGH, MIDDLE_LOW, MIDDLE_HIGH = 0.36, 0.64, 0.44, 0.56
"""Left of LOW is on the left, between the two others in the middle, beyond HIGH on the right; top and bottom alike."""
PLACES = {
    (-1, -1): "Top left.",
    (0, -1): "At the top.",
    (1, -1): "Top right.",
    (-1, 0): "On the left.",
    (0, 0): "In the middle.",
    (1, 0): "On the right.",
    (-1, 1): "Bottom left.",
    (0, 1): "At the bottom.",
    (1, 1): "Bottom right.",
}
SIDES = {
    (1, 0): ("to the right of", "To the right."),
    (-1, 0): ("to the left of", "To the left."),
    (0, -1): ("above", "Above it."),
    (0, 1): ("below", "Below it."),
}
AT_MOST = 3
"""Questions of one skill about one picture."""
CLEARLY = 0.12
"""How far one thing must lie beyond another, beside which it lies further than above or below it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its one right answer. `skill` is one of `SKILLS`."""

    skill: str
    text: str
    answer: str


# Of each list the last wording is held out.
SHAPE = (
    "What shape is {r}?",
    "Which shape does {r} have?",
    "What is the shape of {r}?",
    "What kind of shape is {r}?",
    "Name the shape of {r}.",
    "{r}: what shape is it?",
    "Tell me which shape {r} is.",
    "What form does {r} have?",
)
COLOUR = (
    "What colour is {r}?",
    "Which colour does {r} have?",
    "What is the colour of {r}?",
    "Name the colour of {r}.",
    "What color is {r}?",
    "{r}: what colour is it?",
    "Tell me the colour of {r}.",
    "In which colour is {r} painted?",
)
SIZE = (
    "Is {r} big or small?",
    "How big is {r}?",
    "What size is {r}?",
    "Is {r} small or big?",
    "What is the size of {r}?",
    "Tell me the size of {r}.",
    "Would you call {r} big or small?",
)
BIGGER = ("Which is bigger, {r} or {s}?", "What is bigger: {r} or {s}?", "Which one is bigger, {r} or {s}?")
SMALLER = ("Which is smaller, {r} or {s}?", "What is smaller: {r} or {s}?", "Which one is smaller, {r} or {s}?")
POSITION = (
    "Where is {r}?",
    "Where in the picture is {r}?",
    "In which part of the picture is {r}?",
    "Where do you see {r}?",
    "Where can I find {r}?",
    "Tell me where {r} is.",
    "What is the position of {r}?",
    "In what place is {r}?",
)
COUNT = (
    "How many {p} are there?",
    "How many {p} do you see?",
    "How many {p} are in the picture?",
    "Count the {p}.",
    "What is the number of {p}?",
    "How many {p} can you see?",
    "How many {p} does the picture show?",
)
SIDE = (
    "Is {r} {side} {s}?",
    "Would you say that {r} is {side} {s}?",
    "{r} is {side} {s}: is that right?",
    "Is {r} really {side} {s}?",
)
WHICH_SIDE = (
    "On which side of {s} is {r}?",
    "Where is {r}, seen from {s}?",
    "Where is {r} relative to {s}?",
    "From {s}, where is {r}?",
    "In which direction from {s} is {r}?",
)
BESIDE = ("What is {side} {s}?", "What do you see {side} {s}?", "Which thing is {side} {s}?", "What stands {side} {s}?")
READ = (
    "What does it say?",
    "What is written there?",
    "Read the text.",
    "What is written in the picture?",
    "Which text do you see?",
    "What does the picture say?",
    "Can you read it?",
    "Read what is written here.",
)
READ_NUMBER = (
    "What number is it?",
    "Which number do you see?",
    "Read the number.",
    "What number is written there?",
    "Which number is in the picture?",
)
READ_WORD = (
    "What word is it?",
    "Which word do you see?",
    "Read the word.",
    "What word is written there?",
    "Which word is in the picture?",
)
EXISTS = (
    "Is there {a}?",
    "Do you see {a}?",
    "Is {a} in the picture?",
    "Does the picture show {a}?",
    "Can you see {a}?",
    "Is {a} to be seen?",
)
DESCRIBE = (
    "What do you see?",
    "What is in the picture?",
    "Describe the picture.",
    "What does the picture show?",
    "Tell me what you see.",
    "What is this?",
    "What can be seen here?",
)
UNKNOWABLE = (
    "Who drew {r}?",
    "What does {r} cost?",
    "How old is {r}?",
    "How heavy is {r}?",
    "What is {r} made of?",
    "What is behind {r}?",
    "Who owns {r}?",
    "What is the name of {r}?",
    "What does {r} smell like?",
    "When was the picture made?",
    "Where was the picture taken?",
    "What time is it?",
    "What day is it in the picture?",
    "What is the weather like?",
    "Who is in the picture?",
    "What does the person wear?",
    "What is outside the picture?",
    "What happened before?",
    "What does the music sound like?",
    "Why is {r} there?",
    "Where was {r} bought?",
)
_STRANGERS = "dog cat car house tree man woman child bird boat flower table chair phone book cup horse hat"
STRANGERS = tuple(_STRANGERS.split())
"""What no drawing shows."""
LEADS = (*[""] * 12, "Look at the picture. ", "Please tell me: ", "One question: ", "Hello! ", "So, ")


def wording(options: Sequence[str], rng: random.Random, held_out: bool) -> str:
    """Choose a wording: the last of `options` where it is to be one that training does not use."""
    return options[-1] if held_out else rng.choice(options[:-1])


def questions(scene: Scene, rng: random.Random, many: int, *, held_out: bool = False) -> list[Question]:
    """Return up to `many` different questions about a scene, of all skills that it allows, in random order."""
    asked: dict[str, Question] = {}
    counts: Counter[str] = Counter()
    for _ in range(4 * many):
        ask = rng.choices(_ASKERS, _WEIGHTS)[0]
        question = ask(scene, rng, held_out)
        if question and question.text not in asked and counts[question.skill] < AT_MOST:
            asked[question.text] = question
            counts[question.skill] += 1
        if len(asked) == many:
            break
    return [Question(q.skill, dressed(q.text, rng), q.answer) for q in asked.values()]


def of_skill(skill: str, scene: Scene, rng: random.Random, *, held_out: bool = False) -> Question | None:
    """Return a question of one skill about a scene; None where it allows none."""
    askers = [a for a, _, s in _ALL if s == skill]
    for _ in range(6):
        question = rng.choice(askers)(scene, rng, held_out)
        if question and question.skill == skill:
            return Question(skill, dressed(question.text, rng), question.answer)
    return None


def dressed(text: str, rng: random.Random) -> str:
    """Return a question as people type it: with words before it, without capital letter or question mark."""
    if text[0].islower():
        text = text[0].upper() + text[1:]
    lead = rng.choice(LEADS)
    if lead.endswith(", ") or (not lead and rng.random() < 0.12):
        text = text[0].lower() + text[1:]
    if rng.random() < 0.1:
        text = text.rstrip("?.")
    return lead + text


def article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def names(thing: Thing, scene: Scene, *, without: str = "") -> list[str]:
    """Return the ways to say which thing is meant that fit no other one; `without` is what must not be mentioned."""
    same_shape = [t for t in scene.things if t.shape == thing.shape]
    ways = []
    if without != "shape" and len(same_shape) == 1:
        ways += [f"the {thing.shape}"] * 2
    if without != "colour" and sum(t.colour == thing.colour for t in scene.things) == 1:
        ways += [f"the {thing.colour} thing", f"the {thing.colour} one"]
    if without not in ("colour", "shape") and sum(t.colour == thing.colour for t in same_shape) == 1:
        ways += [f"the {thing.colour} {thing.shape}"]
    if without not in ("size", "shape") and len(same_shape) > 1 and sum(t.big == thing.big for t in same_shape) == 1:
        ways += [f"the {thing.size} {thing.shape}"]
    return ways


def absent(scene: Scene, rng: random.Random, *, without: str = "") -> str:
    """Return a way to speak of a thing that is not there; often one of which shape and colour are there, each alone."""
    shapes, colours = {t.shape for t in scene.things}, {t.colour for t in scene.things}
    pairs = {(t.colour, t.shape) for t in scene.things}
    mixed = [(c, s) for c in sorted(colours) for s in sorted(shapes) if (c, s) not in pairs]
    if without not in ("colour", "shape") and mixed and rng.random() < 0.4:
        colour, shape = rng.choice(mixed)
        return f"the {colour} {shape}"
    if rng.random() < 0.12:
        return f"the {rng.choice(STRANGERS)}"
    shape = rng.choice([s for s in SHAPES if s not in shapes])
    colour = rng.choice([c for c in COLOURS if c not in colours])
    if without == "shape":
        return f"the {colour} thing"
    return f"the {shape}" if without == "colour" or rng.random() < 0.6 else f"the {colour} thing"


def _reference(scene: Scene, rng: random.Random, without: str = "") -> tuple[Thing, str] | None:
    """Return a thing by lot with a name that fits it alone; None where no thing has one."""
    named = [(t, ways) for t in scene.things if (ways := names(t, scene, without=without))]
    if not named:
        return None
    thing, ways = rng.choice(named)
    return thing, rng.choice(ways)


def shape(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if not (meant := _reference(scene, rng, "shape")):
        return None
    return Question("shape", wording(SHAPE, rng, held_out).format(r=meant[1]), f"A {meant[0].shape}.")


def colour(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if not (meant := _reference(scene, rng, "colour")):
        return None
    return Question("colour", wording(COLOUR, rng, held_out).format(r=meant[1]), f"{meant[0].colour.capitalize()}.")


def size(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if not (meant := _reference(scene, rng, "size")):
        return None
    thing, name = meant
    others = [t for t in scene.things if t.big != thing.big and names(t, scene, without="size")]
    if others and rng.random() < 0.35:
        other = rng.choice(others)
        bigger = rng.random() < 0.5
        right = thing if thing.big == bigger else other
        pair = [name, rng.choice(names(other, scene, without="size"))]
        said = pair[0] if right is thing else pair[1]
        rng.shuffle(pair)
        text = wording(BIGGER if bigger else SMALLER, rng, held_out).format(r=pair[0], s=pair[1])
        return Question("size", text, f"{said.capitalize()}.")
    return Question("size", wording(SIZE, rng, held_out).format(r=name), f"{thing.size.capitalize()}.")


def place(x: float, y: float) -> str | None:
    """Return where in the picture a point lies; None where people would not agree."""
    cell = []
    for value in (x, y):
        if value < LOW:
            cell.append(-1)
        elif MIDDLE_LOW < value < MIDDLE_HIGH:
            cell.append(0)
        elif value > HIGH:
            cell.append(1)
        else:
            return None
    return PLACES[cell[0], cell[1]]


def position(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if not (meant := _reference(scene, rng)):
        return None
    where = place(meant[0].x, meant[0].y)
    if where is None:
        return None
    return Question("position", wording(POSITION, rng, held_out).format(r=meant[1]), where)


def count(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if not scene.things:
        return None
    thing = rng.choice(scene.things)
    shape, colour = thing.shape, thing.colour
    if rng.random() < 0.15:
        shape = rng.choice(SHAPES)
    if rng.random() < 0.15:
        colour = rng.choice(COLOURS)
    plural = "crosses" if shape == "cross" else f"{shape}s"
    options: list[tuple[str, Callable[[Thing], bool]]] = [
        (plural, lambda t: t.shape == shape),
        (f"{colour} things", lambda t: t.colour == colour),
        (f"{colour} {plural}", lambda t: t.shape == shape and t.colour == colour),
    ]
    if not scene.writing:
        options += [(rng.choice(("things", "shapes")), lambda t: True)]
    what, matches = rng.choice(options)
    number = sum(map(matches, scene.things))
    return Question("count", wording(COUNT, rng, held_out).format(p=what), f"{NUMBERS[number]}.")


def side(thing: Thing, other: Thing) -> tuple[int, int] | None:
    """Return on which side of the other a thing lies, one of `SIDES`; None where it is not clear."""
    dx, dy = thing.x - other.x, thing.y - other.y
    if abs(dx) > abs(dy) + CLEARLY:
        return (1 if dx > 0 else -1, 0)
    if abs(dy) > abs(dx) + CLEARLY:
        return (0, 1 if dy > 0 else -1)
    return None


def relation(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    named = [t for t in scene.things if names(t, scene)]
    if len(named) < 2 or len(scene.things) > 4:
        return None
    thing, other = rng.sample(named, 2)
    where = side(thing, other)
    if where is None:
        return None
    name, its = rng.choice(names(thing, scene)), rng.choice(names(other, scene))
    kind = rng.random()
    if kind < 0.4:
        yes = rng.random() < 0.5
        claimed = where if yes else (-where[0], -where[1])
        text = wording(SIDE, rng, held_out).format(r=name, s=its, side=SIDES[claimed][0])
        return Question("relation", text, "Yes." if yes else "No.")
    if kind < 0.7:
        return Question("relation", wording(WHICH_SIDE, rng, held_out).format(r=name, s=its), SIDES[where][1])
    # Only where all others lie clearly elsewhere is there one answer.
    rest = [t for t in scene.things if t not in (thing, other)]
    if any(side(t, other) in (None, where) for t in rest) or scene.writing:
        return None
    text = wording(BESIDE, rng, held_out).format(s=its, side=SIDES[where][0])
    return Question("relation", text, f"{article(thing.colour).capitalize()} {thing.shape}.")


def reading(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if not scene.writing:
        return None
    text = scene.writing.text
    wordings = rng.choice((READ, READ_NUMBER if text.isdigit() else READ_WORD))
    return Question("reading", wording(wordings, rng, held_out), f"It says {text}.")


def existence(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if scene.things and rng.random() < 0.5:
        thing = rng.choice(scene.things)
        colour = article(thing.colour)
        what = rng.choice((article(thing.shape), f"{colour} {thing.shape}", f"{colour} thing"))
        answer = "Yes."
    else:
        what = article(absent(scene, rng).removeprefix("the "))
        answer = "No."
    return Question("existence", wording(EXISTS, rng, held_out).format(a=what), answer)


def describe(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    if len(scene.things) > 3 or not (scene.things or scene.writing):
        return None
    parts = [f"{article(t.colour)} {t.shape}" for t in sorted(scene.things, key=lambda t: t.x)]
    xs = sorted(t.x for t in scene.things)
    if any(b - a < 0.06 for a, b in pairwise(xs)):
        return None  # from left to right, so none may stand above another
    if scene.writing:
        parts.append(f"the {'number' if scene.writing.text.isdigit() else 'word'} {scene.writing.text}")
    said = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return Question("describe", wording(DESCRIBE, rng, held_out), f"{said[0].upper()}{said[1:]}.")


def cannot_tell(scene: Scene, rng: random.Random, held_out: bool) -> Question | None:
    kind = rng.random()
    if kind < 0.3:
        meant = _reference(scene, rng)
        text = wording(UNKNOWABLE, rng, held_out)
        if meant is None and "{r}" in text:
            return None
        return Question("cannot_tell", text.format(r=meant[1] if meant else ""), CANNOT_TELL)
    if kind < 0.42:
        if scene.writing:
            wrong = READ_WORD if scene.writing.text.isdigit() else READ_NUMBER
            return Question("cannot_tell", wording(wrong, rng, held_out), CANNOT_TELL)
        texts: tuple[str, ...] = rng.choice((READ, READ_NUMBER, READ_WORD))
        return Question("cannot_tell", wording(texts, rng, held_out), CANNOT_TELL)
    wordings, without = rng.choice(((SHAPE, "shape"), (COLOUR, "colour"), (SIZE, ""), (POSITION, "")))
    text = wording(wordings, rng, held_out).format(r=absent(scene, rng, without=without))
    if rng.random() < 0.15 and (meant := _reference(scene, rng)):
        text = wording(WHICH_SIDE, rng, held_out).format(r=absent(scene, rng), s=meant[1])
    return Question("cannot_tell", text, CANNOT_TELL)


Asker = Callable[[Scene, random.Random, bool], Question | None]
_ALL: tuple[tuple[Asker, float, str], ...] = (
    (shape, 1.0, "shape"),
    (colour, 1.0, "colour"),
    (size, 1.0, "size"),
    (position, 1.2, "position"),
    (count, 1.4, "count"),
    (relation, 2.2, "relation"),
    (reading, 3.0, "reading"),
    (existence, 0.7, "existence"),
    (describe, 0.9, "describe"),
    (cannot_tell, 1.4, "cannot_tell"),
)
_ASKERS = [asker for asker, _, _ in _ALL]
_WEIGHTS = [weight for _, weight, _ in _ALL]
