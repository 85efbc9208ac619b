"""Which statements supersede which, and above all which do not."""

from __future__ import annotations

import time

import pytest

from jc1.memory.supersession.subjects import Subjects, subjects


def supersedes(new: str, old: str) -> bool:
    return subjects(old).key in subjects(new).superseded_keys


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("My cat is called Ada.", "Actually my cat is now called Bo."),
        ("my cat's name is Ada", "I renamed my cat to Bo"),
        ("The name of my cat is Ada.", "My cat’s called Bo"),
        ("I live in Oslo.", "I moved to Lyon."),
        ("I'm living in Oslo", "I've just moved to New York"),
        ("I live in Oslo", "We sold everything. I moved from Oslo to Lyon."),
        ("My favourite colour is teal.", "Red is my favourite colour now."),
        ("my favorite color is teal", "my favourite colour is red"),
        ("The meeting is on Friday.", "The meeting was moved to Monday."),
        ("The meeting is on Friday.", "The meeting is on Monday at 3pm."),
        ("I work at Acme.", "I now work for Initech."),
        ("I work as a nurse.", "My new job is teacher"),
        ("I am 34 years old", "I just turned 35"),
        ("My phone number is 555-1234.", "I changed my phone number to 555-9999"),
        ("Remember that my locker code is 4312.", "my locker code: 9921"),
        ("My keys are in the drawer.", "I put my keys under the mat."),
        ("My sister is called Ann.", "Correction: my sister is called Anna."),
        ("Ann lives in Oslo", "Ann moved to Lyon"),
        ("My name is Ann.", "Call me Anna from now on."),
        ("My birthday is on 3 May", "Actually I was born on 4 May"),
        ("I have two cats.", "I have three cats now."),
        ("My cat is called Ada.", "Hi! My cat is called Bo and I live in Oslo."),
        ("My cat is called Ada and I live in Oslo.", "My cat is called Bo and I live in Lyon."),
        ("My cat is called Ada. What is yours called?", "My cat is now called Bo."),
        ("Hi there! My cat is called Ada. Please remember that.", "My cat isn't called Ada any more but Bo."),
        ("I have a cat called Ada.", "We renamed our cat, it's called Bo now."),
        ("My boss is called Tom.", "My new boss is called Maria."),
        ("Tom is my boss.", "My boss is Maria now."),
        ("I've lived in Oslo for years.", "I no longer live in Oslo but in Lyon."),
        ("I work at Acme.", "I've left Acme and joined Initech."),
        ("I work at Acme.", "I left Acme for Initech."),
        ("I live in Oslo.", "I switched from Oslo to Lyon."),
        ("Ann works at Acme.", "Ann doesn't work at Acme any more, she works at Initech now."),
        ("I am a nurse by profession.", "I retrained and now work as a baker."),
        ("My son is 14.", "My son had a birthday and is 15 now."),
        ("phone number: 555-1234", "My number has changed, it's 555-9999 now."),
        ("You can reach me at 555-1234.", "My phone number is 555-9999, not 555-1234."),
        ("I live at 12 Elm Street.", "My new address is 7 Harbour Road."),
        ("The exam is scheduled for Friday.", "They moved my exam from Friday to Monday."),
        ("My report is due on Friday.", "The deadline for my report was extended to Monday."),
        ("I have 5 bikes.", "It's 6 bikes now, not 5."),
        ("MY CAT IS CALLED ADA!!!", "my cat is called bo now"),
    ],
)
def test_a_newer_statement_supersedes_the_older_on_its_subject(old: str, new: str) -> None:
    assert supersedes(new, old)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # another thing
        ("My cat is called Ada.", "My dog is called Bo."),
        ("My cat is called Ada.", "My other cat is called Bo."),
        ("My cat is called Ada.", "My new cat is called Bo."),
        ("My cat is called Ada.", "I have a cat called Bo."),
        ("My cat is called Ada.", "Your cat is called Bo."),
        ("My cat is called Ada.", "My sister's cat is called Bo."),
        # another person
        ("I live in Oslo.", "Ann lives in Lyon."),
        ("My sister lives in Oslo.", "My brother lives in Lyon."),
        ("My name is Ann.", "My friend's name is Bob."),
        ("It lives in Oslo.", "It lives in Lyon."),
        # something else about it
        ("I was born in Oslo.", "I was born in 1990."),
        ("My keys are in the drawer.", "My keys are in good shape."),
        ("My cat is called Ada.", "My cat is black."),
        ("The meeting is on Friday.", "The meeting is at 3pm."),
        ("I live in Oslo.", "I work in Lyon."),
        ("My wifi password is hunter2.", "My wifi password is wrong."),
        ("My job is teacher.", "My job is stressful."),
        # perhaps several
        ("My sister is called Ann.", "My sister is called Eva."),
        ("My friend lives in Oslo.", "My friend lives in Lyon."),
        ("The hotel is in Rome.", "The hotel is in Paris."),
        ("My friend's phone number is 1234.", "My friend's phone number is 9876."),
        ("I like tea.", "I like coffee."),
        ("I am allergic to nuts.", "I am allergic to milk."),
        # the past, a wish, a denial, a guess, a question
        ("I live in Oslo.", "I lived in Lyon."),
        ("I live in Oslo.", "I moved to Lyon in 2010."),
        ("I live in Oslo.", "I want to live in Lyon."),
        ("My cat is called Ada.", "My cat is not called Bo."),
        ("My cat is called Ada.", "If my cat is called Bo, say so."),
        ("My cat is called Ada.", "Is my cat called Bo?"),
        ("My birthday is on 3 May.", "My birthday is tomorrow."),
        # the older one says more
        ("My cat is called Ada and I live in Oslo.", "My cat is called Bo."),
        ("My cat is called Ada, she is black and loves fish.", "My cat is now called Bo."),
        ("I live in Oslo with my brother.", "I moved to Lyon."),
        ("I live in Oslo. It is a quiet street.", "I moved to Lyon."),
        ("The street is quiet. I live in Oslo.", "I moved to Lyon."),
        # of several, one may have changed
        ("I have 5 bikes.", "I have 6 bikes."),
        # words that are no value
        ("My boss is Tom.", "My boss is German."),
        ("My name is Ann.", "Call me tomorrow."),
        ("I live in Oslo.", "I live in fear now."),
        ("I live in Oslo.", "I've moved to the next chapter."),
        ("I work at Acme.", "I started at noon."),
        ("I work at Acme.", "I joined the choir."),
        ("I work as a nurse.", "I'm now a mother."),
        ("My passport is in the drawer.", "My passport is in the name of Smith now."),
        ("My budget is 1200.", "My budget is tight now."),
        # what became of it, or is said of it
        ("My password is swordfish.", "My password is leaked."),
        ("My password is swordfish.", "My password is now stolen."),
        ("My password is swordfish.", "My password is known to everyone."),
        ("My password is swordfish.", "My password is totally useless."),
        ("My password is swordfish.", "My password is compromised, sadly."),
        ("My password is swordfish.", "My password is case-sensitive."),
        ("My password is swordfish.", "My password is a security risk."),
        ("My password is swordfish.", "My password is under the keyboard."),
        ("My locker code is 1234.", "My locker code is failing."),
        ("My phone number is 555-1234.", "My phone number is disconnected."),
        ("My email is ann@x.org.", "My email is hacked."),
        ("My rent is 900 euros.", "My rent is rising."),
        ("My rent is 900 euros.", "My rent is paid."),
        ("My budget is 1200.", "My budget is blown."),
        ("My name is Ann.", "My name is misspelled."),
        ("My cat is called Ada.", "My cat is called for dinner."),
        ("My favourite colour is blue.", "My favourite colour is overrated."),
        ("My employer is Acme.", "My employer is bankrupt."),
        ("My hometown is Ghent.", "My hometown is flooded."),
        ("The deadline for my essay is on Friday.", "The essay's deadline is extended."),
        ("I live in Oslo.", "I live in limbo."),
        # nothing that is understood
        ("Mi gato se llama Ada.", "Mi gato se llama Bo."),
        ("", ""),
    ],
)
def test_what_may_be_about_something_else_supersedes_nothing(old: str, new: str) -> None:
    assert not supersedes(new, old)


