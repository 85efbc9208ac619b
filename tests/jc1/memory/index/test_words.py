"""Terms and postings: one spelling for each word, and which rows hold it how often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.memory.index.words import Postings, terms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The cats sat, sleeping.", ["the", "cat", "sat", "sleep"]),
        ("Café CAFE Cafe\u0301", ["cafe", "cafe", "cafe"]),
        ("Zoë’s dog, Zoe's dogs", ["zoe", "dog", "zoe", "dog"]),
        ("don't snake_case 3rd 2026-11-23", ["don't", "snake", "case", "3rd", "2026", "11", "23"]),
        ("我喜欢猫 and ネコ", ["我", "喜", "欢", "猫", "and", "ネ", "コ"]),
        ("", []),
        ('"*^(){}:- ', []),
    ],
)
def test_a_word_has_one_spelling(text: str, found: list[str]) -> None:
    assert terms(text) == found


def add(postings: Postings, texts: dict[int, str]) -> list[int]:
    return postings.add(np.array([*texts], np.int64), [*texts.values()]).tolist()


def test_postings_tell_rows_and_counts_in_the_order_of_adding() -> None:
    postings = Postings()
    assert add(postings, {3: "a cat and cats", 7: "a dog", 8: "cat"}) == [4, 2, 1]
    rows, counts = postings.of("cat")
    assert (rows.tolist(), counts.tolist()) == ([3, 8], [2, 1])
    assert postings.of("walrus")[0].tolist() == []


def test_postings_grow_after_they_were_read() -> None:
    postings = Postings()
    add(postings, {1: "cat"})
    assert postings.of("cat")[0].tolist() == [1]
    add(postings, {2: "cat", 4: "", 5: "dog", 6: "cat"})
    assert postings.of("cat")[0].tolist() == [1, 2, 6]
    assert add(postings, {}) == []


@given(st.text())
def test_the_terms_of_a_term_are_searched_for_as_they_were_stored(text: str) -> None:
    postings = Postings()
    add(postings, {1: text})
    assert all(postings.of(term)[0].tolist() == [1] for term in terms(text))
