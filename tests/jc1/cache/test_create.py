"""The cache that the settings name."""

from __future__ import annotations

from pathlib import Path

import pytest

from jc1.cache import create_cache
from jc1.errors import InvalidSettings
from jc1.settings import Settings


def test_the_default_lies_under_the_home_folder_and_outlives_its_object(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    cache = create_cache(settings)
    cache.put_many("n", {b"key": b"value"})
    cache.close()
    cache = create_cache(settings)
    assert cache.get("n", b"key") == b"value"
    cache.close()
    assert (tmp_path / "home" / "cache" / "data.mdb").stat().st_mode & 0o077 == 0


def test_off_keeps_nothing_and_writes_no_file(tmp_path: Path) -> None:
    cache = create_cache(Settings(home=tmp_path / "home", cache="off"))
    cache.put_many("n", {b"key": b"value"})
    assert cache.get("n", b"key") is None
    assert cache.get_many("n", [b"key", b"other"]) == [None, None]
    cache.delete("n", b"key")
    cache.clear("n")
    cache.close()
    assert not (tmp_path / "home").exists()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidSettings, match="'lmdb' or 'off'"):
        create_cache(Settings(cache="memcached"))
