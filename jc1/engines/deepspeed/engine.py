"""The DeepSpeed engine: ZeRO-3 across ranks, for models larger than one device.

Knows how requests take turns at the ranks, since all ranks work on each. How the ranks are started and spoken to is
`launcher`'s, what they do `rank`'s. Knows nothing about weights.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from jc1.decoding import Decoding
from jc1.engines.base import GUIDES_ADVICE, UNGUIDED, Alternative, EnginePrompt, Step, TokenLogprob
from jc1.engines.deepspeed.launcher import RankDied, Ranks
from jc1.engines.local import check_weights
from jc1.engines.settings import EngineSettings
from jc1.engines.supervised import SupervisedEngine
from jc1.errors import EngineFailed, EngineUnavailable, InvalidSettings

CANCEL_SECONDS = 10.0
"""How long the ranks may take to stop, before they are ended."""


class DeepSpeedEngine(SupervisedEngine):
    """The ranks' master: hands them one request after the other."""

    name = "deepspeed"

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._turn = asyncio.Lock()
        self._ranks: Ranks | None = None
        self._number = 0

    @property
    def healthy(self) -> bool:
        return self._alive

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        token_ids, limit = self._admitted(prompt, decoding)
        if decoding.temperature > 0 and decoding.seed is None:
            # Every rank draws for itself, so all need one seed.
            decoding = decoding.model_copy(update={"seed": secrets.randbits(62)})
        self._number += 1
        number = self._number
        command = {
            "generate": number,
            "prompt": token_ids,
            "before": prompt.before,
            "decoding": decoding.model_dump(mode="json"),
            "limit": limit,
        }
        arrived: asyncio.Queue[list[Step] | None] = asyncio.Queue()
        # A task of its own holds the ranks' turn: a client that reads slowly keeps nobody waiting.
        work = asyncio.create_task(self._work(number, command, arrived))
        work.add_done_callback(lambda _: arrived.put_nowait(None))
        with self._counted():
            try:
                while (steps := await arrived.get()) is not None:
                    for step in steps:
                        yield step
                work.result()
            finally:
                if not work.done():
                    work.cancel()
                    await asyncio.wait([work])

    async def _work(self, number: int, command: dict[str, Any], arrived: asyncio.Queue[list[Step] | None]) -> None:
        """Have the ranks carry out one command, once it is its turn. Raises `EngineFailed` or `EngineUnavailable`."""
        submitted = time.perf_counter()
        async with self._turn:
            await self._running()
            ranks = self._ranks
            assert ranks is not None
            queued: float | None = time.perf_counter() - submitted
            try:
                await ranks.send(command)
                while True:
                    message = await ranks.receive()
                    if message.get("number") != number:
                        continue  # of an earlier command
                    if "error" in message:
                        raise EngineFailed(message["error"])
                    if "steps" not in message:
                        return
                    steps = [_step(fields) for fields in message["steps"]]
                    if queued is not None:
                        steps[0] = replace(steps[0], seconds={"queue": queued, **steps[0].seconds})
                        queued = None
                    arrived.put_nowait(steps)
            except asyncio.CancelledError:
                await _to_its_end(self._cancel(ranks, number))
                raise
            except RankDied:
                await _to_its_end(ranks.end())
                raise EngineFailed(
                    "A rank of the deepspeed engine died, so the others were ended: send the request again, and they "
                    "are started anew."
                ) from None

    async def _cancel(self, ranks: Ranks, number: int) -> None:
        """Have the ranks stop, and wait until the step under way is done: they are free then. Stuck ones are ended."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await ranks.send({"cancel": number})
                while "steps" in (message := await ranks.receive()) or message.get("number") != number:
                    pass
        except (RankDied, TimeoutError):
            await ranks.end()

    # life and death

    @property
    def _alive(self) -> bool:
        return self._ranks is not None and self._ranks.alive

    async def _begin(self) -> None:
        if unknown := self._settings.engine_args.keys() - {"master_port"}:
            raise InvalidSettings(f"The deepspeed engine takes no {sorted(unknown)[0]!r} in engine_args: leave it out.")
        for package in ("deepspeed", "accelerate"):
            if find_spec(package) is None:
                raise EngineUnavailable(
                    f"{package} is not installed: pip install 'jc1[deepspeed]', or say --engine transformers."
                )
        from jc1.hardware import gpus

        cards = await asyncio.to_thread(gpus)
        places, kind = (len(cards), "GPUs") if cards else (len(os.sched_getaffinity(0)), "CPU cores")
        if self._settings.ranks > places:
            raise InvalidSettings(f"ranks = {self._settings.ranks} and there are {places} {kind}: lower --ranks.")
        path = await asyncio.to_thread(self._read_tokenizer)
        check_weights(path)
        threads = 1 if cards else max(1, places // self._settings.ranks)
        accelerator = {} if cards else {"DS_ACCELERATOR": "cpu"}
        devices = [gpu.index for gpu in cards] if cards else list(range(places))
        environment = {"OMP_NUM_THREADS": str(threads), **accelerator}
        ranks = Ranks(path, self._settings, devices[: self._settings.ranks], environment)
        try:
            ready = await ranks.start()
        except BaseException:
            await ranks.end()
            raise
        self._ranks = ranks
        self.shards = ready["shards"]
        self._vocab = int(ready["vocab"])
        self._able(UNGUIDED, int(ready["context_length"]), GUIDES_ADVICE)

    async def _end(self) -> None:
        ranks, self._ranks = self._ranks, None
        if ranks is not None:
            await ranks.end()


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do the work to its end, however often the caller is cancelled meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])


def _step(fields: dict[str, Any]) -> Step:
    logprobs = fields["logprobs"]
    return Step(
        **{
            **fields,
            "token_ids": tuple(fields["token_ids"]),
            "logprobs": None if logprobs is None else tuple(map(_logprob, logprobs)),
            "usage": None,
            "calls": (),
        }
    )


def _logprob(fields: dict[str, Any]) -> TokenLogprob:
    top = tuple(Alternative(**_with_bytes(other)) for other in fields["top"])
    return TokenLogprob(**{**_with_bytes(fields), "top": top})


def _with_bytes(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "bytes": None if fields["bytes"] is None else tuple(fields["bytes"])}
