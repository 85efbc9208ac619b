"""The ranks' processes: started by DeepSpeed's launcher, spoken to over a Unix socket, ended together.

Knows processes, ports and the wire. Knows nothing about requests, or about what the ranks do (`rank`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jc1.engines.deepspeed.rank import LENGTH
from jc1.engines.settings import EngineSettings
from jc1.errors import EngineUnavailable

START_SECONDS = 600.0
"""How long the ranks may take to load."""
END_SECONDS = 5.0
"""How long they may take to end when asked, before they are killed."""
ENVIRONMENT = {"DS_BUILD_OPS": "0", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo"}
"""Nothing is compiled ahead, nothing is looked for on the hub, and the ranks meet on this machine alone."""


class RankDied(Exception):
    """The launcher ended, or rank 0's socket was closed."""


class Ranks:
    """The launcher's process group and the socket to rank 0."""

    def __init__(
        self, path: Path, settings: EngineSettings, devices: Sequence[int], environment: Mapping[str, str]
    ) -> None:
        self._path = path
        self._settings = settings
        self._devices = list(devices)
        self._environment = {**ENVIRONMENT, **environment}
        self._folder = tempfile.mkdtemp(prefix="jc1-ranks-")
        self._ended = False
        self._process: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def alive(self) -> bool:
        """Return whether the launcher runs and rank 0 is connected."""
        running = not self._ended and self._process is not None and self._process.returncode is None
        return running and self._reader is not None and not self._reader.at_eof()

    async def start(self) -> dict[str, Any]:
        """Start the ranks and wait until they have loaded; return what rank 0 says of the model.

        Returns:
            `context_length` in tokens, `vocab`, and `shards`: for each rank what `parameters_here` counts.

        Raises:
            EngineUnavailable: They do not start, or cannot load the model.
        """
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._reader, self._writer = reader, writer
            if not connected.done():
                connected.set_result(None)

        address = f"{self._folder}/rank0"
        self._server = await asyncio.start_unix_server(accept, address)
        port = int(self._settings.engine_args.get("master_port", 0)) or _free_port()
        if not _is_free(port):
            raise EngineUnavailable(
                f"Port {port}, by which the ranks are to meet, is in use: leave master_port out of engine_args."
            )
        world = base64.urlsafe_b64encode(json.dumps({"localhost": self._devices}).encode()).decode()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deepspeed.launcher.launch", f"--world_info={world}"),
            *("--master_addr=127.0.0.1", f"--master_port={port}", "--module", "--no_local_rank", "--quiet"),
            *("jc1.engines.deepspeed.rank", "--model", str(self._path), "--dtype", self._settings.dtype),
            *("--socket", address, *(["--cpu-offload"] if self._settings.cpu_offload else [])),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=2,  # what ranks print is for the log
            env={**os.environ, **self._environment},
            start_new_session=True,
        )
        ended = asyncio.create_task(self._process.wait())
        try:
            async with asyncio.timeout(START_SECONDS):
                ended.add_done_callback(lambda _: connected.cancel())
                await asyncio.wait([connected])
                if connected.cancelled():
                    raise RankDied
                message = await self.receive()
        except (RankDied, TimeoutError):
            raise EngineUnavailable(
                "The deepspeed ranks could not be started: the log says why. Fewer --ranks or another model may do."
            ) from None
        finally:
            ended.cancel()
        if "failed" in message:
            raise EngineUnavailable(message["failed"])
        return dict(message["ready"])

    async def send(self, message: dict[str, Any]) -> None:
        """Send rank 0 one message. Raises `RankDied`."""
        assert self._writer is not None
        if self._writer.is_closing():  # uvloop raises RuntimeError on a write to it
            raise RankDied
        try:
            self._writer.write(json.dumps(message).encode() + b"\n")
            await self._writer.drain()
        except OSError:
            raise RankDied from None

    async def receive(self) -> dict[str, Any]:
        """Return rank 0's next message. Raises `RankDied` where none will come: half a message is none."""
        assert self._reader is not None
        try:
            return await read_message(self._reader)
        except (OSError, asyncio.IncompleteReadError):
            raise RankDied from None

    async def end(self) -> None:
        """Ask the ranks to end, then see to it: no process and no file is left. May be called again, and meanwhile."""
        self._ended = True
        if self._writer is not None:
            with contextlib.suppress(RankDied):
                await self.send({"close": True})
        if self._process is not None:
            try:
                async with asyncio.timeout(END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                pass
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        if self._writer is not None:
            self._writer.close()
        if self._server is not None:
            self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next message that a rank's `Wire` sent, however long it is: a line would have a limit."""
    (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
    return dict(json.loads(await reader.readexactly(length)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
