"""Models that are loaded once, and trusted by their hash."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jc1.errors import SpeechUnavailable
from jc1.speech.weights import Lazy, check, package_folder


def test_a_file_is_trusted_by_its_hash_alone(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"weights")
    check(file, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(SpeechUnavailable, match=r"model\.bin is not the model that JC1 trusts"):
        check(file, "0" * 64)
    with pytest.raises(SpeechUnavailable, match="cannot be read"):
        check(tmp_path / "none", "0" * 64)


def test_a_package_that_is_missing_is_named_with_what_to_do() -> None:
    assert (package_folder("jc1", "") / "settings.py").is_file()
    with pytest.raises(SpeechUnavailable, match="'no-such-package' is not installed: ask for it"):
        package_folder("no_such_package", "ask for it")


def test_a_model_is_loaded_once_however_many_ask() -> None:
    loads: list[int] = []
    gate = threading.Barrier(4)

    def ask(lazy: Lazy[str]) -> str:
        gate.wait(30)
        return lazy.get()

    def load() -> str:
        loads.append(1)
        return "model"

    lazy = Lazy("it", load)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, [lazy] * 4)) == {"model"}
    assert loads == [1]


def test_one_that_failed_is_tried_again_and_one_that_is_closed_is_not() -> None:
    attempts: list[str] = []

    def load() -> str:
        attempts.append("one")
        if len(attempts) == 1:
            raise SpeechUnavailable("not yet")
        return "model"

    lazy = Lazy("it", load)
    with pytest.raises(SpeechUnavailable, match="not yet"):
        lazy.get()
    assert lazy.get() == "model"
    lazy.close()
    with pytest.raises(SpeechUnavailable, match="it is closed"):
        lazy.get()
