"""`/v1/chat/completions`: OpenAI's chat, with sessions, memory and presets.

Knows how a request becomes a call of the pipeline. The shapes of replies are `jc1_api.openai_format`'s.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from jc1.errors import InvalidRequest, UnknownModel
from jc1.messages import Message, TextPart
from jc1.reply import Done, Event, Token
from jc1.workbench import Workbench
from jc1_api.deps import TheWorkbench
from jc1_api.docs import schema_of
from jc1_api.errors import named_as_sent
from jc1_api.openai_format import chunks, completion
from jc1_api.requests import AssistantMessage, ChatMessage, ChatRequest
from jc1_api.responses import ChatCompletion, ChatCompletionChunk
from jc1_api.routing import Router
from jc1_api.sse import EventStream, until_disconnect

router = Router(tags=["chat"])


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": {EventStream.media_type: {"schema": schema_of(ChatCompletionChunk)}}}},
)
async def chat_completions(body: ChatRequest, request: Request, workbench: TheWorkbench) -> Response:
    """Reply to the last message of a conversation, whole or as a stream.

    Errors before the first token are HTTP errors also for a stream; later ones are an event with an `error`.
    """
    decoding = body.decoding()
    messages = [_message(message) for message in body.messages]
    asked: dict[str, Any] = {
        "owner": request.state.principal.acting_for(body.user),
        "session": body.session,
        "memory": body.memory or "on",
        "preset": preset_of(body, workbench),
        **decoding,
    }
    model = workbench.engine.model
    if not body.stream:
        async with until_disconnect(request.receive):
            with named_as_sent(body.sent_names()):
                reply = await workbench.pipeline.chat(messages, **asked)
        return JSONResponse(completion(reply, model))
    events = workbench.pipeline.stream(messages, **asked)
    first: list[Event] = []
    async with until_disconnect(request.receive):
        with named_as_sent(body.sent_names()):
            async for event in events:
                first.append(event)
                if isinstance(event, Token | Done):
                    break
    return EventStream(
        chunks(
            first,
            events,
            model=model,
            include_usage=bool(body.stream_options and body.stream_options.include_usage),
        )
    )


def preset_of(body: ChatRequest, workbench: Workbench) -> str | None:
    """The preset that `model` (as `model@preset`) or `preset` names. Raises `UnknownModel` for another model."""
    model = workbench.engine.model
    if body.model == model:
        return body.preset
    if not body.model.startswith(f"{model}@"):
        raise UnknownModel(f"No model {body.model!r} here: {model!r} is served, see /v1/models.", param="model")
    if body.preset is not None:
        raise InvalidRequest(f"{body.model!r} and 'preset' both name a preset: send one.", param="preset")
    return body.model.removeprefix(f"{model}@")


def _message(sent: ChatMessage | AssistantMessage) -> Message:
    role: Any = "system" if sent.role == "developer" else sent.role
    if isinstance(sent.content, list):
        return Message(role, tuple(TextPart(part.text) for part in sent.content))
    return Message(role, sent.content or "")
