"""Make `import torchvision` succeed beside the CPU build of torch.

Knows one fault: the torchvision on PyPI is built with CUDA, so its compiled operators cannot load where torch has none;
torchvision forgives that, then describes two of those operators (`nms`, `qnms`) to torch, which refuses with "operator
torchvision::nms does not exist". Every model of transformers and vLLM falls with it, text models too. Knows nothing
about who needs torchvision. Whoever does calls `apply()` before the first import of torchvision or transformers, in
every process.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path
from typing import Any

# Signatures from torchvision 0.28.0, torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# torch forgets the definitions of a library that is collected, so it is kept here.
_kept: list[Any] = []


def apply() -> bool:
    """Define the operators that torchvision misses, without kernels, and return whether that was needed.

    Does nothing, and returns False, where torchvision is absent, sound, already imported or already mended. Image
    transforms work after the mend; `torchvision.ops` still refuses with its own message.
    """
    if _kept or "torchvision" in sys.modules:
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
    _kept.append(library)
    return True


def _loads(package: Path) -> bool:
    """True where the compiled operators of the torchvision in `package` load. torchvision loads the same file later."""
    for compiled in package.glob("_C*.so"):
        try:
            ctypes.CDLL(str(compiled))
        except OSError:
            return False
        return True
    return False
