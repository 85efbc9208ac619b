"""The vLLM engine: continuous batching, tensor and pipeline parallelism, speculation and guided output, on GPU or CPU.

Knows what JC1's words are in vLLM, how its outputs become steps, and what to do when its processes die. Scheduling, KV
cache, parallelism and speculation are vLLM's own. Knows nothing about sampling arithmetic. Importing this module does
not import vLLM (seconds); starting the engine does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jc1.decoding import GUIDES, Decoding
from jc1.engines.assembly import ReplyText, reply_limit
from jc1.engines.base import Alternative, Capabilities, Engine, EnginePrompt, EngineSettings, Step, TokenLogprob
from jc1.engines.beam import BeamSearch, Candidates, last_steps
from jc1.engines.sampling import check_bias
from jc1.engines.speculation import Speculation, figures
from jc1.errors import EngineFailed, EngineUnavailable, InvalidDecoding, Jc1Error
from jc1.messages import Message
from jc1.models import resolve

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

    from jc1.text import Tokenizer

log = logging.getLogger(__name__)

SPECULATION_ADVICE = dict.fromkeys(
    ("min_p", "logit_bias"), "vLLM cannot combine it with speculation: leave it out, or start with --speculation off."
)
DRAIN_SECONDS = 10.0
"""How long `close` waits for replies under way."""
END_SECONDS = 5.0
"""How long its processes may take to end when asked, before they are killed."""
CALL_SECONDS = 60.0
"""How long the engine may take to answer a question that is no request."""
WATCH_SECONDS = 1.0
"""How often it is looked after while nobody asks."""
LARGEST_SEED = 2**62
"""vLLM adds a reply's index to the seed and keeps it in 64 bits."""
GIVEN_UP = "The vllm engine gave the request up: send it again."
RESTARTS = (0.0, 2.0, 10.0)
"""Seconds before each attempt to start again after the engine died."""


