"""The echo engine: toy logits that repeat the last message, for tests and for measuring JC1's own cost.

Knows bytes and a fixed formula. Knows nothing about models, and imports neither torch nor transformers. Everything else
about it is real: filters, seeds, stop strings, logprobs, streaming, cancellation.
"""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import cache, partial
from itertools import chain, repeat
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jc1.decoding import Decoding
from jc1.engines.base import (
    GUIDES_ADVICE,
    TEXT_AND_IMAGES,
    UNGUIDED,
    Alternative,
    Capabilities,
    Engine,
    EnginePrompt,
    Step,
    TokenLogprob,
    known_ids,
)
from jc1.engines.call_formats import CallFormat, CallReader
from jc1.engines.output_processor import OutputProcessor, reply_limit
from jc1.engines.sampling.beam import BeamSearch, last_steps
from jc1.engines.sampling.reference import (
    Floats,
    adjust,
    check_bias,
    count_tokens,
    draw,
    filtered,
    log_probabilities,
    most_likely,
    uniforms,
)
from jc1.engines.settings import EngineSettings
from jc1.messages import ImagePart, Message, TextPart
from jc1.prompt import CLOSE, OPEN
from jc1.tools import Toolset

if TYPE_CHECKING:
    from jc1.vision.images import Picture

Logits = Callable[[Sequence[int]], ArrayLike]
"""From all tokens so far, prompt and reply, to the next one's logits, shape (vocab,)."""

BYTES = tuple(bytes([value]) for value in range(256))
PEAK = 6.0
"""How far the repeated token's logit stands above a letter's: at temperature 1 it is drawn in 15 of 16 cases."""
STEPS_BETWEEN_YIELDS = 16
"""Tokens without delay that are produced before the event loop may look after others."""
CALL = CallFormat("", "", " ", "", several=False)
"""How a message reads that is repeated as a call: `NAME {...}`."""
PEAK_STANDS = frozenset({"max_tokens", "stop", "seed"})
"""The fields of `Decoding` that cannot move the formula's most likely token: no need to compute it."""


