"""The request path: the stages in their order. The only place that knows it.

    request -> prepare -> hear -> see -> recall -> prompt -> generate -> speak -> remember -> reply

Knows the order, and what becomes of a request that ends before its reply is whole. Knows nothing about how a stage does
its work, about HTTP or about pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from jc1.engines.base import EnginePrompt
from jc1.memory.base import Receipt
from jc1.messages import Message
from jc1.prepare import in_thread, prepare, tokenize
from jc1.presets import Preset
from jc1.prompt import build
from jc1.recall import recall
from jc1.remember import remember
from jc1.reply import Done, Event, Heard, Recalled, Reply, ReplyBuilder, last
from jc1.request import MemoryMode, Request
from jc1.speech.aloud import Aloud
from jc1.speech.base import Hearing, Speaking
from jc1.speech.hear import hear
from jc1.tools import Tool, toolset_of
from jc1.trace import Trace, Usage
from jc1.vision.reading import OcrMode
from jc1.vision.see import see, seen

if TYPE_CHECKING:
    from jc1.workbench import Workbench


class Pipeline:
    """Chat with memory through the parts of a started workbench. It serves many requests at once.

    Asynchronous; `jc1.SyncPipeline` is the same for blocking code.
    """

    def __init__(self, workbench: Workbench) -> None:
        self._bench = workbench
        self._storing: set[asyncio.Task[None]] = set()

    async def drain(self) -> None:
        """Return when what is being stored is stored."""
        while self._storing:
            await asyncio.wait(self._storing)

    async def chat(self, messages: str | Sequence[Message | Mapping[str, Any]], **options: Any) -> Reply:
        """Return the reply to a conversation's last message, whole. Takes what `stream` takes."""
        return await last(self.stream(messages, **options))

    async def stream(
        self,
        messages: str | Sequence[Message | Mapping[str, Any]],
        *,
        owner: str | None = None,
        session: str | None = None,
        memory: MemoryMode = "on",
        preset: str | Preset | None = None,
        trace: Trace | None = None,
        hearing: Hearing | None = None,
        voice: Speaking | None = None,
        tools: Sequence[Tool | Mapping[str, Any]] = (),
        tool_choice: str = "auto",
        parallel_tool_calls: bool = True,
        ocr: OcrMode | None = None,
        admit: Callable[[int], Awaitable[None]] | None = None,
        **decoding: Any,
    ) -> AsyncGenerator[Event, None]:
        """Reply to a conversation's last message, event by event: `Recalled`, `Token` and `ToolCallDelta` ..., `Done`;
        `Heard` before all of a recording, `Spoken` between tokens where a voice is asked for.

        Closing the generator, or cancelling the task, frees the engine and stores the reply as cancelled: as far as it
        was written, or said where it is spoken.

        Args:
            messages: A user's text, or a conversation that ends with a user's or a tool's message, as `Message`s or
                dicts.
            owner: Whose memory; the settings' owner where none is named.
            session: Makes the stored conversation the history: only the last message counts, earlier ones are taken
                as resent. What tools were asked and said since then counts too.
            preset: A reference as `Presets.resolve` takes it, or a preset that need not be saved.
            trace: Where to write down what the request goes through, for who made it before; `owner` and `session` are
                then the trace's.
            hearing: How recordings in the messages are heard.
            voice: How the reply is read out; None for text alone.
            tools: What the model may ask for. The caller runs it, and sends the conversation again with what came out.
            tool_choice: `auto` leaves it to the model, `none` forbids calls, `required` or a tool's name demands one.
            parallel_tool_calls: Whether a reply may hold several calls.
            ocr: Whether text in pictures is read for the prompt; the preset's, or the settings', where it is not said.
            admit: Is told how many tokens the prompt has, before the engine is asked; what it raises ends the request.
            decoding: Fields of `Decoding`, which go before the preset's.

        Raises:
            InvalidRequest: And its kin, before the engine is asked.
            Unavailable: And its kin, when a part fails.
        """
        bench = self._bench
        trace = trace or bench.begin_trace(owner, session)
        request: Request | None = None
        aloud: Aloud | None = None
        storing: asyncio.Task[None] | None = None
        writing = ReplyBuilder(trace)
        with bench.telemetry.recorded(trace):
            try:
                # 1) prepare: check what was sent, and find what holds for it and which history it has.
                aloud = Aloud(bench.voice, voice, trace) if voice is not None else None
                toolset = toolset_of(tools, tool_choice, parallel=parallel_tool_calls)
                request = await prepare(
                    bench, trace, messages, memory=memory, preset=preset, decoding=decoding, tools=toolset, ocr=ocr
                )
                # 2) hear: a recording becomes what is said in it.
                for transcript in await hear(bench, trace, request, hearing or Hearing()):
                    yield Heard(transcript)
                # 3) see: fetch the pictures that the model is to look at, and read the text in them where asked to.
                await see(bench, trace, request)
                # 4) tokenize: keep of the history what fits.
                await tokenize(trace, request)
                # 5) recall: embed the message and find the owner's records that answer it.
                receipts = await recall(bench, trace, request)
                # 6) prompt: system, history and message, with as many of the records inside it as fit.
                with trace.stage("prompt"):
                    prompt = await in_thread(request, self._prompt, trace, request, receipts)
                if admit is not None:
                    await admit(trace.usage.prompt_tokens)
                yield Recalled(receipts)
                # 7) generate: the engine's queue, prefill and decode, or a reply that was kept.
                pieces = self._generate(trace, request, prompt, writing)
                # 8) speak: each sentence is read out as soon as it is written, while the next ones are.
                async with aclosing(aloud.over(pieces) if aloud is not None else pieces) as events:
                    async for event in events:
                        yield event
                # 9) remember: in a task of its own, which ends whatever becomes of this one. A reply that calls tools
                # does not end the turn: it is remembered with the reply that does.
                if not writing.calls_tools:
                    storing = self._remembering(trace, request, writing.text, cancelled=False)
                    with trace.stage("remember"):
                        await asyncio.shield(storing)
                # 10) reply: whole, with its trace.
                trace.outcome = "ok"
                reply = writing.reply()
                bench.telemetry.note_replies(trace, [choice.text for choice in reply.choices])
                bench.telemetry.finish(trace)
                yield Done(reply)
            except (GeneratorExit, asyncio.CancelledError):
                if storing is not None:
                    trace.outcome = "ok"  # the reply was whole, and is being stored as such
                elif trace.outcome == "running":
                    trace.outcome = "cancelled"
                    if request is not None and not request.hears:
                        text = writing.text if aloud is None or aloud.broken else aloud.said
                        self._remembering(trace, request, text, cancelled=True)
                raise

    def _prompt(self, trace: Trace, request: Request, receipts: Sequence[Receipt]) -> EnginePrompt:
        prompt = build(
            request.resolved.system,
            request.history,
            request.message,
            [receipt.quoted for receipt in receipts],
            count=request.tokens.count,
            budget=request.budget,
            exchange=request.exchange,
        )
        token_ids, count = request.tokens.tokenize(prompt.messages)
        trace.dropped_memories = prompt.dropped_memories
        trace.usage = Usage(prompt_tokens=count)
        trace.pictures = seen(self._bench.engine, prompt.messages)
        self._bench.telemetry.note_prompt(trace, prompt.messages)
        headers = self._bench.telemetry.headers_behind(trace)
        return EnginePrompt(prompt.messages, tuple(token_ids), request.tools, headers)

    async def _generate(
        self, trace: Trace, request: Request, prompt: EnginePrompt, writing: ReplyBuilder
    ) -> AsyncGenerator[Event, None]:
        bench = self._bench
        trace.shards = [dict(shard) for shard in bench.engine.shards] or None
        generated = bench.replies.generate(bench.engine, prompt, request.resolved.decoding, trace)
        with writing.timed():
            async with aclosing(generated) as steps:
                async for step in steps:
                    for piece in writing.add(step):
                        yield piece

    def _remembering(self, trace: Trace, request: Request, text: str, *, cancelled: bool) -> asyncio.Task[None]:
        storing = remember(self._bench, trace, request, text, cancelled=cancelled)
        task = asyncio.get_running_loop().create_task(storing)
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)
        return task
