"""What the pieces of HTML say, and that nothing from outside is HTML in them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from jc1.errors import PromptTooLong
from jc1.memory.base import Receipt, Record
from jc1.sessions import SessionInfo
from jc1.trace import Trace
from jc1_ui.components import fragments

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVIL = '<script>alert("1")</script>'
BREAKOUT = '"><hr>'


def text(html: str) -> str:
    """What a person reads."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def record(**fields: object) -> Record:
    values = {"id": "m1", "owner": "local", "text": "My cat is called Ada.", "role": "user", "kind": "statement"}
    return Record(**{**values, "created": datetime.now(UTC), "session": "s", "turn": 2, **fields})  # type: ignore[arg-type]


def session(identity: str, title: str) -> SessionInfo:
    return SessionInfo(identity, title, 1, datetime.now(UTC), datetime.now(UTC))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3_599, "59 min ago"),
        (7_300, "2 h ago"),
        (172_800, "2 d ago"),
    ],
)
def test_an_age_is_told_in_the_largest_unit_that_fits(seconds: int, said: str) -> None:
    assert fragments.age(NOW - timedelta(seconds=seconds), NOW) == said


def test_the_current_conversation_is_marked_in_the_list() -> None:
    html = fragments.conversations([session("a", "First"), session("b", "Second")], "b")
    assert re.findall(r'data-open="(\w+)" aria-current=true', html) == ["b"]
    assert text(html) == "First just now Second just now"


def test_a_conversation_that_is_not_stored_yet_heads_the_list() -> None:
    html = fragments.conversations([session("a", "First")], "new", draft="Hello")
    assert re.findall(r'data-open="(\w+)"', html) == ["new", "a"]
    assert fragments.conversations([session("a", "First")], "a", draft="Again").count("data-open") == 1


def test_an_empty_list_says_what_will_be_in_it() -> None:
    assert text(fragments.conversations([], "a")) == "Your conversations will be listed here."


def test_texts_from_outside_are_escaped() -> None:
    receipt = Receipt(record(text=EVIL, session=BREAKOUT), 1, 0.5)
    trace = Trace(owner="local", model=EVIL, engine="echo", preset=EVIL)
    for html in (
        fragments.conversations([session(BREAKOUT, EVIL)], "x", draft=EVIL),
        fragments.memories([receipt], session="s", titles={BREAKOUT: EVIL}),
        fragments.live_row("bad", EVIL, says=EVIL),
        fragments.heading(EVIL, EVIL),
        fragments.facts(trace),
    ):
        assert "<script" not in html
        assert BREAKOUT not in html
        assert "alert" in html


def test_a_memory_shows_rank_text_source_age_and_every_score() -> None:
    parts = {"dense": 1.02, "bm25_window": 2.0, "bm25": -0.9, "date": 0.7, "speaker": 0.3}
    receipt = Receipt(record(), 1, 3.1218, parts, dense_score=0.731, dense_rank=1, lexical_score=0.002, lexical_rank=3)
    html = fragments.memories([receipt], session="here", titles={"s": "About cats"})
    assert text(html) == (
        "1 My cat is called Ada. score 3.12 dense 0.73 #1 lexical <0.01 #3 "
        "bm25 window +2.0 · dense +1.0 · date +0.7 "
        "statement · “About cats” , turn 2 · just now"
    )
    assert 'data-open="s"' in html


def test_a_score_that_a_list_did_not_give_is_a_dash() -> None:
    html = fragments.memories([Receipt(record(), 1, 0.2, {}, dense_score=0.5, dense_rank=4)], session="s", titles={})
    assert "dense 0.50 #4 lexical –" in text(html)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"session": None, "turn": None}, "added by hand"),
        ({"session": "here", "turn": 3}, "this conversation, turn 3"),
        ({"session": "0123456789", "turn": 1}, "session 01234567 , turn 1"),
    ],
)
def test_a_memory_says_where_it_comes_from(source: dict[str, object], said: str) -> None:
    assert f"statement · {said} ·" in text(
        fragments.memories([Receipt(record(**source), 1, 0.2)], session="here", titles={})
    )


