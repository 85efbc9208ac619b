"""The bodies of requests: which fields there are, of what type, and what is refused by name rather than dropped.

Knows JSON types and OpenAI's field names. The ranges of decoding fields are `jc1.decoding`'s: they are shown in the
schema here and checked there, once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from jc1.decoding import Decoding
from jc1.errors import InvalidRequest
from jc1.memory.base import Kind, Selection
from jc1.memory.deletion import MAX_SELECTED
from jc1.messages import Role
from jc1.request import MemoryMode
from jc1.texts import checked

NAME_LENGTH = 200
"""Most characters of a session's, preset's or model's name."""
RECORD_LENGTH = 10_000
"""Most characters of a memory that is added by hand."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: send some text")
    return text


def _addressable(name: str) -> str:
    if any(unicodedata.category(c) == "Cc" for c in name) or {".", ".."} & set(name.split("/")):
        raise ValueError("cannot stand in an address: send a name without control characters, '.' and '..'")
    return name


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(checked)]
Name = Annotated[Text, Field(min_length=1, max_length=NAME_LENGTH), AfterValidator(_not_blank)]
NewName = Annotated[Name, AfterValidator(_addressable)]
"""The name of something that is read and deleted under an address later."""
Whole = Annotated[int, Strict(), BeforeValidator(_integral, json_schema_input_type=int)]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _one_or_list(value: object) -> str:
    return "list" if isinstance(value, list) else "one"


def _refused(name: str, value: object, reason: str) -> ValidationError:
    """Return the error that names a field of the model being validated, wherever in the body the model stands."""
    problem = PydanticCustomError("refused", "{reason}", {"reason": reason})
    return ValidationError.from_exception_data("body", [InitErrorDetails(type=problem, loc=(name,), input=value)])


def _without_refused(values: Any, refused: Mapping[str, tuple[tuple[Any, ...], str]]) -> Any:
    """Return the body without those fields that ask for nothing: null, empty, or with a value listed as harmless.

    Raises `ValidationError` for the others, with the reason that is listed.
    """
    if not isinstance(values, dict):
        return values
    kept = dict(values)
    for name in values.keys() & refused.keys():
        harmless, reason = refused[name]
        value = kept.pop(name)
        if value not in (None, [], {}) and value not in harmless:
            raise _refused(name, value, f"{name!r} cannot be honoured: {reason}. Leave it out.")
    return kept


class ContentPart(_Body):
    """A piece of a message. Text is the only kind so far."""

    type: Literal["text"]
    text: Text

    @model_validator(mode="before")
    @classmethod
    def _only_text(cls, values: Any) -> Any:
        kind = values.get("type") if isinstance(values, dict) else None
        if isinstance(kind, str) and kind != "text":
            raise _refused("type", kind, f"A part of type {kind!r} cannot be read by this server: send 'text' parts.")
        return values


OneText = Annotated[Text, Tag("one")]
Stop = Annotated[OneText | Annotated[list[Text], Tag("list")], Discriminator(_one_or_list)]
Content = Annotated[OneText | Annotated[list[ContentPart], Tag("list")], Discriminator(_one_or_list)]

REFUSED_IN_MESSAGES: dict[str, tuple[tuple[Any, ...], str]] = {
    "annotations": ((), "texts are read without them"),
    "audio": ((), "messages are text"),
    "function_call": ((), "there are no tools"),
    "refusal": (("",), "no reply is one"),
    "tool_calls": ((), "there are no tools"),
}
"""Fields of OpenAI's messages that clients send back with a reply, each with the values that say nothing, and why."""
TOOL_ROLES = ("tool", "function")


