"""Suites: what each format comes to, how mistakes are told, and how prompts are drawn and put aside."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1 import SyncPipeline
from jc1.errors import InvalidSuite
from jc1.memory.base import NewRecord
from jc1.messages import ImagePart, Message, TextPart
from jc1.settings import Settings
from jc1_lab.dialogues.grammar import NOT_TOLD
from jc1_lab.records.items import Item, Suite
from jc1_lab.suites.suite import load, split
from tests.experiments.suites.test_locomo import conversation

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file of the lines, which are texts or values."""

    def written(*lines: Any, name: str = "mine.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return path

    return written


def told(error: pytest.ExceptionInfo[InvalidSuite], path: Path) -> list[str]:
    """The lines of the message, without the file's name."""
    return [line.removeprefix(f"{path}, ") for line in error.value.message.splitlines()]


def test_a_line_is_a_prompt_or_a_conversation_with_what_is_right_and_what_was_told(write: Write) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    path = write(
        {"prompt": "2 + 2?", "reference": 4, "scorer": "number", "category": "sums"},
        "",
        {"id": "late", "messages": [*turns, {"role": "user", "content": "And my cat?"}], "references": ["Ada", "ada"]},
        {"prompt": "Say something."},
        {
            "prompt": "What is my cat called?",
            "reference": "Ada",
            "memories": ["My cat is Ada.", {"text": "Good.", "role": "assistant"}],
            "evidence": [0],
        },
    )
    suite = load(str(path))
    assert (suite.name, suite.source) == ("mine", str(path))
    first, late, free, own = suite.items
    assert first == Item("line-1", (Message.user("2 + 2?"),), ("4",), "number", category="sums")
    assert late.id == "late"
    assert late.messages == (Message.user("Hi"), Message.assistant("Hello"), Message.user("And my cat?"))
    assert (late.references, late.scorer) == (("Ada", "ada"), "exact")
    assert (free.id, free.references, free.scorer) == ("line-4", (), "none")
    assert own.owner is not None
    assert [(m.text, m.role, m.turn) for m in suite.memories[own.owner]] == [
        ("My cat is Ada.", "user", 1),
        ("Good.", "assistant", 2),
    ]
    assert own.evidence == {("memories", 1)}


def test_prompts_share_an_owner_whose_memories_may_stand_after_them(write: Write) -> None:
    said = [
        {"text": "We met in May.", "speaker": "Ann", "session": "first", "created": "2026-05-01T10:00:00+02:00"},
        {"text": "It rained.", "session": "second"},
        {"text": "We left.", "session": "first"},
    ]
    suite = load(
        str(
            write(
                {"prompt": "When?", "reference": "May", "owner": "ann", "evidence": [0, 2]},
                {"prompt": "How was it?", "reference": "wet", "owner": "ann", "evidence": [1], "scorer": "recall"},
                {"owner": "ann", "memories": said},
                {"owner": "nobody asks", "memories": ["Never read."]},
            )
        )
    )
    assert suite.memories.keys() == {"ann"}
    first = suite.memories["ann"][0]
    assert first.created is not None
    assert (first.speaker, first.created.isoformat()) == ("Ann", "2026-05-01T10:00:00+02:00")
    assert [item.evidence for item in suite.items] == [{("first", 1), ("first", 2)}, {("second", 1)}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "a"', "line 2: not JSON: Expecting ',' delimiter at character 15"),
        ("[1]", "line 2: no JSON object"),
        (
            '{"prompt": ' + "9" * 5000 + "}",
            "line 2: not JSON that can be read: a number is too long, or lists too deep",
        ),
        ({"promt": "a"}, "line 2: unknown field 'promt': known are id, prompt, messages, reference"),
        ({"id": "x"}, "line 2: give 'prompt' or 'messages', one of the two"),
        ({"prompt": " "}, "line 2: 'prompt': is empty"),
        ({"prompt": "\ud800"}, "line 2: 'prompt': holds a NUL or half of a surrogate pair"),
        (
            {"messages": [{"role": "assistant", "content": "a"}]},
            "line 2: 'messages' must end with a message of the user",
        ),
        ({"messages": [{"role": "robot", "content": "a"}]}, "line 2: 'messages.0.role': Input should be"),
        ({"prompt": "a", "reference": None, "references": "b"}, "line 2: 'references': Input should be a valid list"),
        ({"prompt": "a", "reference": "b", "references": ["b"]}, "line 2: give 'reference' or 'references', one of"),
        ({"prompt": "a", "owner": "zoe"}, "line 2: no line tells the memories of 'zoe'"),
        ({"prompt": "a", "owner": "ann", "evidence": [1]}, "line 2: the evidence 1 is none of the 1 memories, counted"),
        ({"prompt": "a", "memories": ["b"], "evidence": [-1]}, "line 2: the evidence -1 is none of the 1 memories"),
        ({"prompt": "a", "evidence": [0]}, "line 2: 'evidence' counts memories, and there are none"),
        ({"prompt": "a", "owner": "ann", "memories": ["b"]}, "line 2: give 'memories' or the 'owner' of a shared set"),
        (
            {"prompt": "a", "memories": [{"text": "b", "created": "2026-05-01T10:00:00"}]},
            "line 2: 'memories.0.created'",
        ),
        (
            {"prompt": "a", "memories": [{"txt": "b"}]},
            "line 2: 'memories.0.text' is missing; unknown field 'memories.0.txt",
        ),
        ({"owner": "ann", "memories": []}, "line 3: the memories of 'ann' stand in an earlier line already"),
        ({"id": "line-1", "prompt": "a"}, "line 2: the id 'line-1' is that of line 1 already"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_with_file_number_and_reason(write: Write, line: Any, reason: str) -> None:
    path = write({"prompt": "fine"}, line, {"owner": "ann", "memories": ["b"]})
    with pytest.raises(InvalidSuite) as error:
        load(str(path))
    (only,) = told(error, path)
    assert only.startswith(reason)


def test_ten_bad_lines_are_told_and_the_rest_counted(write: Write) -> None:
    path = write(*[f"{{{i}" for i in range(13)])
    with pytest.raises(InvalidSuite) as error:
        load(str(path))
    lines = told(error, path)
    assert [line.partition(":")[0] for line in lines[:10]] == [f"line {i}" for i in range(1, 11)]
    assert lines[10:] == ["and 3 more lines"]


def test_prompts_of_an_owner_whose_line_is_bad_are_not_blamed_for_it(write: Write) -> None:
    path = write({"prompt": "a", "owner": "ann"}, {"owner": "ann", "memories": [""]})
    with pytest.raises(InvalidSuite) as error:
        load(str(path))
    assert told(error, path) == ["line 2: 'memories.0.text': is empty"]


def test_a_file_that_is_missing_empty_or_not_utf8_is_told(write: Write, tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="is no file: a suite is memory-qa, gsm8k:FILE, spec-bench:FILE"):
        load(str(tmp_path / "none.jsonl"))
    with pytest.raises(InvalidSuite, match="there is no prompt in it"):
        load(str(write("", " ")))
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(b'{"prompt": "a"}\n{"prompt": "caf\xe9"}\n')
    with pytest.raises(InvalidSuite, match=r"latin\.jsonl, line 2: not UTF-8 at byte 16"):
        load(str(latin))


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "a\\u2028b"}\r\n{"prompt": "c"}\r\n')
    assert [item.messages[0].text for item in load(str(path)).items] == ["a\u2028b", "c"]


def test_gsm8k_asks_the_question_and_wants_the_number_after_the_hashes(write: Write) -> None:
    path = write({"question": "How much?", "answer": "2 * 3 = <<2*3=6>>6\n#### 1,006"})
    (item,) = load(f"gsm8k:{path}").items
    assert (item.messages, item.references, item.scorer) == ((Message.user("How much?"),), ("1,006",), "number")
    bad = write(
        {"question": "How much?", "answer": "6"},
        {"answer": "#### 6"},
        {"question": "How much?", "answer": "6\n####"},
    )
    with pytest.raises(InvalidSuite) as error:
        load(f"gsm8k:{bad}")
    assert told(error, bad) == [
        "line 1: 'answer' has no number after '####'",
        "line 2: 'question' is missing",
        "line 3: 'answer' has no number after '####'",
    ]


def test_spec_bench_asks_first_turns_and_has_no_score(write: Write) -> None:
    lines = [{"question_id": i, "category": "writing", "turns": [f"Write {i}.", "Again."]} for i in (81, 82)]
    suite = load(f"spec-bench:{write(*lines)}")
    assert [(i.id, i.messages[0].text, i.scorer, i.category) for i in suite.items] == [
        ("81", "Write 81.", "none", "writing"),
        ("82", "Write 82.", "none", "writing"),
    ]
    with pytest.raises(InvalidSuite, match="line 2: the question_id '81' stands in an earlier line already"):
        load(f"spec-bench:{write(lines[0], lines[0])}")


def locomo() -> dict[str, Any]:
    entry = conversation()
    for asked in entry["qa"]:
        asked["answer"] = 2022 if asked["category"] == 1 else "Ada"
    return entry


def test_locomo_s_turns_are_an_owner_s_memories_and_its_answers_are_scored_by_f1(write: Write) -> None:
    suite = load(f"locomo:{write([locomo()], name='locomo.json')}")
    assert [(i.id, i.references, i.scorer, i.category) for i in suite.items] == [
        ("conversation-0/1", ("Ada",), "f1", "single-hop"),
        ("conversation-0/2", ("2022",), "f1", "multi-hop"),
    ]
    (records,) = suite.memories.values()
    by_place = {(record.session, record.turn): record.text for record in records}
    assert [by_place[place] for place in sorted(suite.items[1].evidence)] == [
        "I am learning the cello.",
        "The cello concert was on Friday.",
    ]


def test_what_is_not_in_locomo_s_format_is_told(write: Write) -> None:
    with pytest.raises(InvalidSuite, match="not in LoCoMo's format"):
        load(f"locomo:{write('{}')}")
    with pytest.raises(InvalidSuite, match="line 2: not JSON"):
        load(f"locomo:{write('[', '{]')}")
    with pytest.raises(InvalidSuite, match="a number is too long, or lists too deep"):
        load(f"locomo:{write('[' * 100_000)}")


def _without(*path: Any) -> dict[str, Any]:
    return _with(None, *path)


def _with(value: Any, *path: Any) -> dict[str, Any]:
    """A conversation in which what lies at `path` is `value`, or is not there."""
    entry = locomo()
    place: Any = entry
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    if value is None:
        del place[path[-1]]
    return entry


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (1, "no JSON object"),
        ({"conversation": {}}, "'qa' is missing"),
        (_without("conversation", "session_1", 2, "dia_id"), "'conversation.session_1.turns.2.dia_id' is missing"),
        (_with("third", "conversation", "session_1", 2, "dia_id"), "'conversation.session_1.turns.2.dia_id': String"),
        (_with(3, "conversation", "session_2"), "'conversation.session_2.turns': Input should be a valid list"),
        (_without("conversation", "session_2_date_time"), "'conversation.session_2.date_time' is missing"),
        (
            _with("yesterday", "conversation", "session_2_date_time"),
            "'conversation.session_2.date_time': should be a time such as '1:56 pm on 8 May, 2023'",
        ),
        (_with("D1:1", "qa", 0, "evidence"), "'qa.0.evidence': Input should be a valid list"),
        (_with("4", "qa", 0, "category"), "'qa.0.category': Input should be a valid integer"),
        (_without("qa", 0, "answer"), '"What is Ann\'s cat called?" has no answer'),
    ],
)
def test_a_conversation_that_cannot_be_used_is_told_with_file_number_and_field(
    write: Write, entry: Any, reason: str
) -> None:
    path = write(json.dumps([locomo(), entry]), name="locomo.json")
    with pytest.raises(InvalidSuite) as error:
        load(f"locomo:{path}")
    (only,) = told(error, path)
    assert only.startswith(f"conversation 1: {reason}")


