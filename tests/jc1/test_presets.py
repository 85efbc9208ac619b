"""How a preset is found by reference, and what may not be saved."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jc1.database import open_database
from jc1.database.presets import PresetRepository
from jc1.errors import Conflict, InvalidDecoding, UnknownPreset
from jc1.presets import Preset, Presets


@pytest.fixture
def presets(tmp_path: Path) -> Iterator[Presets]:
    database = open_database(f"sqlite:///{tmp_path / 'jc1.db'}")
    yield Presets(PresetRepository(database))
    database.dispose()


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
