"""Makes `import torchvision` succeed beside a build of torch that it was not made for.

For torchvision 0.28. The one on PyPI is built with CUDA, so beside the CPU build of torch its compiled operators cannot
load. torchvision forgives that, then describes two of those operators (`nms`, `qnms`) to torch, which refuses with
"operator torchvision::nms does not exist". Every model of transformers and vLLM falls with it, text models too
(https://github.com/pytorch/vision/issues/9085, closed: each package counts on the other's matching build).

Adds two definitions. Whoever imports torchvision, which transformers and vLLM do, calls `define_operators` before.

And where it is not installed, which is how JC1 comes: vLLM 0.32 imports files of transformers that import torchvision's
functions, though the processors that are used instead need none. `stood_in` lets such files be imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# Signatures from torchvision 0.28.0, torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[Any] = []
"""torch forgets the definitions of a library that is collected, so it is kept here."""


def define_operators() -> bool:
    """Define the operators that torchvision misses, without kernels; return whether that was needed.

    Does nothing where torchvision is absent, sound, already imported or already patched. Image transforms work after
    it; `torchvision.ops` still refuses with its own message.
    """
    if _libraries or "torchvision" in sys.modules:
        return False
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False

    import torch  # before the check: the operators link to its libraries

    if _loads(Path(spec.submodule_search_locations[0])):
        return False
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for signature in _OPERATORS:
        library.define(signature)
    _libraries.append(library)
    return True


def _loads(package: Path) -> bool:
    """Return whether the compiled operators of the torchvision in `package` load."""
    for compiled in package.glob("_C*.so"):
        try:
            ctypes.CDLL(str(compiled))
        except OSError:
            return False
        return True
    return False


_NAMES = ("torchvision", "torchvision.transforms", "torchvision.transforms.v2", "torchvision.transforms.v2.functional")
"""The modules that files of transformers import by name."""


class _Absent(ModuleType):
    """A module in the place of one that is not installed: it can be imported, and nothing in it can be used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"{self.__name__}.{name} is needed, and torchvision is not installed.")


@contextmanager
def stood_in() -> Iterator[None]:
    """Let files that import torchvision be imported in the body; what they use of it fails when it is called.

    Does nothing where torchvision is there. transformers is asked before whether it is, so that it goes on knowing.
    """
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    from transformers.utils import is_torchvision_available

    is_torchvision_available()
    modules: dict[str, ModuleType] = {}
    for name in _NAMES:
        module = modules[name] = _Absent(name)
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        package, _, inside = name.rpartition(".")
        if package:
            setattr(modules[package], inside, module)
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)
