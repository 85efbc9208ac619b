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
        ("I don't have two black cats any more but three.", ["I have three cats"]),
        ("I don't have two cats any more but one dog.", ["I have one dog"]),
        ("We no longer own two cats but three.", ["We own three cats"]),
        ("Ann doesn't have two cats any more but three.", ["Ann has three cats"]),
        ("I no longer have two cats, I have three.", ["I have three cats"]),
        ("I no longer have two cats, I have three now.", ["I have three cats"]),
        ("I no longer have two cats, I have three dogs.", ["I have three dogs"]),
        ("My boss is not Tom but Maria.", ["My boss is Maria"]),
        ("My cat used to be called Ada, now called Bo.", ["My cat is called Bo"]),
        ("My cat happens to be called Ada.", ["My cat is called Ada"]),
        ("Ann left Acme for Initech.", ["Ann switched to Initech"]),
        ("I live in Lyon, not in Oslo.", ["I live in Lyon"]),
        ("My cat is not black, not white.", ["My cat is not black, not white"]),
        ("I renamed the cat, it's called Bo now.", ["the cat is called Bo"]),
        ("My number has changed, it's 555-9999 now.", ["My number is 555-9999"]),
        ("I no longer work for Acme, I work for Initech now.", ["I work for Initech"]),
        ("As for my favourite tea, it's oolong.", ["my favourite tea is oolong"]),
        ("When it comes to tea, my favourite is oolong.", ["my favourite tea is oolong"]),
        ("I moved the exam to Friday, it's at 3pm.", ["I moved the exam to Friday", "the exam is at 3pm"]),
        ("My cat is old, it was where it was.", ["My cat is old", "My cat was where it was"]),
        ("My dog is old, its name is the name of a star.", ["My dog is old", "My dog's name is the name of a star"]),
        ("Ida works for Acme, her number is 555-1234.", ["Ida works for Acme", "Ida's number is 555-1234"]),
        ("I have a cat, her name is Ada.", ["I have a cat", "her name is Ada"]),
        ("We have a cat, her name is Ada.", ["We have a cat", "her name is Ada"]),
        ("Currently I live in Oslo.", ["I live in Oslo"]),
        ("MY CAT IS CALLED ADA!!!", ["my cat is called ada"]),
        ("Let's play a game. Thanks!", ["Let's play a game"]),
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
    [
        ("My cat is called Bo.", False), ("My cat is called Bo now.", True), ("Sorry, my cat is called Bo.", True),
        ("Oh no, sorry: my cat is called Bo.", True),
    ],
)  # fmt: skip
def test_the_wording_says_whether_it_was_otherwise(said: str, changed: bool) -> None:
    assert [clause.changed for clause in clauses(said)] == [changed]


def test_what_it_was_before_is_kept_beside_the_clause() -> None:
    assert list(clauses("I moved from Oslo to Lyon.")) == [Clause("I moved to Lyon", True, "Oslo")]
    assert [c.previous_value for c in clauses("I work from nine to five.")] == [""]


def test_a_correction_is_of_all_that_follows_and_a_change_of_its_own_sentence() -> None:
    assert [c.changed for c in clauses("Sorry. My cat is called Bo. My sister is called Ann.")] == [True, True]
    assert [c.changed for c in clauses("My cat is called Bo now. My sister is called Ann.")] == [True, False]


def test_a_long_sentence_comes_as_it_was_said_and_a_long_text_as_one_that_is_not_plain() -> None:
    told = "I live in Oslo and my cat is called "
    assert len(list(clauses(told.ljust(300, "a")))) == 2
    assert list(clauses(told.ljust(301, "a"))) == [Clause(told.ljust(301, "a"), False)]
    text = ("I live in Oslo. " * 250).strip()
    assert len(list(clauses(f"{text}!"))) == 250
    assert list(clauses(f"{text}!!")) == [Clause(f"{text}!!", False, plain=False)]
