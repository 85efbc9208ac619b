"""The remote engine: any server that speaks OpenAI's chat completions, asked over HTTP.

Knows requests and failures of such servers, and asks each what it can do; what their streams say is `client`'s. Knows
nothing about models or tokenizers: the server applies its own template, so prompts go there as messages and are counted
by estimate here.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jc1.decoding import Decoding
from jc1.engines.base import TEXT_AND_IMAGES, Capabilities, Engine, EnginePrompt, FinishReason, Step
from jc1.engines.openai.client import ChatClient, Chunk
from jc1.engines.output_processor import reply_limit
from jc1.engines.settings import EngineSettings
from jc1.errors import CannotSee, EngineFailed, EngineUnavailable, InvalidSettings, Jc1Error, PromptTooLong
from jc1.messages import ImagePart, Message, TextPart
from jc1.tools import Tool, ToolCallDelta, Toolset, new_call_id
from jc1.trace import Usage

if TYPE_CHECKING:
    from jc1.vision.images import Picture

log = logging.getLogger(__name__)

STANDARD = frozenset(
    ("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "logit_bias", "seed", "n", "stop")
) | {"logprobs"}
"""What OpenAI's reference has, and every server that says nothing of itself is taken to honour."""
OWN_WORDS = {"logprobs": "top_logprobs", "json_schema": "response_format"}
"""Fields of `Decoding` that have another name in a request."""
WRAPPED = frozenset({"regex", "choice"})
"""Fields that a vLLM server takes inside `structured_outputs`."""
CONTEXT = 8192
"""Tokens of context where a server does not say."""
RETRIES = 4
"""Attempts after the first, before the first token, on 429, 5xx and lost connections; never after a silence."""
PAUSE_SECONDS, LONGEST_PAUSE = 0.5, 20.0
"""The pause before the first of them, doubled for each later one and jittered; the longest that a server may ask."""
PROBE_SECONDS = 2.0
"""How often a server that was lost is asked whether it is back."""
RAW_ADVICE = "the server at base_url is sent messages, which it applies its template to: ask /v1/chat/completions."
PIXELS_A_TOKEN = 750
"""https://docs.anthropic.com/en/docs/build-with-claude/vision, "Calculate image costs"."""
NEUTRAL = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
"""Fields that are sent even where the request leaves them alone: a server may have defaults of its own."""


