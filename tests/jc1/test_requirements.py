"""What a preset needs of the engine: what is missing is named with what runs and how to start otherwise."""

from pathlib import Path
from typing import Any

import pytest
import typer

from jc1 import Preset, Settings
from jc1.cli.main import app
from jc1.engines.echo import EchoEngine
from jc1.presets import REQUIREMENTS
from jc1.requirements import UnmetRequirement, describe, refusal, unmet


def lacking(needs: dict[str, Any], **settings: Any) -> dict[str, UnmetRequirement]:
    return unmet(Preset("fast", 3, engine=needs), Settings(**settings), EchoEngine())


@pytest.mark.parametrize(
    ("needs", "settings"),
    [
        ({}, {}),
        ({"speculation": "ngram:4"}, {"speculation": "ngram:4"}),
        ({"kv_cache_gib": 4, "prefix_caching": True}, {"kv_cache_gib": 4.0}),
        ({"engine": "echo", "model": "echo"}, {"engine": "auto"}),
        ({"engine": "auto", "model": "jc1-tiny"}, {}),
        ({"engine_args": {"a": [1]}}, {"engine_args": {"a": [1]}}),
        ({"model": "organisation/name"}, {"model": "organisation/name"}),
    ],
)
def test_an_engine_that_was_started_so_lacks_nothing(needs: dict[str, Any], settings: dict[str, Any]) -> None:
    assert lacking(needs, **settings) == {}


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (
            {"speculation": "ngram:4"},
            "The preset fast@3 needs speculation=ngram:4 (running: off): start JC1 with --speculation ngram:4, or "
            "choose another preset.",
        ),
        (
            {"engine": "vllm", "tensor_parallel": 2},
            "The preset fast@3 needs engine=vllm (running: echo), tensor_parallel=2 (running: 1): start JC1 with "
            "--engine vllm --tensor-parallel 2, or choose another preset.",
        ),
        (
            {"prefix_caching": False, "quantization": "fp8", "engine_args": {"a": 1}},
            'The preset fast@3 needs prefix_caching=false (running: true), quantization=fp8 (running: ""), '
            """engine_args={"a": 1} (running: {}): start JC1 with --no-prefix-caching --quantization fp8 """
            """JC1_ENGINE_ARGS='{"a": 1}', or choose another preset.""",
        ),
        (
            {"model": "organisation/name"},
            "The preset fast@3 needs model=organisation/name (running: echo): start JC1 with --model "
            "organisation/name, or choose another preset.",
        ),
        (
            {"speculation": "ngram:4", "warp": None},
            "The preset fast@3 asks for 'warp', which this version of JC1 does not know: update JC1, or choose another "
            "preset.",
        ),
    ],
)
def test_what_is_missing_is_said_plainly(needs: dict[str, Any], message: str) -> None:
    assert refusal(Preset("fast", 3), lacking(needs)) == message


def test_a_model_in_a_folder_is_the_same_however_its_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
    monkeypatch.chdir(tmp_path)
    mine = {"model": str(tmp_path / "mine")}
    for written in ("mine", "./mine", "other/../mine", mine["model"]):
        assert lacking(mine, model=written) == {}
    for written in ("other", "jc1-tiny", "nowhere", "organisation/mine"):
        assert lacking(mine, model=written) == {"model": UnmetRequirement(mine["model"], "echo")}


def test_a_setting_that_no_preset_may_ask_for_is_not_compared_and_not_shown() -> None:
    found = lacking({"api_key": "guess", "home": "x"}, api_key="hunter2")
    assert found == {"api_key": UnmetRequirement("guess", known=False), "home": UnmetRequirement("x", known=False)}
    assert "hunter2" not in refusal(Preset("fast", 3), found)


def test_a_token_among_the_running_arguments_is_not_shown() -> None:
    found = lacking({"engine_args": {}}, engine_args={"hf_token": "hunter2"})
    assert "hunter2" not in refusal(Preset("fast", 3), found)


def test_what_a_newer_version_saved_is_missing() -> None:
    found = unmet(Preset("fast", 3, unread=("guard",)), Settings(), EchoEngine())
    assert "asks for 'guard', which this version" in refusal(Preset("fast", 3), found)
    assert describe(found) == "guard"


def test_what_is_missing_fits_a_few_words() -> None:
    assert describe(lacking({"speculation": "ngram:4", "dtype": "bfloat16"})) == "speculation=ngram:4, dtype=bfloat16"


def test_every_flag_that_is_advised_is_one() -> None:
    flags = {option for parameter in typer.main.get_command(app).commands["serve"].params for option in parameter.opts}
    given = {f"--{name.replace('_', '-')}" for name in REQUIREMENTS - {"engine_args"}}
    assert given <= flags
    assert set(Settings.model_fields) >= REQUIREMENTS
