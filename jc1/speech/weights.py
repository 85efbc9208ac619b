"""Weights of models that hear and speak: loaded once, at first use, and those of a package only with the hash they had.

Knows files and when they are loaded. Knows nothing about what runs them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from jc1.errors import SpeechUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


class Lazy(Generic[T]):
    """A model that `load` makes once, when it is first asked for, however many threads ask."""

    def __init__(self, name: str, load: Callable[[], T]) -> None:
        self._name = name
        self._load = load
        self._lock = threading.Lock()
        self._model: T | None = None
        self._closed = False

    def get(self) -> T:
        """Return the model. Raises `SpeechUnavailable` where it is closed, and what `load` raises, each time anew."""
        if (model := self._model) is not None:
            return model
        with self._lock:
            if self._closed:
                raise SpeechUnavailable(f"{self._name} is closed: open a new workbench.")
            if self._model is None:
                began = time.perf_counter()
                self._model = self._load()
                log.info("loaded %s in %.2f s", self._name, time.perf_counter() - began)
            return self._model

    def close(self) -> None:
        """Free the memory as soon as the last who uses the model is done. It cannot be had again."""
        with self._lock:
            self._closed = True
            self._model = None


def package_folder(package: str, advice: str) -> Path:
    """Return the folder of an installed package, which is not imported.

    Raises:
        SpeechUnavailable: It is not installed; the message ends with `advice`.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SpeechUnavailable(f"The package {package.replace('_', '-')!r} is not installed: {advice}")
    return Path(spec.submodule_search_locations[0])


def check(file: Path, sha256: str) -> None:
    """Raise `SpeechUnavailable` unless the file has that hash."""
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise SpeechUnavailable(
            f"{file.name} cannot be read ({error.strerror}): install the package that holds it again."
        ) from None
    if digest != sha256:
        raise SpeechUnavailable(
            f"{file.name} is not the model that JC1 trusts (its SHA-256 begins {digest[:12]!r}, not {sha256[:12]!r}): "
            "install the package that holds it again."
        )
