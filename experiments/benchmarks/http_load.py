"""Servers that are started for a benchmark, and the clients that load them with streamed chat.

Knows how `jc1 serve` is started, how a server's own CPU time is read, and what a client waits for. Knows nothing about
which servers are compared, or with which questions.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.benchmarks.harness import Figures

START_SECONDS = 180.0


@dataclass(slots=True)
class Server:
    """A running server: where it listens, which process it is, and what is sent to it with every request."""

    port: int
    process: subprocess.Popen[str]
    key: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields besides OpenAI's."""

    def cpu_seconds(self) -> float:
        """Return the CPU time that the main process has used so far."""
        figures = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(figures[11]) + int(figures[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command while the body runs, and end it by SIGTERM."""
    with subprocess.Popen(command, env={**os.environ, **environment}, text=True, **options) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def jc1(home: Path, engine: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve through JC1 with that home while the body runs."""
    command = [sys.executable, "-m", "jc1", "serve", "--port", "0", "--engine", engine]
    with running(command, {"JC1_HOME": str(home), **(environment or {})}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = re.search(r":(\d+)/ui", process.stdout.readline())
        if address is None:
            raise SystemExit("jc1 serve did not start: its messages are above")
        yield Server(int(address[1]), process)


async def ask(server: Server, bodies: Sequence[Mapping[str, Any]], concurrency: int) -> Figures:
    """Return the figures of requests with these bodies, so many at a time, each connection kept for the next.

    Tokens a second and requests a second, milliseconds to the first text and to the end at the median and at the 99th
    percentile, and the milliseconds of CPU that the server's main process takes for a request.
    """
    waiting = list(reversed(bodies))
    replies: list[tuple[float, float, int]] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while waiting:
            replies.append(await _stream(reader, writer, server, waiting.pop()))
        writer.close()
        await writer.wait_closed()

    cpu, began = server.cpu_seconds(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client())
    seconds = time.perf_counter() - began
    first, whole, tokens = zip(*replies, strict=True)
    return {
        "tokens_per_s": sum(tokens) / seconds,
        "requests_per_s": len(replies) / seconds,
        "first_token_ms_p50": 1e3 * statistics.median(first),
        "whole_ms_p50": 1e3 * statistics.median(whole),
        "whole_ms_p99": 1e3 * _p99(whole),
        "server_cpu_ms": 1e3 * (server.cpu_seconds() - cpu) / len(replies),
        "tokens": sum(tokens),
    }


def medians(runs: Sequence[Figures]) -> Figures:
    """Return the median of each figure over several runs."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str], what: str) -> None:
    """Return when a server that another project made is ready; end the benchmark where it ends or never is."""
    until = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{what} did not start: its messages are above")
        time.sleep(0.2)


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


async def _stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server, body: Mapping[str, Any]
) -> tuple[float, float, int]:
    """Return the seconds to the first text of one reply and to its end, and its tokens."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    sent = json.dumps({**body, **options, **server.extra}).encode()
    key = f"Authorization: Bearer {server.key}\r\n".encode() if server.key else b""
    began = time.perf_counter()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        + key
        + b"Content-Length: %d\r\n\r\n" % len(sent)
        + sent
    )
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"the server answered {status!r}: {(await reader.read(4096)).decode(errors='replace')}")
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
    whole = time.perf_counter() - began
    return first or whole, whole, json.loads(usage.removeprefix(b"data: "))["usage"]["completion_tokens"]
