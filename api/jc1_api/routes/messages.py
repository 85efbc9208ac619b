"""`/v1/messages`: Anthropic's messages, and how many tokens they take.

Knows which fields a request has, what is refused by name rather than dropped, what is passed over and told, and how it
becomes a call of the pipeline. The shapes of what is sent are `jc1_api.anthropic_input`'s, those of replies
`jc1_api.anthropic_format`'s. Whose memory is used, the key says alone: `metadata.user_id` is taken and means nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from fastapi.responses import Response
from pydantic import Field, model_validator

from jc1.messages import Message, pictures_in
from jc1.prepare import prompt_tokens
from jc1.request import MemoryMode
from jc1.settings import Settings
from jc1.tools import toolset_of
from jc1_api.anthropic_errors import PATHS, AnthropicError
from jc1_api.anthropic_format import AnthropicMessage, MessageEvent, MessageFormat, TokenCount
from jc1_api.anthropic_input import AnyTool, CacheControl, MessageSent, Texts, to_messages, to_tools
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import named_as_sent
from jc1_api.fields import Body, Flag, Name, NewName, Number, Text, Whole, accepted, without_refused
from jc1_api.knobs import off
from jc1_api.replies import answer, preset_of
from jc1_api.routing import Router

router = Router(tags=["chat"], error=AnthropicError)

NO_BUDGET = tuple(
    {"type": kind, **shown}
    for kind in ("disabled", "adaptive")
    for shown in ({}, {"display": "omitted"}, {"display": "summarized"})
)
"""Values of `thinking` that leave it to the model."""
UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "container": ((), "nothing is run here"),
    "context_management": ((), "the oldest turns give way where a prompt is too long"),
    "diagnostics": ((), "/v1/traces tells what became of a request"),
    "inference_geo": ((), "there is one place"),
    "mcp_servers": ((), "this server calls no tools itself"),
    "speed": (("standard",), "there is one speed"),
    "thinking": (NO_BUDGET, "a model thinks as it was made to, without a budget"),
}
"""Anthropic's fields that cannot be honoured, each with the values that ask for nothing, and why."""

Beta = Annotated[bool | None, Query(description="Accepted, as the clients' beta methods send it.")]


class JsonFormat(Body):
    """JSON that the reply is kept to."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema that the reply must fit.")


class OutputConfig(Body):
    """What the reply looks like."""

    format: JsonFormat | None = None
    effort: Text | None = Field(None, description="Passed over: a model thinks as it was made to.")


class Metadata(Body):
    user_id: Text | None = accepted("it is neither used nor kept: the key says who asks")


class SentChoice(Body):
    """Whether a tool has to be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: Text | None = Field(None, description="The tool, where the type is `tool`.")
    disable_parallel_tool_use: Flag | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and (values.get("type") == "tool") != (values.get("name") is not None):
            raise ValueError("'name' comes with the type 'tool'")
        return values

    def word(self) -> str:
        """Return the choice as the pipeline takes it: a word, or a tool's name."""
        return self.name or {"any": "required"}.get(self.type, self.type)


