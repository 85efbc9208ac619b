"""Where a setting's value comes from, and how a wrong one is told."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from jc1.cache import CACHES
from jc1.embedding import EMBEDDERS
from jc1.engines.registry import AUTO, engines
from jc1.errors import HomeUnusable, InvalidSettings
from jc1.memory import VECTORS
from jc1.settings import Settings
from jc1.speech import SYNTHESIZERS, TRANSCRIBERS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JC1_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_a_flag_wins_over_environment_over_files_over_default(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().port == 8000
    (home / "jc1.toml").write_text("port = 1\nmemory_k = 3\n")
    assert Settings.load().port == 1
    (home.parent / "jc1.toml").write_text("port = 2\n")
    assert Settings.load().port == 2
    monkeypatch.setenv("JC1_PORT", "3")
    assert Settings.load().port == 3
    settings, sources = Settings.load_with_sources({"port": 4, "host": None})
    assert (settings.port, settings.memory_k) == (4, 3)
    assert (sources["port"], sources["memory_k"], sources["host"]) == ("flag", str(home / "jc1.toml"), "default")
    assert sources["home"] == "JC1_HOME"


@pytest.mark.parametrize(
    ("name", "value"), [("JC1_PORT", "ninety"), ("JC1_ENGINE", "steam"), ("JC1_MEMORY_K", "-1"), ("JC1_COLOUR", "red")]
)
def test_a_wrong_value_is_told_with_its_name_and_source(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettings) as caught:
        Settings.load()
    assert name.removeprefix("JC1_").lower() in caught.value.message
    assert "environment" in caught.value.message or name in caught.value.message


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("engine", (AUTO, *engines())),
        ("cache", CACHES),
        ("vectors", VECTORS),
        ("embedder", EMBEDDERS),
        ("transcriber", TRANSCRIBERS),
        ("synthesizer", SYNTHESIZERS),
    ],
    ids=["engine", "cache", "vectors", "embedder", "transcriber", "synthesizer"],
)
def test_what_can_be_chosen_is_in_one_table_and_a_wrong_word_is_told_all_of_it(name: str, table: Iterable[str]) -> None:
    for word in table:
        assert getattr(Settings.load({name: word}), name) == word
    with pytest.raises(InvalidSettings) as caught:
        Settings.load({name: "steam"})
    assert caught.value.message == (f"{name} = 'steam' (from flag) is not usable: here there are {', '.join(table)}.")


def test_a_broken_file_is_named(home: Path) -> None:
    (home / "jc1.toml").write_text("port = ")
    with pytest.raises(InvalidSettings, match=r"jc1\.toml cannot be read"):
        Settings.load()


def test_a_home_that_cannot_be_made_is_told_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings.load({"home": tmp_path / "file" / "home"})
    with pytest.raises(HomeUnusable, match="JC1_HOME"):
        settings.prepare_home()


def test_the_home_is_private_and_left_clean(tmp_path: Path) -> None:
    home = Settings.load({"home": tmp_path / "new"}).prepare_home()
    assert os.stat(home).st_mode & 0o777 == 0o700
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "url", "shown"),
    [
        ("database", "postgresql+psycopg://ann:s3cret@db/jc1", "postgresql+psycopg://ann:***@db/jc1"),
        ("redis_url", "redis://:s3cret@cache:6379/0", "redis://:***@cache:6379/0"),
        ("redis_url", "rediss://ann:s3cret@s3cret/s3cret@cache", "rediss://ann:***@cache"),
        ("redis_url", "unix:///run/redis?db=1&password=s3cret", "unix:///run/redis?db=1&password=***"),
        ("redis_url", "redis://cache:6379/0", "redis://cache:6379/0"),
        ("base_url", "http://ann@host/v1?model=x&api_key=s3cret", "http://***@host/v1?model=x&api_key=***"),
        ("base_url", "http://host/v1?key=s3cret&sig=s3cret", "http://host/v1?key=***&sig=***"),
        ("tracking_uri", "https://s3cret@mlflow", "https://***@mlflow"),
    ],
)
def test_a_password_in_a_url_is_not_shown(home: Path, name: str, url: str, shown: str) -> None:
    settings = Settings.load({name: url}).shown()
    assert "s3cret" not in str(settings)
    assert settings[name] == shown


def test_what_opens_something_is_not_shown_among_the_engine_s_arguments(home: Path) -> None:
    given = {
        "hf_token": "s3cret",
        "loader": {"aws_secret_access_key": "s3cret", "apiKey": "s3cret", "urls": ["http://a:s3cret@b"]},
        "max_num_batched_tokens": 512,
    }
    shown = Settings.load({"engine_args": given}).shown()["engine_args"]
    assert "s3cret" not in str(shown)
    assert shown["max_num_batched_tokens"] == 512
    assert shown["loader"]["urls"] == ["http://a:***@b"]