def test_a_neighbour_names_the_memory_that_it_came_with() -> None:
    first = Receipt(record(), 1, 0.2)
    neighbour = Receipt(record(id="m2"), 2, 0.1, expanded_from="m1")
    assert "neighbour of #1" in text(fragments.memories([first, neighbour], session="s", titles={}))


@pytest.mark.parametrize(
    ("receipts", "searched", "said"),
    [
        (None, True, "The memories that a reply reads"),
        ((), True, "Nothing was recalled"),
        ((), False, "Memory was off"),
    ],
)
def test_no_memories_is_explained(receipts: tuple[Receipt, ...] | None, searched: bool, said: str) -> None:
    assert said in text(fragments.memories(receipts, session="s", titles={}, searched=searched))


def test_the_heading_counts_memories_and_explains_an_order_that_scores_do_not() -> None:
    statement, reply = Receipt(record(), 1, 0.1), Receipt(record(kind="reply"), 2, 0.2)
    assert text(fragments.memories_heading([statement])) == "Recalled memories 1"
    assert text(fragments.memories_heading([statement, reply])) == "Recalled memories 2, statements first"
    assert text(fragments.memories_heading([])) == "Recalled memories"


def test_the_live_row_has_stage_first_token_rate_and_tokens() -> None:
    row = fragments.live_row("busy", "decode", says="writing", first_token=0.0421, tokens_per_second=1234.56, tokens=7)
    assert text(row) == "decode · writing 42.1 ms first token 1,234.6 tokens/s 7 tokens"
    assert text(fragments.live_row("idle", "ready")) == "ready – first token – tokens/s – tokens"


def test_an_error_is_shown_with_its_next_step_and_its_code() -> None:
    error = PromptTooLong(tokens=900, budget=500)
    assert text(fragments.notice(error)) == f"{error.message} context_length_exceeded"
    assert 'role="alert"' in fragments.notice(error)


def test_the_facts_tell_what_gave_way_and_whether_the_turn_was_stored() -> None:
    trace = Trace(owner="local", model="m", engine="e", preset="default@0", outcome="ok", finish_reason="length")
    trace.remembered = True
    assert "finish length stored yes" in text(fragments.facts(trace))
    trace = replace(trace, dropped_memories=("a", "b"), dropped_messages=3)
    trace.remembered, trace.remember_error = False, "storage_full"
    assert "stored no (storage_full) left out 2 memories, 3 messages (no room)" in text(fragments.facts(trace))
    assert "storage_full" in text(fragments.not_remembered(trace))


def test_the_facts_tell_what_became_of_drafts_beams_and_shares_where_there_are_any() -> None:
    trace = Trace(owner="local", model="m", engine="e")
    assert not any(word in text(fragments.facts(trace)) for word in ("drafts", "best score", "weights"))
    trace.speculation = {"method": "ngram:4", "fired": True, "drafted": 12, "accepted": 9, "acceptance": 0.75}
    trace.scores = [-0.5, -1.25]
    trace.shards = [{"held": 1500, "bytes": 6000, "total": 3000}] * 2
    shown = text(fragments.facts(trace))
    assert "drafts 9 of 12 tokens accepted (75%, ngram:4)" in shown
    assert "best score -0.500 weights 1,500 parameters on each of 2 ranks" in shown
    trace.speculation = {"method": "ngram:4", "fired": False}
    assert "drafts ngram:4: nothing was ever drafted" in text(fragments.facts(trace))


def test_a_bar_is_measured_by_the_best_of_its_kind() -> None:
    receipts = [
        Receipt(record(), 1, 2.0),
        Receipt(record(id="m2"), 2, 1.0),
        Receipt(record(id="m3"), 3, -1.0),
        Receipt(record(id="m4", kind="reply"), 4, 5.0),
    ]
    html = fragments.memories(receipts, session="s", titles={})
    assert re.findall(r"width:(\d+)%", html) == ["100", "50", "0", "100"]
