"""The pipeline as strangers may use it: what every front door calls in the pipeline's place.

Knows what is asked of a principal before its request runs, and in which order. Knows nothing about how a request runs
(`jc1.pipeline`), or about HTTP and pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jc1.access.admission import Admission
from jc1.access.estimates import scopes_of, tokens_in, tokens_of, tokens_raw
from jc1.access.limits import Limiter
from jc1.access.usage import NO_KEY
from jc1.completion import complete
from jc1.decoding import Decoding
from jc1.errors import Jc1Error
from jc1.messages import Message
from jc1.presets import Preset
from jc1.reply import Event, Reply, last
from jc1.trace import Usage

if TYPE_CHECKING:
    from jc1.access.principal import Principal
    from jc1.completion import RawPrompt
    from jc1.embedding.base import Embedder, Vectors
    from jc1.trace import Trace
    from jc1.workbench import Workbench

EMBEDDED_TOGETHER = 64
"""Texts that are embedded in one call, after which a request that nobody waits for ends."""
_DEFAULTS = Decoding()


@dataclass(frozen=True, slots=True)
class Admitted:
    """Event: the request was let in. The first of all, before anything of it is done."""

    trace: Trace
    """The request's, as far as it has come."""
    headers: Mapping[str, str]
    """What is left of the caller's limits, as OpenAI's `x-ratelimit-*`."""


GuardedEvent = Admitted | Event


@dataclass(frozen=True, slots=True)
class Embedded:
    """A unit vector for each text, shape (texts, dimension), and how many tokens were read for them."""

    vectors: Vectors
    tokens: int
    headers: Mapping[str, str]
    """As those of `Admitted`."""


@dataclass(slots=True)
class Granted:
    """What a principal may go on with: the headers that say what is left of its limits, and the tokens it took."""

    headers: Mapping[str, str]
    tokens: int = 0


