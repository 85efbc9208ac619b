"""The vLLM engine: continuous batching, tensor and pipeline parallelism, speculation and guided output, on GPU or CPU.

Knows how requests run through vLLM and come back as steps, and how its processes begin, break and end. Scheduling, KV
cache, parallelism and speculation are vLLM's own. Knows nothing about sampling arithmetic. Importing this module does
not import vLLM (seconds); starting the engine does.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from jc1.compat.vllm import close_sockets, shut_down_once
from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.call_formats import Calls
from jc1.engines.grammar import Grammar
from jc1.engines.guides import too_complex
from jc1.engines.output_processor import processor
from jc1.engines.sampling.beam import BeamSearch, Candidates, last_steps
from jc1.engines.settings import EngineSettings
from jc1.engines.speculation import Speculation
from jc1.engines.supervised import SupervisedEngine
from jc1.engines.vllm import request as vllm_request
from jc1.engines.vllm import start as vllm_start
from jc1.errors import EngineFailed, EngineUnavailable, Jc1Error

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

    from jc1.vision.images import Picture

log = logging.getLogger(__name__)

SPECULATION_ADVICE = dict.fromkeys(
    ("min_p", "logit_bias"), "vLLM cannot combine it with speculation: leave it out, or start with --speculation off."
)
END_SECONDS = 5.0
"""How long its processes may take to end when asked, before they are killed."""
CALL_SECONDS = 60.0
"""How long the engine may take to answer a question that is no request."""


class VllmEngine(SupervisedEngine):
    """vLLM's asynchronous engine in this process, its workers in processes of their own."""

    name = "vllm"
    shows_pictures = True

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._speculation = Speculation.parse(settings.speculation)
        self._llm: AsyncLLM | None = None

    @property
    def healthy(self) -> bool:
        return self._alive

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        token_ids, limit = self._admitted(prompt, decoding)
        pictures = prompt.pictures
        if pictures:
            # vLLM's own processor puts the pictures' tokens into the prompt, as many as were counted here.
            token_ids = tuple(self._unexpanded(prompt))
        grammar = self._grammar(prompt, decoding)
        if grammar is not None:
            await self._guides.check(grammar)
        with self._counted():
            llm = await self._live()
            if decoding.beam_width > 1:
                reply = self._search(llm, token_ids, pictures, decoding, limit, prompt.before)
            else:
                reply = self._sample(
                    llm, token_ids, pictures, decoding, limit, grammar, self._calls(prompt), prompt.before
                )
            try:
                async with aclosing(reply) as steps:
                    async for step in steps:
                        yield step
            except (Jc1Error, asyncio.CancelledError, GeneratorExit):
                raise
            except Exception as error:
                raise self._explained(error, llm, grammar) from None

    async def forget_prefixes(self) -> bool:
        return bool(await (await self._live()).reset_prefix_cache())

    async def _live(self) -> AsyncLLM:
        """Return the engine once it runs. Raises `EngineUnavailable`."""
        await self._running()
        assert self._llm is not None
        return self._llm

    # one request

    async def _sample(
        self,
        llm: AsyncLLM,
        prompt: Sequence[int],
        pictures: Sequence[Picture],
        decoding: Decoding,
        limit: int,
        grammar: Grammar | None,
        calls: Calls | None,
        before: Sequence[int],
    ) -> AsyncGenerator[Step, None]:
        tokenizer = self._tokenizer
        assert tokenizer is not None
        replies = [
            processor(i, decoding, limit=limit, tokenizer=tokenizer, calls=calls, before=before)
            for i in range(decoding.n)
        ]
        lengths: list[int] = []
        first = True
        params = vllm_request.sampling_params(
            decoding, limit, vocab=self._vocab, end_tokens=tokenizer.end_tokens, grammar=grammar
        )
        read = await vllm_request.engine_input(llm, prompt, pictures)
        async with aclosing(llm.generate(read, params, uuid.uuid4().hex)) as outputs:
            async for output in outputs:
                for choice in output.outputs:
                    # 1) vLLM says that it gave a request up as it says that it ended.
                    if choice.finish_reason in ("abort", "error"):
                        raise vllm_request.given_up(grammar)
                    # 2) What is new of the choice becomes a step. Where JC1 finds no end, vLLM's counts.
                    lengths.append(len(choice.token_ids))
                    step = replies[choice.index].add_all(
                        choice.token_ids,
                        vllm_request.entries(choice, tokenizer, decoding),
                        choice.finish_reason and ("length" if choice.finish_reason == "length" else "stop"),
                    )
                    if step is None:
                        continue
                    # 3) The first step of all says how long it took, the last of a choice what was drafted.
                    if first:
                        step = replace(step, seconds=vllm_request.seconds(output.metrics))
                        first = False
                    if step.finish_reason and self._speculation and choice.spec_decode_metrics:
                        of_steps = lengths if decoding.n == 1 else ()
                        drafts = vllm_request.speculated(self._speculation, choice.spec_decode_metrics, of_steps)
                        step = replace(step, speculation=drafts)
                    yield step
                # 4) JC1 may be done before vLLM is: leaving the loop cancels what is left.
                if all(reply.finish_reason for reply in replies):
                    return

    async def _search(
        self,
        llm: AsyncLLM,
        prompt: Sequence[int],
        pictures: Sequence[Picture],
        decoding: Decoding,
        limit: int,
        before: Sequence[int],
    ) -> AsyncGenerator[Step, None]:
        """Yield the best beams: a request of one token for each live sequence and step, as vLLM's own search does."""
        assert self._tokenizer is not None
        ends = self._tokenizer.end_tokens
        search = BeamSearch(decoding, limit=limit, end_tokens=ends)
        began, prefill = time.perf_counter(), 0.0
        while not search.done:
            async with asyncio.TaskGroup() as group:
                requests = [
                    group.create_task(self._next_tokens(llm, [*prompt, *beam.token_ids], pictures, search.candidates))
                    for beam in search.live
                ]
            prefill = prefill or time.perf_counter() - began
            search.step([task.result() for task in requests])
        streams = [self._tokenizer.stream(before=before) for _ in search.best]
        first, *rest = last_steps(search.best, decoding, end_tokens=ends, streams=streams)
        yield replace(first, seconds={"queue": 0.0, "prefill": prefill})
        for step in rest:
            yield step

    async def _next_tokens(
        self, llm: AsyncLLM, tokens: Sequence[int], pictures: Sequence[Picture], count: int
    ) -> Candidates:
        params = vllm_request.next_token_params(min(count, self._vocab))
        read = await vllm_request.engine_input(llm, tokens, pictures)
        async with aclosing(llm.generate(read, params, uuid.uuid4().hex)) as outputs:
            async for output in outputs:
                if output.finished:
                    return vllm_request.candidates(output.outputs[0].logprobs[0], count)
        raise EngineFailed(vllm_request.GIVEN_UP)

    def _explained(self, error: Exception, llm: AsyncLLM, grammar: Grammar | None) -> Jc1Error:
        """Return what a foreign exception means. vLLM validates a request's grammar only when it meets it."""
        from vllm.exceptions import VLLMClientError

        if isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, Jc1Error):
            return error
        if isinstance(error, VLLMClientError | ValueError) and grammar is not None:
            log.info("vllm refused the grammar: %s", type(error).__name__)  # its words quote what was sent
            return too_complex(grammar.param)
        if llm.errored:
            if not self._closed:
                self._revive()
            return EngineFailed(
                "The vllm engine died while it generated, and is being started again: send the request again."
            )
        log.error("vllm failed", exc_info=error)
        return EngineFailed("The vllm engine broke while generating: send the request again, or see the server's log.")

    # life and death

    @property
    def _alive(self) -> bool:
        return self._llm is not None and not self._llm.errored

    async def _begin(self) -> None:
        """Start an engine and wait until it has answered once; when cancelled, end it as soon as it is there."""
        loading = asyncio.create_task(asyncio.to_thread(self._load))
        try:
            llm = await asyncio.shield(loading)
        except asyncio.CancelledError:
            await asyncio.wait([loading])
            if not loading.cancelled() and loading.exception() is None:
                await _shut_down(loading.result())
            raise
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await llm.get_supported_tasks()
        except BaseException as error:
            await _shut_down(llm)
            if not isinstance(error, Exception):
                raise
            log.exception("vLLM does not answer")
            raise EngineUnavailable("vLLM was started and does not answer: the log says why.") from None
        self._llm = llm
        # What is loaded by now stays, so the garbage collector need not look through it again and again.
        gc.collect()
        gc.freeze()

    async def _end(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            gc.unfreeze()
            await _shut_down(llm)

    def _load(self) -> AsyncLLM:
        """Load tokenizer and engine, and return it. Blocks for seconds to minutes."""
        path = self._read_tokenizer()
        llm = vllm_start.start(path, self._settings, self._speculation)
        self._vocab = int(llm.model_config.get_vocab_size())
        if not llm.model_config.is_multimodal_model:
            self._eyes = None
        missing = SPECULATION_ADVICE if self._speculation else {}
        fields = frozenset(Decoding.model_fields) - missing.keys()
        self._able(fields, int(llm.model_config.max_model_len), missing)
        return llm


async def _shut_down(llm: AsyncLLM) -> None:
    """End the engine's processes and close its sockets."""
    from vllm.v1.engine.exceptions import EngineDeadError

    core = llm.engine_core
    await asyncio.to_thread(llm.shutdown, END_SECONDS)
    llm.output_processor.propagate_error(EngineDeadError())  # whoever still waits for a reply
    await asyncio.sleep(0)  # the sockets are closed by a callback in this loop
    close_sockets(core)
    shut_down_once(llm)
