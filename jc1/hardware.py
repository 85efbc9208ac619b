"""This machine: the cores and features of its CPU, its GPUs, and over how many of these a model should be spread.

Knows Linux's files and NVIDIA's management library. Claims no GPU: CUDA is never initialised here, so that the
processes an engine starts can do it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

FITS = 0.7
"""Share of a GPU's memory that weights may take, so that a KV cache has room beside them."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. Memory is in bytes; `nvlink` holds the indexes of the GPUs that NVLink joins it with."""

    index: int
    name: str
    memory: int
    free: int
    nvlink: frozenset[int] = frozenset()


def cpu_flags() -> frozenset[str]:
    """Return the CPU's features as Linux names them; none where it does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[2].split())


def available_cores() -> int:
    """Return how many cores this process may use: its affinity, within its container's quota (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def gpus() -> list[Gpu]:
    """Return the GPUs that NVIDIA's driver shows and CUDA_VISIBLE_DEVICES allows, in the driver's order.

    Empty where there is no driver, or no nvidia-ml-py.
    """
    with _library() as nvml:
        if nvml is None:
            return []
        cards, handles = [], {}
        for i in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(i)
                memory = nvml.nvmlDeviceGetMemoryInfo(handle)
                if _visible(i, str(nvml.nvmlDeviceGetUUID(handle))):
                    cards.append(Gpu(i, str(nvml.nvmlDeviceGetName(handle)), int(memory.total), int(memory.free)))
                    handles[i] = handle
            except nvml.NVMLError:
                continue  # lost, or of a kind that tells no memory
        joined: dict[int, set[int]] = {i: set() for i in handles}
        for a, b in combinations(handles, 2):
            if _nvlink(nvml, handles[a], handles[b]):
                joined[a].add(b)
                joined[b].add(a)
        return [replace(gpu, nvlink=frozenset(joined[gpu.index])) for gpu in cards]


def _visible(index: int, uuid: str) -> bool:
    """Return whether CUDA_VISIBLE_DEVICES leaves a GPU to this process."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return True
    parts = [part.strip() for part in named.split(",") if part.strip()]
    return any(part == str(index) or uuid.startswith(part) for part in parts)


def islands(cards: Sequence[Gpu]) -> list[tuple[int, ...]]:
    """Group the GPUs that NVLink joins, each with each; a GPU without NVLink is alone."""
    groups: list[tuple[int, ...]] = []
    for gpu in cards:
        for i, group in enumerate(groups):
            if set(group) <= gpu.nvlink:
                groups[i] = (*group, gpu.index)
                break
        else:
            groups.append((gpu.index,))
    return groups


def recommended_tensor_parallel(cards: Sequence[Gpu], *, weights: int, heads: int) -> int:
    """Return over how many GPUs to spread `weights` bytes of a model with so many attention heads.

    The fewest that hold them, a power of two that divides `heads`, inside one NVLink island where that is possible; 0
    where they do not fit at all.
    """
    if not cards:
        return 1
    largest = max(len(group) for group in islands(cards))
    room = FITS * min(gpu.memory for gpu in cards)
    sizes = [n for n in (1, 2, 4, 8, 16) if n <= len(cards) and heads % n == 0 and weights / n <= room]
    inside = [n for n in sizes if n <= largest]
    return (inside or sizes or [0])[0]


def _nvlink(nvml: Any, a: Any, b: Any) -> bool:
    """Return whether two GPUs reach each other's memory over NVLink, directly or through a switch."""
    try:
        status = nvml.nvmlDeviceGetP2PStatus(a, b, nvml.NVML_P2P_CAPS_INDEX_NVLINK)
    except nvml.NVMLError:
        return False
    return bool(status == nvml.NVML_P2P_STATUS_OK)


@contextmanager
def _library() -> Iterator[Any]:
    """Open NVIDIA's management library for the body; yield None where there is none, or no driver."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()