class CountRequest(Body):
    """What a prompt is made of, in Anthropic's fields. What is not listed is refused, not dropped."""

    model: Annotated[Name, Field(description="The served model, or `model@preset` as /v1/models lists them.")]
    messages: Annotated[list[MessageSent], Field(description="The conversation; its last message is the user's.",
                                                 json_schema_extra={"minItems": 1})]  # fmt: skip
    system: Texts | None = Field(None, description="The system prompt.")
    tools: list[AnyTool] | None = Field(
        None, description="What the model may ask for; the caller runs it. Anthropic's own tools are passed over."
    )
    tool_choice: SentChoice | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = accepted("prefixes are found without it")
    preset: Name | None = Field(None, description="Preset or alias, where `model` names none.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, values: Any) -> Any:
        return without_refused(values, UNSUPPORTED)

    def conversation(self) -> list[Message]:
        """Return the conversation as the pipeline takes it."""
        return to_messages(self.system, self.messages)

    def asked_tools(self) -> tuple[dict[str, Any], list[str]]:
        """Return what the pipeline takes about tools, and what was sent and has no effect."""
        tools, others = to_tools(self.tools or ())
        choice = self.tool_choice or SentChoice(type="auto")
        options = {
            "tools": tools,
            "tool_choice": choice.word(),
            "parallel_tool_calls": not choice.disable_parallel_tool_use,
        }
        effort = self.output_config is not None and self.output_config.effort is not None
        return options, [f"tools.{kind}" for kind in others] + (["output_config.effort"] if effort else [])


class MessagesRequest(CountRequest):
    """Anthropic's message request, with JC1's own fields. What is not listed is refused, not dropped."""

    max_tokens: Annotated[Whole, Field(description="Most tokens to produce.", json_schema_extra={"minimum": 1})]
    stream: Flag | None = Field(None, description="Send the message as server-sent events while it is written.")
    stop_sequences: list[Text] | None = Field(None, description="The message ends before any of these; at most 16.")
    temperature: Number | None = Field(None, description="0 is greedy; above 1 flattens; at most 2.")
    top_k: Whole | None = Field(None, description="Keep the k most likely tokens; 0 keeps all.")
    top_p: Number | None = Field(None, description="Keep the smallest set of tokens with this mass; 1 keeps all.")
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = accepted("there is one tier")

    session: NewName | None = Field(None, description="The conversation; with it only the last message counts.")
    memory: MemoryMode | None = Field(None, description="on (default) recalls and remembers, read recalls, off.")

    def decoding(self, settings: Settings) -> dict[str, Any]:
        """Return the fields of `Decoding` that the request sets. A message is one reply, whatever a preset says."""
        form = self.output_config.format if self.output_config else None
        sent = {
            "max_tokens": self.max_tokens,
            "stop": self.stop_sequences,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "json_schema": form.schema_ if form else None,
        }
        return {**{name: off(name, value, settings) for name, value in sent.items() if value is not None}, "n": 1}

    def sent_names(self) -> dict[str, str]:
        """Return the request's own names of what the pipeline knows by another name."""
        names = {"stop": "stop_sequences", "json_schema": "output_config.format"}
        return names if self.preset is not None else {**names, "preset": "model"}


@router.post(
    PATHS[0],
    dependencies=[requires("chat")],
    response_model=AnthropicMessage,
    responses=events_of(MessageEvent),
)
async def create_message(
    body: MessagesRequest, request: Request, workbench: TheWorkbench, beta: Beta = None
) -> Response:
    """Reply to the last message of a conversation, whole or as a stream.

    Errors before the first token are HTTP errors also for a stream; a later one is the event `error`.
    """
    principal = request.state.principal
    tools, ignored = body.asked_tools()
    options: dict[str, Any] = {
        "owner": principal.acting_for(None),
        "session": body.session,
        "memory": body.memory or "on",
        "preset": preset_of(body.model, body.preset, workbench),
        **tools,
        **body.decoding(workbench.settings),
    }
    events = workbench.guarded.stream(principal, body.conversation(), **options)
    form = MessageFormat(workbench.engine.model, ignored)
    return await answer(events, form, request, stream=body.stream, names=body.sent_names())


@router.post(PATHS[1], dependencies=[requires("chat")])
async def count_tokens(body: CountRequest, request: Request, workbench: TheWorkbench, beta: Beta = None) -> TokenCount:
    """Count the tokens of a prompt, without memories and with every turn: those are chosen when it is asked."""
    principal = request.state.principal
    asked, _ = body.asked_tools()
    tools = toolset_of(asked["tools"], asked["tool_choice"])
    preset = preset_of(body.model, body.preset, workbench)
    sent = body.conversation()
    with named_as_sent({} if body.preset is not None else {"preset": "model"}):
        if any(pictures_in(sent)):
            principal.require("vision")
        principal.require_model(workbench.engine.model)
        principal.require_preset(preset or workbench.settings.preset)
        await workbench.guarded.take_request(principal)
        tokens = await prompt_tokens(workbench, sent, preset=preset, tools=tools)
    return TokenCount(input_tokens=tokens)
