"""Preparing: from what was sent to a request that is checked, resolved, tokenized, and whose history fits.

Knows where a request's preset and history come from, and that nothing of it is tokenized twice. Knows nothing about
what the later stages do with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from jc1.errors import InvalidDecoding, InvalidRequest
from jc1.language import language_notice
from jc1.messages import Message, pictures_in
from jc1.presets import Preset
from jc1.prompt import MEMORY_SHARE, fit_history, prompt_budget
from jc1.request import MemoryMode, Request, conversation, turn_of
from jc1.vision.reading import OcrMode
from jc1.vision.see import see

if TYPE_CHECKING:
    from jc1.engines.base import Engine
    from jc1.tools import Toolset
    from jc1.trace import Trace
    from jc1.workbench import Workbench

T = TypeVar("T")

HISTORY_TURNS = 200
"""Turns of a session that are read back at most."""
QUICK_CHARACTERS = 4000
"""Up to this much text is tokenized sooner than it is handed to a thread (0.2 ms)."""


class TokenCache:
    """The token ids of messages beside a request's tools, each list of them tokenized once."""

    def __init__(self, engine: Engine, tools: Toolset | None = None) -> None:
        self._engine = engine
        self._tools = tools
        self._known: dict[tuple[Message, ...], tuple[list[int], int]] = {}

    def tokenize(self, messages: Sequence[Message]) -> tuple[list[int], int]:
        """Return token ids and their number; an engine that tokenizes elsewhere gives an estimated number alone."""
        key = tuple(messages)
        if key not in self._known:
            token_ids = self._engine.tokenize(key, self._tools)
            self._known[key] = token_ids, len(token_ids) or self._engine.count(key, self._tools)
        return self._known[key]

    def count(self, messages: Sequence[Message]) -> int:
        return self.tokenize(messages)[1]


async def prepare(
    bench: Workbench,
    trace: Trace,
    messages: str | Sequence[Message | Mapping[str, Any]],
    *,
    memory: MemoryMode,
    preset: str | Preset | None,
    decoding: Mapping[str, Any],
    tools: Toolset | None = None,
    ocr: OcrMode | None = None,
) -> Request:
    """Return the request that the stages are handed. Raises `InvalidRequest` and its kin where it cannot be served."""
    sent = conversation(messages, memory, bench.settings)
    if tools is not None or any(m.tool_calls or m.role == "tool" for m in sent):
        bench.engine.capabilities.check_tools(bench.engine.name)
    earlier, message, exchange = turn_of(sent)
    preset = await preset_for(bench, preset)
    trace.preset = preset.reference
    system = "\n\n".join(m.text for m in sent if m.role == "system")
    resolved = bench.resolve(preset, decoding=decoding, system=system, memory=memory, ocr=ocr)
    trace.decoding = resolved.decoding
    if tools is not None and resolved.decoding.beam_width > 1:
        raise InvalidDecoding("Beam search cannot take 'tools': leave them out, or 'beam_width' at 1.", param="tools")
    request = Request(
        owner=trace.owner,
        session=trace.session,
        memory=memory,
        resolved=resolved,
        message=message,
        history=tuple(m for m in earlier if m.role != "system"),
        tokens=TokenCache(bench.engine, tools),
        budget=prompt_budget(bench.engine.capabilities.context_length, resolved.decoding.max_tokens),
        exchange=tuple(m for m in exchange if m.role != "system"),
        tools=tools,
    )
    if notice := language_notice(bench.engine.model, request.message.text):
        trace.notices = (notice,)
    if request.session is not None:
        turns = await asyncio.to_thread(bench.sessions.history, request.owner, request.session, limit=HISTORY_TURNS)
        answered = [turn for turn in turns if turn.reply and not turn.outdated]
        # A session keeps words alone. Who sends a turn again with its pictures has them seen again.
        shown = {m.text: m for m in earlier if m.pictures}
        request.history = tuple(
            m
            for turn in answered
            for m in (shown.get(turn.user, Message.user(turn.user)), Message.assistant(turn.reply))
        )
        request.turns = tuple(turn.number for turn in answered)
    return request


async def prompt_tokens(
    bench: Workbench,
    messages: str | Sequence[Message | Mapping[str, Any]],
    *,
    preset: str | Preset | None = None,
    tools: Toolset | None = None,
) -> int:
    """Return how many tokens the prompt of a request takes, with all its messages and without memories.

    Raises what `prepare` does.
    """
    trace = bench.begin_trace()
    request = await prepare(bench, trace, messages, memory="off", preset=preset, decoding={}, tools=tools)
    if request.hears:
        raise InvalidRequest("Tokens of a recording are known when it was heard: send text.", param="messages")
    await see(bench, trace, request)
    system = [Message.system(request.resolved.system)] if request.resolved.system else []
    whole = (*system, *request.history, request.message, *request.exchange)
    return await in_thread(request, request.tokens.count, whole)


async def tokenize(trace: Trace, request: Request) -> None:
    """Leave in the request's history what fits, with room for memories: the oldest turns give way."""
    with trace.stage("tokenize"):
        trace.dropped_messages = await in_thread(request, _fit_history, request)


async def in_thread(request: Request, work: Callable[..., T], *arguments: Any) -> T:
    """Do work that tokenizes the request, and return its result: in a thread, unless there is little to tokenize."""
    quick = request.characters <= QUICK_CHARACTERS and not any(pictures_in(request.messages))
    if quick and not request.recalls:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)


async def preset_for(bench: Workbench, named: str | Preset | None) -> Preset:
    """Return the preset that a request names, or the settings' where it names none. Raises `UnknownPreset`."""
    if isinstance(named, Preset):
        return named
    reference = named or bench.settings.preset
    recent = bench.presets.recent(reference)
    return await asyncio.to_thread(bench.presets.resolve, reference) if recent is None else recent


def _fit_history(request: Request) -> int:
    """Fit the history into the budget; return how many messages gave way."""
    history = fit_history(
        request.resolved.system,
        request.history,
        (request.message, *request.exchange),
        count=request.tokens.count,
        budget=request.budget,
        share=1 - MEMORY_SHARE if request.recalls else 1.0,
    )
    dropped = len(request.history) - len(history)
    request.history, request.turns = history, request.turns[dropped // 2 :]
    return dropped
