"""The transformers engine: the embedded default, which needs nothing but torch and transformers.

Knows how requests wait for the one worker thread, how its steps reach the event loop, and how a request ends early.
Knows nothing about weights or filters (`transformers_model`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from jc1.decoding import Decoding
from jc1.engines.assembly import reply_limit
from jc1.engines.base import Capabilities, Engine, EnginePrompt, EngineSettings, Step
from jc1.engines.sampling import check_bias
from jc1.errors import EngineFailed, EngineUnavailable, Jc1Error
from jc1.messages import Message

if TYPE_CHECKING:
    from jc1.engines.transformers_model import LoadedModel
    from jc1.text import Tokenizer

log = logging.getLogger(__name__)


class TransformersEngine(Engine):
    """A causal language model on the GPU where there is one, else on the CPU; one request at a time."""

    name = "transformers"

    def __init__(self, settings: EngineSettings) -> None:
        self.model = settings.model
        self._settings = settings
        self._starting = asyncio.Lock()
        self._worker: ThreadPoolExecutor | None = None
        self._loaded: LoadedModel | None = None
        self._tokenizer: Tokenizer | None = None
        self._capabilities: Capabilities | None = None

    async def start(self) -> None:
        async with self._starting:
            if self._worker is not None:
                return
            worker = ThreadPoolExecutor(1, thread_name_prefix="jc1-transformers")
            try:
                await asyncio.get_running_loop().run_in_executor(worker, self._load)
            except BaseException:
                worker.shutdown(wait=False)
                raise
            self._worker = worker

    async def close(self) -> None:
        async with self._starting:
            worker, self._worker = self._worker, None
            if worker is not None:
                await asyncio.to_thread(worker.shutdown, wait=True, cancel_futures=True)
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                loaded.release()

    @property
    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise _not_started()
        return self._capabilities

    @property
    def healthy(self) -> bool:
        return self._worker is not None

    def tokenize(self, messages: Sequence[Message]) -> list[int]:
        if self._tokenizer is None:
            raise _not_started()
        return self._tokenizer.chat(messages)

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        worker, model = self._worker, self._loaded
        if worker is None or model is None:
            raise _not_started()
        self.capabilities.check(decoding, self.name)
        check_bias(decoding, model.vocab)
        token_ids = prompt.token_ids or tuple(self.tokenize(prompt.messages))
        limit = reply_limit(len(token_ids), decoding, model.context_length)

        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[list[Step] | None] = asyncio.Queue()
        cancelled = threading.Event()
        submitted = time.perf_counter()
        queued: list[float] = []
        """The seconds that the request waited for the worker, once it runs."""

        def post(steps: list[Step] | None) -> None:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, steps)
            except RuntimeError:  # the loop is closed, and with it went the reader
                cancelled.set()

        def emit(steps: list[Step]) -> None:
            if prefill := steps[0].seconds if steps else {}:
                steps[0] = replace(steps[0], seconds={"queue": queued[0], **prefill})
            post(steps)

        def run() -> None:
            queued.append(time.perf_counter() - submitted)
            try:
                model.generate(token_ids, decoding, limit=limit, emit=emit, cancelled=cancelled.is_set)
            except Jc1Error:
                raise
            except Exception:
                log.exception("generation failed")
                raise EngineFailed(
                    "The transformers engine broke while generating: send the request again, or see the server's log."
                ) from None

        try:
            job = worker.submit(run)
        except RuntimeError:  # closed since
            raise _not_started() from None
        self.active += 1
        job.add_done_callback(lambda _: post(None))
        over = False
        try:
            while (steps := await arrived.get()) is not None:
                for step in steps:
                    yield step
            over = True
            if job.cancelled():
                raise _not_started()
            job.result()
        finally:
            cancelled.set()
            try:
                # The slot is free when the step under way is done.
                while not over and not job.cancel() and await arrived.get() is not None:
                    pass
            finally:
                self.active -= 1

    def _load(self) -> None:
        """Load tokenizer and weights. Runs on the worker."""
        from jc1.engines import torchvision_mend
        from jc1.models import resolve
        from jc1.text import load_tokenizer

        source = resolve(self._settings.model)
        try:
            path = source.path
            tokenizer = load_tokenizer(path)
            torchvision_mend.apply()
            from jc1.engines.transformers_model import LoadedModel

            loaded = LoadedModel(path, dtype=self._settings.dtype, tokenizer=tokenizer)
        except Jc1Error:
            raise
        except Exception:
            log.exception("the model %s could not be loaded", source)
            raise EngineUnavailable(
                f"The model {source.name!r} could not be loaded: the log says why. Another folder, or jc1-tiny, may do."
            ) from None
        self.model = source.name
        self._tokenizer, self._loaded = tokenizer, loaded
        self._capabilities = Capabilities(
            decoding=frozenset(Decoding.model_fields) - {"beam_width", "length_penalty"},
            context_length=loaded.context_length,
            advice={
                "beam_width": "this engine samples one token at a time; leave beam_width at 1.",
                "length_penalty": "it ranks beams, and this engine keeps none; leave it at 1.",
            },
        )


def _not_started() -> EngineUnavailable:
    return EngineUnavailable("The transformers engine is not running: start it, or send the request again when it is.")
