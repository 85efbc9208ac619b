"""The shapes of responses, as the schema shows them.

Knows fields and what they mean. `jc1_api.responses_format` writes them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jc1_api.openai_format import Story

Status = Literal["in_progress", "completed", "incomplete"]


class OutputText(BaseModel):
    type: Literal["output_text"]
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class OutputMessage(BaseModel):
    type: Literal["message"]
    id: str
    status: Status
    role: Literal["assistant"]
    content: list[OutputText]


class ReasoningText(BaseModel):
    type: Literal["reasoning_text"]
    text: str


class OutputReasoning(BaseModel):
    """What the model thought first, where a remote server tells it."""

    type: Literal["reasoning"]
    id: str
    status: Status
    summary: list[Any]
    content: list[ReasoningText]


class OutputCall(BaseModel):
    """What the model asks for."""

    type: Literal["function_call"]
    id: str
    status: Status
    call_id: str
    name: str
    arguments: str = Field(description="A JSON object, as text.")


class ResponseFailure(BaseModel):
    code: Literal["server_error", "rate_limit_exceeded"]
    message: str
    param: str | None
    jc1_code: str = Field(description="Stable; docs/api.md lists them.")


class InputDetails(BaseModel):
    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(BaseModel):
    reasoning_tokens: int


class ResponseUsage(BaseModel):
    """Tokens read and written. Those of a cache and those of thoughts are not told apart: their counts are 0."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class IncompleteDetails(BaseModel):
    reason: Literal["max_output_tokens", "content_filter"]


class ResponseStory(Story):
    """JC1's own part of a response."""

    ignored: list[str] = Field(
        description="What was sent and has no effect: `reasoning`, and tools of types that this server does not have, "
        "such as `tools.web_search`."
    )


class ModelResponse(BaseModel):
    """OpenAI's response, with `jc1`."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None = None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    background: Literal[False]
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputMessage | OutputReasoning | OutputCall]
    parallel_tool_calls: bool
    previous_response_id: None
    prompt_cache_key: str | None
    reasoning: None
    safety_identifier: str | None
    service_tier: Literal["default"]
    store: Literal[False]
    temperature: float | None
    text: dict[str, Any]
    tool_choice: Any
    tools: list[dict[str, Any]]
    top_p: float | None
    truncation: Literal["auto"]
    usage: ResponseUsage | None
    user: str | None
    jc1: ResponseStory | None = Field(description="null until the response has ended, and where no model was asked.")


class ResponseEvent(BaseModel):
    """One event of a stream, as OpenAI has them; the last one's `response` has `jc1`."""

    model_config = ConfigDict(extra="allow")
    type: str
    sequence_number: int
