"""How a benchmark is run and reports: a function's arguments are the options, and what it returns is one JSON object.

Knows the command line, the machine's facts and how two sides are timed in turns. Measures nothing itself.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from jc1_lab.environment import machine, versions

Figures = dict[str, Any]
"""What a benchmark returns: the unit is in each key."""


def main(measure: Callable[..., Figures | Coroutine[Any, Any, Figures]], *, packages: Iterable[str] = ()) -> None:
    """Run `measure` with the command line's options, and print what it returns with the machine and the versions of the
    packages beside it. The benchmark is called as its file is."""

    @wraps(measure)
    def command(**options: Any) -> None:
        result = measure(**options)
        figures = asyncio.run(result) if isinstance(result, Coroutine) else result
        report(Path(inspect.getfile(measure)).stem, figures, packages)

    typer.run(command)


def report(name: str, results: Mapping[str, Any], packages: Iterable[str] = ()) -> None:
    """Print the results of the benchmark `name`, with the versions of the packages that they depend on."""
    printed = {"benchmark": name, "machine": machine(), "versions": versions(packages), "results": results}
    print(json.dumps(printed, indent=2))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(sides: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Return the seconds of each side's repetitions, after one that warms it.

    They are timed side by side, so that a busy machine slows all alike.
    """
    for work in sides.values():
        work()
    rounds = [{name: seconds(work) for name, work in sides.items()} for _ in range(repetitions)]
    return {name: [one[name] for one in rounds] for name in sides}
