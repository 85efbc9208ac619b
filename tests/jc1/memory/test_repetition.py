"""What a reply repeats of its prompt, read from the words alone."""

from __future__ import annotations

import pytest

from jc1.memory.repetition import repeated, words_of

STOOD = {
    "dog": "My dog is called Rex.",
    "cat": "My cat is called Ada.",
    "home": "I live in Porto.",
    "sister": "My sister Anna lives in Rome and has two kids named Tim and Tom.",
    "dog's food": "My dog Rex eats beef.",
    "cat's food": "My cat eats beef.",
    "code": "My locker code is 4312.",
    "allergy": "I am allergic to peanuts.",
}
QUESTION, ANSWER = "What is my dog called?", "Your dog is called Rex."
WALK = (
    "You could go along the river, Rex will love the wide fields, and be back in Porto by noon for lunch with friends."
)


@pytest.mark.parametrize(
    ("question", "reply", "sources"),
    [
        ("What is my dog called?", "Your dog is called Rex.", {"dog"}),
        ("What is my cat called?", "Your cat is called Ada.", {"cat"}),
        ("Where do I live?", "You live in Porto.", {"home"}),
        ("Where does Anna live?", "In Rome.", {"sister"}),
        ("Does Anna have kids?", "Yes.", {"sister"}),
        ("What does my cat eat?", "Beef.", {"cat's food"}),
        ("What are my pets called?", "Your dog is called Rex and your cat is called Ada.", {"dog", "cat"}),
        ("What is my locker code?", "It is 4312.", {"code"}),
        ("Can I eat satay?", "No, you are allergic to peanuts.", {"allergy"}),
        ("Is my dog called Rex?", "Yes, it is.", {"dog"}),
        ("Plan a walk for tomorrow", WALK, {"dog", "home"}),
        ("What is the capital of France?", "The capital of France is Paris.", set()),
        ("What is my dog called?", "I do not know your dog.", set()),
        ("Tell me about dogs", "Dogs were domesticated by humans long ago and are kept all over the world.", set()),
        ("What is 2+2?", "4.", set()),
        ("hello", "Hello! How can I help?", set()),
        ("", "", set()),
    ],
)
def test_a_reply_repeats_what_its_words_come_from(question: str, reply: str, sources: set[str]) -> None:
    assert repeated(question, reply, STOOD) == sources


def test_a_reply_repeats_all_that_say_the_same() -> None:
    assert repeated("What is my dog called?", "Rex.", {1: "My dog is called Rex.", 2: "my dog is called rex"}) == {1, 2}


def test_what_tells_more_than_was_said_does_not_stand_in_for_what_tells_just_that() -> None:
    letter = "A long letter about the garden, the dog that is called in at noon, Rex of Thebes, and the weather."
    assert repeated(QUESTION, ANSWER, {1: "My dog is called Rex.", 2: letter}) == {1}
    assert repeated(QUESTION, ANSWER, {2: letter}) == {2}


def test_a_word_in_common_does_not_stand_in_for_the_fact() -> None:
    fact = "My dog is called Rex, he is three years old and brown."
    assert 2 in repeated(QUESTION, ANSWER, {1: "Rex is fun.", 2: fact})


def test_nothing_is_repeated_where_nothing_stood() -> None:
    assert repeated("What is my dog called?", "Rex.", {}) == frozenset()


def test_the_words_of_a_text_are_those_that_say_something() -> None:
    assert words_of("Please remember: my dog's called Rex!") == ["dog's", "called", "Rex"]
