"""Experiments: suites, sweeps, their statistics and promotion; training of the bundled models; benchmarks.

It imports `jc1`, never the reverse. `Sweep` is where to begin; docs/lab.md tells the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.latency.blocks import Objective
    from experiments.spaces.space import Space
    from experiments.suites.suite import Suite
    from experiments.sweeps.results import Load, SweepResult
    from experiments.sweeps.sweep import Sweep

_HOMES = {
    "Load": "sweeps.results",
    "Objective": "latency.blocks",
    "Space": "spaces.space",
    "Suite": "suites.suite",
    "Sweep": "sweeps.sweep",
    "SweepResult": "sweeps.results",
}
__all__ = ["Load", "Objective", "Space", "Suite", "Sweep", "SweepResult"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"experiments.{_HOMES[name]}"), name)
