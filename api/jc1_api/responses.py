"""The bodies of responses, as the schema shows them.

Knows names and types. Most are filled in the routes; `jc1_api.openai_format` writes chat replies by hand, a dictionary
a token, and the tests hold them against these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from jc1.documents.ingest import Ingested
from jc1.engines.base import FinishReason
from jc1.erasure import Purge
from jc1.memory.base import Document, Edit, ForgetImpact, Kind, Receipt, Record, Statistics
from jc1.memory.base import Forgotten as Hidden
from jc1.messages import Role
from jc1.sessions import SessionInfo, Turn


class ErrorDetail(BaseModel):
    message: str = Field(description="What happened and what to do next.")
    type: Literal["invalid_request_error", "server_error"]
    param: str | None = Field(description="The field that is to blame, where one is.")
    code: str = Field(description="Stable; docs/api.md lists them.")


class Error(BaseModel):
    """Every error, in OpenAI's shape."""

    error: ErrorDetail


class Alternative(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(Alternative):
    top_logprobs: list[Alternative]


class Logprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None = None


class ReplyMessage(BaseModel):
    role: Literal["assistant"]
    content: str
    refusal: None = None
    reasoning: str | None = Field(None, description="What the model thought first, where a remote server tells it.")


class Choice(BaseModel):
    index: int
    message: ReplyMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class RecalledMemory(BaseModel):
    """Why a memory was recalled; its text is at /v1/memory/{id}."""

    id: str
    session: str | None
    turn: int | None
    created: datetime
    rank: int
    score: float
    parts: dict[str, float] = Field(description="What each signal added to the score; empty for a mere neighbour.")
    dense_score: float | None
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    expanded_from: str | None


class Dropped(BaseModel):
    """What had no room in the prompt: ids of recalled memories, and how many messages of the history."""

    memories: list[str]
    messages: int


class Story(BaseModel):
    """JC1's own part of a reply."""

    trace_id: str = Field(description="The whole trace is at /v1/traces/{trace_id}.")
    session: str | None
    preset: str | None
    cached: bool = Field(description="Whether it is an earlier reply to the same request (`cache_replies`).")
    stages: dict[str, float] = Field(description="Seconds by stage, in the order of the hallway.")
    first_token: float | None = Field(description="Seconds to the first token.")
    total: float | None = Field(description="Seconds in all.")
    recalled: list[RecalledMemory]
    dropped: Dropped
    remembered: bool | None = Field(description="null where nothing was to be remembered.")
    remember_error: str | None = Field(description="The code of the error that kept it from being remembered.")
    speculation: dict[str, Any] | None = Field(description="Drafted and accepted tokens, where the engine speculates.")
    scores: list[float] | None = Field(description="Of each choice, where beams were searched.")


class ChatCompletion(BaseModel):
    """OpenAI's chat completion, with `jc1`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: None = None
    jc1: Story


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None


class ChunkChoice(BaseModel):
    index: int
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: FinishReason | None


class ChatCompletionChunk(BaseModel):
    """One event of a stream; the last one before `[DONE]` has `jc1`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    system_fingerprint: None = None
    jc1: Story | None = None


class ModelAbout(BaseModel):
    """What a client may ask of a model: `preset` is what the name stands for, `decoding` the fields it honours."""

    preset: str
    engine: str
    context_length: int = Field(description="Tokens, prompt and reply together.")
    decoding: list[str]


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["jc1"] = "jc1"
    jc1: ModelAbout


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class MemoryRecord(BaseModel):
    """One remembered text with its source."""

    object: Literal["memory"] = "memory"
    id: str
    text: str
    role: Role
    kind: Kind
    created: datetime
    session: str | None
    turn: int | None = Field(description="Number of the session's turn, or of the document's part.")
    speaker: str | None = Field(description="Who said it, where that is more than a role.")
    document: str | None = Field(description="Title of the document that it is a part of.")
    place: str | None = Field(description="Where in the document.")
    superseded_by: str | None = Field(description="The newer statement on its subject.")
    pinned: bool = Field(description="Recalled for every question.")
    excluded: bool = Field(description="Recalled for none.")
    edited: datetime | None = Field(description="When its text was last changed.")

    @classmethod
    def of(cls, record: Record) -> MemoryRecord:
        return cls(
            id=record.id,
            text=record.text,
            role=record.role,
            kind=record.kind,
            created=record.created,
            session=record.session,
            turn=record.turn,
            speaker=record.speaker,
            document=record.document,
            place=record.place,
            superseded_by=record.superseded_by,
            pinned=record.pinned,
            excluded=record.excluded,
            edited=record.edited,
        )


class MemoryPage(BaseModel):
    object: Literal["list"] = "list"
    data: list[MemoryRecord]
    total: int = Field(description="How many the filters let through.")
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class Hit(BaseModel):
    """A found memory and why it was found."""

    rank: int
    score: float
    parts: dict[str, float] = Field(description="What each signal added to the score; empty for a mere neighbour.")
    dense_score: float | None
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    expanded_from: str | None
    memory: MemoryRecord

    @classmethod
    def of(cls, receipt: Receipt) -> Hit:
        return cls(
            rank=receipt.rank,
            score=receipt.score,
            parts=dict(receipt.parts),
            dense_score=receipt.dense_score,
            dense_rank=receipt.dense_rank,
            lexical_score=receipt.lexical_score,
            lexical_rank=receipt.lexical_rank,
            expanded_from=receipt.expanded_from,
            memory=MemoryRecord.of(receipt.record),
        )


class Hits(BaseModel):
    object: Literal["list"] = "list"
    data: list[Hit]
    seconds: dict[str, float] = Field(description="Of the stages embed and recall.")


class StoredDocument(BaseModel):
    """One version of a document whose parts are memories."""

    object: Literal["document"] = "document"
    title: str
    session: str | None = Field(description="What its parts are kept under; each has its number as `turn`.")
    parts: int = Field(description="Stored as memories.")
    missing: int = Field(description="Not stored yet, or forgotten.")
    characters: int
    created: datetime = Field(description="When the first of its parts was stored.")

    @classmethod
    def of(cls, document: Document) -> StoredDocument:
        return cls(
            title=document.title,
            session=document.session,
            parts=document.parts,
            missing=document.missing,
            characters=document.characters,
            created=document.created,
        )


class DocumentList(BaseModel):
    object: Literal["list"] = "list"
    data: list[StoredDocument]


class IngestedDocument(BaseModel):
    """What became of a document that was sent."""

    object: Literal["document"] = "document"
    title: str
    session: str = Field(description="What its parts are kept under; each has its number as `turn`.")
    parts: int
    characters: int
    added: int = Field(description="Parts that were not stored before.")
    removed: int = Field(description="Memories of an earlier version, which are gone.")

    @classmethod
    def of(cls, done: Ingested) -> IngestedDocument:
        return cls(
            title=done.title,
            session=done.session,
            parts=done.parts,
            characters=done.characters,
            added=done.added,
            removed=done.removed,
        )


class EarlierText(BaseModel):
    text: str
    replaced: datetime


class MemoryHistory(BaseModel):
    """What a memory said before it was edited, oldest first."""

    object: Literal["list"] = "list"
    data: list[EarlierText]

    @classmethod
    def of(cls, history: Sequence[Edit]) -> MemoryHistory:
        return cls(data=[EarlierText(text=edit.text, replaced=edit.replaced) for edit in history])


class MemoryStatistics(BaseModel):
    """An owner's memories in figures; forgotten ones count in `forgotten` and `bytes` alone."""

    records: int
    kinds: dict[str, int]
    roles: dict[str, int]
    sessions: dict[str, int] = Field(description="The 100 with most memories.")
    documents: dict[str, int] = Field(description="The 100 with most memories.")
    superseded: int
    pinned: int
    excluded: int
    edited: int
    forgotten: int
    characters: int
    bytes: int = Field(description="Of texts, earlier texts and vectors.")
    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, figures: Statistics) -> MemoryStatistics:
        return cls(**asdict(figures))


