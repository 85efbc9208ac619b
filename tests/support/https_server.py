"""A server of HTTPS that answers byte for byte what a test says, for a name that only the test knows."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HOST = "pictures.test"

Respond = Callable[[asyncio.StreamWriter], Awaitable[None]]


def certificate(folder: Path, host: str = HOST) -> Path:
    """Return a file with a key and a certificate for `host` that signs itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    file = folder / f"{host}.pem"
    command = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={host}".split()
    files = ["-keyout", str(file), "-out", str(folder / "certificate")]
    names = ["-addext", f"subjectAltName=DNS:{host},IP:127.0.0.1"]
    subprocess.run([*command, *files, *names], check=True, capture_output=True)
    with file.open("ab") as whole:
        whole.write((folder / "certificate").read_bytes())
    return file


@dataclass
class HttpsServer:
    """A running server: its port, and the requests that reached it, each with its headers by their names in small."""

    port: int
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str, host: str = HOST) -> str:
        return f"https://{host}:{self.port}{path}"


def answer(body: bytes, status: str = "200 OK", **headers: str) -> Respond:
    """Return what answers with a whole body, unless `content_length` says otherwise."""
    fields = {"content-length": str(len(body)), **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items())

    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)
        await writer.drain()

    return respond


def redirect(to: str) -> Respond:
    return answer(b"", "302 Found", location=to)


@asynccontextmanager
async def serving(paths: Mapping[str, Respond], pem: Path) -> AsyncIterator[HttpsServer]:
    """Serve `paths` on a free port of 127.0.0.1."""
    server = HttpsServer(0)
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            path = head[0].split(" ")[1]
            pairs = (line.partition(": ") for line in head[1:] if line)
            server.requests.append((path, {name.lower(): value for name, _, value in pairs}))
            await paths[path](writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