def test_memory_qa_is_the_same_for_a_seed_and_has_as_many_of_each_category() -> None:
    suite = load("memory-qa", seed=3)
    assert suite.digest == load("memory-qa", seed=3).digest
    assert suite.digest != load("memory-qa").digest
    assert set(Counter(item.category for item in suite.items).values()) == {12}
    assert len({item.owner for item in suite.items}) == len(suite.memories) == len(suite.items) == 60


def test_what_memory_qa_asks_for_was_told_in_its_evidence_or_not_at_all() -> None:
    suite = load("memory-qa", limit=200)
    for item in suite.items:
        assert item.owner is not None
        records = {(r.session, r.turn): r.text for r in suite.memories[item.owner]}
        (reference,) = item.references
        assert len(records) == len(suite.memories[item.owner])
        if item.category == "not told":
            assert (reference, item.evidence) == (NOT_TOLD, frozenset())
        else:
            (place,) = item.evidence
            assert reference.casefold() in records[place].casefold()


@pytest.mark.slow
def test_the_bundled_model_answers_memory_qa_from_memory_alone(tmp_path: Path) -> None:
    suite = load("memory-qa", limit=20)
    with SyncPipeline(Settings(home=tmp_path / "home", engine="transformers")) as pipeline:
        for owner, records in suite.memories.items():
            pipeline.workbench.memory.add(owner, records)
        right = {}
        for mode in ("read", "off"):
            replies = [pipeline.chat(i.messages, owner=i.owner, memory=mode, max_tokens=48) for i in suite.items]
            pairs = zip(suite.items, replies, strict=True)
            right[mode] = sum(i.references[0].casefold() in r.text.casefold() for i, r in pairs if i.evidence)
    assert right["off"] == 0
    assert right["read"] >= 8  # of 16