class EchoEngine(Engine):
    """Repeats the last message, the user's or a tool's, without its recalled memories, one byte a token; a raw prompt
    whole. Of a picture it tells the size: `[picture 640x480]`.

    A message that reads `NAME {...}` is repeated as a call where NAME is one of the request's tools; where a tool has
    to be called and it does not read so, the first that may be is called without arguments.

    `logits` replaces the formula, with `vocabulary` as its tokens; the end token's id follows the last of them, so
    `logits` returns shape (len(vocabulary) + 1,). `delay` is in seconds a token.
    """

    name = "echo"
    repeats_seeds = True

    def __init__(
        self,
        *,
        logits: Logits | None = None,
        vocabulary: Sequence[bytes] = BYTES,
        delay: float = 0.0,
        context_length: int = 16_384,
    ) -> None:
        self.model = "echo"
        self._logits = logits
        self._vocabulary = tuple(vocabulary)
        self._end = len(self._vocabulary)
        self._vocab = self._end + 1
        self._delay = delay
        self._capabilities = Capabilities(
            decoding=UNGUIDED,
            advice=GUIDES_ADVICE,
            context_length=context_length,
            modalities=TEXT_AND_IMAGES,
            tools=True,
        )
        self._running = False

    async def start(self) -> None:
        self._running = True

    async def close(self) -> None:
        self._running = False

    @property
    def healthy(self) -> bool:
        return self._running

    def identity(self) -> str | None:
        """Return a word for the formula, which comes with JC1; logits of somebody's own are not known."""
        return "formula" if self._logits is None and self._vocabulary is BYTES else None

    def tokenize(self, messages: Sequence[Message], tools: Toolset | None = None) -> list[int]:
        """Return the bytes of the messages, each after its role; of another vocabulary, those that are tokens in it.

        Tools take none.
        """
        return self._ids("".join(f"{message.role}: {_text(message)}\n" for message in messages) + "assistant: ")

    def picture_tokens(self, picture: Picture) -> int:
        return len(self._ids(_described(picture)))

    def encode(self, prompt: str | Sequence[int]) -> tuple[int, ...]:
        return tuple(self._ids(prompt)) if isinstance(prompt, str) else known_ids(prompt, self._vocab)

    def decode(self, token_ids: Sequence[int]) -> str:
        return b"".join(self._vocabulary[token] for token in token_ids if token < self._end).decode(errors="replace")

    def _ids(self, text: str) -> list[int]:
        if self._vocabulary is BYTES:
            return list(text.encode())
        ids = {token: i for i, token in enumerate(self._vocabulary)}
        return [ids[token] for token in map(str.encode, text) if token in ids]

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        self.capabilities.check(decoding, self.name)
        check_bias(decoding, self._vocab)
        if not self._running:
            raise self._not_running()
        began = time.perf_counter()
        token_ids = prompt.token_ids or tuple(self.tokenize(prompt.messages))
        limit = reply_limit(len(token_ids), decoding, self.capabilities.context_length)
        if decoding.beam_width > 1:
            async with aclosing(self._search(prompt, token_ids, decoding, limit)) as steps:
                async for step in steps:
                    yield step
            return
        next_token = [self._chooser(prompt, token_ids, decoding, choice) for choice in range(decoding.n)]
        replies = [
            OutputProcessor(
                choice,
                decoding,
                limit=limit,
                end_tokens=(self._end,),
                stream=_Bytes(self._vocabulary),
                calls=_reader(prompt, choice),
            )
            for choice in range(decoding.n)
        ]
        seconds = {"queue": 0.0, "prefill": time.perf_counter() - began}
        self.active += 1
        try:
            for number in range(limit):
                # 1) The event loop gets its turn.
                if self._delay or number % STEPS_BETWEEN_YIELDS == 0:
                    await asyncio.sleep(self._delay)
                # 2) Each choice that goes on gets one token more.
                for reply in replies:
                    if reply.finish_reason is None:
                        step = reply.add(*next_token[reply.index]())
                        yield step if number else replace(step, seconds=seconds)
                if all(reply.finish_reason for reply in replies):
                    return
        finally:
            self.active -= 1

    async def _search(
        self, prompt: EnginePrompt, token_ids: tuple[int, ...], decoding: Decoding, limit: int
    ) -> AsyncGenerator[Step, None]:
        """Yield the best beams, one step each."""
        began = time.perf_counter()
        logits = self._logits or partial(_echo_logits, _repeated(prompt), len(token_ids))
        search = BeamSearch(decoding, limit=limit, end_tokens=(self._end,))
        self.active += 1
        try:
            while not search.done:
                await asyncio.sleep(self._delay)
                # For each live sequence (vocab,), of which the search sees the most likely tokens.
                logprobs = [log_probabilities(logits((*token_ids, *beam.token_ids))) for beam in search.live]
                search.step([[(i, float(p[i])) for i in most_likely(p, search.candidates)] for p in logprobs])
        finally:
            self.active -= 1
        streams = [_Bytes(self._vocabulary) for _ in search.best]
        first, *rest = last_steps(search.best, decoding, end_tokens=(self._end,), streams=streams)
        yield replace(first, seconds={"queue": 0.0, "prefill": time.perf_counter() - began})
        for step in rest:
            yield step

    def _chooser(
        self, prompt: EnginePrompt, token_ids: Sequence[int], decoding: Decoding, choice: int
    ) -> Callable[[], tuple[int, TokenLogprob | None]]:
        """Return what gives the tokens of one choice, one a call."""
        logits = self._logits
        if logits is None:
            text = _repeated(prompt)
            if PEAK_STANDS.issuperset(decoding.chosen):
                tokens = chain(text, repeat(self._end))
                return lambda: (next(tokens), None)
            logits = partial(_echo_logits, text, len(token_ids))
        return _Sampler(logits, self._end, token_ids, decoding, choice, self._bytes).next

    def _bytes(self, token: int) -> bytes:
        return b"<end>" if token == self._end else self._vocabulary[token]


def from_settings(settings: EngineSettings) -> EchoEngine:
    """Return the engine with its formula; none of the settings changes it."""
    return EchoEngine()