class OpenAIEngine(Engine):
    """One model on one server."""

    name = "openai"

    def __init__(self, settings: EngineSettings) -> None:
        if not settings.base_url:
            raise InvalidSettings("--engine openai needs --base-url, such as http://127.0.0.1:8001/v1.")
        self.model = settings.model
        self._settings = settings
        self._client: ChatClient | None = None
        self._extra: dict[str, Any] = {}
        """What every request to this server carries besides its own fields."""
        self._wrapped = False
        """Whether guides travel in vLLM's way."""
        self._reached = False
        self._probing: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        async with self._starting:
            if self._client is None:
                await self._start()

    async def _start(self) -> None:
        client = ChatClient(self._settings.base_url, api_key=self._settings.api_key)
        try:
            await self._ask(client)
        except BaseException:
            await client.close()
            raise
        self._client, self._reached = client, True

    async def close(self) -> None:
        client, self._client = self._client, None
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
            self._probing = None
        if client is not None:
            await client.close()

    @property
    def healthy(self) -> bool:
        return self._client is not None and self._reached

    def tokenize(self, messages: Sequence[Message], tools: Toolset | None = None) -> list[int]:
        """Return nothing: the server's tokens are not known here. `count` estimates them."""
        return []

    def count(self, messages: Sequence[Message], tools: Toolset | None = None) -> int:
        """Return an estimate on the safe side: three bytes a token, and a few for each message's frame."""
        asked = sum(len(call.arguments.encode()) // 3 + 12 for message in messages for call in message.tool_calls)
        offered = len(json.dumps(tools.to_dict())) // 3 if tools else 0
        shown = sum(map(self.picture_tokens, EnginePrompt(tuple(messages)).pictures))
        return sum(len(message.text.encode()) // 3 + 6 for message in messages) + asked + offered + shown

    def picture_tokens(self, picture: Picture) -> int:
        """Return an estimate: a token for 750 pixels, which is Anthropic's rule; other models take fewer."""
        return picture.width * picture.height // PIXELS_A_TOKEN + 1

    async def generate(self, prompt: EnginePrompt, decoding: Decoding) -> AsyncGenerator[Step, None]:
        client = self._client
        if client is None:
            raise self._not_running()
        self.capabilities.check(decoding, self.name)
        if prompt.raw:
            self.capabilities.check_raw(self.name)
        if prompt.tools is not None:
            self.capabilities.check_tools(self.name)
        limit = reply_limit(self.count(prompt.messages, prompt.tools), decoding, self.capabilities.context_length)
        decoding = decoding.model_copy(update={"max_tokens": limit, "min_tokens": min(decoding.min_tokens, limit)})
        began = time.perf_counter()
        first = True
        self.active += 1
        try:
            request = await self._written(prompt, decoding)
            stream = await self._retried(lambda: client.open(request, prompt.trace_headers))
            async with aclosing(self._steps(client.chunks(stream), prompt)) as steps:
                async for step in steps:
                    if first:
                        step = replace(step, seconds={"queue": 0.0, "prefill": time.perf_counter() - began})
                        first = False
                    yield step
            self._reached = True
        except Jc1Error:
            raise
        except Exception as error:
            raise self._explained(error, prompt, started=not first) from None
        finally:
            self.active -= 1

    async def _written(self, prompt: EnginePrompt, decoding: Decoding) -> dict[str, Any]:
        """Return the request; in a thread where pictures have to be encoded for it."""
        if prompt.pictures:
            return await asyncio.to_thread(self._request, prompt, decoding)
        return self._request(prompt, decoding)

    def _request(self, prompt: EnginePrompt, decoding: Decoding) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": [_message(message) for message in prompt.messages],
            "max_tokens": decoding.max_tokens,
            "temperature": decoding.temperature,
        }
        extra: dict[str, Any] = dict(self._extra)
        guides: dict[str, Any] = {}
        neutral = {name: getattr(decoding, name) for name in NEUTRAL if name in self.capabilities.decoding}
        for name, value in {**neutral, **decoding.chosen}.items():
            match name:
                case "logprobs":
                    request |= {"logprobs": True, "top_logprobs": value}
                case "stop":
                    request["stop"] = list(value)
                case "logit_bias":
                    request["logit_bias"] = {str(token): bias for token, bias in value.items()}
                case "json_schema":
                    schema = {"name": "reply", "schema": value, "strict": True}
                    request["response_format"] = {"type": "json_schema", "json_schema": schema}
                case "regex" | "choice" if self._wrapped:
                    guides[name] = list(value) if name == "choice" else value
                case _ if name in STANDARD:
                    request[name] = value
                case _:
                    extra[name] = value
        if guides:
            extra["structured_outputs"] = guides
        return {**request, **_tools(prompt.tools), "extra_body": extra}

    async def _steps(self, chunks: AsyncGenerator[Chunk, None], prompt: EnginePrompt) -> AsyncGenerator[Step, None]:
        """Yield a step for all that was generated, and the ends at the end: the usage comes after the last choice.

        Raises `EngineFailed` where the stream ends and no choice did.
        """
        ends: list[Step] = []
        calls = _Calls()
        usage: Usage | None = None
        tokens = 0
        async with aclosing(chunks):
            async for chunk in chunks:
                usage = chunk.usage or usage
                for delta in chunk.deltas:
                    if delta.generated:
                        tokens += len(delta.token_ids) or 1
                        yield Step(
                            delta.index,
                            delta.text,
                            delta.token_ids,
                            logprobs=delta.logprobs,
                            reasoning=delta.reasoning,
                            calls=tuple(calls.add(piece) for piece in delta.calls),
                        )
                    if delta.finish_reason:
                        reason = calls.reason(delta.index, delta.finish_reason)
                        ends.append(Step(delta.index, "", finish_reason=reason, stop=delta.stop))
        if not ends:
            raise EngineFailed("The remote server broke the reply off: send the request again.")
        for step in ends[:-1]:
            yield step
        yield replace(ends[-1], usage=usage or Usage(self.count(prompt.messages, prompt.tools), tokens))

    async def _ask(self, client: ChatClient) -> None:
        """Find out what the server serves and which fields it takes.

        Raises:
            EngineUnavailable: The server cannot be reached, refuses the key, or does not serve the model.
            EngineFailed: It refuses the question, or its answer cannot be read.
        """
        # 1) The model: the one that is named, or the only one there is.
        try:
            served: dict[str, Any] = await self._retried(client.models)
        except Exception as error:
            raise self._explained(error, None, started=False) from None
        if self.model not in served:
            # JC1 lists its presets and the model that embeds, too.
            plain = [name for name, card in served.items() if "@" not in name and _replies(card)]
            if len(plain) != 1:
                raise EngineUnavailable(
                    f"The remote server does not serve {self.model!r}: say --model with one of "
                    f"{', '.join(sorted(plain)[:8]) or 'none'}."
                )
            self.model = plain[0]
        # 2) Its context, and which fields the server takes: JC1 says so itself, others by their OpenAPI document.
        card = served[self.model].model_extra or {}
        extension = card.get("jc1") if isinstance(card.get("jc1"), dict) else None
        context = (
            (extension or {}).get("context_length")
            or card.get("max_model_len")
            or self._settings.max_model_len
            or CONTEXT
        )
        known = await client.request_fields()
        self._wrapped = "structured_outputs" in known
        if extension:
            fields = frozenset(extension.get("decoding", ())) & Decoding.model_fields.keys()
        elif known:
            fields = frozenset(name for name in Decoding.model_fields if OWN_WORDS.get(name, name) in known)
            fields |= WRAPPED if self._wrapped else frozenset()
        else:
            fields = STANDARD
        takes_tools = bool(extension.get("tools")) if extension else not known or "tools" in known
        # 3) What every request carries besides. Another JC1 must not remember what this one does.
        self._extra = {
            **({"memory": "off"} if extension else {}),
            **({"return_token_ids": True} if "return_token_ids" in known else {}),
        }
        missing = {*Decoding.model_fields, "tools"} - fields
        self._capabilities = Capabilities(
            decoding=frozenset(fields),
            context_length=int(context),
            modalities=_modalities(extension),
            advice={**dict.fromkeys(missing, "the server at base_url does not take it."), "prompt": RAW_ADVICE},
            tools=takes_tools,
            raw=False,
        )

    async def _retried(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return the result of a call that may meet a passing failure."""
        import openai

        for attempt in range(RETRIES + 1):
            try:
                return await call()
            except openai.APITimeoutError:
                raise
            except (openai.RateLimitError, openai.InternalServerError, openai.APIConnectionError) as error:
                if attempt == RETRIES:
                    raise
                log.info("the remote server failed (%s), attempt %d", type(error).__name__, attempt + 1)
                pause = PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5)
                await asyncio.sleep(max(pause, _asked_pause(error)))
        raise AssertionError("the last attempt returns or raises")

    def _lost(self) -> None:
        """Ask from time to time whether the server is back, so that this engine is ready again when it is."""
        self._reached = False
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().create_task(self._probe(), name="jc1-openai-probe")

    async def _probe(self) -> None:
        import openai

        while self._client is not None and not self._reached:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self._client.models()
            except openai.OpenAIError:
                continue
            self._reached = True

    def _explained(self, error: Exception, prompt: EnginePrompt | None, *, started: bool) -> Jc1Error:
        """Return what a failure of the server means for the client; the server's own words go to no one."""
        import openai

        where = "The remote server"
        log.warning("the remote server: %s: %s", type(error).__name__, getattr(error, "status_code", ""))
        if started:
            return EngineFailed("The remote server broke the reply off: send the request again.")
        match error:
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return EngineUnavailable(f"{where} refused the key: set JC1_API_KEY to one that it takes.")
            case openai.NotFoundError():
                return EngineUnavailable(f"{where} does not know the model or the path: check --model and --base-url.")
            case openai.BadRequestError() if prompt and "context" in f"{error.code} {error.message}":
                return PromptTooLong(tokens=self.count(prompt.messages), budget=self.capabilities.context_length)
            case openai.APIStatusError() if error.status_code in (400, 415, 422) and prompt and prompt.pictures:
                return CannotSee(
                    f"{where} refused a request with a picture ({error.status_code}): {self.model!r} may read text "
                    "alone. Leave the picture out, or name a server with a vision-language model.",
                    param="messages",
                )
            case openai.APIStatusError() if error.status_code < 500 and error.status_code != 429:
                return EngineFailed(f"{where} refused the request ({error.status_code}): see its own log.")
            case openai.APIStatusError():
                return EngineUnavailable(f"{where} is overloaded or failing ({error.status_code}): try again later.")
            case openai.APIConnectionError():
                if self._client is not None:
                    self._lost()
                return EngineUnavailable(f"{where} cannot be reached: start the server, or correct --base-url.")
        return EngineFailed("The remote server's reply could not be read: see the server's log.")


def _modalities(extension: dict[str, Any] | None) -> frozenset[str]:
    """Return what a server's model reads. Few servers say: one that refuses a picture is told of as such then."""
    known = extension.get("modalities") if extension else None
    return frozenset(map(str, known)) if isinstance(known, list) else TEXT_AND_IMAGES


def _replies(card: Any) -> bool:
    """Return whether a model is one that replies, where the server says what it is for."""
    extension = (card.model_extra or {}).get("jc1")
    tasks = extension.get("tasks") if isinstance(extension, dict) else None
    return not isinstance(tasks, list) or "chat" in tasks


class _Calls:
    """The calls of one reply as OpenAI numbers them: whatever the server repeats, a call is named once."""

    def __init__(self) -> None:
        self._named: set[tuple[int, int]] = set()

    def add(self, piece: ToolCallDelta) -> ToolCallDelta:
        """Return a piece with an id and a name where it is the first of its call, and without where not."""
        call = piece.index, piece.call
        if call in self._named:
            return replace(piece, id="", name="")
        self._named.add(call)
        return piece if piece.id else replace(piece, id=new_call_id())

    def reason(self, index: int, reason: FinishReason) -> FinishReason:
        """Return why a choice ended: some servers call the end of calls a natural one."""
        called = any(choice == index for choice, _ in self._named)
        return "tool_calls" if called and reason == "stop" else reason


def _message(message: Message) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        sent |= {"content": message.text or None, "tool_calls": [call.to_dict() for call in message.tool_calls]}
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    return sent


def _content(message: Message) -> str | list[dict[str, Any]]:
    """Return a message's text; where it has pictures its parts, those as data URLs of pixels alone."""
    if not message.pictures:
        return message.text
    parts: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart) and part.picture is not None:
            # What a camera wrote was no drawing: as PNG it would be several times as large.
            kind = "image/jpeg" if part.media_type == "image/jpeg" else "image/png"
            data = base64.b64encode(part.picture.encoded(kind)).decode()
            parts.append({"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}})
    return parts


def _tools(tools: Toolset | None) -> dict[str, Any]:
    """Return the fields of a request that has tools; what is the default is left out, since few servers take all."""
    if tools is None:
        return {}
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in tools.tools]}
    if tools.choice == "required":
        fields["tool_choice"] = "required"
    elif tools.choice != "auto":
        fields["tool_choice"] = {"type": "function", "function": {"name": tools.choice}}
    return fields if tools.parallel else {**fields, "parallel_tool_calls": False}


def _tool(tool: Tool) -> dict[str, Any]:
    sent = tool.to_dict()
    return {**sent, "function": {**sent["function"], "strict": True}} if tool.strict else sent


def _asked_pause(error: Any) -> float:
    """Return the seconds that the server asked to wait, within reason."""
    response = getattr(error, "response", None)
    try:
        return min(LONGEST_PAUSE, float(response.headers["retry-after"])) if response is not None else 0.0
    except (KeyError, ValueError):
        return 0.0
