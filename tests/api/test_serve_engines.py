"""`jc1 serve` on the engines that have processes of their own: served, killed in the middle of a reply, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.engines
SECONDS = 120
ENGINES: dict[str, tuple[list[str], str]] = {
    "vllm": (["--engine", "vllm", "--kv-cache-gib", "0.25"], "VLLM::EngineCore"),
    "deepspeed": (["--engine", "deepspeed", "--ranks", "2"], "jc1.engines.deepspeed.rank"),
}
"""Flags, and what stands in the command of the process that a test kills."""
LAUNCHER = "deepspeed.launcher.launch"
"""What stands in the command of the process that only starts the ranks."""


@contextmanager
def serving(home: Path, flags: list[str]) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    environment = {**os.environ, "JC1_HOME": str(home)}
    if "vllm" in flags:
        environment["JC1_ENGINE_ARGS"] = '{"enforce_eager": true}'
    process = subprocess.Popen(
        [sys.executable, "-m", "jc1", "serve", "--port", "0", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = next((m[0] for line in process.stdout if (m := re.search(r"http://127\.0\.0\.1:\d+", line))), None)
        assert address is not None, f"it ended with {process.wait()}"
        with httpx.Client(base_url=address, timeout=SECONDS) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def asking(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "jc1-tiny", "messages": [{"role": "user", "content": text}], **fields}


def said(client: httpx.Client, text: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    response = client.post("/v1/chat/completions", json=asking(text, **fields))
    assert response.status_code == 200, response.text
    body = response.json()
    return body["choices"][0]["message"]["content"], body["jc1"]


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def one(processes: list[psutil.Process], matches: Callable[[list[str]], bool]) -> psutil.Process:
    return next(process for process in processes if matches(process.cmdline()))


@pytest.mark.timeout(4 * SECONDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_it_serves_with_memory_survives_a_death_and_leaves_no_process(engine: str, tmp_path: Path) -> None:
    flags, word = ENGINES[engine]
    with serving(tmp_path / "home", flags) as (process, client):
        said(client, "My cat is called Ada.")
        reply, story = said(client, "What is my cat called?", session="other")
        assert "Ada" in reply
        trace = client.get(f"/v1/traces/{story['trace_id']}").json()
        assert trace["engine"] == engine
        assert {"queue", "prefill", "decode"} <= trace["stages"].keys()
        assert len(trace["shards"] or []) == (2 if engine == "deepspeed" else 0)

        long = asking("hello", memory="off", stream=True, max_tokens=1500, min_tokens=1500)
        with client.stream("POST", "/v1/chat/completions", json=long) as response:
            lines = (line.removeprefix("data: ") for line in response.iter_lines() if line)
            next(lines)
            one(below(process), lambda command: word in " ".join(command) and LAUNCHER not in command).send_signal(
                signal.SIGKILL
            )
            *_, last = lines
        assert json.loads(last)["error"]["code"] == "engine_failed"

        assert said(client, "What is my cat called?")[0] == reply
        assert client.get("/health/ready").status_code == 200

        children = below(process)
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
        assert process.returncode == 0
        assert psutil.wait_procs(children, timeout=20)[1] == []
