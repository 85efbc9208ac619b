"""Rows of presets and aliases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jc1.database.presets import PresetRepository
from jc1.errors import Conflict
from tests.support.database import new_database


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[PresetRepository]:
    database = new_database(tmp_path / "jc1.db")
    yield PresetRepository(database)
    database.dispose()


def test_versions_count_up_by_name(rows: PresetRepository) -> None:
    assert [rows.save("a", {"n": 1}), rows.save("a", {"n": 2}), rows.save("b", {})] == [1, 2, 1]
    assert rows.list() == [("a", 1, {"n": 1}), ("a", 2, {"n": 2}), ("b", 1, {})]


def test_the_newest_version_is_found_unless_one_is_named(rows: PresetRepository) -> None:
    for n in range(11):
        rows.save("a", {"n": n})
    assert rows.get("a") == (11, {"n": 10})
    assert rows.get("a", 2) == (2, {"n": 1})


@pytest.mark.parametrize(("name", "version"), [("a", 2), ("b", None), ("A", None)])
def test_what_was_not_saved_is_not_found(rows: PresetRepository, name: str, version: int | None) -> None:
    rows.save("a", {})
    assert rows.get(name, version) is None


def test_an_alias_points_where_it_was_last_set(rows: PresetRepository) -> None:
    rows.set_alias("champion", "a", 1)
    rows.set_alias("champion", "b", 0)
    rows.set_alias("challenger", "a", 1)
    assert rows.aliases() == {"challenger": ("a", 1), "champion": ("b", 0)}


def test_an_alias_is_taken_back_move_by_move(rows: PresetRepository) -> None:
    for version in (1, 2, 2, 3):
        rows.set_alias("champion", "a", version)
    rows.set_alias("other", "b", 7)
    assert (rows.undo_alias("champion"), rows.aliases()["champion"]) == (("a", 2), ("a", 2))
    assert (rows.undo_alias("champion"), rows.aliases()["champion"]) == (("a", 1), ("a", 1))
    assert rows.undo_alias("champion") is None
    assert rows.undo_alias("nobody") is None
    assert rows.aliases() == {"other": ("b", 7)}


def test_what_was_taken_back_is_not_gone_back_to_and_stays_in_the_history(rows: PresetRepository) -> None:
    for version in (1, 2):
        rows.set_alias("champion", "a", version)
    rows.undo_alias("champion")
    rows.set_alias("champion", "a", 3)
    assert [(name, version, undone is None) for name, version, _, undone in rows.moves("champion")] == [
        ("a", 3, True),
        ("a", 2, False),
        ("a", 1, True),
    ]
    (_, _, last, _), (_, _, before, undone), (_, _, first, _) = rows.moves("champion")
    assert first is not None
    assert before is not None
    assert undone is not None
    assert last is not None
    assert first <= before <= undone <= last
    assert rows.undo_alias("champion") == ("a", 1)


def test_an_alias_is_moved_only_from_where_it_is_expected(rows: PresetRepository) -> None:
    rows.set_alias("champion", "a", 1, expected=None)
    for expected in (None, ("a", 2), ("b", 1)):
        with pytest.raises(Conflict, match="The alias 'champion' was pointed at a@1 meanwhile: try again"):
            rows.set_alias("champion", "b", 7, expected=expected)
    assert (rows.aliases(), len(rows.moves("champion"))) == ({"champion": ("a", 1)}, 1)
    rows.set_alias("champion", "b", 7, expected=("a", 1))
    rows.undo_alias("champion")
    rows.set_alias("champion", "b", 7, expected=("a", 1))
    assert rows.aliases() == {"champion": ("b", 7)}
