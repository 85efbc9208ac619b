"""What the generated dialogues are true to: every reply is supported by the text before it."""

from __future__ import annotations

import random

import pytest

from experiments.tiny.batches import collate, dialogue, row
from experiments.tiny.tokenizer import Encoder
from jc1.models import BUNDLED
from jc1.prompt import DEFAULT_SYSTEM, NOTICE
from jc1.tokenizer.tokenizer import load_tokenizer
from jc1_lab.dialogues.dialogue import Dialogue, Shape, Writer, shape
from jc1_lab.dialogues.grammar import ATTRIBUTES, NOT_TOLD, PERSONAL, SHARED
from jc1_lab.dialogues.words import HELD_SYLLABLES, LISTS, TRAIN_SYLLABLES

TINY = BUNDLED / "jc1-tiny"


def written(count: int, *, held_out: bool = False, seed: int = 3) -> list[Dialogue]:
    rng = random.Random(seed)
    writer = Writer(rng, held_out=held_out)
    return [writer.write(shape(rng, rng.random())) for _ in range(count)]


def test_the_same_seed_writes_the_same_dialogues() -> None:
    assert written(40) == written(40)
    assert written(40) != written(40, seed=4)


@pytest.mark.parametrize("held_out", [False, True], ids=["training", "held out"])
def test_every_answer_was_said_before_the_question(held_out: bool) -> None:
    answers = 0
    for one in written(300, held_out=held_out):
        for i, turn in enumerate(one.turns):
            if turn.kind == "told":
                answers += 1
                before = "\n".join(t.text for t in one.turns[: i - 1] if t.role != "system").lower()
                asked = one.turns[i - 1].text.lower()
                for value in turn.values:
                    # "Who is Ada?" is answered with whose what Ada is; the rest with the value itself.
                    assert value.lower().removeprefix("your ").split("'s ")[-1] in before + asked, (value, one)
    assert answers > 300


def test_what_was_not_told_is_answered_by_one_sentence() -> None:
    replies = {t.text for one in written(300) for t in one.turns if t.kind == "not_told"}
    assert replies == {NOT_TOLD}


def test_memories_are_rendered_as_in_serving() -> None:
    texts = [t.text for one in written(200) for t in one.turns]
    blocks = [t for t in texts if "<memory>" in t]
    assert len(blocks) > 100
    assert all(NOTICE in t for t in blocks)
    assert DEFAULT_SYSTEM in texts


def test_a_correction_replaces_the_value() -> None:
    """The last favourite or name that a dialogue states for something is the one the answers give."""
    changed = 0
    for one in written(800):
        current: dict[str, str] = {}
        for turn in one.turns:
            clause = turn.text.removeprefix("Noted: ").removesuffix(".").replace("Your ", "your ", 1)
            known = clause.startswith("your favourite ") or (clause.startswith("your ") and " is called " in clause)
            what, _, value = clause.partition(" is ")
            if not known or " and " in clause:
                continue
            if turn.kind == "noted":
                changed += current.get(what, value) != value
                current[what] = value
            elif turn.kind == "told":
                assert current.get(what, value) == value, one
    assert changed > 5


def test_held_out_words_and_syllables_are_never_trained_on() -> None:
    for name in ("people", "cities", "things", "jobs", "objects", "places", "colours"):
        assert not set(LISTS[name]) & set(LISTS[f"{name} held"]), name
    for part in ("starts", "vowels", "ends"):
        assert not set(getattr(TRAIN_SYLLABLES, part)) & set(getattr(HELD_SYLLABLES, part)), part


def test_ids_are_those_of_the_shipped_tokenizer_and_template() -> None:
    encoder, shipped = Encoder(TINY / "tokenizer.model"), load_tokenizer(TINY)
    for one in written(60):
        messages = one.messages()[:-1]
        assert encoder.prompt(messages) == shipped.chat(messages)


def test_the_loss_is_on_the_replies_alone() -> None:
    encoder = Encoder(TINY / "tokenizer.model")
    for one in written(40):
        made = row(one, encoder)
        if not made.replies:
            continue
        batch = collate([made, made], encoder.end)
        learnt = [encoder.pieces.decode(batch.targets[first : stop - 1].tolist()) for first, stop, _ in batch.spans]
        assert learnt == [t.text for t in one.turns if t.kind] * 2
        assert all(batch.targets[stop - 1] == encoder.end for _, stop, _ in batch.spans)


def test_words_cut_at_random_are_the_same_text_in_more_pieces() -> None:
    encoder, rng = Encoder(TINY / "tokenizer.model"), random.Random(1)
    text = "My colleague is called Margarethe Vandersloot."
    whole, cut = encoder.text(text), encoder.text(text, {}, rng, 1.0)
    assert encoder.pieces.decode(cut) == encoder.pieces.decode(whole) == text
    assert len(cut) > len(whole)


def test_dialogues_grow_from_few_facts_to_many() -> None:
    def longest(progress: float) -> int:
        rng = random.Random(2)
        writer = Writer(rng)
        return max(sum(len(t.text) for t in dialogue(rng, writer, progress).turns) for _ in range(60))

    assert longest(0.03) < longest(0.2) < longest(0.6)


def test_a_shape_bounds_the_dialogue() -> None:
    one = Writer(random.Random(1)).write(Shape(facts=0, turns=3, noise=0.0))
    assert sum(t.role == "user" for t in one.turns) == 3
    assert not any("<memory>" in t.text for t in one.turns)


def test_every_attribute_can_be_told_changed_and_asked_in_every_case() -> None:
    """A value with a small letter cannot begin a sentence, and what is shared ("our keys") names no person."""
    for attribute in ATTRIBUTES:
        for wordings in (attribute.tell, attribute.change, attribute.ask, attribute.indirect):
            inside = [w for w in wordings if not w.startswith("{v}")]
            assert inside, attribute.key
            if attribute.key in SHARED:
                assert any(not any(p in w for p in PERSONAL) for w in inside), attribute.key
        assert all(w.strip() for w in (*attribute.tell, *attribute.ask, *attribute.reverse)), attribute.key
