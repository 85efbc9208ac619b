"""`/v1/responses`: OpenAI's responses, without a store: each request brings its whole conversation.

Knows which fields a request has, what is refused by name rather than dropped, what is passed over and told, and how it
becomes a call of the pipeline. The shapes of what is sent are `jc1_api.responses_input`'s, those of replies
`jc1_api.responses_format`'s.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import Discriminator, Field, Tag, model_validator

from jc1.errors import InvalidRequest
from jc1.messages import Message
from jc1.request import MemoryMode
from jc1.settings import Settings
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.fields import Body, Flag, Name, NewName, Number, Text, Whole, accepted, without_refused
from jc1_api.knobs import check_stream_options, off
from jc1_api.openai_tools import WordOrNamed
from jc1_api.replies import answer, preset_of
from jc1_api.responses_format import ResponseFormat, begin, empty
from jc1_api.responses_input import AnyItem, AnyTool, SentFunction, to_messages, to_tools
from jc1_api.responses_shapes import ModelResponse, ResponseEvent
from jc1_api.routing import Router
from jc1_api.sse import EventStream

router = Router(tags=["chat"])

UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "background": ((False,), "a response is there when the request ends"),
    "context_management": ((), "the oldest turns give way where a prompt is too long"),
    "conversation": ((), "there are no stored ones: send the whole conversation in 'input', or name a 'session'"),
    "moderation": ((), "nothing is moderated"),
    "previous_response_id": (
        (),
        "responses are not stored: send the whole conversation in 'input', or name a 'session'",
    ),
    "prompt": ((), "there are no stored prompts: send 'instructions', or name a 'preset'"),
    "top_logprobs": ((0,), "responses carry no log probabilities, /v1/chat/completions does"),
    "truncation": (("auto",), "the oldest turns give way where a prompt is too long"),
}
"""OpenAI's fields that cannot be honoured, each with the values that ask for nothing, and why."""


