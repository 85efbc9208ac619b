"""Plain clauses: what is taken off, what is turned round, and what stays as it was said."""

from __future__ import annotations

import pytest

from jc1.memory.supersession.segmentation import Clause, clauses


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("Hi there! Just so you know, my cat is called Ada. Thanks :)", ["my cat is called Ada"]),
        ("My cat isn't called Ada any more but Bo.", ["My cat is called Bo"]),
        ("The thesis is no longer due on Friday but on Monday", ["The thesis is due on Monday"]),
        ("Ann doesn't live in Oslo any more but in Lyon.", ["Ann lives in Lyon"]),
        ("I don't have two cats any more but three.", ["I have three cats"]),
        ("I live in Lyon, not in Oslo.", ["I live in Lyon"]),
        ("I renamed the cat, it's called Bo now.", ["the cat is called Bo"]),
        ("My number has changed, it's 555-9999 now.", ["My number is 555-9999"]),
        ("I no longer work for Acme, I work for Initech now.", ["I work for Initech"]),
        ("As for my favourite tea, it's oolong.", ["my favourite tea is oolong"]),
        ("My cat is called Ada and I live in Oslo; I'm 34.", ["My cat is called Ada", "I live in Oslo", "I am 34"]),
        ("My cat is not black.", ["My cat is not black"]),
        ("What is my cat called?", []),
        ("Good morning!", []),
    ],
)
def test_a_text_becomes_plain_clauses(said: str, plain: list[str]) -> None:
    assert [clause.text for clause in clauses(said)] == plain


@pytest.mark.parametrize(
    ("said", "changed"),
    [("My cat is called Bo.", False), ("My cat is called Bo now.", True), ("Sorry, my cat is called Bo.", True)],
)
def test_the_wording_says_whether_it_was_otherwise(said: str, changed: bool) -> None:
    assert [clause.changed for clause in clauses(said)] == [changed]


def test_what_it_was_before_is_kept_beside_the_clause() -> None:
    assert list(clauses("I moved from Oslo to Lyon.")) == [Clause("I moved to Lyon", True, "Oslo")]
    assert [c.previous_value for c in clauses("I work from nine to five.")] == [""]
