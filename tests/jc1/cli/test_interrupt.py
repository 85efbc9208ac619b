"""Ctrl-C while a model loads: the command ends at once, with nothing to read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from jc1.models import BUNDLED


def test_ctrl_c_while_a_model_loads_ends_the_command(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(BUNDLED / "jc1-tiny", model)
    weights = model / "model.safetensors"
    weights.unlink()
    os.mkfifo(weights)
    process = subprocess.Popen(
        [sys.executable, "-m", "jc1", "chat", "Hello", "--engine", "transformers", "--model", str(model)],
        env={**os.environ, "JC1_HOME": str(tmp_path / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Opened once somebody reads it, who then waits for what never comes.
    with open(weights, "wb"):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err, err
