"""The DeepSpeed engine: ZeRO-3 across ranks, for models larger than one device.

Knows how the ranks are started by DeepSpeed's launcher, watched, spoken to and ended. What they do is
`deepspeed_rank`'s. One request runs at a time, since all ranks work on it. Knows nothing about weights.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jc1.decoding import Decoding
from jc1.engines.assembly import reply_limit
from jc1.engines.base import (
    GUIDES_ADVICE,
    UNGUIDED,
    Alternative,
    Capabilities,
    Engine,
    EnginePrompt,
    EngineSettings,
    Step,
    TokenLogprob,
)
from jc1.engines.sampling import check_bias
from jc1.errors import EngineFailed, EngineUnavailable, InvalidSettings, Jc1Error
from jc1.messages import Message
from jc1.models import resolve

if TYPE_CHECKING:
    from jc1.text import Tokenizer

log = logging.getLogger(__name__)

START_SECONDS = 600.0
"""How long the ranks may take to load."""
END_SECONDS = 5.0
"""How long they may take to end when asked, before they are killed."""
CANCEL_SECONDS = 10.0
"""How long they may take to stop, before they are ended."""
DRAIN_SECONDS = 10.0
"""How long `close` waits for a reply under way."""
WATCH_SECONDS, RETRY_SECONDS = 1.0, 10.0
"""How often they are looked after while nobody asks, and the pause after a start that failed."""
LONGEST_LINE = 2**24
"""Bytes of one message from rank 0."""
ENVIRONMENT = {"DS_BUILD_OPS": "0", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo"}
"""Nothing is compiled ahead, nothing is looked for on the hub, and the ranks meet on this machine alone."""


class DeepSpeedEngine(Engine):
    """The ranks' master: hands them one request after the other."""

    name = "deepspeed"

    def __init__(self, settings: EngineSettings) -> None:
        self.model = settings.model
        self.parameters: list[dict[str, int]] = []
        """Of each rank: parameters held, their bytes, and the parameters of the whole model."""
        self._settings = settings
        self._starting = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._ranks: _Ranks | None = None
        self._tokenizer: Tokenizer | None = None
        self._capabilities: Capabilities | None = None
        self._vocab = 0
        self._number = 0
        self._closed = True
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        async with self._starting:
            if self._ranks is None or not self._ranks.alive:
                self._closed = False
                if self._ranks is not None:
                    await self._ranks.end()
                await self._start()

    async def close(self) -> None:
        self._closed = True
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        async with self._starting:
            ranks, self._ranks = self._ranks, None
        if ranks is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS), self._turn:
                    pass
            await ranks.end()

    @property
    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise _not_started()
        return self._capabilities

    @property
    def healthy(self) -> bool:
        return self._ranks is not None and self._ranks.alive

    def tokenize(self, messages: Sequence[Message]) -> list[int]:
        if self._tokenizer is None:
            raise _not_started()
        return self._tokenizer.chat(messages)

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        if self._closed or self._tokenizer is None:
            raise _not_started()
        self.capabilities.check(decoding, self.name)
        check_bias(decoding, self._vocab)
        token_ids = prompt.token_ids or tuple(self.tokenize(prompt.messages))
        limit = reply_limit(len(token_ids), decoding, self.capabilities.context_length)
        if decoding.temperature > 0 and decoding.seed is None:
            # Every rank draws for itself, so all need one seed.
            decoding = decoding.model_copy(update={"seed": secrets.randbits(62)})
        self._number += 1
        number = self._number
        command = {
            "generate": number,
            "prompt": token_ids,
            "decoding": decoding.model_dump(mode="json"),
            "limit": limit,
        }
        arrived: asyncio.Queue[list[Step] | None] = asyncio.Queue()
        # A task of its own holds the ranks' turn: a client that reads slowly keeps nobody waiting.
        work = asyncio.create_task(self._work(number, command, arrived))
        work.add_done_callback(lambda _: arrived.put_nowait(None))
        self.active += 1
        try:
            while (steps := await arrived.get()) is not None:
                for step in steps:
                    yield step
            work.result()
        finally:
            try:
                if not work.done():
                    work.cancel()
                    await asyncio.wait([work])
            finally:
                self.active -= 1

    async def _work(self, number: int, command: dict[str, Any], arrived: asyncio.Queue[list[Step] | None]) -> None:
        """Have the ranks carry out one command, once it is its turn. Raises `EngineFailed` or `EngineUnavailable`."""
        submitted = time.perf_counter()
        async with self._turn:
            if self._closed:
                raise _not_started()
            await self.start()  # does nothing while the ranks live
            ranks = self._ranks
            if ranks is None:
                raise _not_started()
            queued: float | None = time.perf_counter() - submitted
            try:
                await ranks.send(command)
                while True:
                    message = await ranks.receive()
                    if message.get("number") != number:
                        continue
                    if "error" in message:
                        raise EngineFailed(message["error"])
                    if "steps" not in message:
                        return
                    steps = [_step(told) for told in message["steps"]]
                    if queued is not None:
                        steps[0] = replace(steps[0], seconds={"queue": queued, **steps[0].seconds})
                        queued = None
                    arrived.put_nowait(steps)
            except asyncio.CancelledError:
                await _to_its_end(self._cancel(ranks, number))
                raise
            except _RankDied:
                await _to_its_end(ranks.end())
                raise EngineFailed(
                    "A rank of the deepspeed engine died, so the others were ended: send the request again, and they "
                    "are started anew."
                ) from None

    async def _cancel(self, ranks: _Ranks, number: int) -> None:
        """Have the ranks stop, and wait until the step under way is done: they are free then. Stuck ones are ended."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await ranks.send({"cancel": number})
                while "steps" in (message := await ranks.receive()) or message.get("number") != number:
                    pass
        except (_RankDied, TimeoutError):
            await ranks.end()

    async def _watch(self) -> None:
        """Start the ranks again when they die while nobody asks."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if not self._closed and self._ranks is not None and not self._ranks.alive:
                log.error("the deepspeed ranks died: starting them again")
                try:
                    await self.start()
                except Jc1Error as error:
                    log.error("%s", error.message)
                    await asyncio.sleep(RETRY_SECONDS)

    async def _start(self) -> None:
        if unknown := self._settings.engine_args.keys() - {"master_port"}:
            raise InvalidSettings(f"The deepspeed engine takes no {sorted(unknown)[0]!r} in engine_args: leave it out.")
        for package in ("deepspeed", "accelerate"):
            if find_spec(package) is None:
                raise EngineUnavailable(
                    f"{package} is not installed: pip install 'jc1[deepspeed]', or say --engine transformers."
                )
        from jc1.gpus import gpus
        from jc1.text import load_tokenizer

        found = await asyncio.to_thread(gpus)
        places, kind = (len(found), "GPUs") if found else (len(os.sched_getaffinity(0)), "CPU cores")
        if self._settings.ranks > places:
            raise InvalidSettings(f"ranks = {self._settings.ranks} and there are {places} {kind}: lower --ranks.")
        source = resolve(self._settings.model)
        self.model, path = source.name, await asyncio.to_thread(lambda: source.path)
        if not any(path.glob("*.safetensors")):
            raise EngineUnavailable(f"{path.name!r} holds no *.safetensors: download the weights.")
        try:
            self._tokenizer = await asyncio.to_thread(load_tokenizer, path)
        except (OSError, ValueError, KeyError):
            log.exception("the tokenizer of %s cannot be read", source)
            raise EngineUnavailable(
                f"The tokenizer of {source.name!r} cannot be read: download the model again."
            ) from None
        threads = 1 if found else max(1, places // self._settings.ranks)
        accelerator = {} if found else {"DS_ACCELERATOR": "cpu"}
        devices = [gpu.index for gpu in found] if found else list(range(places))
        environment = {"OMP_NUM_THREADS": str(threads), **accelerator}
        ranks = _Ranks(path, self._settings, devices[: self._settings.ranks], environment)
        try:
            ready = await ranks.start()
        except BaseException:
            await ranks.end()
            raise
        self._ranks = ranks
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(), name="jc1-deepspeed-watch")
        self.parameters = ready["parameters"]
        self._vocab = int(ready["vocab"])
        self._capabilities = Capabilities(
            decoding=UNGUIDED, advice=GUIDES_ADVICE, context_length=int(ready["context_length"])
        )


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it whatever becomes of the caller."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])


