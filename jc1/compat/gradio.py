"""Makes `import gradio` quick, and keeps what is said on a page out of the log. For Gradio 6.31.

**Importing**: 3.4 s become 2. It reads the source of each of its components, every time it is imported, to write type
stubs beside it. Nobody reads those here, and an installed package is not ours to write to. No issue is known. Replaces
one function, `create_or_modify_pyi` in `gradio.component_meta`.

**Failures**: what an event of a page raises, Gradio prints to standard error as it is. The words of such an exception
quote what the browser sent, line ends and all: whoever has a page could read texts into the log and forge its records.
No issue is known. Replaces the name `traceback` in the two modules that print, so that failures go to the log, which
writes where something failed and not what was said.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import logging
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from jc1.telemetry.context import Current, answering, current

NAME = "gradio.component_meta"
PRINTING = ("gradio.queueing", "gradio.routes")
log = logging.getLogger(__name__)


class _Loader(importlib.abc.Loader):
    """Loads the module by its own loader, and takes the writing of stubs out of it."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if hasattr(module, "create_or_modify_pyi"):
            module.create_or_modify_pyi = write_nothing  # type: ignore[attr-defined]


def write_nothing(component: type, name: str, events: object) -> None:
    """Stand for the function that writes the stubs of one component."""


class _Finder(importlib.abc.MetaPathFinder):
    """Finds that one module, once."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != NAME:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Logged:
    """Stands for the module `traceback` where Gradio prints with it."""

    def print_exc(self) -> None:
        """Log the exception that is being handled, as one of a request is: without its words."""
        with answering(current() or Current()):
            log.error("an event of the page failed", exc_info=True)


def log_failures() -> None:
    """Apply the second patch; the modules are imported for it."""
    for name in PRINTING:
        module: Any = importlib.import_module(name)
        module.traceback = _Logged()


def install() -> None:
    """Apply the first patch, where Gradio is not imported yet; afterwards it changes nothing."""
    if NAME not in sys.modules:
        sys.meta_path.insert(0, _Finder())
