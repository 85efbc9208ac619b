"""`/v1/completions`: OpenAI's older address, which goes on from prompts as they are: no template, no memory.

Knows which fields a request has, what is refused by name rather than dropped, and how it becomes a call of the
pipeline. The fields of `Decoding` are `jc1_api.knobs`', the shapes of replies `jc1_api.completions_format`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from fastapi import Request
from fastapi.responses import Response
from pydantic import Discriminator, Field, Strict, Tag, model_validator

from jc1.completion import RawPrompt
from jc1.engines.base import Engine
from jc1.errors import InvalidRequest
from jc1.settings import Settings
from jc1_api.completions_format import Before, Completion, CompletionChunk, CompletionFormat
from jc1_api.deps import TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error
from jc1_api.fields import Flag, Name, Text, Whole, without_refused
from jc1_api.knobs import Sampled, StreamOptions, check_stream_options, chosen, knob, wants_usage
from jc1_api.replies import answer, preset_of
from jc1_api.routing import Router

router = Router(tags=["chat"])

NO_MEMORY = "memory takes no part in raw prompts, it does in /v1/chat/completions"
UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    "memory": (("off",), NO_MEMORY),
    "messages": ((), "a prompt is a text: send 'prompt', or ask /v1/chat/completions"),
    "session": ((), NO_MEMORY),
    "suffix": (("",), "no model here fills in between two texts"),
}
"""Fields that cannot be honoured, each with the values that ask for nothing, and why."""

TokenId = Annotated[int, Strict(), Field(ge=0, le=2**31 - 1)]


def _kind(value: object) -> str:
    if not isinstance(value, list):
        return "text"
    first = value[0] if value else ""
    return "ids" if isinstance(first, int) else "lists" if isinstance(first, list) else "texts"


Prompt = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[list[Text], Field(min_length=1), Tag("texts")]
    | Annotated[list[TokenId], Tag("ids")]
    | Annotated[list[list[TokenId]], Tag("lists")],
    Discriminator(_kind),
]


class CompletionRequest(Sampled):
    """OpenAI's completion request, with JC1's own fields. What is not listed is refused, not dropped."""

    model: Annotated[Name, Field(description="The served model, or `model@preset` as /v1/models lists them.")]
    prompt: Annotated[Prompt, Field(description="A text, several, token ids, or several lists of them.")]
    stream: Flag | None = Field(None, description="Send the reply as server-sent events while it is written.")
    stream_options: StreamOptions | None = None
    echo: Flag | None = Field(None, description="Put the prompt before the text that goes on from it.")
    user: Text | None = Field(None, description="Whose trace: the owner.")
    preset: Name | None = Field(None, description="Preset or alias, where `model` names none.")

    best_of: Whole | None = Field(None, description="Accepted where it equals `n`: every reply is returned.")
    logprobs: Whole | None = knob("logprobs")

    @model_validator(mode="before")
    @classmethod
    def _refuse_by_name(cls, values: Any) -> Any:
        return without_refused(values, UNSUPPORTED)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        check_stream_options(self.stream_options, self.stream)
        if self.best_of not in (None, self.replies):
            raise InvalidRequest("'best_of' cannot be honoured: no reply is held back. Send 'n'.", param="best_of")
        if self.echo and self.logprobs is not None:
            raise InvalidRequest(
                "'echo' cannot be had with 'logprobs': those of the prompt are not known. Send one.", param="echo"
            )
        return self

    @property
    def replies(self) -> int:
        """Return how many replies each prompt gets."""
        return 1 if self.n is None else self.n

    def prompts(self) -> list[RawPrompt]:
        """Return the prompts, however they were sent."""
        prompt: Any = self.prompt
        return prompt if _kind(prompt) in ("texts", "lists") else [prompt]

    def decoding(self, settings: Settings) -> dict[str, Any]:
        """Return the fields of `Decoding` that the request sets."""
        return {**chosen(self, settings), "n": self.replies}

    def sent_names(self) -> dict[str, str]:
        """Return the request's own names of what the pipeline knows by another name."""
        return {"messages": "prompt", **({} if self.preset is not None else {"preset": "model"})}

    def before(self, engine: Engine) -> Before:
        """Return what tells the text before each choice."""
        return _echo(engine, self.prompts(), self.replies) if self.echo else lambda _: ""


def _echo(engine: Engine, prompts: Sequence[RawPrompt], n: int) -> Before:
    def before(index: int) -> str:
        prompt = prompts[index // n]
        return prompt if isinstance(prompt, str) else engine.decode(prompt)

    return before


@router.post(
    "/v1/completions",
    response_model=Completion,
    responses=events_of(CompletionChunk, Error, end="[DONE]"),
    dependencies=[requires("chat")],
)
async def completions(body: CompletionRequest, request: Request, workbench: TheWorkbench) -> Response:
    """Go on from prompts as they are, whole or as a stream.

    Errors before the first token are HTTP errors also for a stream; later ones are an event with an `error`.
    """
    principal = request.state.principal
    choices: dict[str, Any] = {
        "owner": principal.acting_for(body.user),
        "preset": preset_of(body.model, body.preset, workbench),
        **body.decoding(workbench.settings),
    }
    events = workbench.guarded.complete(principal, body.prompts(), **choices)
    engine = workbench.engine
    form = CompletionFormat(engine.model, body.before(engine), include_usage=wants_usage(body.stream_options))
    return await answer(events, form, request, stream=body.stream, names=body.sent_names())
