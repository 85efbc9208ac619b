"""How a reply's text is put together: stop strings, what is held back, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.decoding import Decoding
from jc1.engines.base import TokenLogprob
from jc1.engines.output_processor import OutputProcessor, StopStringMatcher, reply_limit
from jc1.errors import PromptTooLong

texts = st.text(alphabet="abc", max_size=12)
stop_sets = st.lists(st.text(alphabet="abc", min_size=1, max_size=4), min_size=1, max_size=3)


class Letters:
    """A tokenizer whose tokens are code points."""

    def push(self, token_id: int) -> str:
        return chr(token_id)

    def finish(self) -> str:
        return ""


def shown(stops: Sequence[str], pieces: Sequence[str]) -> tuple[str, str | None]:
    watcher, text = StopStringMatcher(stops), ""
    for piece in pieces:
        new, stop = watcher.push(piece)
        text += new
        if stop:
            return text, stop
    return text + watcher.flush(), None


@given(stop_sets, texts, st.lists(st.integers(0, 12), max_size=4))
def test_how_the_text_came_in_pieces_makes_no_difference(stops: list[str], text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert shown(stops, pieces) == shown(stops, list(text)) == shown(stops, [text])


@given(stop_sets, texts)
def test_the_text_ends_before_the_stop_string_that_is_complete_first(stops: list[str], text: str) -> None:
    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    if ends:
        longest = max((stop for stop in stops if text[: ends[0]].endswith(stop)), key=len)
        assert shown(stops, list(text)) == (text[: ends[0] - len(longest)], longest)
    else:
        assert shown(stops, list(text)) == (text, None)


def test_nothing_is_shown_that_may_become_a_stop_string() -> None:
    watcher = StopStringMatcher(["\nUser:"])
    assert watcher.push("Hi\nUs") == ("Hi", None)
    assert watcher.push("ually") == ("\nUsually", None)
    assert watcher.push("\nUser") == ("", None)
    assert watcher.push(": and") == ("", "\nUser:")


def test_a_stop_string_that_is_complete_before_min_tokens_does_not_count_and_one_after_does() -> None:
    watcher = StopStringMatcher(["ab"])
    assert watcher.push("ab", heed=False) == ("ab", None)
    assert watcher.push("a", heed=False) == ("", None)
    assert watcher.push("b") == ("", "ab")


def test_an_ignored_stop_string_is_not_found_later_when_it_was_held_back_for_another() -> None:
    watcher = StopStringMatcher(["ab", "abxyz"])
    text = "".join(watcher.push(piece, heed=False)[0] for piece in ("a", "b"))
    after, stop = watcher.push("x")
    assert (text + after + watcher.flush(), stop) == ("abx", None)


def reply(text: str, *, limit: int = 50, **decoding: object) -> tuple[str, list[int], str | None]:
    """Feed a reply the letters of `text`, where `$` is the end token, until it is over."""
    writing = OutputProcessor(0, Decoding.parse(decoding), limit=limit, end_tokens={ord("$")}, stream=Letters())
    steps = []
    for letter in text:
        steps.append(writing.add(ord(letter)))
        if writing.finish_reason:
            break
    return "".join(s.text for s in steps), [t for s in steps for t in s.token_ids], steps[-1].finish_reason


def test_the_end_token_ends_the_reply_is_counted_and_is_not_shown() -> None:
    assert reply("hi$more") == ("hi", [104, 105, 36], "stop")


def test_a_reply_that_reaches_its_limit_ends_with_length_and_shows_what_was_held_back() -> None:
    assert reply("hello", limit=3, stop="lo")[0::2] == ("hel", "length")


def test_the_tokens_of_a_stop_string_are_counted_and_not_shown() -> None:
    text, tokens, reason = reply("say END now", stop=["END"])
    assert (text, len(tokens), reason) == ("say ", len("say END"), "stop")


def test_an_end_token_on_the_last_allowed_place_is_a_stop() -> None:
    assert reply("hi$", limit=3)[2] == "stop"


def test_the_end_shows_what_was_held_back_for_a_stop_string_that_never_came() -> None:
    assert reply("stopping $", stop=["ing now"]) == ("stopping ", [ord(c) for c in "stopping $"], "stop")


def test_the_step_that_ends_with_a_stop_string_says_which() -> None:
    writing = OutputProcessor(0, Decoding(stop=("END", "now")), limit=50, end_tokens={ord("$")}, stream=Letters())
    steps = [writing.add(ord(letter)) for letter in "say END"]
    assert [step.stop for step in steps] == [None] * 6 + ["END"]
    whole = OutputProcessor(0, Decoding(stop=("END",)), limit=50, end_tokens={ord("$")}, stream=Letters())
    assert [whole.add(ord(letter)).stop for letter in "EN$"] == [None] * 3


@pytest.mark.parametrize(("prompt", "asked", "given"), [(10, 20, 20), (90, 20, 10), (99, 20, 1)])
def test_a_reply_gets_what_it_asked_for_or_what_the_context_leaves(prompt: int, asked: int, given: int) -> None:
    assert reply_limit(prompt, Decoding(max_tokens=asked), 100) == given


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(PromptTooLong) as caught:
        reply_limit(100, Decoding(), 100)
    assert (caught.value.tokens, caught.value.budget) == (100, 99)


def entries(text: str, **decoding: object) -> list[tuple[str, bool]]:
    """Return the letters whose log probabilities are reported, each with whether it is said to be in the text."""
    settings = Decoding.parse({"max_tokens": 20, **decoding})
    writing = OutputProcessor(0, settings, limit=20, end_tokens=(ord("."),), stream=Letters())
    steps = [writing.add(ord(letter), TokenLogprob(ord(letter), letter, -1.0)) for letter in text]
    assert "".join(step.text for step in steps) == "".join(e.text for s in steps for e in s.logprobs or () if e.in_text)
    return [(entry.text, entry.in_text) for step in steps for entry in step.logprobs or ()]


def test_log_probabilities_come_for_every_token_and_say_which_are_in_the_text() -> None:
    assert entries("abc.") == [("a", True), ("b", True), ("c", True), (".", False)]
    assert entries("abSTUSTOP", stop=["STOP"]) == [*((c, True) for c in "abSTU"), *((c, False) for c in "STOP")]
    assert entries("abST.", stop=["STOP"]) == [*((c, True) for c in "abST"), (".", False)]


class Pairs:
    """A tokenizer in which two tokens are a character."""

    def __init__(self) -> None:
        self.half = ""

    def push(self, token_id: int) -> str:
        self.half += chr(token_id)
        return self.finish() if len(self.half) == 2 else ""

    def finish(self) -> str:
        whole, self.half = self.half[:1], ""
        return whole


def test_a_piece_of_a_character_of_a_stop_string_is_not_in_the_text() -> None:
    writing = OutputProcessor(0, Decoding(stop=("b",)), limit=20, end_tokens=(), stream=Pairs())
    steps = [writing.add(ord(letter), TokenLogprob(ord(letter), letter, -1.0)) for letter in "aAbB"]
    assert [(e.text, e.in_text) for step in steps for e in step.logprobs or ()] == [
        ("a", True), ("A", True), ("b", False), ("B", False),
    ]  # fmt: skip


def processor(**decoding: Any) -> OutputProcessor:
    return OutputProcessor(0, Decoding(**decoding), limit=99, end_tokens=(0,), stream=Letters())


def test_tokens_that_come_at_once_are_one_step_which_says_what_they_say_one_by_one() -> None:
    one_by_one, at_once = (processor(stop=("lo w",)) for _ in range(2))
    ids = [ord(letter) for letter in "hello world"]
    steps = [one_by_one.add(token) for token in ids[:9] if one_by_one.finish_reason is None]
    step = at_once.add_all(ids[:9], [None] * 9, "length")
    assert step is not None
    assert (step.text, step.token_ids) == ("".join(s.text for s in steps), tuple(t for s in steps for t in s.token_ids))
    assert (step.finish_reason, step.stop, step.logprobs) == ("stop", "lo w", None)
    assert at_once.add_all(ids[9:], [None] * len(ids[9:]), "stop") is None


def test_the_end_that_an_engine_tells_counts_where_none_is_found() -> None:
    step = processor().add_all(map(ord, "hello"), [None] * 5, "length")
    assert step is not None
    assert (step.text, step.finish_reason) == ("hello", "length")