def echoed(messages: Sequence[Message]) -> bytes:
    """Return what the engine repeats: the last message of the user or a tool, without its recalled memories."""
    text = next((_text(message) for message in reversed(messages) if message.role in ("user", "tool")), "")
    if text.startswith(OPEN) and CLOSE in text:
        text = text.partition(CLOSE)[2].removeprefix("\n")
    return text.encode()


def _text(message: Message) -> str:
    """Return a message's text, with its pictures described by their size, as far as they were read."""
    if not message.pictures:
        return message.text
    texts = []
    for part in message.parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ImagePart) and part.picture is not None:
            texts.append(_described(part.picture))
    return "\n".join(texts)


def _described(picture: Picture) -> str:
    return f"[picture {picture.width}x{picture.height}]"


def _repeated(prompt: EnginePrompt) -> bytes:
    """Return what is repeated, or the call that has to be there in its place."""
    if prompt.raw:
        return bytes(token for token in prompt.token_ids if token < len(BYTES))
    text = echoed(prompt.messages)
    if prompt.tools and prompt.tools.forced and not _is_call(text, prompt.tools):
        return f"{prompt.tools.callable[0].name} {{}}".encode()
    return text


def _is_call(text: bytes, tools: Toolset) -> bool:
    name, between, arguments = text.decode().partition(CALL.between)
    return bool(between) and arguments.startswith("{") and name in [tool.name for tool in tools.callable]


def _reader(prompt: EnginePrompt, choice: int) -> CallReader | None:
    if prompt.tools is None or not _is_call(_repeated(prompt), prompt.tools):
        return None
    return CallReader(CALL, prompt.tools, choice, begun=True)


def _echo_logits(text: bytes, prompt_tokens: int, token_ids: Sequence[int]) -> Floats:
    """Return the next token's logits: at each place the token of `text` stands out, after its end the end token."""
    written = len(token_ids) - prompt_tokens
    logits = _background().copy()
    logits[text[written] if written < len(text) else len(BYTES)] = PEAK
    return logits


@cache
def _background() -> Floats:
    """Return the logits where nothing is repeated, shape (257,): letters before signs before the rest.

    No two are equal, so that the order of likelihood is plain.
    """
    logits = np.full(len(BYTES) + 1, -6.0)
    logits[32:127] = -2.0
    logits[[ord(" "), *range(ord("a"), ord("z") + 1)]] = 0.0
    logits -= np.arange(logits.size) / 1000
    logits.setflags(write=False)
    return logits


class _Sampler:
    """Draws the tokens of one choice by the reference in `sampling`."""

    def __init__(
        self,
        logits: Logits,
        end: int,
        prompt: Sequence[int],
        decoding: Decoding,
        choice: int,
        bytes_of: Callable[[int], bytes],
    ) -> None:
        self._logits = logits
        self._end = end
        self._decoding = decoding
        self._bytes = bytes_of
        self._token_ids = list(prompt)
        self._prompt = count_tokens(prompt, end + 1)
        self._output = np.zeros_like(self._prompt)
        self._uniforms = uniforms(decoding.seed, choice)

    def next(self) -> tuple[int, TokenLogprob | None]:
        """Draw the next token; return it with its log probability, None where that was not asked for."""
        logits = self._logits(self._token_ids)  # (vocab,)
        scores = adjust(logits, self._decoding, prompt=self._prompt, output=self._output, end_tokens=(self._end,))
        token = draw(filtered(scores, self._decoding), self._uniforms.random())
        self._token_ids.append(token)
        self._output[token] += 1
        if self._decoding.logprobs is None:
            return token, None
        logprobs = log_probabilities(logits)
        top = tuple(
            Alternative(*self._described(other, logprobs), tuple(self._bytes(other)))
            for other in most_likely(logprobs, self._decoding.logprobs)
        )
        return token, TokenLogprob(*self._described(token, logprobs), top, tuple(self._bytes(token)))

    def _described(self, token: int, logprobs: Floats) -> tuple[int, str, float]:
        return token, self._bytes(token).decode(errors="replace"), float(logprobs[token])


class _Bytes:
    """Joins bytes to characters; what is no UTF-8 becomes U+FFFD."""

    def __init__(self, vocabulary: Sequence[bytes]) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        return self._decoder.decode(self._vocabulary[token_id])

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)