class ForgetPreview(BaseModel):
    """What forgetting would hide."""

    records: int
    along: int = Field(description="Of them, those not selected: replies to a selected message, which may repeat it.")
    edits: int = Field(description="Earlier texts of these memories.")
    turns: int = Field(description="Turns of sessions that hold the texts, message and reply.")
    first: list[MemoryRecord] = Field(description="The newest 20 of the memories.")
    elsewhere: list[MemoryRecord] = Field(description="Up to 20 memories that stay and hold a selected one's text.")

    @classmethod
    def of(cls, impact: ForgetImpact) -> ForgetPreview:
        return cls(
            records=impact.records,
            along=impact.cascaded,
            edits=impact.edits,
            turns=impact.turns,
            first=[MemoryRecord.of(record) for record in impact.first],
            elsewhere=[MemoryRecord.of(record) for record in impact.duplicates_kept],
        )


class Forgotten(BaseModel):
    """What was forgotten."""

    records: int
    along: int = Field(description="Of them, replies that went along with their message.")
    edits: int
    turns: int
    restorable_until: datetime | None = Field(description="At least; null where it was removed for good.")
    clean: bool | None = Field(description="Whether no file of the database holds it any more, where it was removed.")

    @classmethod
    def of(cls, hidden: Hidden, purged: Purge | None = None) -> Forgotten:
        return cls(
            records=hidden.impact.records,
            along=hidden.impact.cascaded,
            edits=hidden.impact.edits,
            turns=hidden.impact.turns,
            restorable_until=None if purged else hidden.until,
            clean=purged and purged.clean,
        )


class Restored(BaseModel):
    records: int
    turns: int


class Purged(BaseModel):
    """What was removed for good."""

    records: int
    edits: int
    turns: int
    clean: bool = Field(description="false where others kept the database's files busy: purge again later.")
    remains: list[str] = Field(description="Where purged texts may still be, because this server does not reach there.")


class Imported(BaseModel):
    added: int
    same: int = Field(description="Those that were there already.")
    kept: int = Field(description="Those of which another version is there, which stays.")


class ForgottenMemory(BaseModel):
    """A forgotten memory."""

    id: str
    deleted: Literal[True] = True
    restorable_until: datetime = Field(description="At least.")


class Deleted(BaseModel):
    id: str
    deleted: Literal[True] = True


class Session(BaseModel):
    object: Literal["session"] = "session"
    id: str
    title: str
    turns: int
    created: datetime
    updated: datetime

    @classmethod
    def of(cls, info: SessionInfo) -> Session:
        return cls(id=info.id, title=info.title, turns=info.turns, created=info.created, updated=info.updated)


class SessionList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Session]


class SessionTurn(BaseModel):
    number: int
    user: str
    reply: str
    cancelled: bool
    created: datetime

    @classmethod
    def of(cls, turn: Turn) -> SessionTurn:
        return cls(number=turn.number, user=turn.user, reply=turn.reply, cancelled=turn.cancelled, created=turn.created)


class SessionTurns(BaseModel):
    object: Literal["list"] = "list"
    session: str
    data: list[SessionTurn]


class Traces(BaseModel):
    object: Literal["list"] = "list"
    data: list[dict[str, Any]] = Field(description="As /v1/traces/{id} gives them, newest first.")


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    status: Literal["ok", "unready"]
    checks: dict[str, str] = Field(description="By part: ok, or what is wrong with it.")


class Version(BaseModel):
    version: str
    model: str
    engine: str
