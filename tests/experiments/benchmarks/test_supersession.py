"""The measurement of facts that change: it reaches what is wanted, and a memory that does otherwise fails it."""

from __future__ import annotations

from functools import cache

import pytest

from experiments.benchmarks import supersession as facts
from experiments.benchmarks.supersession import (
    HALVES,
    KEPT,
    LOST,
    UNSEEN,
    WANTED,
    WRONG,
    Case,
    Half,
    Outcome,
    Statement,
    Writer,
    figures,
    measure,
)
from jc1.memory import rows
from jc1.memory.supersession.subjects import Subjects
from tests.jc1.memory.conftest import HashingEmbedder

CASES = 192


@cache
def cases(half: Half, count: int = CASES) -> tuple[Case, ...]:
    return tuple(Writer(half).cases(count))


@pytest.mark.parametrize("half", HALVES)
def test_the_newest_of_a_fact_wins_in_either_half_of_the_wordings(half: Half) -> None:
    found = figures(measure(cases(half), HashingEmbedder()))
    assert found["right"] >= WANTED
    assert found["failures"][WRONG] == 0


def test_a_memory_that_supersedes_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "subjects", lambda text: Subjects())
    found = figures(measure(cases("dev", 24), HashingEmbedder()))
    assert found["right"] == 0
    assert found["failures"][KEPT] == 24


def test_a_memory_that_supersedes_whatever_was_said_before_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = Subjects(frozenset({"all"}), frozenset({"all"}), whole=True)
    monkeypatch.setattr(rows, "subjects", lambda text: everything)
    found = figures(measure(cases("dev", 24), HashingEmbedder()))
    assert found["right"] == 0
    assert found["failures"][WRONG] == 24
    assert found["failures"][LOST] > 0  # superseded by something else
    assert found["beside"]["wrongly superseded"] > 24


def test_a_case_needs_the_newest_to_be_recalled() -> None:
    told = (Statement("My cat is called Ada.", "fact"), Statement("My cat is now called Bo.", "fact"))
    asked, nothing = (Case("", told, (question,)) for question in ("What is my cat called?", "xyz"))
    beside = tuple(Statement(f"I like xyz number {i}.", "near") for i in range(20))
    assert [o.failures for o in measure([asked], HashingEmbedder())] == [frozenset()]
    lost = Case("", (*told, *beside), nothing.questions)
    assert [o.failures for o in measure([lost], HashingEmbedder())] == [frozenset({UNSEEN})]


def test_the_halves_share_no_wording_and_a_seed_gives_the_same_cases() -> None:
    dev, held = (Writer(half) for half in HALVES)
    for attribute in dev.attributes:
        for part in ("first", "update", "ask", "near"):
            mine, theirs = dev.half(attribute, part), held.half(attribute, part)
            assert not set(mine) & set(theirs)
            assert abs(len(mine) - len(theirs)) <= 1
    assert [*Writer("dev", seed=3).cases(30)] == [*Writer("dev", seed=3).cases(30)]
    assert [*Writer("dev", seed=3).cases(30)] != [*Writer("dev", seed=4).cases(30)]
    assert dev.half(dev.attributes[0], "first") != Writer("dev", split=1).half(dev.attributes[0], "first")


def test_a_report_counts_what_went_wrong() -> None:
    case = Case("home", (Statement("a", "fact"), Statement("b", "near"), Statement("c", "fact")), ("d",))
    found = figures([Outcome(case, frozenset())] * 3 + [Outcome(case, frozenset({KEPT, WRONG}), ("b",))])
    assert (found["cases"], found["right"]) == (4, 0.75)
    assert 0.3 < found["interval"][0] < 0.75 < found["interval"][1] < 1
    assert found["failures"] == {KEPT: 1, WRONG: 1, UNSEEN: 0, LOST: 0}
    assert found["beside"] == {"statements": 4, "wrongly superseded": 1}
    assert found["by_attribute"] == {"home": {"cases": 4, "right": 0.75, "failures": {KEPT: 1, WRONG: 1}}}


def test_both_halves_are_measured_unless_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert facts.benchmark("dev", cases=8, failures=True).keys() == {"dev"}
    shown = capsys.readouterr().err
    assert "of 8 cases are right" in shown
    assert "pet's name" in shown
    assert facts.benchmark(cases=2).keys() == set(HALVES)
