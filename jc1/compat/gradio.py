"""Makes `import gradio` quick: 3.4 s become 2.

For Gradio 6.31. It reads the source of each of its components, every time it is imported, to write type stubs beside
it. Nobody reads those here, and an installed package is not ours to write to. No issue is known.

Replaces one function, `create_or_modify_pyi` in `gradio.component_meta`, and nothing that a page uses.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

NAME = "gradio.component_meta"


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


def install() -> None:
    """Apply the patch, where Gradio is not imported yet; afterwards it changes nothing."""
    if NAME not in sys.modules:
        sys.meta_path.insert(0, _Finder())
