"""The lab: suites, sweeps, their statistics, and promotion to serving.

It imports `jc1`, never the reverse. `Sweep` and `run_sweep` are where to begin; docs/lab.md tells the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jc1_lab.latency.measure import Objective
    from jc1_lab.records.items import Suite
    from jc1_lab.records.results import Load, SweepResult
    from jc1_lab.run import run_sweep
    from jc1_lab.spaces.space import Space
    from jc1_lab.sweep.spec import Sweep

_HOMES = {
    "Load": "records.results",
    "Objective": "latency.measure",
    "Space": "spaces.space",
    "Suite": "records.items",
    "Sweep": "sweep.spec",
    "SweepResult": "records.results",
    "run_sweep": "run",
}
__all__ = ["Load", "Objective", "Space", "Suite", "Sweep", "SweepResult", "run_sweep"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"jc1_lab.{_HOMES[name]}"), name)
