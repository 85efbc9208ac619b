"""Other people's clients work unchanged before a real server. Their pins clash with ours: they are installed apart.

What each does is in `tests/api/clients`; here stands what comes of it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Server

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "clients.lock"
SECONDS = 300
"""Packages come in half a minute where pip has kept them; over a slow network it takes longer."""
OSLO = {"city": "Oslo"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS)]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the clients as they are locked."""
    folder = tmp_path_factory.mktemp("clients")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", str(python)]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--no-compile", "-r", str(LOCK)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return python


def told(python: Path, server: Server, client: str) -> Any:
    """What a client's script prints that asks the server."""
    script = Path(__file__).parent / "clients" / f"with_{client}.py"
    env = {name: os.environ[name] for name in ("PATH", "HOME")}
    done = subprocess.run([python, script, server.url], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_litellm(python: Path, server: Server) -> None:
    assert told(python, server, "litellm") == {
        "whole": "Hello there.",
        "streamed": "Hello there.",
        "call": ["weather", '{"city": "Oslo"}'],
        "response": "Hello there.",
        "anthropic": "Hello there.",
        "anthropic streamed": "Hello there.",
        "overflow": [True, True],
    }


def test_langchain(python: Path, server: Server) -> None:
    expected = {"whole": "Hello there.", "streamed": "Hello there.", "calls": [["weather", OSLO]], "overflow": True}
    assert told(python, server, "langchain") == {"chat": expected, "responses": expected}


def test_llama_index(python: Path, server: Server) -> None:
    assert told(python, server, "llama_index") == {
        "whole": "Hello there.",
        "streamed": "Hello there.",
        "calls": [["weather", OSLO]],
    }


def test_the_agents_sdk(python: Path, server: Server) -> None:
    expected = {"whole": "Hello there.", "streamed": "Hello there.", "with a tool": "Rain in Oslo."}
    assert told(python, server, "agents") == {"responses": expected, "chat": expected}
