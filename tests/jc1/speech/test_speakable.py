"""What is written becomes what can be said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.speech.speakable import speakable

DOCUMENT = Path(__file__).parents[3] / "docs" / "speech.md"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("# Title\n\nHello **world** and _you_.", "Title. Hello world and you."),
        ("- one\n- two (2)", "one. two (two)."),
        ("1. First\n2. Second", "First. Second."),
        ("Call `f(x)`:\n\n```python\nprint(1)\n```\nEnd", "Call f(x): There is a code block here. End."),
        ("See [the docs](http://x.y/z).", "See the docs."),
        ("See https://www.example.org/a/b?c=1.", "See a link to example dot org."),
        ("Mail a.b_c@example.org", "Mail a dot b c at example dot org."),
        ("![a cat](x.png)", "picture: a cat."),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a. b. one. two."),
        ("a <b>x</b> c", "a x c."),
        ("Fine 😀 👍🏽!", "Fine!"),
        ("1,234 apples", "one thousand two hundred and thirty-four apples."),
        ("3.14 and 0.07", "three point one four and zero point zero seven."),
        ("-5 °C or 50%", "minus five degrees Celsius or fifty percent."),
        ("007 and 1000000000000001", "zero zero seven and one" + " zero" * 14 + " one."),
        ("the 21st and 1/2", "the twenty-first and a half."),
        ("3-5 km, 1 kg, 100 km/h", "three to five kilometres, one kilogram, one hundred kilometres per hour."),
        ("$5.20, €1, £3.5 million", "five dollars twenty, one euro, three point five million pounds."),
        ("on 2026-11-30 at 14:05", "on November thirtieth, twenty twenty-six at fourteen oh five."),
        ("9:00 a.m. or 7:00", "nine a m or seven o'clock."),
        ("In 1984 and the 1990s", "In nineteen eighty-four and the nineteen nineties."),
        ("version 1.2.3", "version one point two point three."),
        ("Dr. Smith, e.g. Mr. Jones etc.", "Doctor Smith, for example Mister Jones et cetera."),
        ("No. 5 and no. Never.", "number five and no. Never."),
        ("2+2=4 & 5 < 6", "two plus two equals four and five less than six."),
        ("10:75 on 2026-13-45", "ten:seventy-five on twenty twenty-six-thirteen-forty-five."),
    ],
)  # fmt: skip
def test_what_is_said_of_what_is_written(written: str, said: str) -> None:
    assert speakable(written) == said


@pytest.mark.parametrize("text", ["", "  ", "...", "😀", "***", "<script>x()</script>", "---", "\x00\u200b"])
def test_nothing_is_said_of_what_has_no_word(text: str) -> None:
    assert speakable(text) == ""


def test_in_other_languages_the_voice_reads_numbers_itself() -> None:
    assert speakable("Es kostet **5 €** am 3.10.", "de") == "Es kostet 5 € am 3.10."


@given(st.text(max_size=200))
def test_any_text_becomes_one_line_without_marks(text: str) -> None:
    said = speakable(text)
    assert not re.search(r"[\x00-\x1f*_`|\\{}\[\]]", said)
    assert said == said.strip()


@given(st.from_regex(r"[-$€£]?[\d.,:/%-]{1,40}", fullmatch=True))
def test_any_figure_can_be_said(text: str) -> None:
    assert not re.search(r"\d", speakable(f"It is {text} here"))
