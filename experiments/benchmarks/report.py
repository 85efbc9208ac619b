"""How a benchmark reports: one JSON object with the machine's facts beside the figures. Measures nothing itself."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from typing import Any

from jc1.embedding.openvino import available_cores, cpu_flags

# The instruction sets that decide how fast a model runs.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd", "bf16")


def report(name: str, results: Mapping[str, Any], *, packages: Iterable[str] = ()) -> None:
    """Print the results of the benchmark `name`, with the versions of the packages that they depend on."""
    flags = cpu_flags()
    found = {
        "benchmark": name,
        "machine": {
            "cpu": _cpu_model(),
            "cores": available_cores(),
            "features": [feature for feature in FEATURES if feature in flags],
            "system": platform.platform(),
            "python": platform.python_version(),
            "load": os.getloadavg()[0],
        },
        "versions": {package: importlib.metadata.version(package) for package in packages},
        "results": results,
    }
    print(json.dumps(found, indent=2))


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            line = next((line for line in file if line.startswith("model name")), "")
    except OSError:
        line = ""
    return line.partition(":")[2].strip() or platform.processor() or platform.machine()
