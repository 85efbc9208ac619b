"""The hallway: prepare, recall, prompt, generate, remember. The only place that knows this order.

    request -> prepare -> recall -> prompt -> generate -> remember -> reply

Knows which room comes when, and what is measured and stored on the way. Knows nothing about how a room does its work,
about HTTP or about pages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jc1.decoding import Decoding
from jc1.engines.base import EnginePrompt
from jc1.errors import EmptyMessage, InvalidRequest, Jc1Error, RequestTooLarge, UnknownRole
from jc1.memory.base import NewRecord, Receipt, Retrieval, shortened
from jc1.messages import ROLES, Message
from jc1.presets import Preset
from jc1.prompt import build, fit_history
from jc1.reply import Done, Draft, Event, Recalled, Reply, Token
from jc1.trace import Trace, Usage

if TYPE_CHECKING:
    from jc1.workbench import Workbench

T = TypeVar("T")
log = logging.getLogger(__name__)

MemoryMode = Literal["on", "read", "off"]
"""`on` recalls and remembers, `read` recalls only, `off` does neither."""

MEMORY_SHARE = 0.4
"""The part of the prompt's budget that history leaves to recalled memories."""
QUICK_CHARACTERS = 4000
"""Up to this much text is tokenized sooner than it is handed to a thread (0.2 ms)."""
HISTORY_TURNS = 200
"""Turns of a session that are read back at most."""