class _RankDied(Exception):
    """The launcher ended, or rank 0's socket was closed."""


class _Ranks:
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
        running = not self._ended and self._process is not None and self._process.returncode is None
        return running and self._reader is not None and not self._reader.at_eof()

    async def start(self) -> dict[str, Any]:
        """Start the ranks and wait until they have loaded. Raises `EngineUnavailable`."""
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._reader, self._writer = reader, writer
            if not connected.done():
                connected.set_result(None)

        address = f"{self._folder}/rank0"
        self._server = await asyncio.start_unix_server(accept, address, limit=LONGEST_LINE)
        port = int(self._settings.engine_args.get("master_port", 0)) or _free_port()
        if not _is_free(port):
            raise EngineUnavailable(
                f"Port {port}, by which the ranks are to meet, is in use: leave master_port out of engine_args."
            )
        world = base64.urlsafe_b64encode(json.dumps({"localhost": self._devices}).encode()).decode()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deepspeed.launcher.launch", f"--world_info={world}"),
            *("--master_addr=127.0.0.1", f"--master_port={port}", "--module", "--no_local_rank", "--quiet"),
            *("jc1.engines.deepspeed_rank", "--model", str(self._path), "--dtype", self._settings.dtype),
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
                    raise _RankDied
                message = await self.receive()
        except (_RankDied, TimeoutError):
            raise EngineUnavailable(
                "The deepspeed ranks could not be started: the log says why. Fewer --ranks or another model may do."
            ) from None
        finally:
            ended.cancel()
        if "failed" in message:
            raise EngineUnavailable(message["failed"])
        return dict(message["ready"])

    async def send(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        try:
            self._writer.write(json.dumps(message).encode() + b"\n")
            await self._writer.drain()
        except OSError:
            raise _RankDied from None

    async def receive(self) -> dict[str, Any]:
        assert self._reader is not None
        try:
            line = await self._reader.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise _RankDied
        return dict(json.loads(line))

    async def end(self) -> None:
        """Ask the ranks to end, then see to it: no process and no file is left."""
        self._ended = True
        if self._writer is not None:
            with contextlib.suppress(_RankDied):
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


def _step(told: dict[str, Any]) -> Step:
    logprobs = told["logprobs"]
    return Step(
        **{
            **told,
            "token_ids": tuple(told["token_ids"]),
            "logprobs": None if logprobs is None else tuple(map(_logprob, logprobs)),
            "usage": None,
        }
    )


def _logprob(told: dict[str, Any]) -> TokenLogprob:
    return TokenLogprob(
        told["token_id"], told["text"], told["logprob"], tuple(Alternative(**other) for other in told["top"])
    )


def _not_started() -> EngineUnavailable:
    return EngineUnavailable("The deepspeed engine is not running: start it, or send the request again when it is.")
