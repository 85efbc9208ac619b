"""What a benchmark prints is one JSON object, with the machine and the versions beside the figures."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from experiments.benchmarks.report import report
from jc1.hardware import available_cores


def test_a_report_is_one_json_object_with_machine_versions_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    report("example", {"lookup_us": 1.5}, packages=["numpy"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["benchmark"] == "example"
    assert printed["results"] == {"lookup_us": 1.5}
    assert printed["versions"] == {"numpy": importlib.metadata.version("numpy")}
    assert printed["machine"]["cores"] == available_cores()
