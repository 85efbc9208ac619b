"""The words of `--speculation` and how acceptance is counted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jc1.engines.speculation import Speculation, figures
from jc1.errors import EngineUnavailable, InvalidSettings
from jc1.models import BUNDLED


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("off", None),
        ("", None),
        ("ngram:4", Speculation("ngram", 4)),
        ("draft:jc1-tiny-draft:3", Speculation("draft", 3, "jc1-tiny-draft")),
        ("draft:org/model:5", Speculation("draft", 5, "org/model")),
        ("eagle3:/models/head:2", Speculation("eagle3", 2, "/models/head")),
        ("suffix:8", Speculation("suffix", 8)),
    ],
)
def test_a_speculation_is_read_and_written_alike(text: str, expected: Speculation | None) -> None:
    assert Speculation.parse(text) == expected
    assert expected is None or str(expected) == text


@pytest.mark.parametrize(
    "text", ["on", "ngram", "ngram:", "ngram:0", "ngram:33", "ngram:x:3", "draft:3", "draft:m:-1", ":3"]
)
def test_what_is_none_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(InvalidSettings, match="say off, ngram:4 or draft:MODEL:3"):
        Speculation.parse(text)


def test_acceptance_is_counted_in_all_and_by_position() -> None:
    told = figures(Speculation("ngram", 3), drafted=[3, 3, 1, 0], accepted=[3, 1, 0, 0])
    assert (told["fired"], told["drafted"], told["accepted"]) == (True, 7, 4)
    assert told["acceptance"] == pytest.approx(4 / 7)
    assert told["by_position"] == pytest.approx([2 / 3, 1 / 2, 1 / 2])
    assert told["mean_accepted_length"] == pytest.approx(2.0)


def test_a_speculation_that_never_fired_says_so() -> None:
    told = figures(Speculation("ngram", 3), drafted=[], accepted=[])
    assert (told["fired"], told["drafted"], told["acceptance"], told["by_position"]) == (False, 0, None, [])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_the_positions_add_up_to_the_whole(pairs: list[tuple[int, int]]) -> None:
    drafted, accepted = [max(p) for p in pairs], [min(p) for p in pairs]
    told = figures(Speculation("ngram", 4), drafted, accepted)
    reached = [sum(d > i for d in drafted) for i in range(4)]
    assert sum(share * count for share, count in zip(told["by_position"], reached, strict=False)) == pytest.approx(
        told["accepted"]
    )


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]"])
def test_a_draft_whose_tokenizer_cannot_be_read_is_named_with_the_next_step(tmp_path: Path, content: str) -> None:
    draft = shutil.copytree(BUNDLED / "jc1-tiny-draft", tmp_path / "damaged")
    (draft / "tokenizer.json").write_text(content)
    with pytest.raises(EngineUnavailable, match=r"The tokenizer.json of 'damaged' cannot be read: download"):
        Speculation("draft", 3, str(draft)).draft_for(BUNDLED / "jc1-tiny")
