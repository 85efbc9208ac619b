"""No sentence may raise: whatever people write is at least remembered."""

from __future__ import annotations

import inspect
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jc1.memory.supersession import framing, kinds, patterns, segmentation
from jc1.memory.supersession.kinds import kind_of
from jc1.memory.supersession.subjects import subjects

SOURCE = " ".join(inspect.getsource(module) for module in (framing, kinds, patterns, segmentation))
VOCABULARY = sorted(set(re.findall(r"[A-Za-z']{1,14}", " ".join(re.findall(r'"([^"]*)"', SOURCE)))))
QUALIFIERS = ["new", "current", "latest", "preferred", "actual", "correct", "own", "my", "our", "the"]
MARKS = ["", ".", "!", ",", ";", ":", " - ", "—", "'", "’s", '"', "“", "(", "…", ">", "\n", "\t"]
ODD = ["\xa0", "\u2003", "\u200b", "\ufeff", "İ", "ß", "ﬁ", "Ⅻ", "猫", "١٢", "🐈", "12", "3pm", "12 Elm Street"]
VERBS = [
    "is", "are", "lives in", "works for", "works as a", "is called", "'s name is", "moved to", "turned", "was born on",
    "is due", "is my", "has been moved to", "is not Bo but", "used to be Bo, now", "left Acme for", ": ",
]  # fmt: skip

some = st.sampled_from
words = st.one_of(some(VOCABULARY), some(QUALIFIERS), some(ODD), some(MARKS))
phrases = st.lists(words, max_size=3).map(" ".join)
bare = st.lists(some([*QUALIFIERS, *ODD, ""]), max_size=2).map(" ".join)
told = st.tuples(st.one_of(bare, phrases), some(VERBS), st.one_of(bare, phrases), some(MARKS)).map(" ".join)
shuffled = st.tuples(some([" ", ""]), st.lists(st.one_of(words, some(VERBS)), max_size=12)).map(
    lambda drawn: drawn[0].join(drawn[1])
)


@given(st.one_of(told, told.map(str.capitalize), shuffled, st.text(max_size=40)))
@settings(max_examples=800)
def test_no_sentence_raises(text: str) -> None:
    kind_of("user", text)
    found = subjects(text)
    assert found.key is None or found.about


def test_words_that_only_qualify_are_nobody() -> None:
    for text in ("Latest works for me.", "New lives in Rome.", "Current is 34 years old"):
        assert subjects(text).superseded_keys == ()


@pytest.mark.parametrize("text", ["x" + " \n" * 20_000 + "y", "\n" * 20_000, "My cat is called " + "a, " * 5_000])
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    kind_of("user", text)
    subjects(text)
    assert time.process_time() - began < 3  # hundredths of a second; 8 to 350 with patterns over all of it
