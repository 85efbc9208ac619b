"""Parts: nothing is lost, nothing is too long, and what belongs together stays together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.documents.formats import Format, read
from jc1.documents.parts import TOKENS, WHOLE_TOKENS, Block, Part, parts, tokens
from jc1.errors import EmptyDocument
from jc1.memory.base import MAX_CHARACTERS

FRAGMENTS = st.sampled_from(
    [
        "# ", "## Setup\n", "### Linux **now**\n", "Title\n===\n", "---\n", "```python\n", "```\n", "    code\n",
        "- item\n", "  - nested\n", "10. tenth\n", "> quoted ", "| a | b |\n|---|---|\n", "| 1 | 2 |\n", "<div>\n",
        "[ref]: http://x.y 'z'\n", "\n", "\n\n", " ", "Hello there. ", "Why? ", "e.g. this; that, ", "第一条。",
        "日本語、", "ё", "🙂", "\t", "x" * 3000, "字" * 700, "word " * 400, "1, " * 300, " " * 5000, "\u2028", "\x0b",
        "`", "*", "[", "\\",
    ]
)  # fmt: skip
TEXTS = st.lists(FRAGMENTS | st.text(max_size=40), max_size=30).map("".join)


def without_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("form", ["markdown", "text"])
@given(text=TEXTS)
def test_no_character_is_lost_and_no_part_is_longer_than_a_record(form: Format, text: str) -> None:
    data = text.encode("utf-8", "replace").replace(b"\0", b"")
    try:
        found = read(form, data)
    except EmptyDocument:
        found = []
    told = "".join(without_space(part.text) for part in found)
    assert told == without_space(data.removeprefix(b"\xef\xbb\xbf").decode())
    assert all(part.text.strip() and len(part.text) <= MAX_CHARACTERS for part in found)


@given(text=TEXTS)
def test_prose_is_cut_to_what_an_embedder_reads(text: str) -> None:
    assert all(tokens(part.text) <= TOKENS for part in parts([Block(text)]))


@given(first=TEXTS, second=TEXTS)
def test_two_texts_have_together_no_more_tokens_than_apart(first: str, second: str) -> None:
    assert tokens(first + second) <= tokens(first) + tokens(second)


def test_paragraphs_of_one_place_share_a_part_until_it_is_full() -> None:
    paragraph = "The walrus sleeps on the ice. " * 10  # 70 tokens
    found = parts([Block(paragraph, "Animals")] * 4 + [Block("It is cold.", "Weather")])
    assert [(part.place, part.text.count("walrus")) for part in found] == [
        ("Animals", 30),
        ("Animals", 10),
        ("Weather", 0),
    ]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = " ".join(f"Sentence number {number} tells of the walrus." for number in range(100))
    found = parts([Block(text)])
    assert len(found) > 2
    assert all(part.text.startswith("Sentence") and part.text.endswith("walrus.") for part in found)


def test_a_text_without_spaces_is_cut_after_its_full_stops() -> None:
    sentence = "海象在冰上睡觉，因为它累了。"
    found = parts([Block(sentence * 60)])
    assert len(found) > 2
    assert all(part.text.endswith("。") and len(part.text) <= TOKENS for part in found)


def test_code_is_kept_whole_up_to_a_bound_and_then_cut_between_lines() -> None:
    line = "walrus = Walrus(ice=True)\n"  # 7 tokens
    assert len(parts([Block(line * 50, form="whole")])) == 1
    cut = parts([Block(line * 200, form="whole")])
    assert len(cut) > 2
    assert all(part.text.endswith(")") and tokens(part.text) <= WHOLE_TOKENS for part in cut)


def test_a_long_list_is_cut_between_its_items() -> None:
    text = "".join(f"- Item {number} of the list.\n  It goes on here.\n" for number in range(60))
    cut = parts([Block(text, form="whole")])
    assert len(cut) > 1
    assert all(part.text.startswith("- Item") for part in cut)


def test_headings_stand_before_what_follows_them_and_never_alone() -> None:
    found = parts([
        Block("# Setup", "Setup", "heading"),
        Block("## Linux", "Setup > Linux", "heading"),
        Block("Run make.", "Setup > Linux"),
    ])  # fmt: skip
    assert found == [Part("# Setup\n\n## Linux\n\nRun make.", "Setup > Linux")]
