"""Keeps vLLM's processes from five faults. All of it is for vLLM 0.32.

**AMX.** Linux lets a process use the tile registers of Intel's AMX only after it has asked (arch_prctl(2),
ARCH_REQ_XCOMP_PERM). vLLM's CPU attention uses them without having asked, and dies with SIGILL. No issue is known.

**Sampling with drafts.** Where tokens are drafted and sampled, the CPU build divides the logits by memory that nobody
wrote instead of by the temperature, and cuts with such a top_k and top_p: one of its kernels fills a copy
(https://github.com/vllm-project/vllm/issues/55005). The same step, a repetition, is done here by torch.

**Being left behind.** The engine process notices neither that JC1 was killed
(https://github.com/vllm-project/vllm/issues/55510) nor that Ctrl-C was meant for JC1, which first lets replies end. So
it gets a process group of its own, and ends when its parent has. Not a session: Linux shares the cores between
sessions first (sched_autogroup, sched(7)), and JC1, which needs little of them but at once, would wait for its own
engine; with 8 requests under way replies took half as long again.

**The end.** A client that was shut down leaves its ZeroMQ context open, and shuts down once more when it is collected,
at a time when its modules may be gone. No issue is known.

**Pictures.** Models that see import torchvision by way of Pixtral, whichever they are, and do not need it. No issue is
known.

Knows nothing about requests. `in_vllm` is JC1's entry point in `vllm.general_plugins`: vLLM calls it in each of its
processes, spawned workers too, and in JC1's.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from jc1.compat.torchvision import define_operators, stood_in

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM
    from vllm.v1.engine.core_client import MPClient

# arch_prctl's number on x86-64, and its arguments: the request, and the number of the tile data's state component.
_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA = 158, 0x1023, 18

OWNER = "_JC1_VLLM_OWNER"
"""The environment variable that says which process started vLLM."""
SEES = "_JC1_VLLM_SEES"
"""The environment variable that says that its model is shown pictures."""
LAST_SECONDS = 10.0
"""How long a process of vLLM's outlives its parent at most."""


def in_vllm() -> None:
    """Apply every patch that a process of vLLM's needs before it imports the first model."""
    define_operators()
    request_amx()
    sample_drafts()
    if os.environ.get(SEES):
        import_vision()
    owner = os.environ.get(OWNER)
    if owner is not None and owner != str(os.getpid()):
        end_with_parent()


def request_amx() -> bool:
    """Ask for the AMX tiles, for this process and those it starts; return False where CPU or kernel has none."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return bool(ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA) == 0)


def import_vision() -> None:
    """Import what models that see import torchvision for, where that is not installed."""
    with stood_in():
        importlib.import_module("transformers.models.pixtral.image_processing_pixtral")


def sample_drafts() -> None:
    """Give each drafted token the temperature, top_k and top_p of its request, where vLLM's CPU part is there."""
    with contextlib.suppress(ImportError):
        from vllm.utils import cpu_triton_utils

        cpu_triton_utils._expand_kernel_impl = _expand


def _expand(
    output: Any, values: Any, ends: Any, replace_from: int, replace_to: int, MAX_NUM_TOKENS: int | None = None
) -> None:
    """Write to `output` each request's one of `values`, once for each of its tokens.

    Args:
        output: Written in place, shape (tokens,).
        values: Shape (requests,).
        ends: Where the tokens of each request end, shape (requests,).
        replace_from: A value that becomes `replace_to`.
        replace_to: What stands for it.
        MAX_NUM_TOKENS: A constant of the kernel; not needed here.
    """
    import torch

    counts = torch.diff(ends, prepend=ends.new_zeros(1))  # tokens of each request, (requests,)
    output.copy_(torch.where(values == replace_from, replace_to, values).repeat_interleave(counts))


def end_with_parent() -> None:
    """Leave the terminal's process group, and end when the process that spawned this one has."""
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setpgrp()
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        # SIGTERM lets vLLM end its workers; a process that is stuck ends without.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LAST_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="jc1-end-with-parent").start()


def close_sockets(client: MPClient) -> None:
    """Close the ZeroMQ context, and what is open in it, of a client that was shut down or never came to be.

    May be called twice.
    """
    for socket in list(client.ctx._sockets):
        socket.close(linger=0)
    client.resources.ctx.term()


def shut_down_once(llm: AsyncLLM) -> None:
    """Keep an engine that was shut down from doing so again when it is collected."""
    llm.shutdown = _nothing


def _nothing(*args: Any) -> None:
    pass
