"""How a preset is found by reference, and what may not be saved."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jc1.database.presets import PresetRepository
from jc1.errors import Conflict, InvalidDecoding, InvalidRequest, UnknownPreset
from jc1.presets import Preset, Presets
from tests.support.database import new_database


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[PresetRepository]:
    database = new_database(tmp_path / "jc1.db")
    yield PresetRepository(database)
    database.dispose()


def back(presets: Presets) -> str | None:
    """Take the champion back, and tell what it is then."""
    preset = presets.rollback("champion")
    return preset and preset.reference


@pytest.fixture
def presets(rows: PresetRepository) -> Presets:
    return Presets(rows)


def test_shipped_presets_are_there_from_the_start(presets: Presets) -> None:
    assert presets.resolve("default").decoding == {}
    assert presets.resolve("creative@0").decoding["temperature"] == 0.8


def test_a_name_means_its_newest_version_and_a_number_that_very_one(presets: Presets) -> None:
    for temperature in (0.1, 0.2):
        presets.save(Preset("mine", decoding={"temperature": temperature}))
    assert presets.resolve("mine").reference == "mine@2"
    assert presets.resolve("mine@1").decoding == {"temperature": 0.1}


def test_an_alias_can_be_moved_and_moved_back(presets: Presets) -> None:
    for temperature in (0.1, 0.2):
        presets.save(Preset("mine", decoding={"temperature": temperature}))
    for version in (2, 1):
        presets.set_alias("champion", f"mine@{version}")
        assert presets.resolve("champion").version == version
        assert presets.resolve("mine@champion").version == version
        assert presets.aliases() == {"champion": f"mine@{version}"}


@pytest.mark.parametrize("reference", ["nobody", "default@7", "default@champion", "@", "mine@", ""])
def test_an_unknown_reference_is_told_with_the_known_ones(presets: Presets, reference: str) -> None:
    presets.save(Preset("other"))
    presets.set_alias("champion", "other")
    with pytest.raises(UnknownPreset, match="champion, creative, default, other"):
        presets.resolve(reference)


def test_a_saved_version_may_carry_a_shipped_name(presets: Presets) -> None:
    presets.save(Preset("default", decoding={"top_k": 5}))
    assert presets.resolve("default").version == 1
    assert presets.resolve("default@0").decoding == {}


def test_what_could_not_be_served_is_not_saved(presets: Presets) -> None:
    with pytest.raises(InvalidDecoding):
        presets.save(Preset("mine", decoding={"temperature": -1}))
    with pytest.raises(Conflict):
        presets.save(Preset("a@b"))
    with pytest.raises(Conflict):
        presets.set_alias("default", "creative")
    assert [p.name for p in presets.list()] == ["default", "creative"]


def test_what_a_reference_meant_is_known_for_a_while_and_forgotten_when_it_changes(presets: Presets) -> None:
    assert presets.recent("default") is None
    presets.resolve("default")
    assert presets.recent("default") == presets.resolve("default")
    saved = presets.save(Preset("default", decoding={"top_k": 5}))
    assert presets.recent("default") is None
    assert presets.resolve("default") == saved


def test_another_registrys_change_is_seen_when_the_while_is_over(
    presets: Presets, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets.resolve("default")
    monkeypatch.setattr("jc1.presets.FRESH_SECONDS", -1.0)
    assert presets.recent("default") is None


def test_a_version_of_too_many_digits_is_unknown(presets: Presets) -> None:
    with pytest.raises(UnknownPreset):
        presets.resolve("default@" + "9" * 30)


def test_an_alias_goes_back_version_by_version_until_there_is_none(presets: Presets) -> None:
    for temperature in (0.1, 0.2, 0.3):
        saved = presets.save(Preset("mine", decoding={"temperature": temperature}))
        presets.set_alias("champion", saved.reference)
    presets.set_alias("champion", "mine@3")
    assert back(presets) == "mine@2"
    assert presets.resolve("champion").decoding == {"temperature": 0.2}
    assert back(presets) == "mine@1"
    moves = presets.history("champion")
    assert [(move.reference, move.undone is not None) for move in moves] == [
        ("mine@3", True),
        ("mine@2", True),
        ("mine@1", False),
    ]


def test_the_first_meaning_of_an_alias_is_taken_back_with_the_alias(presets: Presets) -> None:
    presets.set_alias("champion", "creative")
    assert presets.resolve("champion").name == "creative"
    assert presets.rollback("champion") is None
    assert presets.recent("champion") is None
    for ask in (presets.resolve, presets.rollback):
        with pytest.raises(UnknownPreset):
            ask("champion")
    presets.set_alias("champion", "default", expected=None)
    assert presets.resolve("champion").name == "default"
    assert [(move.reference, move.undone is not None) for move in presets.history("champion")] == [
        ("default@0", False),
        ("creative@0", True),
    ]


def test_an_alias_may_go_back_to_a_shipped_preset(presets: Presets) -> None:
    presets.set_alias("champion", "default")
    presets.save(Preset("mine"))
    presets.set_alias("champion", "mine")
    assert back(presets) == "default@0"


def test_a_rollback_is_seen_at_once_where_it_was_made(presets: Presets) -> None:
    for name in ("creative", "default"):
        presets.set_alias("champion", name)
    presets.resolve("champion")
    presets.rollback("champion")
    assert presets.recent("champion") is None


@pytest.mark.parametrize("ask", [Presets.rollback, Presets.history])
def test_an_alias_that_is_none_is_told_with_those_there_are(
    presets: Presets, ask: Callable[[Presets, str], object]
) -> None:
    with pytest.raises(UnknownPreset, match="'nobody': there is none yet, `jc1 promote` makes one"):
        ask(presets, "nobody")
    presets.set_alias("champion", "default")
    with pytest.raises(UnknownPreset, match="'nobody': there are champion"):
        ask(presets, "nobody")


MEASURED = {"sweep": "first", "heldout": {"mean": 0.8, "prompts": 2}, "scores": {"q1": 1.0, "q2": 0.6}}


def test_what_a_preset_was_measured_with_is_kept_and_told_without_the_score_of_each_prompt(presets: Presets) -> None:
    saved = presets.save(Preset("mine", measured=MEASURED))
    assert presets.resolve("mine@1") == saved == Preset("mine", 1, measured=MEASURED)
    assert presets.resolve("mine").figures == {"sweep": "first", "heldout": {"mean": 0.8, "prompts": 2}}
    assert presets.list()[-1] == saved


def test_a_preset_of_an_earlier_version_is_read(presets: Presets, rows: PresetRepository) -> None:
    rows.save("old", {"description": "", "system": "Be brief.", "decoding": {"top_k": 5}, "retrieval": {}})
    assert presets.resolve("old") == Preset("old", 1, system="Be brief.", decoding={"top_k": 5})


def test_a_preset_of_a_newer_version_is_listed_with_what_is_not_known_of_it(
    presets: Presets, rows: PresetRepository
) -> None:
    rows.save("new", {"decoding": {}, "guard": {"level": 3}, "retrieval": {"k": 2, "rerank": True}})
    assert presets.resolve("new") == presets.list()[-1]
    assert presets.resolve("new").unread == ("guard", "retrieval.rerank")


@pytest.mark.parametrize(
    ("preset", "named"),
    [
        (Preset("mine", engine={"warp": 9}), "'engine.warp'"),
        (Preset("mine", engine={"api_key": "x"}), "'engine.api_key'"),
        (Preset("mine", engine={"port": 80}), "'engine.port'"),
        (Preset("mine", retrieval={"rerank": True}), "'retrieval.rerank'"),
        (Preset("mine", unread=("guard",)), "'guard'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_known_here_is_not_saved(presets: Presets, preset: Preset, named: str) -> None:
    with pytest.raises(InvalidRequest, match=f"cannot hold {named}"):
        presets.save(preset)
    assert [p.name for p in presets.list()] == ["default", "creative"]


@pytest.mark.parametrize("name", ["", " ", " warm", "two\nlines", "a@b", "x" * 201])
def test_a_name_is_printable_and_of_a_length_that_requests_may_have(presets: Presets, name: str) -> None:
    with pytest.raises(Conflict, match="cannot name a preset"):
        presets.save(Preset(name))
    with pytest.raises(Conflict, match="cannot be an alias"):
        presets.check_alias(name)


def test_a_number_is_no_alias_since_it_would_be_a_version(presets: Presets) -> None:
    with pytest.raises(Conflict, match="is no number"):
        presets.check_alias("7")