def test_the_digest_is_of_what_is_said_and_not_of_the_file(write: Write) -> None:
    lines = [{"prompt": "a", "reference": "b", "memories": ["c"]}, {"prompt": "d"}]
    digest = load(str(write(*lines))).digest
    assert len(digest) == 64
    reordered = [dict(reversed(line.items())) for line in lines]
    assert load(str(write(*reordered, name="other.jsonl"))).digest == digest
    changed = [
        [{**lines[0], "memories": ["C"]}, lines[1]],
        [{**lines[0], "reference": "B"}, lines[1]],
        [{**lines[0], "scorer": "f1"}, lines[1]],
        lines[:1],
    ]
    assert len({digest, *(load(str(write(*some))).digest for some in changed)}) == 5


def test_a_suite_made_in_python_has_a_digest_of_its_pictures_too() -> None:
    def suite(picture: bytes) -> Suite:
        parts = (ImagePart(picture, "image/png"), TextPart("What is it?"))
        return Suite.of("mine", [Item("a", (Message.user(parts),), ("a cat",), owner="o")], {"o": [NewRecord("x")]})

    assert suite(b"1").digest == suite(b"1").digest != suite(b"2").digest
    assert suite(b"1").memories == {"o": (NewRecord("x"),)}


def test_two_prompts_of_one_id_are_no_suite_in_python_either() -> None:
    items = [Item(name, (Message.user(text),)) for name, text in (("a", "1"), ("b", "2"), ("a", "3"))]
    with pytest.raises(InvalidSuite, match="Two prompts of mine have the id 'a'"):
        Suite.of("mine", items, {})


