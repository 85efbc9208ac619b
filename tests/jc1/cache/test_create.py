"""The cache that the settings name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jc1.cache import create_cache
from jc1.errors import InvalidSettings
from jc1.settings import Settings
from tests.support.redis_server import RedisServer


def test_the_default_lies_under_the_home_folder_and_outlives_its_object(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    cache = create_cache(settings)
    cache.put_many("n", {b"key": b"value"})
    cache.close()
    cache = create_cache(settings)
    assert cache.get("n", b"key") == b"value"
    cache.close()
    (data,) = tmp_path.glob("home/cache/*/data.mdb")
    assert data.stat().st_mode & 0o077 == 0


def test_off_keeps_nothing_and_writes_no_file(tmp_path: Path) -> None:
    cache = create_cache(Settings(home=tmp_path / "home", cache="off"))
    cache.put_many("n", {b"key": b"value"})
    assert cache.get("n", b"key") is None
    assert cache.get_many("n", [b"key", b"other"]) == [None, None]
    cache.delete("n", b"key")
    cache.clear("n")
    cache.close()
    assert not (tmp_path / "home").exists()


def test_redis_is_the_server_that_the_settings_name(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", cache="redis", redis_url=redis_server.url)
    first, second = create_cache(settings), create_cache(settings)
    first.put_many("n", {b"key": b"value"})
    assert second.get("n", b"key") == b"value"
    first.close()
    second.close()
    assert not (tmp_path / "home").exists()


def test_a_redis_server_need_not_be_there(tmp_path: Path) -> None:
    cache = create_cache(Settings(cache="redis", redis_url=f"unix://{tmp_path}/nobody"))
    assert cache.get("n", b"key") is None
    cache.close()


def test_without_its_client_redis_is_refused_with_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "redis"] + ["jc1.cache.redis"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(InvalidSettings, match="pip install"):
        create_cache(Settings(cache="redis"))
