"""Ctrl-C while a command loads: it ends at once, with nothing to read, whatever an interrupt would have become."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
    if settings.model == "imported":
        open(os.environ["BEGUN"], "wb").close()
        try:
            open(os.environ["WEIGHTS"], "rb")
        except BaseException:
            raise RuntimeError("as libraries do whose import is interrupted")
    return Loading()
'''
SPACE = "decoding:\n  temperature: [0.0, 0.5]\n"


@pytest.mark.parametrize("model", ["imported", "started"])
@pytest.mark.parametrize("command", ["chat", "serve", "mcp", "sweep"])
def test_ctrl_c_while_it_loads_ends_a_command(tmp_path: Path, command: str, model: str) -> None:
    (tmp_path / "jc1_loading.py").write_text(ENGINE)
    metadata = tmp_path / "jc1_loading-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: jc1-loading\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[jc1.engines]\nloading = jc1_loading:row\n")
    (tmp_path / "space.yaml").write_text(SPACE)
    begun, weights = tmp_path / "begun", tmp_path / "weights"
    os.mkfifo(begun)
    os.mkfifo(weights)
    arguments = {
        "chat": ["Hello"],
        "serve": ["--port", "0"],
        "mcp": [],
        "sweep": [str(tmp_path / "space.yaml"), "--no-tracking"],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "jc1", command, *arguments[command], "--engine", "loading", "--model", model],
        env={
            **os.environ,
            "JC1_HOME": str(tmp_path / "home"),
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
            "BEGUN": str(begun),
            "WEIGHTS": str(weights),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with open(begun, "rb"):  # opened when it begins to load
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    if command == "sweep":  # which may have begun, and draws a bar
        assert "Traceback" not in err
    else:
        assert err == ""