def test_the_order_of_facts_in_a_statement_does_not_matter() -> None:
    assert (
        subjects("I live in Oslo and my cat is called Ada").key == subjects("My cat is called Ada; I live in Oslo").key
    )


LONG = ("my " * 3000, "My cat is called Ada and " * 400, "a.b" * 3000, "my x is y, " * 900)
TANGLED = (
    "i have a " + "very " * 55 + "cat", "a " * 140, "my " + "a-b " * 70, "used to be " * 26,
    "moved from " * 27 + "to x", "is not " * 40, "my x's " * 40, ", it is " * 36, "no longer " * 29, "12 street " * 29,
    "left x for " * 26, "1" * 299,
)  # fmt: skip


@pytest.mark.parametrize("text", [*LONG, *TANGLED])
def test_a_long_text_is_read_in_no_time(text: str) -> None:
    began = time.process_time()
    subjects(text)
    assert time.process_time() - began < 1


def test_a_change_from_something_tells_what_it_supersedes() -> None:
    assert subjects("I moved from Oslo to Lyon.").previous_value == "Oslo"
    assert subjects("I moved from Oslo to Lyon. My cat is called Bo.").previous_value == "Oslo"
    assert subjects("I moved to Lyon.").previous_value == Subjects().previous_value == ""


def about(*names: str, whole: bool = True) -> Subjects:
    return Subjects(frozenset(names), frozenset(names), whole=whole)


def test_a_statement_of_more_than_is_followed_is_never_superseded() -> None:
    assert about("a", "b", "c", "d").key == "a\nb\nc\nd"
    assert about("a", "b", "c", "d", "e").key is None
    assert about("x" * 400).key == "x" * 400
    assert about("x" * 401).key is None
    assert about("a", whole=False).key is None
    assert Subjects(frozenset({"a"})).key is None


def test_a_statement_supersedes_those_on_any_of_its_subjects_together_or_alone() -> None:
    assert about("b", "a", "c").superseded_keys == ("a", "b", "c", "a\nb", "a\nc", "b\nc", "a\nb\nc")
    assert len(about(*"abcd").superseded_keys) == len(about(*"abcdefgh").superseded_keys) == 2**4 - 1


def test_of_what_there_may_be_several_is_named() -> None:
    found = subjects("My sister is called Ann and my cat is called Bo.")
    assert found.multi_valued == {"my sister|name"}
    assert found.about == {"my sister|name", "my cat|name"}