class GuardedPipeline:
    """`Pipeline` behind what a principal may do: `workbench.guarded`."""

    def __init__(self, workbench: Workbench) -> None:
        settings = workbench.settings
        self._bench = workbench
        self._limiter = Limiter(settings, workbench.usage, on_hit=self._count_hit)
        self.admission = workbench.telemetry.admission = Admission(settings.max_running, settings.max_waiting)

    async def close(self) -> None:
        """Close what the limits are counted in."""
        await self._limiter.close()

    async def chat(
        self, principal: Principal, messages: str | Sequence[Message | Mapping[str, Any]], **options: Any
    ) -> Reply:
        """Return the reply, whole. Takes what `stream` takes."""
        return await last(self.stream(principal, messages, **options))

    def stream(
        self,
        principal: Principal,
        messages: str | Sequence[Message | Mapping[str, Any]],
        *,
        owner: str | None = None,
        session: str | None = None,
        preset: str | Preset | None = None,
        **options: Any,
    ) -> AsyncGenerator[GuardedEvent, None]:
        """Yield `Admitted`, then the events of `Pipeline.stream`, which takes the same options.

        Args:
            principal: Who asks.
            owner: Whose memory: what `principal.acting_for` gave; the principal's own where it is left out.

        Raises:
            Refused: The principal may not chat, or not with this model or preset.
            RateLimited: It has asked for as much as it may.
            Overloaded: Too many wait already.
            Jc1Error: Whatever `Pipeline.stream` raises.
        """
        trace = self._bench.begin_trace(owner or principal.owner, session)
        run = partial(self._bench.pipeline.stream, messages, trace=trace, preset=preset, **options)
        tokens, scopes = partial(tokens_of, messages), partial(scopes_of, messages, options.get("voice"))
        return self._run(principal, trace, preset, options, run, prompt_tokens=tokens, scopes=scopes)

    def complete(
        self,
        principal: Principal,
        prompts: Sequence[RawPrompt],
        *,
        owner: str | None = None,
        preset: str | Preset | None = None,
        **decoding: Any,
    ) -> AsyncGenerator[GuardedEvent, None]:
        """Yield `Admitted`, then the events of `jc1.completion.complete`. Takes, and raises, what `stream` does."""
        trace = self._bench.begin_trace(owner or principal.owner)
        run = partial(complete, self._bench, prompts, trace=trace, preset=preset, **decoding)
        return self._run(
            principal, trace, preset, decoding, run, prompt_tokens=partial(tokens_raw, prompts), prompts=len(prompts)
        )

    async def _run(
        self,
        principal: Principal,
        trace: Trace,
        preset: str | Preset | None,
        options: Mapping[str, Any],
        run: Callable[..., AsyncGenerator[Event, None]],
        *,
        prompt_tokens: Callable[[], int],
        prompts: int = 1,
        scopes: Callable[[], Sequence[str]] = tuple,
    ) -> AsyncGenerator[GuardedEvent, None]:
        """Yield `Admitted` and the events of `run`, where the principal may have them, when it is its turn.

        `prompt_tokens` tells about how many tokens are read, and is asked only where somebody counts them; `prompts` is
        how many prompts are replied to. `scopes` tells what has to be allowed besides `chat`.
        """
        reference = preset or self._bench.settings.preset
        with self._refusals(principal, trace.model):
            # 1) The scopes.
            for scope in ("chat", *scopes()):
                principal.require(scope)
            # 2) The model and the preset.
            principal.require_model(trace.model)
            principal.require_preset(reference.reference if isinstance(reference, Preset) else reference)
            # 3) The rates, by what the request may cost at most.
            limited = self._limiter.holds_tokens(principal, trace.model)
            replies = prompts * await self._reply_tokens(reference, options) if limited else 0
            tokens = prompt_tokens() + replies if limited else 0
            grant = await self._limiter.take(principal, trace.model, tokens)

        async def admit(read: int) -> None:
            """Take what a session's history, a system prompt and memories have added to the prompt."""
            try:
                with self._refusals(principal, trace.model):
                    await grant.raise_to(read + replies)
            except Jc1Error:
                trace.usage = Usage()  # nothing of it was read
                raise

        try:
            yield Admitted(trace, grant.headers())
            # 4) Its turn.
            async with self._turn(principal, trace.model, prompt_tokens):
                # 5) The pipeline, whose trace tells the cost, whatever becomes of the request.
                try:
                    async with aclosing(run(admit=admit if limited else None)) as events:
                        async for event in events:
                            yield event
                finally:
                    self._record(principal, trace.model, requests=1, **asdict(trace.usage))
        except Jc1Error as error:
            error.headers = {**grant.headers(), **error.headers}
            raise
        finally:
            # 6) What was not used is given back.
            await grant.settle(trace.usage.total_tokens)

    async def take_request(self, principal: Principal) -> None:
        """Take a request that asks no model from the principal's minute. Raises `RateLimited`."""
        try:
            await self._limiter.take_request(principal)
        except Jc1Error as error:
            self._bench.telemetry.metrics.rejected.labels(error.code).inc()
            raise

    async def embed(self, principal: Principal, texts: Sequence[str]) -> Embedded:
        """Return the vectors of texts. Nothing of a request that is cancelled is embedded any more.

        Raises:
            Refused: The principal may not embed, or not with this model.
            RateLimited: It has asked for as much as it may.
            Overloaded: Too many wait already.
            EmbedderUnavailable: There is no embedder, or it cannot be loaded.
        """
        import numpy as np

        embedder = self._bench.embedder
        vectors: list[Vectors] = []
        async with self.granted(principal, "embed", embedder.model, lambda: tokens_in(texts)) as granted:
            for start in range(0, len(texts), EMBEDDED_TOGETHER):
                batch = texts[start : start + EMBEDDED_TOGETHER]
                more, read = await asyncio.to_thread(_embed, embedder, batch)
                vectors.append(more)
                granted.tokens += read
        return Embedded(np.concatenate(vectors), granted.tokens, granted.headers)

    @asynccontextmanager
    async def granted(
        self, principal: Principal, scope: str, model: str, tokens: Callable[[], int]
    ) -> AsyncIterator[Granted]:
        """Run the body, which asks another model than the engine's, when the principal may and it is its turn.

        Args:
            tokens: About how many tokens it takes; the body counts in `Granted.tokens` how many it took.

        Raises:
            Refused: The principal lacks the scope, or may not use the model.
            RateLimited: It has asked for as much as it may.
            Overloaded: Too many wait already.
        """
        with self._refusals(principal, model):
            principal.require(scope)
            principal.require_model(model)
            grant = await self._limiter.take(principal, model, tokens())
        granted = Granted(grant.headers())
        try:
            async with self._turn(principal, model, tokens):
                try:
                    yield granted
                finally:
                    self._record(principal, model, requests=1, prompt_tokens=granted.tokens)
        except Jc1Error as error:
            error.headers = {**grant.headers(), **error.headers}
            raise
        finally:
            await grant.settle(granted.tokens)

    async def _reply_tokens(self, preset: str | Preset, options: Mapping[str, Any]) -> int:
        """Return how many tokens the replies to a prompt may have, at their longest."""
        bench = self._bench
        known = preset if isinstance(preset, Preset) else bench.presets.recent(preset)
        if known is None:
            known = await asyncio.to_thread(bench.presets.resolve, str(preset))
        chosen = {**known.decoding, **options}
        longest, n = (
            value if isinstance(value := chosen.get(name), int) else getattr(_DEFAULTS, name)
            for name in ("max_tokens", "n")
        )
        # The pipeline refuses what is out of range, but only later: until then it must not widen the limit.
        return min(max(longest, 1), bench.settings.max_reply_tokens) * max(n, 1)

    @asynccontextmanager
    async def _turn(self, principal: Principal, model: str, tokens: Callable[[], int]) -> AsyncIterator[None]:
        """Run the body when it is the principal's turn."""
        async with AsyncExitStack() as turn:
            with self._refusals(principal, model):
                await turn.enter_async_context(self.admission.turn(principal.key or NO_KEY, tokens))
            yield

    @contextmanager
    def _refusals(self, principal: Principal, model: str) -> Iterator[None]:
        """Count the request as refused where the body raises."""
        try:
            yield
        except Jc1Error as error:
            self._record(principal, model, refused=1)
            self._bench.telemetry.metrics.rejected.labels(error.code).inc()
            raise

    def _record(self, principal: Principal, model: str, **counts: int) -> None:
        self._bench.usage.record(principal.key or NO_KEY, model, **counts)

    def _count_hit(self, limit: str, whose: str) -> None:
        self._bench.telemetry.metrics.limits_hit.labels(limit, whose).inc()


def _embed(embedder: Embedder, texts: Sequence[str]) -> tuple[Vectors, int]:
    return embedder.embed(texts), embedder.count(texts)
