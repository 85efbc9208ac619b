"""Drawings and questions: what is asked is true of the scene, and a seed gives one drawing."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from experiments.tiny_vision.draw import SIDE, Style, draw, style
from experiments.tiny_vision.labels import GRID, LETTERS, labels
from experiments.tiny_vision.other import look, picture
from experiments.tiny_vision.questions import CANNOT_TELL, SKILLS, Question, of_skill, questions
from experiments.tiny_vision.scene import COLOURS, SHAPES, Scene, Thing, Writing, scene

CLEAN = Style(0.0, 0.0, 0.0, 0.0)
RED_CIRCLE = Thing("circle", "red", True, 0.25, 0.25, 0.19, 0.0)
BLUE_STAR = Thing("star", "blue", False, 0.75, 0.75, 0.1, 0.0)
TWO = Scene((RED_CIRCLE, BLUE_STAR))


def ask(skill: str, shown: Scene, tries: int = 60) -> set[tuple[str, str]]:
    """Return the questions of a skill that a scene gets in many tries, with their answers."""
    rng = random.Random(1)
    asked = [of_skill(skill, shown, rng) for _ in range(tries)]
    return {(q.text.lower(), q.answer) for q in asked if q}


def test_a_seed_gives_one_drawing_and_another_seed_another() -> None:
    one, same, other = (draw(TWO, random.Random(n), Style(1, 1, 1, 1)).pixels for n in (1, 1, 2))
    assert one.shape == (SIDE, SIDE, 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_things_lie_inside_the_picture_and_apart() -> None:
    rng = random.Random(2)
    for _ in range(200):
        shown = scene(rng)
        assert len(shown.things) <= 6
        for i, thing in enumerate(shown.things):
            assert thing.radius <= thing.x <= 1 - thing.radius
            assert thing.radius <= thing.y <= 1 - thing.radius
            for other in shown.things[:i]:
                distance = np.hypot(thing.x - other.x, thing.y - other.y)
                assert distance > thing.radius + other.radius


def test_a_scene_has_no_more_things_than_it_may() -> None:
    rng = random.Random(3)
    assert {len(scene(rng, most=1).things) for _ in range(60)} == {0, 1}


def test_a_drawing_shows_the_colour_that_the_scene_says() -> None:
    pixels = draw(TWO, random.Random(3), CLEAN).pixels.astype(int)
    red, green, blue = pixels[SIDE // 4, SIDE // 4]
    assert red > 150
    assert red > 2 * max(green, blue)
    red, green, blue = pixels[3 * SIDE // 4, 3 * SIDE // 4]
    assert blue > 1.5 * max(red, green)


@pytest.mark.parametrize(
    ("skill", "answers"),
    [
        ("shape", {"A circle.", "A star."}),
        ("colour", {"Red.", "Blue."}),
        ("size", {"Big.", "Small."}),
        ("position", {"Top left.", "Bottom right."}),
        ("existence", {"Yes.", "No."}),
        ("describe", {"A red circle and a blue star."}),
        ("cannot_tell", {CANNOT_TELL}),
    ],
)
def test_answers_are_true_of_the_scene(skill: str, answers: set[str]) -> None:
    given = {answer for _, answer in ask(skill, TWO) if not answer.startswith("The ")}
    assert given == answers


def test_what_is_counted_is_what_is_there() -> None:
    three = Scene(tuple(Thing("ring", "green", False, x, 0.5, 0.1, 0.0) for x in (0.2, 0.5, 0.8)))
    for text, answer in ask("count", three):
        if "rings" in text and "green" in text:
            assert answer == "Three."
    assert {"Three.", "None."} <= {answer for _, answer in ask("count", three)}


def test_sides_are_told_right_and_only_where_they_are_clear() -> None:
    left, right = Thing("star", "green", False, 0.2, 0.5, 0.1, 0.0), Thing("circle", "red", False, 0.8, 0.5, 0.1, 0.0)
    for text, answer in ask("relation", Scene((left, right))):
        if "is the star to the left of the circle" in text:
            assert answer == "Yes."
        if "is the star to the right of the circle" in text:
            assert answer == "No."
    assert not ask("relation", TWO)  # they lie on the diagonal: nobody could say


def test_a_thing_that_could_be_meant_twice_is_never_asked_for() -> None:
    twins = Scene((RED_CIRCLE, Thing("circle", "red", True, 0.75, 0.75, 0.19, 0.0)))
    for skill in ("shape", "colour", "position", "relation"):
        assert not ask(skill, twins)


def test_writing_is_read_and_its_lack_cannot_be_told() -> None:
    word = Scene((), Writing("cat", 0.5, 0.5, 0.2, 0.0))
    assert {answer for _, answer in ask("reading", word)} == {"It says cat."}
    assert not ask("reading", TWO)
    assert any("number" in text for text, _ in ask("cannot_tell", word))


def test_held_out_wordings_are_asked_apart_from_the_others() -> None:
    rng = random.Random(5)

    def wordings(held_out: bool) -> set[str]:
        asked = [of_skill("colour", TWO, rng, held_out=held_out) for _ in range(200)]
        plain = {q.text.lower().rstrip("?.") for q in asked if q}
        for lead in ("look at the picture. ", "please tell me: ", "one question: ", "hello! ", "so, "):
            plain = {text.removeprefix(lead) for text in plain}
        return plain

    assert not wordings(True) & wordings(False)


def test_a_scene_is_asked_many_different_things() -> None:
    rng = random.Random(6)
    asked: list[Question] = []
    for _ in range(120):
        batch = questions(scene(rng), rng, 8)
        assert len({q.text for q in batch}) == len(batch)
        asked += batch
    assert {q.skill for q in asked} == set(SKILLS)


def test_each_patch_is_labelled_with_what_it_shows() -> None:
    shown = Scene((RED_CIRCLE,), Writing("7", 0.7, 0.75, 0.2, 0.0))
    seen = labels(shown, draw(shown, random.Random(1), CLEAN))
    middle = 2 * GRID + 2  # the patch right below and beside the circle's centre
    assert tuple(seen.classes[middle, :3]) == (SHAPES.index("circle") + 1, COLOURS.index("red") + 1, 2)
    assert np.allclose(seen.offsets[middle], 0.25 - 2.5 / GRID)
    assert not seen.classes[GRID - 1].any()
    (patch,) = np.flatnonzero(seen.classes[:, 3])
    assert seen.classes[patch, 3] == LETTERS.index("7") + 1
    assert abs((patch % GRID + 0.5) / GRID - 0.7) <= 1 / GRID
    assert abs((patch // GRID + 0.5) / GRID - 0.75) <= 1 / GRID


def test_another_library_draws_the_same_scene() -> None:
    rng = random.Random(8)
    drawn = picture(TWO, look(TWO, rng)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    red, green, blue = np.asarray(drawn).astype(int)[SIDE // 4, SIDE // 4]
    assert red > 1.5 * max(green, blue)


def test_a_part_of_the_drawings_stays_clean_at_any_level() -> None:
    rng = random.Random(9)
    styles = [style(rng, 1.0) for _ in range(100)]
    assert 0 < sum(s.noise == 0.0 for s in styles) < 60
    assert style(rng, 0.0) == CLEAN