@dataclass(slots=True)
class _Request:
    """A request after it was checked: what the rooms are handed."""

    owner: str
    session: str | None
    mode: MemoryMode
    preset: Preset
    decoding: Decoding
    retrieval: Retrieval
    system: str
    message: Message
    history: tuple[Message, ...] = ()
    turns: frozenset[int] = frozenset()
    """The session's turns that `history` holds."""
    counted: dict[tuple[Message, ...], tuple[list[int], int]] = field(default_factory=dict)
    """Token ids, and their number, of what was tokenized for this request already."""

    @property
    def recalls(self) -> bool:
        return self.mode != "off" and self.retrieval.k > 0


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

    async def chat(
        self,
        messages: str | Sequence[Message],
        *,
        owner: str | None = None,
        session: str | None = None,
        memory: MemoryMode = "on",
        preset: str | Preset | None = None,
        **decoding: Any,
    ) -> Reply:
        """The reply to a conversation's last message, whole. `stream` tells what the arguments mean."""
        async with aclosing(
            self.stream(messages, owner=owner, session=session, memory=memory, preset=preset, **decoding)
        ) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.reply
        raise AssertionError("a stream ends with Done or raises")

    async def stream(
        self,
        messages: str | Sequence[Message],
        *,
        owner: str | None = None,
        session: str | None = None,
        memory: MemoryMode = "on",
        preset: str | Preset | None = None,
        **decoding: Any,
    ) -> AsyncGenerator[Event, None]:
        """Reply to a conversation's last message, event by event: `Recalled`, `Token` ..., `Done`.

        `messages` is a user's text or a conversation that ends with a user message. With `session` the conversation is
        the stored one: only the last message counts and earlier ones are taken as resent. `preset` is a reference as
        `Presets.resolve` takes it, or a preset that need not be saved, and `decoding` holds fields of `Decoding` that
        go before the preset's.

        Closing the generator, or cancelling the task, frees the engine and stores the reply as cancelled.

        Raises `InvalidRequest` and its kin before the engine is asked, `Unavailable` and its kin when a part fails.
        """
        trace = Trace(
            owner=owner or self._bench.settings.owner,
            session=session,
            model=self._bench.engine.model,
            engine=self._bench.engine.name,
        )
        request: _Request | None = None
        storing: asyncio.Task[None] | None = None
        drafts: dict[int, Draft] = {}
        with self._bench.telemetry.in_flight():
            try:
                request = await self._prepare(trace, messages, memory, preset, decoding)
                receipts = await self._recall(trace, request)
                yield Recalled(receipts)
                with trace.stage("prompt"):
                    prompt = await self._aside(request, self._prompt, trace, request, receipts)
                async with aclosing(self._generate(trace, request, prompt, drafts)) as tokens:
                    async for token in tokens:
                        yield token
                storing = self._remembering(trace, request, drafts, cancelled=False)
                with trace.stage("remember"):
                    await asyncio.shield(storing)
                trace.outcome = "ok"
                reply = Reply(tuple(drafts[i].choice(i) for i in sorted(drafts)), trace)
                self._finish(trace)
                yield Done(reply)
            except (GeneratorExit, asyncio.CancelledError):
                if storing is not None:
                    trace.outcome = "ok"  # the reply was whole, and is being stored as such
                elif trace.outcome == "running":
                    trace.outcome = "cancelled"
                    if request is not None:
                        self._remembering(trace, request, drafts, cancelled=True)
                raise
            except Jc1Error as error:
                trace.outcome = error.code
                raise
            except Exception:
                trace.outcome = Jc1Error.code
                raise
            finally:
                self._finish(trace)

    async def _prepare(
        self,
        trace: Trace,
        messages: str | Sequence[Message],
        mode: MemoryMode,
        chosen: str | Preset | None,
        fields: dict[str, Any],
    ) -> _Request:
        """Check the request and find out what it means: preset, decoding, system prompt, history that fits."""
        conversation = (Message.user(messages),) if isinstance(messages, str) else tuple(messages)
        self._check(conversation, mode)
        preset = chosen if isinstance(chosen, Preset) else await self._resolved(chosen or self._bench.settings.preset)
        trace.preset = preset.reference
        decoding = self._bench.resolve_decoding(preset, **fields)
        retrieval = Retrieval(k=self._bench.settings.memory_k, window=self._bench.settings.memory_window)
        request = _Request(
            owner=trace.owner,
            session=trace.session,
            mode=mode,
            preset=preset,
            decoding=decoding,
            retrieval=replace(retrieval, **preset.retrieval),
            system="\n\n".join(m.text for m in conversation if m.role == "system") or preset.system,
            message=conversation[-1],
            history=tuple(m for m in conversation[:-1] if m.role != "system"),
        )
        numbers: list[int] = []
        if request.session is not None:
            turns = await asyncio.to_thread(
                self._bench.sessions.history, request.owner, request.session, limit=HISTORY_TURNS
            )
            said = [turn for turn in turns if turn.reply]
            numbers = [turn.number for turn in said]
            request.history = tuple(m for t in said for m in (Message.user(t.user), Message.assistant(t.reply)))
        with trace.stage("tokenize"):
            trace.dropped_messages = await self._aside(request, self._trim, request)
        if numbers and request.history:
            request.turns = frozenset(numbers[-(len(request.history) // 2) :])
        return request

    def _check(self, conversation: Sequence[Message], mode: MemoryMode) -> None:
        if mode not in ("on", "read", "off"):
            raise InvalidRequest(f"memory is 'on', 'read' or 'off', not {mode!r}.", param="memory")
        for message in conversation:
            if message.role not in ROLES:
                raise UnknownRole(message.role)
        if not conversation or conversation[-1].role != "user":
            raise InvalidRequest("The last message must be the user's.", param="messages")
        if not conversation[-1].text.strip():
            raise EmptyMessage
        settings = self._bench.settings
        if len(conversation) > settings.max_messages:
            raise RequestTooLarge(
                f"{len(conversation)} messages, {settings.max_messages} allowed: send fewer, or use a session.",
                param="messages",
            )
        size = sum(len(message.text) for message in conversation)
        if size > settings.max_body_bytes:
            raise RequestTooLarge(
                f"The messages hold {size:,} characters, {settings.max_body_bytes:,} are allowed: shorten them.",
                param="messages",
            )
        try:
            for message in conversation:
                message.text.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(
                "A message holds half of a surrogate pair: send text that UTF-8 can carry.", param="messages"
            ) from None

    async def _resolved(self, reference: str) -> Preset:
        recent = self._bench.presets.recent(reference)
        return await asyncio.to_thread(self._bench.presets.resolve, reference) if recent is None else recent

    def capped(self, fields: dict[str, Any]) -> Decoding:
        """The decoding that the fields ask for, within this server's limits. Raises `InvalidRequest` beyond them."""
        limits = {
            "max_tokens": self._bench.settings.max_tokens,
            "n": self._bench.settings.max_n,
            "beam_width": self._bench.settings.max_n,
        }
        decoding = Decoding.parse({"max_tokens": min(Decoding().max_tokens, limits["max_tokens"]), **fields})
        for name, most in limits.items():
            if (asked := getattr(decoding, name)) > most:
                raise InvalidRequest(f"{name!r} is {asked} and at most {most} are allowed.", param=name)
        return decoding

    async def _aside(self, request: _Request, work: Callable[..., T], *arguments: Any) -> T:
        """Do work that tokenizes the request: in a thread, unless there is little to tokenize."""
        size = len(request.system) + sum(len(m.text) for m in (*request.history, request.message))
        if size <= QUICK_CHARACTERS and not request.recalls:
            return work(*arguments)
        return await asyncio.to_thread(work, *arguments)

    def _tokens(self, request: _Request, messages: Sequence[Message]) -> tuple[list[int], int]:
        """The messages' token ids and how many they are: an engine that tokenizes elsewhere gives an estimate alone."""
        key = tuple(messages)
        if key not in request.counted:
            token_ids = self._bench.engine.tokenize(key)
            request.counted[key] = token_ids, len(token_ids) or self._bench.engine.count(key)
        return request.counted[key]

    def _count(self, request: _Request, messages: Sequence[Message]) -> int:
        return self._tokens(request, messages)[1]

    def _trim(self, request: _Request) -> int:
        """Leave in the request's history what fits, with room for memories; how many messages gave way."""
        share = MEMORY_SHARE if request.recalls else 0.0
        kept = fit_history(
            request.system,
            request.history,
            request.message,
            count=lambda messages: self._count(request, messages),
            budget=self._budget(request, 1 - share),
        )
        dropped = len(request.history) - len(kept)
        request.history = kept
        return dropped

    def _budget(self, request: _Request, share: float = 1.0) -> int:
        """Tokens for the prompt: the context less the reply, which never gets more than half. Of that, `share`, unless
        the system prompt and the new message alone take more."""
        context = self._bench.engine.capabilities.context_length
        room = context - min(request.decoding.max_tokens, context // 2)
        system = (Message.system(request.system),) if request.system else ()
        return min(room, max(int(room * share), self._count(request, (*system, request.message))))

    async def _recall(self, trace: Trace, request: _Request) -> tuple[Receipt, ...]:
        if not request.recalls:
            return ()
        read = (request.session, request.turns) if request.session else None
        began = trace.elapsed()
        found = await asyncio.to_thread(
            self._bench.memory.search, request.owner, request.message.text, request.retrieval, already_read=read
        )
        for stage in ("embed", "recall"):
            seconds = found.seconds.get(stage, 0.0)
            trace.add(stage, began, seconds)
            began += seconds
        trace.recalled = [_receipt(receipt) for receipt in found.receipts]
        return found.receipts

    def _prompt(self, trace: Trace, request: _Request, receipts: Sequence[Receipt]) -> EnginePrompt:
        prompt = build(
            request.system,
            request.history,
            request.message,
            [receipt.record for receipt in receipts],
            count=lambda messages: self._count(request, messages),
            budget=self._budget(request),
        )
        token_ids, count = self._tokens(request, prompt.messages)
        trace.dropped_memories = prompt.dropped_memories
        trace.usage = Usage(prompt_tokens=count)
        return EnginePrompt(prompt.messages, tuple(token_ids))

    async def _generate(
        self, trace: Trace, request: _Request, prompt: EnginePrompt, drafts: dict[int, Draft]
    ) -> AsyncGenerator[Token, None]:
        began = trace.elapsed()
        queued = 0.0
        trace.shards = [dict(held) for held in self._bench.engine.shards] or None
        try:
            async with aclosing(
                self._bench.replies.generate(self._bench.engine, prompt, request.decoding, trace)
            ) as steps:
                async for step in steps:
                    if trace.first_token is None:
                        trace.first_token = trace.elapsed()
                        queued = min(step.seconds.get("queue", 0.0), trace.first_token - began)
                    drafts.setdefault(step.index, Draft()).take(step)
                    trace.usage.completion_tokens += len(step.token_ids)
                    trace.usage = step.usage or trace.usage
                    trace.speculation = dict(step.speculation) if step.speculation else trace.speculation
                    if step.score is not None:
                        trace.scores = [*(trace.scores or []), step.score]
                    if step.text or step.reasoning or step.logprobs:
                        yield Token(step.index, step.text, step.token_ids, step.logprobs, step.reasoning)
        finally:
            ended = trace.elapsed()
            first = trace.first_token or ended
            trace.add("queue", began, queued)
            trace.add("prefill", began + queued, first - began - queued)
            trace.add("decode", first, ended - first)
            trace.finish_reason = drafts[0].finish_reason if 0 in drafts else None

    async def _remember(self, trace: Trace, request: _Request, drafts: dict[int, Draft], *, cancelled: bool) -> None:
        """Store the turn in its session and, when memory is on, what was said; a failure is told, not raised."""
        if request.mode != "on" and request.session is None:
            return
        try:
            await asyncio.to_thread(self._store, request, drafts[0].text if 0 in drafts else "", cancelled)
            trace.remembered = True
        except Jc1Error as error:
            trace.remembered, trace.remember_error = False, error.code
            log.warning("trace %s was not remembered: %s", trace.id, error.message)
        except Exception:
            trace.remembered, trace.remember_error = False, Jc1Error.code
            log.exception("trace %s was not remembered", trace.id)

    def _store(self, request: _Request, reply: str, cancelled: bool) -> None:
        number = None
        if request.session is not None:
            turn = self._bench.sessions.append(
                request.owner, request.session, user=request.message.text, reply=reply, cancelled=cancelled
            )
            number = turn.number
        if request.mode == "on":
            said = NewRecord(shortened(request.message.text), "user", session=request.session, turn=number)
            answered = NewRecord(shortened(reply), "assistant", "reply", session=request.session, turn=number)
            self._bench.memory.add(request.owner, [said] if cancelled or not reply.strip() else [said, answered])

    def _remembering(
        self, trace: Trace, request: _Request, drafts: dict[int, Draft], *, cancelled: bool
    ) -> asyncio.Task[None]:
        """`_remember` in a task of its own, which ends whatever becomes of the caller's."""
        task = asyncio.get_running_loop().create_task(self._remember(trace, request, drafts, cancelled=cancelled))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)
        return task

    def _finish(self, trace: Trace) -> None:
        if trace.total is None:
            trace.total = trace.elapsed()
            self._bench.telemetry.record(trace)


def _receipt(receipt: Receipt) -> dict[str, Any]:
    """A receipt as the trace keeps it: the record's id and source, never its text, and every score."""
    return {
        "id": receipt.record.id,
        "session": receipt.record.session,
        "turn": receipt.record.turn,
        "created": receipt.record.created.isoformat(),
        "rank": receipt.rank,
        "score": receipt.score,
        "parts": dict(receipt.parts),
        "dense_score": receipt.dense_score,
        "dense_rank": receipt.dense_rank,
        "lexical_score": receipt.lexical_score,
        "lexical_rank": receipt.lexical_rank,
        "expanded_from": receipt.expanded_from,
    }
