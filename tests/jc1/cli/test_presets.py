"""`jc1 presets`, `promote` and `rollback` as a person or a script meets them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jc1.database import open_database
from jc1.database.presets import PresetRepository
from jc1.presets import Preset, Presets
from tests.experiments.test_promotion import WINNER, sweep
from tests.support.cli import Run, ok

MEASURED = {
    "sweep": "warm",
    "suite": {"name": "memory-qa", "digest": "d1"},
    "heldout": {"mean": 0.7, "low": 0.65, "high": 0.75, "prompts": 40},
    "latency": [{"load": "4 at a time", "ttft_p50": 0.1}],
    "scores": {"held-1": 0.123456},
}


@pytest.fixture
def within(tmp_path: Path) -> Callable[[Callable[[Presets], object]], None]:
    """Do something with the registry that the commands read."""

    def within_registry(work: Callable[[Presets], object]) -> None:
        (tmp_path / "home").mkdir(exist_ok=True)
        database = open_database(f"sqlite:///{tmp_path / 'home' / 'jc1.db'}")
        try:
            work(Presets(PresetRepository(database)))
        finally:
            database.dispose()

    return within_registry


def two_versions(presets: Presets) -> None:
    presets.save(Preset("warm", decoding={"temperature": 0.4}))
    presets.set_alias("champion", "warm@1")
    presets.save(
        Preset(
            "warm", decoding={"temperature": 0.8}, retrieval={"k": 3}, engine={"dtype": "float32"}, measured=MEASURED
        )
    )
    presets.set_alias("champion", "warm@2")


def test_presets_alone_lists_them_as_list_does(jc1: Run) -> None:
    listed = json.loads(ok(jc1("presets", "--json")))
    assert [p["name"] for p in listed["presets"]] == ["default", "creative"]
    assert listed == json.loads(ok(jc1("presets", "list", "--json")))
    assert "creative@0" in ok(jc1("presets"))
    misplaced = jc1("presets", "--json", "list")
    assert misplaced.returncode == 2
    assert "Options go behind the command" in misplaced.stderr


def test_a_preset_is_shown_with_what_it_was_measured_with_and_its_aliases(
    jc1: Run, within: Callable[[Callable[[Presets], object]], None]
) -> None:
    within(two_versions)
    shown = ok(jc1("presets", "show", "champion"))
    for told in ("warm@2", "before that warm@1", "temperature", "retrieval.k", "engine.dtype", "memory-qa", "0.7"):
        assert told in shown, told
    assert "measured: latency.1.load" in shown
    assert "held-1" not in shown
    found = json.loads(ok(jc1("presets", "show", "warm", "--json")))
    assert (found["reference"], found["aliases"], found["engine"]) == ("warm@2", ["champion"], {"dtype": "float32"})
    assert found["measured"] == {name: value for name, value in MEASURED.items() if name != "scores"}
    assert "held-1" not in ok(jc1("presets", "--json"))


def test_two_presets_are_compared_field_by_field(
    jc1: Run, within: Callable[[Callable[[Presets], object]], None]
) -> None:
    within(two_versions)
    found = json.loads(ok(jc1("presets", "diff", "warm@1", "champion", "--json")))
    assert found == {
        "presets": ["warm@1", "warm@2"],
        "differences": {"temperature": [0.4, 0.8], "retrieval.k": [None, 3], "engine.dtype": [None, "float32"]},
    }
    lines = [line.split() for line in ok(jc1("presets", "diff", "warm@1", "warm@2")).splitlines()]
    assert ["field", "warm@1", "warm@2"] in lines
    assert ["retrieval.k", "by", "default", "3"] in lines
    assert ok(jc1("presets", "diff", "champion", "warm@2")) == "warm@2 and warm@2 set the same.\n"


def test_an_alias_is_taken_back(jc1: Run, within: Callable[[Callable[[Presets], object]], None]) -> None:
    within(two_versions)
    assert ok(jc1("rollback")) == "champion is warm@1, was warm@2.\n"
    within(lambda presets: presets.set_alias("champion", "default"))
    found = json.loads(ok(jc1("rollback", "champion", "--json")))
    assert found == {"alias": "champion", "preset": "warm@1", "before": "default@0"}
    assert ok(jc1("rollback")) == "champion was warm@1 and nothing before that: there is no champion now.\n"


def test_what_is_not_there_is_one_line_and_a_status(jc1: Run) -> None:
    for arguments in (("rollback", "nobody"), ("presets", "show", "nobody"), ("presets", "diff", "default", "nobody")):
        done = jc1(*arguments)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), arguments
        assert done.stderr.endswith("[preset_not_found]\n")


def test_a_winner_is_promoted_told_and_taken_back(jc1: Run, tmp_path: Path) -> None:
    for name, over, verdict in (("warm", {}, "better"), ("cold", WINNER, "worse")):
        folder = tmp_path / "home" / "sweeps" / name
        folder.mkdir(parents=True)
        sweep(name, over=over, verdict=verdict).write(folder)  # type: ignore[arg-type]
    told = ok(jc1("promote", "warm"))
    assert told.startswith("warm@1 is better than the baseline default@0, by +0.200 (95 % interval")
    assert told.endswith("champion is warm@1.\n")
    assert "no other version was saved" in ok(jc1("promote", "warm/2"))
    refused = jc1("promote", "cold")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("jc1: Trial 2 of 'cold' is worse than warm@1, by ")
    assert refused.stderr.endswith("or add --force. [not_significant]\n")
    forced = json.loads(ok(jc1("promote", "cold", "--force", "--name", "frozen", "--json")))
    assert (forced["preset"], forced["before"], forced["comparison"]["verdict"]) == ("frozen@1", "warm@1", "worse")
    assert ok(jc1("rollback")) == "champion is warm@1, was frozen@1.\n"
    assert json.loads(ok(jc1("rollback", "--json"))) == {"alias": "champion", "preset": None, "before": "warm@1"}


def test_a_winner_is_promoted_to_the_alias_that_was_named(jc1: Run, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "sweeps" / "warm"
    folder.mkdir(parents=True)
    sweep("warm").write(folder)
    assert ok(jc1("promote", "warm", "--alias", "night")).endswith("night is warm@1.\n")
    assert json.loads(ok(jc1("presets", "--json")))["aliases"] == {"night": "warm@1"}
    refused = jc1("promote", "warm", "--alias", "")
    assert (refused.returncode, refused.stderr.count("[conflict]")) == (1, 1)
