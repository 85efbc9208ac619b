"""A Redis server of the tests' own, on a socket in a folder of its own: no port, no file, nothing to clash with.

Where `redis-server` is not installed, tests that need it are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

PROGRAM = shutil.which("redis-server")


class RedisServer:
    """A server that may be started again after `kill`, at the same address, and is then empty."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.address = f"unix://{folder}/socket"
        self.url = f"{self.address}?socket_timeout=10"
        """With more patience than a server would get, as a busy machine is no defect."""
        self._command = [str(PROGRAM), "--port", "0", "--unixsocket", f"{folder}/socket", "--dir", str(folder)]
        self._command += ["--save", "", "--appendonly", "no", *options]
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start the server, and return when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "ready to accept connections" in line.lower():
                return
        self.kill()
        raise AssertionError("".join(said))

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def client(self) -> Redis:
        """Return a plain client, to look at what is there."""
        return Redis.from_url(self.url)


@contextmanager
def running(*options: str) -> Iterator[RedisServer]:
    """Yield a server with more of `redis-server`'s options; skip the test where there is none."""
    if PROGRAM is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    # A socket's path may not be long.
    folder = Path(tempfile.mkdtemp(prefix="jc1-redis-", dir="/tmp"))
    server = None
    try:
        server = RedisServer(folder, *options)
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder)
