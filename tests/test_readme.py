"""The README's examples, run as they are printed, against a real server with the bundled model."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.M | re.S)
ADDRESS = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server of its own; gives the environment of a shell beside it and its address."""
    home = tmp_path_factory.mktemp("readme")
    environment = {**os.environ, "JC1_HOME": str(home), "JC1_PORT": "0"}
    command = [sys.executable, "-m", "jc1", "serve"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=home)
    assert process.stdout is not None
    try:
        (address,) = re.findall(r"http://(\S+)/ui", process.stdout.readline())
        with urllib.request.urlopen(f"http://{address}/health/ready", timeout=60) as ready:
            assert ready.status == 200
        yield {**environment, "ADDRESS": address}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def example(language: str, contains: str) -> str:
    (found,) = [code for kind, code in BLOCKS if kind == language and contains in code]
    return found


def shell(code: str, environment: dict[str, str]) -> str:
    code = code.replace(ADDRESS, environment["ADDRESS"]).replace(".venv/bin/jc1", f"{sys.executable} -m jc1")
    done = subprocess.run(["bash", "-euc", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(code: str, environment: dict[str, str]) -> str:
    code = code.replace(ADDRESS, environment["ADDRESS"])
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_the_examples_tell_one_story(server: dict[str, str]) -> None:
    told = json.loads(shell(example("sh", "curl"), server))
    assert "Ada" in told["choices"][0]["message"]["content"]
    asked = python(example("python", "from openai"), server)
    assert "Ada" in asked.splitlines()[0]
    assert "prefill" in asked
    said = shell(example("sh", "jc1 chat"), server).splitlines()
    assert "Ada" in said[1]
    assert "My cat is called Ada." in "\n".join(said[2:])
    assert "Ada" in python(example("python", "SyncPipeline"), server).splitlines()[0]
