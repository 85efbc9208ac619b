"""Facts of plain clauses: which subject they name, whether all is understood, and whether there may be several."""

from __future__ import annotations

import pytest

from jc1.memory.supersession.patterns import Fact, facts, left_behind


@pytest.mark.parametrize(
    ("clause", "fact"),
    [
        ("my cat is called Ada", Fact("my cat|name")),
        ("our cat goes by Ada", Fact("my cat|name")),
        ("I have a cat called Ada", Fact("my cat|name", multi_valued=True)),
        ("my sister is called Ann", Fact("my sister|name", multi_valued=True)),
        ("my new boss is Maria", Fact("my boss|name")),
        ("my new cat is called Bo", Fact("my new cat|name")),
        ("my favorite color is teal", Fact("i|favourite colour")),
        ("my mobile number is 555-1234", Fact("my phone number|is")),
        ("I moved to 12 Elm Street", Fact("my address|is")),
        ("Ann moved to Lyon", Fact("ann|home")),
        ("my house is in good shape, you know", None),
        ("my cat was called Ada", None),
        ("nobody lives in Oslo", None),
    ],
)
def test_a_clause_tells_at_most_one_fact_of_this_kind(clause: str, fact: Fact | None) -> None:
    assert list(facts(clause)) == ([] if fact is None else [fact])


@pytest.mark.parametrize(
    ("subject", "wordings"),
    [
        ("i|job", ["my profession is nurse", "my occupation is baker", "my job is chemist", "my job is pioneer"]),
        ("i|job", ["I am a baker", "my job is policewoman", "my job is veterinarian", "my job is analyst"]),
        ("i|age", ["my age is 34", "I am 34", "We are 34 years old"]),
        ("i|name", ["my name is Ann", "our name is Smith", "call me Ann"]),
        ("i|employer", ["my employer is Acme", "I work for Acme", "I joined Acme"]),
        ("i|birthplace", ["my hometown is Oslo", "I was born in Oslo"]),
        ("i|birthday", ["my birthday is on 3 May", "I was born on 3 May"]),
        ("i|home", ["I live in Oslo", "We live in Oslo", "I moved to Oslo"]),
        ("my address|is", ["I live at 12 Elm Street", "my home is at 12 Elm Street", "my flat is in 12 Elm Street"]),
        ("i|favourite tea", ["my favorite tea is oolong", "oolong is my favourite tea"]),
        ("my report|deadline", ["my report deadline is Friday", "the deadline for my report is Friday"]),
        ("my report|deadline", ["my report's deadline is on Friday", "my report is due on Friday"]),
        ("my cat|name", ["bo is my cat", "I changed the name of my cat to Bo", "my cat's name is Bo"]),
        ("my dentist|name", ["bo is my dentist", "Bo Smith is my dentist", "I have a dentist called Bo"]),
        ("my piano teacher|name", ["my piano teacher is Tom", "my new piano teacher is Tom"]),
        ("my locker code|is", ["locker code: 4312", "my locker code is 4312"]),
        ("my code for the locker|is", ["my code for the locker is 12", "I have a code for the locker called 12"]),
        ("my user name|is", ["my user name is ann", "user name: ann"]),
        ("my dog's weight|is", ["my dog's weight is 12 kg"]),
        ("my middle name|is", ["my middle name is Ann"]),
        ("ann's address|is", ["Ann lives at 12 Elm Street", "Ann's address is 12 Elm Street"]),
        ("ann|age", ["Ann is 34", "ann is 34 years old"]),
        ("ann|job", ["Ann is a baker", "Ann works as a baker"]),
        ("my cat|age", ["my cat is 3", "our cat is 3"]),
        ("my cat|home", ["the cat lives in Oslo"]),
        ("my shop|place", ["my shop lives in Oslo", "my shop moved to Lyon", "our shop is in Rome"]),
        ("my keys|place", ["my keys moved to the drawer", "I put the keys in the drawer"]),
        ("my exam|day", ["the exam is on Friday", "my exam was moved to Friday"]),
        ("my keys|time", ["my keys are on the table at 3pm"]),
        ("my price|is", ["my price was changed to 12"]),
        ("i|count cats", ["I have two cats"]),
        ("i|count children", ["I have 5 children"]),
    ],
)
def test_wordings_of_one_fact_have_one_subject(subject: str, wordings: list[str]) -> None:
    for clause in wordings:
        assert list(facts(clause)) == [Fact(subject)], clause


@pytest.mark.parametrize(
    ("clause", "subject"),
    [
        ("my teacher is Tom", "my teacher|name"),
        ("my friend's favourite tea is oolong", "my friend|favourite tea"),
        ("my sister's job is teacher", "my sister|job"),
        ("my friend's employer is Acme", "my friend|employer"),
        ("my friend's address is 7 Elm Street", "my friend's address|is"),
        ("my friend lives at 7 Elm Street", "my friend's address|is"),
        ("my friend was born in Oslo", "my friend|birthplace"),
        ("I changed my sister's name to Ann", "my sister|name"),
        ("I changed the name of my sister to Ann", "my sister|name"),
        ("my friends call me Bo", "i|name"),
        ("I have a haircut on Friday", "my haircut|day"),
        ("I have a lesson at the town hall", "my lesson|place"),
        ("the hotel is in Rome", "my hotel|place"),
        ("I have 5 bikes", "i|count bikes"),
    ],
)
def test_what_there_may_be_several_of_is_marked(clause: str, subject: str) -> None:
    assert list(facts(clause)) == [Fact(subject, multi_valued=True)]


@pytest.mark.parametrize(
    "clause",
    [
        "my birthday is soon", "my birthday is in the summer", "I was born in 1990", "my job is remote",
        "my home is Oslo", "my car is red", "my home is at the lake", "my son is in the kitchen",
        "my boss was moved to the town hall", "my exam was moved to later", "I have a thing on fire",
        "I have a cat of Ada", "I have 5 sheep", "bo is my neighbour", "bo who sings is my dentist",
        "Bo from Oslo is my dentist", "my dentist is tom", "my dentist is Tom who sings", "ann is 34",
        "the meeting is 34", "the meeting is a baker", "I moved to Lyon last year", "I moved to the old town",
        "I moved to Lyon in 2010", "I put the drill in a good mood",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_fact_is_none(clause: str) -> None:
    assert list(facts(clause)) == []


def test_a_day_and_a_time_are_two_facts() -> None:
    assert [fact.subject for fact in facts("the exam is on Friday at 3pm")] == ["my exam|day", "my exam|time"]


def test_what_somebody_switched_to_may_be_a_home_an_employer_or_a_job() -> None:
    assert list(left_behind("I switched to Initech")) == ["i|home", "i|employer", "i|job"]
    assert list(left_behind("Ann moved to Lyon")) == ["ann|home", "ann|employer", "ann|job"]
    assert list(left_behind("nobody switched to Acme")) == list(left_behind("I live in Oslo")) == []


def test_a_value_with_something_hanging_on_it_is_not_plain() -> None:
    assert [fact.unqualified for fact in facts("my cat is called Ada because she is small")] == [False]
    assert [fact.unqualified for fact in facts("my cat is called Ada the very first one")] == [False]
    assert [fact.unqualified for fact in facts("I changed the name of my cat to Ada the very first one")] == [False]