class TextFormat(Body):
    """What the reply looks like: any text, a JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: Text | None = None
    description: Text | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema", description="JSON Schema that the reply must fit.")
    strict: Flag | None = accepted("the schema always binds")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise InvalidRequest("'schema' comes with the type 'json_schema'.", param="text.format")
        return self


class TextConfig(Body):
    """How the text is written."""

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = accepted("there is one")


class StreamOptions(Body):
    """What a stream carries besides the reply."""

    include_obfuscation: Flag | None = accepted("there is no obfuscation either way")


class NamedTool(Body):
    """The one function that has to be called."""

    type: Literal["function"]
    name: Text


def _text_or_items(value: object) -> str:
    return "items" if isinstance(value, list) else "text"


Input = Annotated[Annotated[Text, Tag("text")] | Annotated[list[AnyItem], Tag("items")], Discriminator(_text_or_items)]


class ResponseRequest(Body):
    """OpenAI's response request, with JC1's own fields. What is not listed is refused, not dropped."""

    model: Annotated[Name, Field(description="The served model, or `model@preset` as /v1/models lists them.")]
    input: Input | None = Field(None, description="The conversation, up to the user's message or a tool's output.")
    instructions: Text | None = Field(None, description="The system prompt.")
    stream: Flag | None = Field(None, description="Send the response as server-sent events while it is written.")
    stream_options: StreamOptions | None = None
    user: Text | None = Field(None, description="Whose memories, sessions and traces: the owner.")

    session: NewName | None = Field(None, description="The conversation; with it only the last message counts.")
    memory: MemoryMode | None = Field(None, description="on (default) recalls and remembers, read recalls, off.")
    preset: Name | None = Field(None, description="Preset or alias, where `model` names none.")

    max_output_tokens: Whole | None = Field(
        None, description="Most tokens to produce.", json_schema_extra={"minimum": 1}
    )
    temperature: Number | None = Field(None, description="0 is greedy; above 1 flattens; at most 2.")
    top_p: Number | None = Field(None, description="Keep the smallest set of tokens with this mass; 1 keeps all.")
    text: TextConfig | None = None
    tools: list[AnyTool] | None = Field(
        None, description="What the model may ask for; the caller runs it. Other types than `function` are passed over."
    )
    tool_choice: WordOrNamed[NamedTool] | None = Field(
        None, description="auto (default), none, required, or one of the tools."
    )
    parallel_tool_calls: Flag | None = Field(None, description="Whether a reply may hold several calls (default).")

    reasoning: dict[str, Any] | None = Field(None, description="Passed over: a model thinks as it was made to.")
    store: Flag | None = accepted("nothing is stored, and the response says so")
    include: list[Text] | None = accepted("a response has all that there is")
    max_tool_calls: Whole | None = accepted("it counts tools that the server runs, and none is")
    metadata: dict[str, Text] | None = Field(None, description="Sent back with the response; neither used nor kept.")
    client_metadata: dict[str, Any] | None = accepted("it is neither used nor kept")
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
        if "message.output_text.logprobs" in (self.include or ()):
            reason = "'include' asks for log probabilities, which responses do not carry: /v1/chat/completions does."
            raise InvalidRequest(reason, param="include")
        return self

    def messages(self) -> list[Message]:
        """Return the conversation as the pipeline takes it; empty where the input holds nothing."""
        sent = [Message.user(self.input)] if isinstance(self.input, str) else to_messages(self.input or ())
        if not any(message.text.strip() or message.tool_calls or message.role == "tool" for message in sent):
            return []
        return [*([Message.system(self.instructions)] if self.instructions else ()), *sent]

    def decoding(self, settings: Settings) -> dict[str, Any]:
        """Return the fields of `Decoding` that the request sets. A response holds one reply, whatever a preset says."""
        sent = {"max_tokens": self.max_output_tokens, "temperature": self.temperature, "top_p": self.top_p}
        chosen = {name: off(name, value, settings) for name, value in sent.items() if value is not None}
        wanted = self.text.format if self.text else None
        if wanted is not None and wanted.type != "text":
            chosen["json_schema"] = wanted.schema_ or {"type": "object"}
        return {**chosen, "n": 1}

    def sent_names(self) -> dict[str, str]:
        """Return the request's own names of what the pipeline knows by another name."""
        names = {"messages": "input", "json_schema": "text.format"}
        if self.max_output_tokens is not None:
            names["max_tokens"] = "max_output_tokens"
        if self.preset is None:
            names["preset"] = "model"
        return names

    def choice(self) -> str:
        """Return which tool has to be called, as the pipeline takes it: a word, or a tool's name."""
        return self.tool_choice.name if isinstance(self.tool_choice, NamedTool) else self.tool_choice or "auto"

    def repeated(self) -> dict[str, Any]:
        """Return the fields of a response that repeat what was asked for."""
        shown = self.text.format if self.text else None
        functions = [tool for tool in self.tools or () if isinstance(tool, SentFunction)]
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "metadata": self.metadata or {},
            "prompt_cache_key": self.prompt_cache_key,
            "safety_identifier": self.safety_identifier,
            "user": self.user,
            "text": {"format": shown.model_dump(by_alias=True, exclude_none=True) if shown else {"type": "text"}},
            "tools": [{"parameters": None, "strict": None, **tool.model_dump(exclude_none=True)} for tool in functions],
            "tool_choice": self.tool_choice.model_dump() if isinstance(self.tool_choice, NamedTool) else self.choice(),
            "parallel_tool_calls": self.parallel_tool_calls is not False,
        }


@router.post(
    "/v1/responses",
    dependencies=[requires("chat")],
    response_model=ModelResponse,
    responses=events_of(ResponseEvent),
)
async def create_response(body: ResponseRequest, request: Request, workbench: TheWorkbench) -> Response:
    """Reply to the conversation that the request brings, whole or as a stream. Nothing is stored for retrieval.

    Errors before the first token are HTTP errors also for a stream; a later one is the event `response.failed`.
    """
    principal = request.state.principal
    messages = body.messages()
    tools, others = to_tools(body.tools or ())
    ignored = [f"tools.{kind}" for kind in others] + (["reasoning"] if body.reasoning else [])
    options: dict[str, Any] = {
        "owner": principal.acting_for(body.user),
        "session": body.session,
        "memory": body.memory or "on",
        "preset": preset_of(body.model, body.preset, workbench),
        "tools": tools,
        "tool_choice": body.choice(),
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        **body.decoding(workbench.settings),
    }
    response = begin(workbench.engine.model, body.repeated())
    form = ResponseFormat(response, ignored)
    if not messages and body.max_output_tokens == 1:
        # A probe of whether the address is there: Codex sends one.
        return EventStream(form.nothing()) if body.stream else JSONResponse(empty(response))
    events = workbench.guarded.stream(principal, messages or [Message.user("")], **options)
    return await answer(events, form, request, stream=body.stream, names=body.sent_names())
