"""Facts of plain clauses: which subject they name, whether all is understood, and whether there may be several."""

from __future__ import annotations

import pytest

from jc1.memory.supersession.patterns import Fact, facts


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


def test_a_day_and_a_time_are_two_facts() -> None:
    assert [fact.subject for fact in facts("the exam is on Friday at 3pm")] == ["my exam|day", "my exam|time"]


def test_a_value_with_something_hanging_on_it_is_not_plain() -> None:
    assert [fact.unqualified for fact in facts("my cat is called Ada because she is small")] == [False]
