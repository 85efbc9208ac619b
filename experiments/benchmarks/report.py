"""How a benchmark reports: one JSON object with the machine's facts beside the figures. Measures nothing itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from jc1_lab.environment import machine, versions


def report(name: str, results: Mapping[str, Any], *, packages: Iterable[str] = ()) -> None:
    """Print the results of the benchmark `name`, with the versions of the packages that they depend on."""
    found = {"benchmark": name, "machine": machine(), "versions": versions(packages), "results": results}
    print(json.dumps(found, indent=2))