def test_a_limit_draws_from_all_categories_in_the_file_s_order(write: Write) -> None:
    path = str(write(*[{"prompt": f"{i}", "category": "few" if i % 5 == 0 else "many"} for i in range(50)]))
    suite = load(path, limit=10, seed=1)
    assert Counter(item.category for item in suite.items) == {"few": 2, "many": 8}
    assert [int(i.messages[0].text) for i in suite.items] == sorted(int(i.messages[0].text) for i in suite.items)
    assert load(path, limit=10, seed=1).digest == suite.digest
    assert load(path, limit=10, seed=2).digest != suite.digest
    assert load(path, limit=99).digest == load(path).digest
    with pytest.raises(InvalidSuite, match="take 1 or more"):
        load(path, limit=0)


def made_of(categories: list[str]) -> Suite:
    return Suite.of("s", [Item(str(i), (Message.user("a"),), category=c) for i, c in enumerate(categories)], {})


@given(
    st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=60),
    st.floats(0, 0.99),
    st.integers(0, 5),
    st.randoms(use_true_random=False),
)
def test_a_split_takes_its_share_of_every_category_and_minds_no_order(
    categories: list[str], holdout: float, seed: int, rng: Any
) -> None:
    suite = made_of(categories)
    search, heldout = split(suite, holdout, seed)
    assert sorted(i.id for i in search + heldout) == sorted(i.id for i in suite.items)
    assert search
    assert bool(heldout) == (holdout > 0)
    aside = Counter(i.category for i in heldout)
    for category, count in Counter(categories).items():
        assert abs(aside[category] - count * len(heldout) / len(categories)) < 1
    shuffled = [*suite.items]
    rng.shuffle(shuffled)
    assert split(Suite.of("s", shuffled, {}), holdout, seed) == (search, heldout)


def test_a_split_depends_on_its_seed_and_is_in_an_order_of_chance() -> None:
    suite = made_of(["a"] * 40)
    search, heldout = split(suite, 0.25, 0)
    assert (len(search), len(heldout)) == (30, 10)
    assert split(suite, 0.25, 1) != (search, heldout)
    assert [int(i.id) for i in search] != sorted(int(i.id) for i in search)


def test_too_little_to_split_is_told() -> None:
    with pytest.raises(InvalidSuite, match="One prompt cannot be split"):
        split(made_of(["a"]), 0.5, 0)
    with pytest.raises(InvalidSuite, match="0 to below 1"):
        split(made_of(["a", "b"]), 1.0, 0)


def test_the_documented_example_is_a_suite(write: Write) -> None:
    docs = Path(__file__).parents[3] / "docs"
    pages = [path.read_text(encoding="utf-8") for path in (docs / "suites.md",)]
    examples = [code for page in pages for code in re.findall(r"^```jsonl\n(.*?)^```", page, flags=re.M | re.S)]
    assert examples
    for example in examples:
        suite = load(str(write(example)))
        assert [item.scorer for item in suite.items] == ["number", "contains", "contains", "contains"]
        assert [len(item.evidence) for item in suite.items] == [0, 0, 1, 1]
