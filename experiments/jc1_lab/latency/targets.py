"""What load is put on: a pipeline in this process, or a server by its URL.

Knows how each is asked and what it tells about time. Knows nothing about when requests are sent or what is made of the
figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol, Self

from jc1.decoding import Decoding
from jc1.engines.openai.client import ChatClient
from jc1.errors import (
    EngineFailed,
    EngineUnavailable,
    InvalidRequest,
    InvalidSettings,
    UnknownModel,
    UnsupportedDecoding,
)
from jc1.presets import Preset
from jc1.settings import Settings
from jc1.workbench import Workbench
from jc1_lab.latency.load import Timing
from jc1_lab.records.items import Item

OTHERWISE = ("logprobs", "json_schema", "regex", "choice")
"""Fields of `Decoding` that a server takes under another name; the pipeline's `openai` engine knows how."""
TOO_MANY = 429


class Target(Protocol):
    """A pipeline or a server that answers requests and says how long they took."""

    async def send(self, item: Item, preset: Preset, seed: int) -> Timing:
        """Ask the item's question with these settings; `seed` is for those that sample. Raises `Jc1Error`."""

    async def forget_prefixes(self) -> bool:
        """Drop the KV cache of earlier prompts; return False where that cannot be asked for."""

    async def close(self) -> None:
        """Close what was opened for this target."""


class PipelineTarget:
    """The pipeline of a started workbench. Memory is read, never written; figures are those of each request's trace.

    `owner` says whose memories an item's question is asked among. Raises `InvalidSettings` where the workbench keeps
    replies: an engine that is not asked looks fast.
    """

    def __init__(self, workbench: Workbench, owner: Callable[[Item], str] | None = None) -> None:
        if workbench.settings.cache_replies:
            raise InvalidSettings("A workbench that keeps replies cannot be timed: set cache_replies to 0.")
        self.workbench = workbench
        self._owner = owner or (lambda item: item.owner or workbench.settings.owner)

    async def send(self, item: Item, preset: Preset, seed: int) -> Timing:
        decoding = Decoding.parse(preset.decoding)
        reply = await self.workbench.pipeline.chat(
            item.messages, owner=self._owner(item), memory="read", preset=preset, **_seeded(decoding, seed)
        )
        trace = reply.trace
        assert trace.total is not None
        return Timing(
            trace.total if trace.first_token is None else trace.first_token,
            trace.total,
            trace.usage.completion_tokens,
            trace.stages,
            whole=decoding.beam_width > 1,
        )

    async def forget_prefixes(self) -> bool:
        return await self.workbench.engine.forget_prefixes()

    async def close(self) -> None:
        """Close the workbench."""
        await self.workbench.close()


