"""What JC1 itself takes of a request that is answered over HTTP, and what keys and limits add to that.

    python -m experiments.benchmarks.access [--rounds 3] [--litellm /path/to/python]

The echo engine replies with what it was told, so that nearly all of the time is JC1's. The sides, each a server of its
own, asked in turns: without keys; with a key; with a key that has every limit; the same with the limits kept in Redis;
and, where an interpreter that has LiteLLM's proxy is named, that proxy with its master key before the server without
keys, as the peer that does the same for other servers. Prints milliseconds of a whole streamed reply one at a time, and
replies per second 32 at a time; and how long one key waits beside another's flood. Run it alone on the machine.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.benchmarks.harness import Figures, main
from experiments.benchmarks.http_load import Server, ask, jc1, medians, running, wait_until
from jc1.access.principal import Limits
from jc1.settings import Settings
from jc1.workbench import Workbench

TEXT = "Hello there, {}."
PLENTY = Limits(requests_per_minute=10**6, tokens_per_minute=10**9, tokens_per_day=10**10, concurrent=1000)
"""Limits that are counted and never reached."""
CONCURRENT = 32
FEW, FLOOD = 4, 64
MASTER_KEY = "sk-benchmark"
ACCEPTANCE_MS = {"whole_ms_p50": 2.0, "whole_ms_p99": 10.0}
"""Of one request at a time, with keys and limits."""


@contextmanager
def with_key(folder: Path, limits: Limits | None, **environment: str) -> Iterator[Server]:
    """Serve with one key, which its clients show."""
    token = _new_key(folder, "ann", limits)
    with jc1(folder, "echo", environment) as server:
        server.key = token
        yield server


def _new_key(folder: Path, owner: str, limits: Limits | None = None) -> str:
    stores = Workbench.stores(Settings(home=folder))
    token = stores.keys.create(owner, limits=limits).token
    asyncio.run(stores.close())
    return token


def flood(requests: int) -> Figures:
    """Return how long one key's requests take, one at a time, alone and while another key keeps 64 under way.

    Four may run at the same time: where requests ran in the order in which they come, each would wait for 60 others.
    """

    async def both(calm: Server, flooding: Server) -> Figures:
        waves = asyncio.create_task(ask(flooding, _bodies(20_000), FLOOD))
        figures = await ask(calm, _bodies(requests), 1)
        waves.cancel()
        return figures

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ann, bob = (_new_key(folder, owner) for owner in ("ann", "bob"))
        with jc1(folder, "echo", {"JC1_MAX_RUNNING": str(FEW)}) as server:
            calm, flooding = (replace(server, key=key, extra={"memory": "off"}) for key in (ann, bob))
            asyncio.run(ask(calm, _bodies(50), 1))
            alone = asyncio.run(ask(calm, _bodies(requests), 1))["whole_ms_p50"]
            everybodys = asyncio.run(ask(flooding, _bodies(requests), FLOOD))["whole_ms_p50"]
            flooded = asyncio.run(both(calm, flooding))["whole_ms_p50"]
    return {
        "max_running": FEW,
        "alone_ms_p50": alone,
        "beside_the_flood_ms_p50": flooded,
        "in_the_flood_ms_p50": everybodys,
    }


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis server, and give its address."""
    path = folder / "socket"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    with running(command, {}, stdout=subprocess.DEVNULL) as process:
        wait_until(path.exists, process, "Redis")
        yield f"unix://{path}"


@contextmanager
def litellm(python: Path, folder: Path, behind: Server) -> Iterator[Server]:
    """Serve through LiteLLM's proxy, in one process as JC1 does, before another server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    upstream = {"model": "openai/echo", "api_base": f"http://127.0.0.1:{behind.port}/v1", "api_key": "none"}
    config = {
        "model_list": [{"model_name": "echo", "litellm_params": upstream}],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"telemetry": False},
    }
    file = folder / "litellm.json"  # JSON is YAML too
    file.write_text(json.dumps(config))
    command = [str(python.with_name("litellm")), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    with running(command, {"LITELLM_LOG": "ERROR"}, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: _is_alive(port), process, "LiteLLM's proxy")
        yield Server(port, process, MASTER_KEY)


def _is_alive(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=5):
            return True
    except OSError:
        return False


def measure(
    rounds: int = 3,
    requests: int = 1000,
    with_litellm: Annotated[
        Path | None, typer.Option("--litellm", help="An interpreter that has litellm[proxy].")
    ] = None,
) -> Figures:
    """Measure every side, one request and 32 requests at a time."""
    with ExitStack() as stack:
        folders = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(6))
        sides = {"no_keys": stack.enter_context(jc1(next(folders), "echo"))}
        sides["key"] = stack.enter_context(with_key(next(folders), None))
        sides["limits"] = stack.enter_context(with_key(next(folders), PLENTY))
        if shutil.which("redis-server"):
            address = stack.enter_context(redis(next(folders)))
            kept = {"JC1_CACHE": "redis", "JC1_REDIS_URL": address}
            sides["limits_in_redis"] = stack.enter_context(with_key(next(folders), PLENTY, **kept))
        if with_litellm is not None:
            sides["litellm"] = stack.enter_context(litellm(with_litellm, next(folders), sides["no_keys"]))
        for server in sides.values():
            server.extra = {"memory": "off"}
            asyncio.run(ask(server, _bodies(50), 1))
        runs: dict[str, dict[str, list[Figures]]] = {side: {"1": [], str(CONCURRENT): []} for side in sides}
        for number in range(rounds):
            for side in list(sides) if number % 2 == 0 else list(sides)[::-1]:
                for level, taken in runs[side].items():
                    taken.append(asyncio.run(ask(sides[side], _bodies(requests), int(level))))
    figures = {side: {level: medians(taken) for level, taken in by.items()} for side, by in runs.items()}
    added = {
        side: {
            "whole_ms_p50": by["1"]["whole_ms_p50"] - figures["no_keys"]["1"]["whole_ms_p50"],
            "requests_per_s": by[str(CONCURRENT)]["requests_per_s"]
            / figures["no_keys"][str(CONCURRENT)]["requests_per_s"],
        }
        for side, by in figures.items()
    }
    alone = figures["limits"]["1"]
    met = {name: alone[name] <= limit for name, limit in ACCEPTANCE_MS.items()}
    return {
        "rounds": rounds,
        "requests": requests,
        **figures,
        "added_ms_and_ratio_to_no_keys": added,
        "acceptance_ms": ACCEPTANCE_MS,
        "met": met,
        "flood": flood(min(requests, 200)),
    }


def _bodies(requests: int) -> list[dict[str, Any]]:
    return [{"model": "echo", "messages": [{"role": "user", "content": TEXT.format(n)}]} for n in range(requests)]


if __name__ == "__main__":
    main(measure, packages=("uvicorn", "fastapi", "limits", "redis"))
