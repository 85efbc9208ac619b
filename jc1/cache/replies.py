"""Replies that need not be written again: the engine's steps, kept for the owner who got them.

Knows which replies are sure to come out alike, and what they depend on. Knows nothing about how they are generated or
where they are kept.

**What is kept.** Whole replies of requests without chance in them: greedy ones and beam searches; sampled ones with a
seed where the engine says that a seed fixes the reply to the letter, which of those that ship only `echo` does (in a
batch, the last bits of the logits depend on what else is in it). Not those with log probabilities, which are twenty
times as large, and not those to raw prompts, which do not come by here. Nothing of a reply that failed, was cancelled,
or was left before its end.

**What a reply is kept under.** Its owner; JC1's version and those of torch, transformers, vLLM and DeepSpeed; the kind
of processor and the GPUs; the engine, all that is fixed when it starts, and its context; the contents of the model's
files; the messages, their token ids, and every field of `Decoding`. An engine that cannot tell which model it runs (a
remote one) keeps nothing.

**How exact that is.** What comes back is, to the letter, what this model replied to this very prompt under these
settings. Where two tokens are as likely within the last bits, another run beside other requests might have chosen the
other one, as it might at any time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from jc1 import __version__
from jc1.cache.namespaces import REPLY, owned
from jc1.engines.base import EnginePrompt, Step
from jc1.engines.settings import EngineSettings
from jc1.messages import Message, TextPart
from jc1.tools import ToolCallDelta
from jc1.trace import Usage

if TYPE_CHECKING:
    from jc1.cache.base import Cache
    from jc1.decoding import Decoding
    from jc1.engines.base import Engine
    from jc1.settings import Settings
    from jc1.trace import Trace

STEPS_BETWEEN_YIELDS = 16
"""Steps that are replayed before the event loop may look after others."""


class ReplyCache:
    """A cache before an engine: it yields the steps of an earlier reply, or the engine's, which it keeps.

    `settings.cache_replies` is the lifetime in seconds; 0 asks the engine each time, while `forget` still works.
    """

    def __init__(self, cache: Cache, settings: Settings) -> None:
        self.cache = cache
        self._settings = settings
        self._forgotten = 0
        """Number of calls of `forget`: what was under way then is not kept."""

    async def generate(
        self, engine: Engine, prompt: EnginePrompt, decoding: Decoding, trace: Trace
    ) -> AsyncGenerator[Step, None]:
        """Yield the steps of `engine.generate`, from the cache where it has them; then `trace.cached` is true."""
        # 1) The key, where a reply of these settings is kept at all
        forgotten = self._forgotten
        key = await asyncio.to_thread(self._key, engine, prompt, decoding) if self._keeps(engine, decoding) else None
        # 2) The reply that is kept
        if key is not None and (cached_steps := await asyncio.to_thread(self._lookup, trace.owner, key)):
            trace.cached = True
            for number, step in enumerate(cached_steps):
                if number % STEPS_BETWEEN_YIELDS == 0:
                    await asyncio.sleep(0)
                yield step
            return
        # 3) The engine's reply
        steps: list[Step] = []
        async with aclosing(engine.generate(prompt, decoding)) as fresh:
            async for step in fresh:
                if key is not None:
                    steps.append(step)
                yield step
        # 4) Kept where every choice came to its end
        ended = {step.index for step in steps if step.finish_reason}
        if key is not None and ended == set(range(decoding.n)):
            await asyncio.to_thread(self._keep, trace.owner, key, steps, forgotten)

    def prepare(self, engine: Engine) -> None:
        """Compute which model the engine runs, so that the first request need not wait for it. Blocks."""
        if self._settings.cache_replies:
            engine.identity()

    def forget(self, owner: str) -> None:
        """Remove every reply that is kept for an owner, and keep none of those under way.

        Called when a memory is forgotten or a session deleted: replies may repeat what they held. One that another
        process is writing just now may still be kept there, for its lifetime; only the same prompt would find it.
        """
        self._forgotten += 1
        self.cache.clear(owned(REPLY, owner))

    def _keeps(self, engine: Engine, decoding: Decoding) -> bool:
        """Return whether replies of these settings are kept: see "What is kept" above."""
        certain = decoding.temperature == 0 or (decoding.seed is not None and engine.repeats_seeds)
        return self._settings.cache_replies > 0 and certain and decoding.logprobs is None

    def _key(self, engine: Engine, prompt: EnginePrompt, decoding: Decoding) -> bytes | None:
        """Return the hash of all that a reply depends on; `None` where the engine cannot tell which model it runs."""
        identity = engine.identity()
        if identity is None:
            return None
        fixed = {f.name: getattr(self._settings, f.name) for f in fields(EngineSettings) if f.name != "api_key"}
        parts = {
            "here": _here(),
            "engine": [engine.name, engine.model, identity, engine.capabilities.context_length],
            "settings": fixed,
            "messages": [_plain(message) for message in prompt.messages],
            "tools": prompt.tools and prompt.tools.to_dict(),
            "token_ids": prompt.token_ids,
            "decoding": decoding.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()

    def _lookup(self, owner: str, key: bytes) -> Sequence[Step] | None:
        stored = self.cache.get(owned(REPLY, owner), key)
        return None if stored is None else _loads(stored)

    def _keep(self, owner: str, key: bytes, steps: Iterable[Step], forgotten: int) -> None:
        """Store the steps, unless `forget` was called since `forgotten` was read."""
        if self._forgotten != forgotten:
            return
        self.cache.put_many(owned(REPLY, owner), {key: _dumps(steps)}, ttl=self._settings.cache_replies)
        # `forget` may have cleared the cache just before.
        if self._forgotten != forgotten:
            self.cache.delete(owned(REPLY, owner), key)


@cache
def _here() -> list[Any]:
    """Return the versions of the software, the kind of processor and the GPUs: a reply depends on them, too."""
    from jc1.engines.registry import distributions
    from jc1.hardware import gpus

    versions = {}
    for name in distributions():
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return [__version__, versions, platform.machine(), [gpu.name for gpu in gpus()]]


def _plain(message: Message) -> list[Any]:
    """Return a message as plain JSON values, pictures and recordings as their hash."""
    calls = [[call.id, call.name, call.arguments] for call in message.tool_calls]
    if isinstance(message.content, str):
        return [message.role, message.content, calls, message.tool_call_id]
    parts = [
        ["text", part.text]
        if isinstance(part, TextPart)
        else [type(part).__name__, part.media_type, hashlib.sha256(part.data).hexdigest()]
        for part in message.content
    ]
    return [message.role, parts, calls, message.tool_call_id]


def _dumps(steps: Iterable[Step]) -> bytes:
    """Return the steps as JSON, without times: those are of the run that is over."""
    rows = [
        [
            step.index,
            step.text,
            step.token_ids,
            step.finish_reason,
            step.speculation and dict(step.speculation),
            step.score,
            step.usage and [step.usage.prompt_tokens, step.usage.completion_tokens],
            step.reasoning,
            step.stop,
            [[piece.call, piece.id, piece.name, piece.arguments] for piece in step.calls],
        ]
        for step in steps
    ]
    return json.dumps(rows, separators=(",", ":")).encode()


def _loads(stored: bytes) -> Sequence[Step] | None:
    """Return the steps that `_dumps` wrote; `None` where they cannot be read."""
    try:
        return [
            Step(
                index,
                text,
                tuple(token_ids),
                finish_reason,
                speculation=speculation,
                score=score,
                usage=None if usage is None else Usage(*usage),
                reasoning=reasoning,
                stop=stop,
                calls=tuple(ToolCallDelta(index, *piece) for piece in calls),
            )
            for index, text, token_ids, finish_reason, speculation, score, usage, reasoning, stop, calls in json.loads(
                stored
            )
        ]
    except (ValueError, TypeError):
        return None
