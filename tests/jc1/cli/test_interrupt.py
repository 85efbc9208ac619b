"""Ctrl-C while a model loads: the command ends at once, with nothing to read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ENGINE = '''
import asyncio
import os

from jc1.engines.echo import EchoEngine
from jc1.engines.registry import EngineRow


class Loading(EchoEngine):
    """An engine that loads for ever, in a thread."""

    async def start(self) -> None:
        open(os.environ["BEGUN"], "wb").close()
        await asyncio.to_thread(open, os.environ["WEIGHTS"], "rb")


row = EngineRow("loading", "jc1_loading:create", takes=frozenset({"model"}), local_model=False)


def create(settings):
    return Loading()
'''


def test_ctrl_c_while_a_model_loads_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "jc1_loading.py").write_text(ENGINE)
    metadata = tmp_path / "jc1_loading-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: jc1-loading\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[jc1.engines]\nloading = jc1_loading:row\n")
    begun, weights = tmp_path / "begun", tmp_path / "weights"
    os.mkfifo(begun)
    os.mkfifo(weights)
    process = subprocess.Popen(
        [sys.executable, "-m", "jc1", "chat", "Hello", "--engine", "loading"],
        env={
            **os.environ,
            "JC1_HOME": str(tmp_path / "home"),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
            "BEGUN": str(begun),
            "WEIGHTS": str(weights),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with open(begun, "rb"):  # opened when it begins to load
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err, err
