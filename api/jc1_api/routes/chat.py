"""`/v1/chat/completions`: OpenAI's chat, with sessions, memory and presets.

Knows which fields a request has, what is refused by name rather than dropped, and how it becomes a call of the
pipeline. The fields of `Decoding` are `jc1_api.knobs`', the shapes of replies `jc1_api.openai_format`'s.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Request
from fastapi.responses import Response
from pydantic import Field, model_validator

from jc1.errors import InvalidRequest
from jc1.request import MemoryMode
from jc1.settings import Settings
from jc1.vision.reading import OcrMode
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error
from jc1_api.fields import Body, Flag, Name, NewName, Number, Text, Whole, accepted, without_refused
from jc1_api.knobs import Sampled, StreamOptions, check_stream_options, chosen, knob, off, wants_usage
from jc1_api.openai_format import ChatCompletion, ChatCompletionChunk, ChatFormat
from jc1_api.openai_messages import AnyMessage, to_message
from jc1_api.openai_tools import FunctionTool, ToolChoice, to_choice, to_tools
from jc1_api.replies import answer, preset_of
from jc1_api.routing import Router

router = Router(tags=["chat"])


class JsonSchema(Body):
    """A schema under OpenAI's wrapping; `schema` is what counts."""

    name: Text | None = None
    description: Text | None = None
    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema that the reply must fit.")
    strict: Flag | None = accepted("the schema always binds")


class ResponseFormat(Body):
    """What the reply looks like: any text, a JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise InvalidRequest("'json_schema' comes with the type 'json_schema'.", param="response_format")
        return self

    def schema_wanted(self) -> dict[str, Any] | None:
        """Return the schema for `Decoding`; None where any text will do."""
        if self.json_schema is not None:
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None


UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "audio": ((), "replies are text"),
    "function_call": (("none", "auto"), "it is the older name of 'tool_choice'"),
    "functions": ((), "it is the older name of 'tools'"),
    "moderation": ((), "nothing is moderated"),
    "modalities": ((["text"],), "replies are text"),
    "prediction": ((), "there is no predicted output"),
    "reasoning_effort": (("none",), "there is no reasoning to set"),
    "store": ((False,), "replies are not stored for retrieval; 'session' and 'memory' say what is kept"),
    "verbosity": ((), "the length of replies is set by 'max_tokens' and the system prompt"),
    "web_search_options": ((), "nothing is searched outside"),
}
"""OpenAI's fields that cannot be honoured, each with the values that ask for nothing, and why."""


class ChatRequest(Sampled):
    """OpenAI's chat completion request, with JC1's own fields. What is not listed is refused, not dropped."""

    model: Annotated[Name, Field(description="The served model, or `model@preset` as /v1/models lists them.")]
    messages: Annotated[list[AnyMessage], Field(description="The conversation, up to the user's or a tool's message.",
                                                 json_schema_extra={"minItems": 1})]  # fmt: skip
    stream: Flag | None = Field(None, description="Send the reply as server-sent events while it is written.")
    stream_options: StreamOptions | None = None
    user: Text | None = Field(None, description="Whose memories, sessions and traces: the owner.")

    session: NewName | None = Field(None, description="The conversation; with it only the last message counts.")
    memory: MemoryMode | None = Field(None, description="on (default) recalls and remembers, read recalls, off.")
    preset: Name | None = Field(None, description="Preset or alias, where `model` names none.")

    ocr: OcrMode | None = Field(None, description="Read text in pictures: auto (default) where the model sees none.")

    max_completion_tokens: Whole | None = Field(None, description="The same as max_tokens.")
    beam_width: Whole | None = knob("beam_width")
    length_penalty: Number | None = knob("length_penalty")
    logprobs: Flag | None = Field(None, description="Report each token's log probability.")
    top_logprobs: Annotated[Whole, Field(ge=0, le=20)] | None = Field(
        None, description="And this many alternatives to it; takes logprobs true."
    )

    tools: list[FunctionTool] | None = Field(None, description="What the model may ask for; the caller runs it.")
    tool_choice: ToolChoice | None = Field(None, description="auto (default), none, required, or one of the tools.")
    parallel_tool_calls: Flag | None = Field(None, description="Whether a reply may hold several calls (default).")

    response_format: ResponseFormat | None = None
    regex: Text | None = knob("regex")
    choice: list[Text] | None = Field(None, description="The reply is one of these.")
    metadata: dict[str, Text] | None = accepted("it is neither used nor kept")
    service_tier: Literal["auto", "default"] | None = accepted("there is one tier")
    prompt_cache_key: Text | None = accepted("prefixes are found without it")
    prompt_cache_options: dict[str, Any] | None = accepted("prefixes are found without it")
    prompt_cache_retention: Text | None = accepted("prefixes are found without it")
    safety_identifier: Text | None = accepted("it is neither used nor kept")

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, values: Any) -> Any:
        return without_refused(values, UNSUPPORTED)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        check_stream_options(self.stream_options, self.stream)
        return self

    def decoding(self, settings: Settings) -> dict[str, Any]:
        """Return the fields of `Decoding` that the request sets. Raises `InvalidRequest` where two of them disagree."""
        fields = chosen(self, settings, without=("logprobs",))
        if self.max_completion_tokens is not None:
            if self.max_tokens not in (None, self.max_completion_tokens):
                raise InvalidRequest("'max_tokens' and 'max_completion_tokens' differ: send one.", param="max_tokens")
            fields["max_tokens"] = off("max_tokens", self.max_completion_tokens, settings)
        if self.response_format is not None and (schema := self.response_format.schema_wanted()) is not None:
            fields["json_schema"] = schema
        if self.logprobs:
            fields["logprobs"] = self.top_logprobs or 0
        elif self.top_logprobs is not None:
            raise InvalidRequest("'top_logprobs' takes 'logprobs': true.", param="top_logprobs")
        return fields

    def sent_names(self) -> dict[str, str]:
        """Return the request's own names of what the pipeline knows by another name."""
        names = {}
        if self.max_completion_tokens is not None:
            names["max_tokens"] = "max_completion_tokens"
        if self.response_format is not None:
            names["json_schema"] = "response_format"
        if self.preset is None:
            names["preset"] = "model"
        return names


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses=events_of(ChatCompletionChunk, Error, end="[DONE]"),
    dependencies=[requires("chat")],
)
async def chat_completions(body: ChatRequest, request: Request, workbench: TheWorkbench) -> Response:
    """Reply to the last message of a conversation, whole or as a stream.

    Errors before the first token are HTTP errors also for a stream; later ones are an event with an `error`.
    """
    decoding = body.decoding(workbench.settings)
    messages = [to_message(message) for message in body.messages]
    principal = request.state.principal
    choices: dict[str, Any] = {
        "owner": principal.acting_for(body.user),
        "session": body.session,
        "memory": body.memory or "on",
        "preset": preset_of(body.model, body.preset, workbench),
        "tools": to_tools(body.tools or ()),
        "tool_choice": to_choice(body.tool_choice),
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "ocr": body.ocr,
        **decoding,
    }
    events = workbench.guarded.stream(principal, messages, **choices)
    form = ChatFormat(workbench.engine.model, include_usage=wants_usage(body.stream_options))
    return await answer(events, form, request, stream=body.stream, names=body.sent_names())
