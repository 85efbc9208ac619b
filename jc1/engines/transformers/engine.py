"""The transformers engine: the embedded default, which needs nothing but torch and transformers.

Knows how requests wait for the one worker thread and share a batch, how steps reach the event loop, and how a request
ends early. Knows nothing about weights or filters (`model`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.eyes import sees
from jc1.engines.local import LocalEngine, check_weights, read_config
from jc1.engines.settings import EngineSettings
from jc1.engines.speculation import Speculation
from jc1.errors import EngineFailed, EngineUnavailable, InvalidSettings, Jc1Error

if TYPE_CHECKING:
    from jc1.engines.transformers.model import Job, LoadedModel

log = logging.getLogger(__name__)


MAX_ROWS, MAX_TOKENS = 32, 65_536
"""Replies in one batch, and their tokens, padding and what is still to be written included."""


class _Request:
    """A job with the way back to whoever waits for it."""

    def __init__(self, job: Job, post: Callable[[list[Step] | None], None]) -> None:
        self.job = job
        self.submitted = time.perf_counter()
        self.queued = 0.0
        """Seconds that it waited for its batch."""
        self.error: Jc1Error | None = None
        self._post = post

    def emit(self, steps: list[Step]) -> None:
        """Hand steps to the reader; the first of a reply say how long it waited, too. Runs on the worker."""
        if prefill := steps[0].seconds:
            steps[0] = replace(steps[0], seconds={"queue": self.queued, **prefill})
        self._post(steps)

    def end(self, error: Jc1Error | None) -> None:
        """Tell the reader that no more will come, and why."""
        self.error = error
        self._post(None)


class TransformersEngine(LocalEngine):
    """A causal language model on the GPU where there is one, else on the CPU.

    Requests that wait while one runs are answered together after it, as far as their settings are equal. One with
    pictures is answered alone.
    """

    name = "transformers"
    shows_pictures = True

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._speculation = Speculation.parse(settings.speculation)
        if self._speculation is not None and self._speculation.method not in ("ngram", "draft"):
            raise InvalidSettings(
                f"The transformers engine speculates by ngram or draft, not by {self._speculation.method!r}: "
                "choose one of these, or --engine vllm."
            )
        self._starting = asyncio.Lock()
        self._worker: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []
        self._loaded: LoadedModel | None = None

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
            with self._lock:
                refused, self._waiting = self._waiting, []
            for request in refused:
                request.end(self._not_running())
            if worker is not None:
                await asyncio.to_thread(worker.shutdown, wait=True, cancel_futures=True)
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                loaded.release()

    @property
    def healthy(self) -> bool:
        return self._worker is not None

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        worker, model = self._worker, self._loaded
        if worker is None or model is None:
            raise self._not_running()
        token_ids, limit = self._admitted(prompt, decoding)
        grammar = self._grammar(prompt, decoding)
        guide = None if grammar is None else await self._guides.compile(grammar)

        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[list[Step] | None] = asyncio.Queue()
        cancelled = threading.Event()

        def post(steps: list[Step] | None) -> None:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, steps)
            except RuntimeError:  # the loop is closed, and with it went the reader
                cancelled.set()

        from jc1.engines.transformers.model import Job

        features = {}
        if prompt.pictures and self._eyes is not None:
            features = await asyncio.to_thread(self._eyes.features, self._unexpanded(prompt), prompt.pictures)
        job = Job(
            token_ids,
            decoding,
            limit,
            emit=post,
            cancelled=cancelled.is_set,
            guide=guide,
            calls=self._calls(prompt),
            before=prompt.before,
            features=features,
        )
        request = _Request(job, post)
        request.job.emit = request.emit
        with self._lock:
            self._waiting.append(request)
        self.active += 1
        over = False
        try:
            await asyncio.sleep(0)  # so that requests of one moment are there before the first of them is served
            try:
                worker.submit(self._serve)
            except RuntimeError:  # closed since
                over = self._withdraw(request)
                raise self._not_running() from None
            while (steps := await arrived.get()) is not None:
                for step in steps:
                    yield step
            over = True
            if request.error is not None:
                raise request.error
        finally:
            cancelled.set()
            try:
                # The slot is free when the step under way is done.
                while not over and not self._withdraw(request) and await arrived.get() is not None:
                    pass
            finally:
                self.active -= 1

    def _withdraw(self, request: _Request) -> bool:
        """Take back a request that waits; return False where it runs or has run."""
        with self._lock:
            if request in self._waiting:
                self._waiting.remove(request)
                return True
            return False

    def _serve(self) -> None:
        """Run the request that waits longest, and with it those that can share its batch. Runs on the worker."""
        # 1) Take the one that waits longest, and those behind it that fit.
        with self._lock:
            batch = self._waiting[:1]
            for request in self._waiting[1:]:
                if self._speculation is None and self._fits([*batch, request]) and request.job.goes_with(batch[0].job):
                    batch.append(request)
            self._waiting = [request for request in self._waiting if request not in batch]
            model = self._loaded
        if not batch or model is None:
            return  # what it was called for ran in an earlier batch, or was withdrawn
        for request in batch:
            request.queued = time.perf_counter() - request.submitted
        # 2) Generate: steps leave by `emit` meanwhile.
        error: Jc1Error | None = None
        try:
            if batch[0].job.decoding.beam_width > 1:
                model.search(batch[0].job)
            elif self._speculation is not None and not batch[0].job.features:  # a draft of text would draft blindly
                model.speculate(batch[0].job, self._speculation)
            else:
                model.generate([request.job for request in batch])
        except Jc1Error as failure:
            error = failure
        except Exception:
            log.exception("generation failed")
            error = EngineFailed(
                "The transformers engine broke while generating: send the request again, or see the server's log."
            )
        # 3) Every reader hears of the end: one that does not would wait for ever.
        for request in batch:
            request.end(error or request.job.error)

    def _fits(self, batch: Sequence[_Request]) -> bool:
        """Return whether the requests can share a batch: a shorter prompt is padded to the length of the longest."""
        rows = sum(request.job.rows for request in batch)
        longest = max(len(request.job.prompt) for request in batch) + max(request.job.limit for request in batch)
        return rows <= MAX_ROWS and rows * longest <= MAX_TOKENS and longest <= self.capabilities.context_length

    def _load(self) -> None:
        """Load tokenizer and weights. Runs on the worker."""
        from jc1.compat.torchvision import define_operators

        path = self._read_tokenizer()
        assert self._tokenizer is not None
        draft = None if self._speculation is None else self._speculation.draft_for(path)
        for folder in filter(None, (path, draft)):
            check_weights(folder)
        try:
            define_operators()
            from jc1.engines.transformers.model import LoadedModel

            loaded = LoadedModel(
                path,
                dtype=self._settings.dtype,
                tokenizer=self._tokenizer,
                draft=draft,
                sees=sees(read_config(path)),
            )
        except Jc1Error:
            raise
        except Exception:
            log.exception("the model %s could not be loaded", path)
            raise EngineUnavailable(
                f"The model {self.model!r} could not be loaded: the log says why. Another folder, or jc1-tiny, may do."
            ) from None
        if self._speculation is not None and not loaded.speculates:
            raise InvalidSettings(
                f"The layers of {self.model!r} forget what lies far back, so drafts cannot be taken back: start with "
                "--speculation off, or with --engine vllm."
            )
        self._loaded, self._vocab = loaded, loaded.vocab
        self._able(frozenset(Decoding.model_fields), loaded.context_length)
