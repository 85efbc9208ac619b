"""Sentences of a text that is still being written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.speech.sentences import LONGEST, Sentences


def fed(pieces: list[str]) -> tuple[list[list[str]], list[str]]:
    """Return what became whole with each piece, and what was left at the end."""
    sentences = Sentences()
    return [sentences.feed(piece) for piece in pieces], sentences.finish()


def test_a_sentence_is_whole_when_the_next_one_begins() -> None:
    assert fed(["It rai", "ns. ", "W", "e stay."]) == ([[], [], ["It rains. "], []], ["We stay."])


@pytest.mark.parametrize(
    "text",
    ["Dr. Smith has 3.5 kg, e.g. of v1.2.3 in the U.S. today.", 'He said "No." to her', "Well... maybe?"],
)
def test_abbreviations_and_numbers_end_none(text: str) -> None:
    assert fed(list(text)) == ([[]] * len(text), [text])


def test_a_line_is_one_of_its_own() -> None:
    feeds, rest = fed(["# Title\n\n- one\n- two\nAnd", " so on"])
    assert feeds == [["# Title\n\n", "- one\n", "- two\n"], []]
    assert rest == ["And so on"]


def test_a_block_of_code_is_one_sentence_and_is_waited_for() -> None:
    feeds, rest = fed(["See:\n```py\nx = 1. ", "Y = 2\n", "\n```\n", "Done."])
    assert feeds == [["See:\n"], [], [], ["```py\nx = 1. Y = 2\n\n```\n"]] or feeds == [
        ["See:\n"],
        [],
        ["```py\nx = 1. Y = 2\n\n```\n"],
        [],
    ]
    assert rest == ["Done."]


def test_a_long_sentence_is_cut_behind_a_comma() -> None:
    text = "and then we went on, " * 40
    feeds, rest = fed([text])
    parts = [*feeds[0], *rest]
    assert "".join(parts) == text
    assert all(len(part) <= LONGEST for part in parts)
    assert all(part.endswith(", ") for part in parts)


@given(st.lists(st.text(alphabet="ab. ,\n`~!?A\t1é"), max_size=12))
def test_nothing_is_lost_or_changed(pieces: list[str]) -> None:
    feeds, rest = fed(pieces)
    assert "".join([sentence for feed in feeds for sentence in feed] + rest) == "".join(pieces)
