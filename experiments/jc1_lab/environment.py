"""Where figures were measured: the machine, the versions of packages, the revision of the code.

What cannot be looked up, such as a package that is not installed, is left out or empty, never an error.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jc1.hardware import available_cores, cpu_flags, gpus

# The instruction sets that decide how fast a model runs.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16")


def machine() -> dict[str, Any]:
    """Return the processor, its GPUs and the system, and the load average over the last minute."""
    flags = cpu_flags()
    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "features": [feature for feature in FEATURES if feature in flags],
        "gpus": [gpu.name for gpu in gpus()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each package, leaving out those that are not installed."""
    installed = {}
    for package in packages:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def revision() -> str:
    """Return the commit of the code that runs, with `+` where files differ from it; empty outside a git checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "") if commit.returncode == 0 else ""


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith("model name")), "")
    except OSError:
        line = ""
    return line.partition(":")[2].strip() or platform.processor() or platform.machine()
