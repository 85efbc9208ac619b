"""Keeps OpenVINO from reporting its use over the network.

For OpenVINO 2026.4. `import openvino` imports its converter, and that the package openvino-telemetry, which sends
unless an opt-out file of its own lies in the home folder. Without the package the converter takes a stub that sends
nothing. This is on purpose upstream, and has no switch in the process.

Hides one module, in this process alone. OpenVINO itself is left as it is.
"""

from __future__ import annotations

import sys


def disable_telemetry() -> None:
    """Make `import openvino_telemetry` fail from now on; call it before `import openvino`."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
