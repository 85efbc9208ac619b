"""What is a statement, what a question, what a reply."""

from __future__ import annotations

import pytest

from jc1.memory.supersession.kinds import kind_of, sentences


@pytest.mark.parametrize(
    "text",
    [
        "What is my cat called?",
        "what is my cat called",
        "Hi! What is my cat called?",
        "my cat's name?",
        "Tell me my cat's name.",
        "remind me what my cat is called",
        "Do you know my name",
        "When is the meeting",
        "How many cats do I have",
        "I forgot where my keys are",
        "I'd like to know my PIN.",
        "In which city do I live",
        "Is my cat called Ada",
        "Where's my passport. And who am I?",
        "¿Cómo se llama mi gato?",
        "Please say when my lesson is.",
        "I can't remember my PIN.",
        "猫の名前は何ですか？",
        "ما اسم قطتي؟",
        "... What is my cat called?",
        "Tell me why my cat is so sad, what can I do?",
        "How will you remember that my cat is called Ada?",
        "I have a lesson on Friday, at three?",
    ],
)
def test_a_message_that_only_asks_is_a_question(text: str) -> None:
    assert kind_of("user", text) == "question"


@pytest.mark.parametrize(
    "text",
    [
        "My cat is called Ada.",
        "My cat is called Ada. What is yours?",
        "My cat is called Ada, what do you think of that?",
        "Can you remember that my cat is called Ada?",
        "Please remember that my cat is called Ada.",
        "When I was young I lived in Rome",
        "What I like is tea",
        "What my sister lost is a green bike.",
        "Remind me to buy milk",
        "I forgot my keys at home",
        "Name: Bob",
        "Had the best pizza today",
        "May is my favourite month",
        "Will is my brother",
        "Dr. Smith is my dentist.",
        "猫はアダです。",
        "Thanks!",
        "...",
    ],
)
def test_a_message_that_tells_something_is_a_statement(text: str) -> None:
    assert kind_of("user", text) == "statement"


@pytest.mark.parametrize("text", ["Noted: your cat is called Ada.", "What is your name?", ""])
def test_what_the_assistant_says_is_a_reply(text: str) -> None:
    assert kind_of("assistant", text) == "reply"


def test_sentences_end_with_marks_of_any_script_and_with_lines() -> None:
    text = "My cat’s black.  Is yours?\n\n  Mine\tis old 猫はアダです。 元気？"
    assert sentences(text) == ["My cat's black.", "Is yours?", "Mine is old 猫はアダです。", "元気？"]