class VllmEngine(Engine):
    """vLLM's asynchronous engine in this process, its workers in processes of their own."""

    name = "vllm"

    def __init__(self, settings: EngineSettings) -> None:
        self.model = settings.model
        self.restarts = 0
        """How often the engine died and came back."""
        self._settings = settings
        self._speculation = Speculation.parse(settings.speculation)
        self._starting = asyncio.Lock()
        self._llm: AsyncLLM | None = None
        self._restart: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._closing = False
        self._asleep = False
        self._idle = asyncio.Event()
        self._tokenizer: Tokenizer | None = None
        self._capabilities: Capabilities | None = None
        self._vocab = 0

    async def start(self) -> None:
        async with self._starting:
            if self._llm is None:
                self._closing = False
                self._llm = await self._loaded()
                self._watcher = asyncio.create_task(self._watch(), name="jc1-vllm-watch")

    async def close(self) -> None:
        self._closing = True
        for task in (self._watcher, self._restart):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._watcher = self._restart = None
        async with self._starting:
            llm, self._llm = self._llm, None
            if llm is None:
                return
            try:
                if self.active and not llm.errored:
                    self._idle.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(DRAIN_SECONDS):
                            await self._idle.wait()
            finally:
                await _shut_down(llm)

    @property
    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise _not_started()
        return self._capabilities

    @property
    def healthy(self) -> bool:
        return self._llm is not None and not self._llm.errored and not self._asleep

    def tokenize(self, messages: Sequence[Message]) -> list[int]:
        if self._tokenizer is None:
            raise _not_started()
        return self._tokenizer.chat(messages)

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        if self._tokenizer is None:
            raise _not_started()
        self.capabilities.check(decoding, self.name)
        check_bias(decoding, self._vocab)
        token_ids = prompt.token_ids or tuple(self.tokenize(prompt.messages))
        limit = reply_limit(len(token_ids), decoding, self.capabilities.context_length)
        self.active += 1
        try:
            llm = await self._running()
            reply = self._search if decoding.beam_width > 1 else self._sample
            async with aclosing(reply(llm, token_ids, decoding, limit)) as steps:
                async for step in steps:
                    yield step
        except (Jc1Error, asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as error:
            raise self._explained(error, decoding) from None
        finally:
            self.active -= 1
            if not self.active:
                self._idle.set()

    async def sleep(self) -> None:
        if not self.capabilities.sleeps:
            await super().sleep()
        llm = await self._running()
        async with asyncio.timeout(CALL_SECONDS):
            await llm.sleep(level=1, mode="wait")
        self._asleep = True

    async def wake(self) -> None:
        if not self.capabilities.sleeps:
            await super().wake()
        llm = self._llm
        if llm is None:
            raise _not_started()
        async with asyncio.timeout(CALL_SECONDS):
            await llm.wake_up()
        self._asleep = False

    # one request

    async def _sample(
        self, llm: AsyncLLM, prompt: Sequence[int], decoding: Decoding, limit: int
    ) -> AsyncGenerator[Step, None]:
        from vllm.inputs import tokens_input

        tokenizer = self._tokenizer
        assert tokenizer is not None
        replies = [
            ReplyText(i, decoding, limit=limit, end_tokens=tokenizer.end_tokens, stream=tokenizer.stream())
            for i in range(decoding.n)
        ]
        lengths: list[int] = []
        first = True
        params = self._params(decoding, limit)
        async with aclosing(llm.generate(tokens_input(list(prompt)), params, uuid.uuid4().hex)) as outputs:
            async for output in outputs:
                for found in output.outputs:
                    reply = replies[found.index]
                    lengths.append(len(found.token_ids))
                    steps = []
                    for token, entry in zip(found.token_ids, _entries(found, tokenizer, decoding), strict=True):
                        if reply.finish_reason is None:
                            steps.append(reply.add(token, entry))
                    if found.finish_reason in ("abort", "error"):
                        raise _given_up(decoding)
                    if found.finish_reason and reply.finish_reason is None:
                        steps.append(reply.end("length" if found.finish_reason == "length" else "stop"))
                    if steps and first:
                        steps[0] = replace(steps[0], seconds=_seconds(output.metrics))
                        first = False
                    if steps and steps[-1].finish_reason and self._speculation and found.spec_decode_metrics:
                        told = _told(self._speculation, found.spec_decode_metrics, lengths if decoding.n == 1 else ())
                        steps[-1] = replace(steps[-1], speculation=told)
                    for step in steps:
                        yield step
                if all(reply.finish_reason for reply in replies):
                    return

    async def _search(
        self, llm: AsyncLLM, prompt: Sequence[int], decoding: Decoding, limit: int
    ) -> AsyncGenerator[Step, None]:
        """The best beams: a request of one token for each live sequence and step, as vLLM's own beam search does."""
        assert self._tokenizer is not None
        ends = self._tokenizer.end_tokens
        search = BeamSearch(decoding, limit=limit, end_tokens=ends)
        began, prefill = time.perf_counter(), 0.0
        while not search.done:
            async with asyncio.TaskGroup() as group:
                asked = [
                    group.create_task(self._next_tokens(llm, [*prompt, *beam.token_ids], search.candidates))
                    for beam in search.live
                ]
            prefill = prefill or time.perf_counter() - began
            search.step([task.result() for task in asked])
        streams = [self._tokenizer.stream() for _ in search.best]
        first, *rest = last_steps(search.best, decoding, end_tokens=ends, streams=streams)
        yield replace(first, seconds={"queue": 0.0, "prefill": prefill})
        for step in rest:
            yield step

    async def _next_tokens(self, llm: AsyncLLM, tokens: list[int], count: int) -> Candidates:
        from vllm import SamplingParams
        from vllm.inputs import tokens_input

        params = SamplingParams(
            max_tokens=1, temperature=0.0, logprobs=min(count, self._vocab), detokenize=False, skip_clone=True
        )
        async with aclosing(llm.generate(tokens_input(tokens), params, uuid.uuid4().hex)) as outputs:
            async for output in outputs:
                if output.finished:
                    found = output.outputs[0].logprobs[0]
                    ranked = sorted(found.items(), key=lambda item: (-item[1].logprob, item[0]))
                    return [(int(token), float(entry.logprob)) for token, entry in ranked[:count]]
        raise EngineFailed(GIVEN_UP)

    def _params(self, decoding: Decoding, limit: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        assert self._tokenizer is not None
        guides = {"json": decoding.json_schema, "regex": decoding.regex, "choice": list(decoding.choice) or None}
        guide = {name: value for name, value in guides.items() if value is not None}
        return SamplingParams(
            n=decoding.n,
            temperature=decoding.temperature,
            top_k=min(decoding.top_k, self._vocab),
            top_p=decoding.top_p,
            min_p=decoding.min_p,
            repetition_penalty=decoding.repetition_penalty,
            presence_penalty=decoding.presence_penalty,
            frequency_penalty=decoding.frequency_penalty,
            logit_bias=dict(decoding.logit_bias) or None,
            seed=None if decoding.seed is None else decoding.seed % LARGEST_SEED,
            max_tokens=limit,
            min_tokens=min(decoding.min_tokens, limit),
            logprobs=decoding.logprobs,
            stop_token_ids=list(self._tokenizer.end_tokens),
            structured_outputs=StructuredOutputsParams(**guide) if guide else None,
            detokenize=False,  # text and stop strings are ReplyText's, as on every engine
            output_kind=RequestOutputKind.DELTA,
        )

    # life and death

    async def _running(self) -> AsyncLLM:
        """The engine; one that died is started again first."""
        llm = self._llm
        if self._asleep:
            raise EngineUnavailable("The vllm engine is asleep: wake it, then send the request again.")
        if llm is not None and not llm.errored:
            return llm
        if llm is not None:
            self._revive(llm)
        if self._restart is None or self._closing:
            raise _not_started()
        await asyncio.wait([self._restart])
        if self._llm is None or self._llm.errored:
            raise EngineUnavailable("The vllm engine died and could not be started again: the server's log says why.")
        return self._llm

    def _revive(self, dead: AsyncLLM) -> None:
        """Start again in a task of its own, unless that is under way."""
        if not self._closing and self._llm is dead and (self._restart is None or self._restart.done()):
            self._restart = asyncio.get_running_loop().create_task(self._start_again(dead))

    async def _start_again(self, dead: AsyncLLM) -> None:
        log.error("the vllm engine died: starting it again")
        async with self._starting:
            await _shut_down(dead)
            for pause in RESTARTS:
                await asyncio.sleep(pause)
                try:
                    self._llm = await self._loaded()
                except EngineUnavailable as error:
                    log.error("%s", error.message)
                else:
                    self.restarts += 1
                    log.warning("the vllm engine is back")
                    return

    def _explained(self, error: Exception, decoding: Decoding) -> Jc1Error:
        """What a foreign exception means. vLLM validates a request's guide only when it meets it."""
        from vllm.exceptions import VLLMClientError

        if isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        guide = next((name for name in GUIDES if name in decoding.chosen), None)
        if isinstance(error, VLLMClientError | ValueError) and guide:
            log.info("vllm refused the guide: %s", error)
            return _refused(guide)
        llm = self._llm
        if llm is not None and llm.errored:
            self._revive(llm)
            return EngineFailed(
                "The vllm engine died while it generated, and is being started again: send the request again."
            )
        log.error("vllm failed", exc_info=error)
        return EngineFailed("The vllm engine broke while generating: send the request again, or see the server's log.")

    async def _watch(self) -> None:
        """Start again an engine that dies while nobody asks."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if (llm := self._llm) is not None and llm.errored:
                self._revive(llm)

    async def _loaded(self) -> AsyncLLM:
        """A new engine that has answered once. When cancelled meanwhile, it is ended as soon as it is there."""
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
        except Exception:
            await _shut_down(llm)
            log.exception("vLLM does not answer")
            raise EngineUnavailable("vLLM was started and does not answer: the log says why.") from None
        self._asleep = False
        return llm

    def _load(self) -> AsyncLLM:
        """Load tokenizer and engine. Blocks for seconds to minutes."""
        from jc1.engines import vllm_start
        from jc1.text import load_tokenizer

        source = resolve(self._settings.model)
        self.model, path = source.name, source.path
        try:
            self._tokenizer = load_tokenizer(path)
        except (OSError, ValueError, KeyError):
            log.exception("the tokenizer of %s cannot be read", source)
            raise EngineUnavailable(
                f"The tokenizer of {source.name!r} cannot be read: download the model again."
            ) from None
        llm = vllm_start.start(path, self._settings, self._speculation)
        self._vocab = int(llm.model_config.get_vocab_size())
        missing = SPECULATION_ADVICE if self._speculation else {}
        self._capabilities = Capabilities(
            decoding=frozenset(Decoding.model_fields) - missing.keys(),
            context_length=int(llm.model_config.max_model_len),
            advice=missing,
            sleeps=vllm_start.on_cuda(),
        )
        return llm


def _not_started() -> EngineUnavailable:
    return EngineUnavailable("The vllm engine is not running: start it, or send the request again when it is.")


async def _shut_down(llm: AsyncLLM) -> None:
    """End the engine's processes and close its sockets."""
    await asyncio.to_thread(llm.shutdown, END_SECONDS)
    llm.output_processor.propagate_error(_dead())  # whoever still waits for a reply
    await asyncio.sleep(0)  # the sockets are closed by a callback in this loop
    # It would shut down once more when it is collected, at a time when its modules may be gone.
    llm.shutdown = _nothing


def _dead() -> Any:
    from vllm.v1.engine.exceptions import EngineDeadError

    return EngineDeadError()


def _given_up(decoding: Decoding) -> Jc1Error:
    """vLLM ends a request so when its grammar cannot be compiled, or when it is shut down."""
    guide = next((name for name in GUIDES if name in decoding.chosen), None)
    return _refused(guide) if guide else EngineFailed(GIVEN_UP)


def _refused(guide: str) -> InvalidDecoding:
    return InvalidDecoding(f"{guide!r} cannot be compiled to a grammar: simplify it.", param=guide)


def _nothing(*args: object) -> None:
    pass


def _entries(found: Any, tokenizer: Tokenizer, decoding: Decoding) -> Sequence[TokenLogprob | None]:
    """What is reported of each token of one output."""
    if decoding.logprobs is None:
        return [None] * len(found.token_ids)
    piece = tokenizer.piece
    entries = []
    for token, place in zip(found.token_ids, found.logprobs, strict=True):
        ranked = sorted(place.items(), key=lambda item: (-item[1].logprob, item[0]))
        top = tuple(Alternative(i, piece(i), entry.logprob) for i, entry in ranked[: decoding.logprobs])
        entries.append(TokenLogprob(token, piece(token), place[token].logprob, top))
    return entries


def _seconds(metrics: Any) -> Mapping[str, float]:
    """Queue and prefill by the engine's own clock."""
    if metrics is None:
        return {"queue": 0.0, "prefill": 0.0}
    return {
        "queue": max(0.0, metrics.scheduled_ts - metrics.queued_ts),
        "prefill": max(0.0, metrics.first_token_ts - metrics.scheduled_ts),
    }


def _told(speculation: Speculation, metrics: Any, lengths: Sequence[int]) -> dict[str, object]:
    """The trace's figures; with `flags`, which of the tokens were drafted, where each output held one engine step."""
    told = figures(speculation, metrics.per_step_drafted, metrics.per_step_accepted)
    if lengths and sum(lengths) - len(lengths) == told["accepted"]:
        told["flags"] = [i < length - 1 for length in lengths for i in range(length)]
    return told
