"""OpenVINO is imported without what reports its use; unpatched, it imports that."""

from __future__ import annotations

import subprocess
import sys


def test_it_is_needed_as_long_as_openvino_imports_its_telemetry() -> None:
    code = "import sys, openvino; print(sys.modules.get('openvino_telemetry') is not None)"
    patched = f"from jc1.compat.openvino import disable_telemetry; disable_telemetry(); {code}"
    found = [
        subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True).stdout.strip()
        for lines in (code, patched)
    ]
    assert found == ["True", "False"]