class _Message(_Body):
    name: Text | None = Field(None, description="Accepted; who speaks is told apart by role.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, values: Any) -> Any:
        role = values.get("role") if isinstance(values, dict) else None
        if role in TOOL_ROLES:
            reason = f"A message of role {role!r} cannot be read: there are no tools. Leave it out."
            raise _refused("role", role, reason)
        return _without_refused(values, REFUSED_IN_MESSAGES)


class AssistantMessage(_Message):
    """An earlier reply, which may be empty."""

    role: Literal["assistant"]
    content: Content | None = None


class ChatMessage(_Message):
    """A message of anybody else. `developer` is OpenAI's newer word for `system`."""

    # Any text is taken here: the pipeline knows the roles, and has an error of its own for the others.
    role: Annotated[Text, Field(json_schema_extra={"enum": ["system", "developer", "user"]})]
    content: Content


def _speaker(value: Any) -> str:
    return "assistant" if isinstance(value, dict) and value.get("role") == "assistant" else "other"


AnyMessage = Annotated[
    Annotated[ChatMessage, Tag("other")] | Annotated[AssistantMessage, Tag("assistant")], Discriminator(_speaker)
]


class StreamOptions(_Body):
    """What a stream carries besides the reply."""

    include_usage: Flag | None = Field(None, description="End with a chunk that holds the token counts.")
    include_obfuscation: Flag | None = Field(None, description="Accepted; there is no obfuscation either way.")


class JsonSchema(_Body):
    """A schema under OpenAI's wrapping; `schema` is what counts."""

    name: Text | None = None
    description: Text | None = None
    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema that the reply must fit.")
    strict: Flag | None = Field(None, description="Accepted; the schema always binds.")


class ResponseFormat(_Body):
    """What the reply looks like: any text, a JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise InvalidRequest("'json_schema' comes with the type 'json_schema'.", param="response_format")
        return self

    def schema_wanted(self) -> dict[str, Any] | None:
        """The schema for `Decoding`; None where any text will do."""
        if self.json_schema is not None:
            return self.json_schema.schema_
        return {"type": "object"} if self.type == "json_object" else None


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "audio": ((), "replies are text"),
    "function_call": (("none", "auto"), "there are no tools"),
    "functions": ((), "there are no tools"),
    "modalities": ((["text"],), "replies are text"),
    "prediction": ((), "there is no predicted output"),
    "reasoning_effort": (("none",), "there is no reasoning to set"),
    "store": ((False,), "replies are not stored for retrieval; 'session' and 'memory' say what is kept"),
    "tool_choice": (("none", "auto"), "there are no tools"),
    "tools": ((), "there are no tools"),
    "verbosity": ((), "the length of replies is set by 'max_tokens' and the system prompt"),
    "web_search_options": ((), "nothing is searched outside"),
}
"""OpenAI's fields that cannot be honoured, each with the values that ask for nothing, and why."""


OFF: dict[str, Any] = {"top_k": 0, "seed": None}
"""Fields in which other servers take -1 for "off", with what that is here."""


def _knob(name: str) -> Any:
    """Return an optional field of `Decoding`, with its description and bounds as the schema shows them."""
    shown = Decoding.model_json_schema()["properties"][name]
    bounds = {key: value for key, value in shown.items() if "inimum" in key or "aximum" in key}
    for option in shown.get("anyOf", ()):
        bounds |= {key: value for key, value in option.items() if "inimum" in key or "aximum" in key}
    if name in OFF:
        bounds["minimum"] = -1
    return Field(None, description=shown["description"], json_schema_extra=bounds)


class ChatRequest(_Body):
    """OpenAI's chat completion request, with JC1's own fields. What is not listed is refused, not dropped."""

    model: Annotated[Name, Field(description="The served model, or `model@preset` as /v1/models lists them.")]
    messages: Annotated[list[AnyMessage], Field(description="The conversation; its last message is the user's.",
                                                 json_schema_extra={"minItems": 1})]  # fmt: skip
    stream: Flag | None = Field(None, description="Send the reply as server-sent events while it is written.")
    stream_options: StreamOptions | None = None
    user: Text | None = Field(None, description="Whose memories, sessions and traces: the owner.")

    session: NewName | None = Field(None, description="The conversation; with it only the last message counts.")
    memory: MemoryMode | None = Field(None, description="on (default) recalls and remembers, read recalls, off.")
    preset: Name | None = Field(None, description="Preset or alias, where `model` names none.")

    max_tokens: Whole | None = _knob("max_tokens")
    max_completion_tokens: Whole | None = Field(None, description="The same as max_tokens.")
    min_tokens: Whole | None = _knob("min_tokens")
    temperature: Number | None = _knob("temperature")
    top_k: Whole | None = _knob("top_k")
    top_p: Number | None = _knob("top_p")
    min_p: Number | None = _knob("min_p")
    repetition_penalty: Number | None = _knob("repetition_penalty")
    presence_penalty: Number | None = _knob("presence_penalty")
    frequency_penalty: Number | None = _knob("frequency_penalty")
    logit_bias: dict[str, Number] | None = Field(None, description="Added to the logits, by token id; -100 to 100.")
    seed: Whole | None = _knob("seed")
    n: Whole | None = _knob("n")
    beam_width: Whole | None = _knob("beam_width")
    length_penalty: Number | None = _knob("length_penalty")
    stop: Stop | None = Field(None, description="The reply ends before any of these; at most 16.")
    logprobs: Flag | None = Field(None, description="Report each token's log probability.")
    top_logprobs: Annotated[Whole, Field(ge=0, le=20)] | None = Field(
        None, description="And this many alternatives to it; takes logprobs true."
    )

    response_format: ResponseFormat | None = None
    regex: Text | None = _knob("regex")
    choice: list[Text] | None = Field(None, description="The reply is one of these.")
    metadata: dict[str, Text] | None = Field(None, description="Accepted, and neither used nor kept.")
    service_tier: Literal["auto", "default"] | None = Field(None, description="Accepted; there is one tier.")
    parallel_tool_calls: Flag | None = Field(None, description="Accepted; there are no tools.")
    prompt_cache_key: Text | None = Field(None, description="Accepted; prefixes are found without it.")
    safety_identifier: Text | None = Field(None, description="Accepted, and neither used nor kept.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, values: Any) -> Any:
        return _without_refused(values, REFUSED)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise InvalidRequest("'stream_options' takes 'stream': true.", param="stream_options")
        return self

    def decoding(self) -> dict[str, Any]:
        """The fields of `Decoding` that the request sets. Raises `InvalidRequest` where two of them disagree."""
        own = ("max_completion_tokens", "logprobs", "top_logprobs", "json_schema")
        chosen = {
            name: OFF[name] if name in OFF and value == -1 else value
            for name in Decoding.model_fields.keys() - set(own)
            if (value := getattr(self, name)) is not None
        }
        if self.max_completion_tokens is not None:
            if self.max_tokens not in (None, self.max_completion_tokens):
                raise InvalidRequest("'max_tokens' and 'max_completion_tokens' differ: send one.", param="max_tokens")
            chosen["max_tokens"] = self.max_completion_tokens
        if self.response_format is not None and (schema := self.response_format.schema_wanted()) is not None:
            chosen["json_schema"] = schema
        if self.logprobs:
            chosen["logprobs"] = self.top_logprobs or 0
        elif self.top_logprobs is not None:
            raise InvalidRequest("'top_logprobs' takes 'logprobs': true.", param="top_logprobs")
        return chosen

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


class NewMemory(_Body):
    """A text to be remembered."""

    text: Annotated[Text, Field(min_length=1, max_length=RECORD_LENGTH), AfterValidator(_not_blank)]
    role: Role = Field("user", description="Who said it.")
    kind: Kind | None = Field(None, description="What it is; decided from its wording when left out.")


class MemoryChange(_Body):
    """What is changed about a memory; a field that is left out stays as it is."""

    text: Annotated[Text, Field(min_length=1, max_length=RECORD_LENGTH), AfterValidator(_not_blank)] | None = Field(
        None, description="What it says from now on; what it said is kept in its history."
    )
    pinned: Flag | None = Field(None, description="Recalled for every question.")
    excluded: Flag | None = Field(None, description="Recalled for none, and still listed.")


class MemorySelection(_Body):
    """Which memories: some by id, what a session said, the parts of a document, or everything. One of the four."""

    records: Annotated[list[Name], Field(max_length=MAX_SELECTED)] | None = Field(None, description="Ids.")
    session: Name | None = None
    document: Name | None = None
    everything: Flag = False

    def selection(self) -> Selection:
        """The selection as the memory takes it. Raises `InvalidRequest` for none or two."""
        return Selection(tuple(self.records or ()), self.session, self.document, self.everything)


class MemoryForget(MemorySelection):
    """What is forgotten, and whether for good at once."""

    purge: Flag = Field(False, description="Remove it now: it cannot be restored.")
