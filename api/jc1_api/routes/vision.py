"""`/v1/vision`: pictures and a question as a form, and a chat completion as the answer.

Knows uploads. What becomes of the message that they make is chat's, which takes the same as data URLs.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import File, Form, Request, UploadFile
from fastapi.responses import Response

from jc1.documents.ingest import title_of
from jc1.messages import ImagePart, Message, TextPart
from jc1.request import MemoryMode
from jc1.vision.reading import OcrMode
from jc1_api.deps import Owner, TheWorkbench, requires
from jc1_api.docs import events_of
from jc1_api.errors import Error
from jc1_api.fields import Name, NewName, Text
from jc1_api.openai_format import ChatCompletion, ChatCompletionChunk, ChatFormat
from jc1_api.replies import answer
from jc1_api.routing import Router

PATH = "/v1/vision"
router = Router(tags=["vision"])


@router.post(
    PATH,
    response_model=ChatCompletion,
    responses=events_of(ChatCompletionChunk, Error, end="[DONE]"),
    dependencies=[requires("vision")],
)
async def look(
    request: Request,
    workbench: TheWorkbench,
    owner: Owner,
    images: Annotated[list[UploadFile], File(description="PNG, JPEG, WebP or GIF; one or several.")],
    question: Annotated[Text, Form(description="What is asked about them.")] = "",
    session: Annotated[NewName | None, Form(description="The conversation that this is a turn of.")] = None,
    memory: Annotated[MemoryMode, Form(description="on recalls and remembers, read recalls, off.")] = "on",
    preset: Annotated[Name | None, Form(description="Preset or alias.")] = None,
    ocr: Annotated[OcrMode | None, Form(description="Read the text in them: auto where the model sees none.")] = None,
    max_tokens: Annotated[int | None, Form(ge=1, description="Most tokens of the reply.")] = None,
    temperature: Annotated[float | None, Form(ge=0, description="0 is greedy.")] = None,
    stream: Annotated[bool, Form(description="Send the reply as server-sent events while it is written.")] = False,
) -> Response:
    """Answer a question about pictures, as a chat completion. They are remembered as what was said is."""
    shown = [
        ImagePart(await file.read(), file.content_type or "", name=title_of(file.filename or "")) for file in images
    ]
    message = Message.user((*shown, TextPart(question)) if question.strip() else tuple(shown))
    fields = {"max_tokens": max_tokens, "temperature": temperature}
    choices: dict[str, Any] = {
        "owner": owner,
        "session": session,
        "memory": memory,
        "preset": preset,
        "ocr": ocr,
        **{name: value for name, value in fields.items() if value is not None},
    }
    events = workbench.guarded.stream(request.state.principal, [message], **choices)
    form = ChatFormat(workbench.engine.model, include_usage=False)
    return await answer(events, form, request, stream=stream, names={"messages": "images"})
