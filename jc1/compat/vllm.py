"""What a process must do before it runs torch models, because two things around it are not as they should be.

**torchvision.** The one on PyPI is built with CUDA, so beside the CPU build of torch its compiled operators cannot
load; torchvision forgives that, then describes two of those operators (`nms`, `qnms`) to torch, which refuses with
"operator torchvision::nms does not exist". Every model of transformers and vLLM falls with it, text models too.

**AMX.** Linux lets a process use the tile registers of Intel's AMX only after it has asked (arch_prctl(2),
ARCH_REQ_XCOMP_PERM). vLLM's CPU attention may use them without having asked, and dies with SIGILL.

**Being left behind.** vLLM's engine process notices neither that JC1 was killed nor that Ctrl-C was meant for JC1,
which first lets replies end. So it gets a session of its own, and ends when its parent has.

**Sampling with drafts.** Where tokens are drafted and sampled, vLLM 0.32's CPU build divides the logits by memory that
nobody wrote instead of by the temperature, and cuts with such a top_k and top_p: one of its kernels fills a copy
(https://github.com/vllm-project/vllm/issues/55005). The same step, a repetition, is done here by torch.

Knows these faults, and nothing about who has them. `in_vllm` is JC1's entry point in `vllm.general_plugins`: vLLM calls
it in each of its processes, spawned workers too, and in JC1's.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

# Signatures from torchvision 0.28.0, torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# torch forgets the definitions of a library that is collected, so it is kept here.
_kept: list[Any] = []


# arch_prctl's number on x86-64, and its arguments: the request, and the number of the tile data's state component.
_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA = 158, 0x1023, 18


OWNER = "_JC1_VLLM_OWNER"
"""The environment variable that says which process started vLLM."""
LAST_SECONDS = 10.0
"""How long a process of vLLM's outlives its parent at most."""


def in_vllm() -> None:
    """All mends that a process of vLLM's needs, before it imports the first model."""
    torchvision_imports()
    amx_permitted()
    drafts_are_sampled()
    owner = os.environ.get(OWNER)
    if owner is not None and owner != str(os.getpid()):
        end_with_parent()


def end_with_parent() -> None:
    """Leave the terminal's session, and end when the process that spawned this one has."""
    with contextlib.suppress(PermissionError):  # it leads one already
        os.setsid()
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LAST_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="jc1-end-with-parent").start()


def amx_permitted() -> bool:
    """Ask for the AMX tiles, for this process and those it starts. False where processor or kernel has none."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA) == 0)


def drafts_are_sampled() -> None:
    """Give each drafted token the temperature, top_k and top_p of its request, where vLLM's CPU part is there."""
    with contextlib.suppress(ImportError):
        from vllm.utils import cpu_triton_utils

        cpu_triton_utils._expand_kernel_impl = _expand


def _expand(
    output: Any, values: Any, ends: Any, replace_from: int, replace_to: int, MAX_NUM_TOKENS: int | None = None
) -> None:
    """Write to `output` (tokens) each request's one of `values` (requests), once for each of its tokens.

    Those of request i end at `ends[i]`. Values that are `replace_from` become `replace_to`.
    """
    import torch

    counts = torch.diff(ends, prepend=ends.new_zeros(1))
    output.copy_(torch.where(values == replace_from, replace_to, values).repeat_interleave(counts))


def torchvision_imports() -> bool:
    """Make `import torchvision` succeed: define the operators that it misses, without kernels.

    Returns whether that was needed. Does nothing where torchvision is absent, sound, already imported or already
    mended. Image transforms work after the mend; `torchvision.ops` still refuses with its own message.
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
