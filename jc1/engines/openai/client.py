"""The wire to an OpenAI-compatible server: what is asked of it, and what its streams say.

Knows OpenAI's chat completions and where servers depart from them. Knows nothing about engines, about when a request is
sent again, or about what a failure means to whom: the SDK's exceptions pass through.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jc1.engines.base import Alternative, FinishReason, TokenLogprob
from jc1.tools import ToolCallDelta
from jc1.trace import Usage

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 5.0, 600.0
"""How long a server may take to be reached, and to say the next thing."""
UNKNOWN_FIELD = re.compile(
    r"stream_options|unknown|unrecogni[sz]ed|unexpected|unsupported|not (permitted|allowed)|extra"
)
"""What a server says that does not take a field; only the best of them say which."""
REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""OpenAI's words for the end of a reply; the last one is the older name of the fourth."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What one chunk adds to one choice.

    `reasoning` is what the model thought before it replied, where the server tells the two apart.
    """

    index: int
    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCallDelta, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    finish_reason: FinishReason | None = None
    stop: str | None = None
    """The stop string that ended the choice, where the server tells which: vLLM does, OpenAI does not."""

    @property
    def generated(self) -> bool:
        """Return whether the model produced something: a role alone, or the end, is nothing.

        The first such delta of a reply is its first token, and where a server counts no tokens each counts as one.
        """
        return bool(self.text or self.reasoning or self.calls or self.token_ids or self.logprobs)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a stream. `extra` has the fields that OpenAI's reference does not."""

    deltas: tuple[Delta, ...]
    usage: Usage | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class ChatClient:
    """The connections to one server. Nothing is sent twice, except without a field that the server does not take."""

    def __init__(self, base_url: str, *, api_key: str = "") -> None:
        import openai

        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            max_retries=0,
            timeout=openai.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        )
        self._stream_options: dict[str, Any] = {"stream_options": {"include_usage": True}}
        """Empty once the server has refused it."""

    async def models(self) -> dict[str, Any]:
        """Return what the server serves, by id."""
        return {model.id: model for model in (await self._client.models.list()).data}

    async def request_fields(self) -> frozenset[str]:
        """Return the fields of a chat request by the server's own OpenAPI document; empty where it publishes none."""
        import openai

        root = str(self._client.base_url).rstrip("/").removesuffix("/v1")
        try:
            document: Any = await self._client.get(f"{root}/openapi.json", cast_to=object)
        except openai.OpenAIError:
            return frozenset()
        try:
            body = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]
            schema = body["content"]["application/json"]["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            return frozenset(schema["properties"])
        except (KeyError, TypeError):
            return frozenset()

    async def open(
        self, request: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> openai.AsyncStream[Any]:
        """Begin a streamed reply, with its usage at the end where the server knows how."""
        import openai

        request = {**request, "extra_headers": headers}
        try:
            return await self._create(request)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if not self._stream_options or not UNKNOWN_FIELD.search(f"{error.message} {error.body}".lower()):
                raise
            refused, self._stream_options = self._stream_options, {}
            try:
                stream = await self._create(request)
            except openai.APIStatusError:
                self._stream_options = refused  # it was another field
                raise error from None
            log.info("the server takes no stream_options: its tokens are counted by chunks")
            return stream

    async def _create(self, request: Mapping[str, Any]) -> openai.AsyncStream[Any]:
        arguments: dict[str, Any] = {**request, "stream": True, **self._stream_options}
        stream: openai.AsyncStream[Any] = await self._client.chat.completions.create(**arguments)
        return stream

    async def chunks(self, stream: openai.AsyncStream[Any]) -> AsyncGenerator[Chunk, None]:
        """Read a stream to its end; closing the generator closes the connection."""
        async with stream:
            async for event in stream:
                yield _chunk(event)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _chunk(event: Any) -> Chunk:
    """Read one event; what a server leaves out or sets to null says nothing."""
    deltas = tuple(_delta(choice) for choice in _get(event, "choices") or ())
    counts = [_get(_get(event, "usage"), name) for name in ("prompt_tokens", "completion_tokens")]
    usage = None if None in counts else Usage(*counts)
    return Chunk(deltas, usage, getattr(event, "model_extra", None) or {})


def _delta(choice: Any) -> Delta:
    delta = _get(choice, "delta")
    return Delta(
        _get(choice, "index") or 0,
        text=(_get(delta, "content") or "") + (_get(delta, "refusal") or ""),
        reasoning=_get(delta, "reasoning") or _get(delta, "reasoning_content") or "",
        calls=_calls(_get(choice, "index") or 0, delta),
        token_ids=tuple(_get(choice, "token_ids") or ()),
        logprobs=_logprobs(_get(_get(choice, "logprobs"), "content") or ()),
        finish_reason=_finish_reason(_get(choice, "finish_reason")),
        stop=stop if isinstance(stop := _get(choice, "stop_reason"), str) else None,
    )


def _calls(index: int, delta: Any) -> tuple[ToolCallDelta, ...]:
    """Return the pieces of calls; of the older form, which knows one call, too."""
    older = _get(delta, "function_call")
    entries = [(place, entry, _get(entry, "function")) for place, entry in enumerate(_get(delta, "tool_calls") or ())]
    entries += [] if older is None else [(0, None, older)]
    return tuple(
        ToolCallDelta(
            index,
            place if _get(entry, "index") is None else entry.index,
            _get(entry, "id") or "",
            _get(function, "name") or "",
            _get(function, "arguments") or "",
        )
        for place, entry, function in entries
    )


def _get(value: Any, name: str) -> Any:
    """Return a field that may not be there, of a thing that may not be there."""
    return getattr(value, name, None)


def _finish_reason(word: str | None) -> FinishReason | None:
    if not word:
        return None
    if word not in REASONS:
        log.info("the server ended a reply with %r: taken for its natural end", word)
    return REASONS.get(word, "stop")


def _logprobs(entries: Sequence[Any]) -> tuple[TokenLogprob, ...] | None:
    return (
        tuple(
            TokenLogprob(
                _token_id(entry),
                entry.token,
                entry.logprob,
                tuple(
                    Alternative(_token_id(other), other.token, other.logprob, _bytes(other))
                    for other in entry.top_logprobs or ()
                ),
                _bytes(entry),
            )
            for entry in entries
        )
        or None
    )


def _bytes(entry: Any) -> tuple[int, ...] | None:
    return None if _get(entry, "bytes") is None else tuple(entry.bytes)


def _token_id(entry: Any) -> int:
    """Return the token's id where the server tells it, else -1."""
    extra: Mapping[str, Any] = entry.model_extra or {}
    return int(extra.get("token_id", -1))