class ServerTarget:
    """An OpenAI-compatible server, as its client meets it: network and server are part of every figure.

    The first token is the first chunk in which something was generated: text, reasoning or a call of a tool. Tokens are
    counted by the server's `usage`, or, where it sends none, by such chunks. Retrieval is the server's own; of a JC1
    server memory is read and never written, and the stages are its own. Any other server's stages are `prefill`, all
    until the first token, and `decode`.
    """

    def __init__(self, client: ChatClient, model: str, extra: dict[str, Any]) -> None:
        self.model = model
        self._client = client
        self._extra = extra

    @classmethod
    async def open(cls, url: str, *, model: str | None = None, api_key: str = "") -> Self:
        """Connect to the server at `url` (up to `/v1`), and choose its first model where none is named.

        Raises:
            EngineUnavailable: Nothing answers.
            UnknownModel: That model is not served.
        """
        import openai

        client = ChatClient(url, api_key=api_key)
        try:
            served = await client.models()
        except openai.OpenAIError as error:
            await client.close()
            raise _explained(error) from None
        name = model or next(iter(served), "")
        if name not in served:
            await client.close()
            raise UnknownModel(f"No model {name!r} at {url}: served are {', '.join(served) or 'none'}.")
        return cls(client, name, {"memory": "read"} if served[name].owned_by == "jc1" else {})

    async def send(self, item: Item, preset: Preset, seed: int) -> Timing:
        import httpx
        import openai

        request = self._request(item, preset, seed)
        began = time.perf_counter()
        first: float | None = None
        counted = 0
        usage = story = None
        try:
            async with aclosing(self._client.chunks(await self._client.open(request))) as chunks:
                async for chunk in chunks:
                    generated = [delta for delta in chunk.deltas if delta.generated]
                    if generated and first is None:
                        first = time.perf_counter() - began
                    counted += sum(len(delta.token_ids) or 1 for delta in generated)
                    usage = chunk.usage or usage
                    story = chunk.extra.get("jc1") or story
        except (openai.OpenAIError, httpx.HTTPError) as error:
            raise _explained(error) from None
        total = time.perf_counter() - began
        if story and story["cached"]:
            raise InvalidSettings("A server that keeps replies cannot be timed: start it with cache_replies at 0.")
        ttft = total if first is None else first
        return Timing(
            ttft,
            total,
            usage.completion_tokens if usage else counted,
            story["stages"] if story else {"prefill": ttft, "decode": total - ttft},
            whole=Decoding.parse(preset.decoding).beam_width > 1,
        )

    async def forget_prefixes(self) -> bool:
        """Return False: OpenAI's API has no word for it."""
        return False

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _request(self, item: Item, preset: Preset, seed: int) -> dict[str, Any]:
        decoding = Decoding.parse(preset.decoding)
        for name in OTHERWISE:
            if name in decoding.chosen:
                raise UnsupportedDecoding(name, "server", "measure a pipeline whose engine is openai instead.")
        messages = [{"role": message.role, "content": message.text} for message in item.messages]
        if preset.system and all(message.role != "system" for message in item.messages):
            messages.insert(0, {"role": "system", "content": preset.system})
        fields = {**decoding.chosen, "max_tokens": decoding.max_tokens, "temperature": decoding.temperature}
        return {
            "model": self.model,
            "messages": messages,
            "extra_body": {**fields, **_seeded(decoding, seed), **self._extra},
        }


async def open_target(where: str, *, home: str | Path, **settings: Any) -> Target:
    """Open what `where` names: a server by its URL, `echo`, or a model by bundled name, folder or hub id, which is
    started here with its state under `home` and further `settings`. Close it after use."""
    if where.startswith(("http://", "https://")):
        return await ServerTarget.open(where)
    named = {"engine": "echo"} if where == "echo" else {"model": where}
    workbench = Workbench.open(Settings(home=Path(home), **{**named, **settings}))
    try:
        await workbench.start()
    except BaseException:
        await workbench.close()
        raise
    return PipelineTarget(workbench)


def _seeded(decoding: Decoding, seed: int) -> dict[str, int]:
    """Return the seed as a field, where the settings draw tokens and have no seed of their own."""
    draws = decoding.temperature > 0 and decoding.beam_width == 1 and decoding.seed is None
    return {"seed": seed} if draws else {}


def _explained(error: Exception) -> EngineUnavailable | EngineFailed | InvalidRequest:
    """Return a client's failure as an error of JC1's."""
    import openai

    if isinstance(error, openai.APIStatusError):
        code = error.status_code
        if code == TOO_MANY or code == 503:
            return EngineUnavailable(f"The server has no room (HTTP {code}): ask for less load, or wait.")
        if code < 500:
            return InvalidRequest(f"The server refused the request (HTTP {code}): its API says which fields it takes.")
        return EngineFailed(f"The server failed (HTTP {code}): its log says why.")
    if isinstance(error, openai.APIConnectionError):
        return EngineUnavailable("The server does not answer: check the URL, up to /v1, and that it runs.")
    return EngineFailed("The server broke the reply off: its log says why.")
