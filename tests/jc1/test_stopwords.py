"""What is left of a retrieval query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.stopwords import remove_stopwords


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("What is my cat called?", "cat called?"),
        ("what do you know about Lena's new job", "Lena's new job"),
        ("I do not like olives", "not olives"),
        ("Who am I?", "Who am I?"),
        ("", ""),
        ("never", "never"),
    ],
)
def test_stopwords_leave_the_query_and_negations_stay(text: str, kept: str) -> None:
    assert remove_stopwords(text) == kept


@given(st.text(max_size=60))
def test_a_text_with_words_never_becomes_empty(text: str) -> None:
    assert bool(remove_stopwords(text)) == bool(text)
